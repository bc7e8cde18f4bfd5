/* SPDX-License-Identifier: Apache-2.0 */
/* fields_file.c: indexes as a stream, which fields.h draws, and back. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"
#include "src/wire.h"

#define MAGIC "vgfld\r\n\x1a"
#define STREAM_VERSION 1u
#define PIECE_LEN (1u << 20) /* of a write, and what a read asks for at first */
#define FIELDS_MAX (1u << 20)
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"arrays go to the stream as they lie in memory");
static_assert(sizeof(struct fields_dense) == 8, "as the table says");

struct head {
	char magic[8];
	uint32_t version;
	uint32_t n;
};
static_assert(sizeof(struct head) == 16, "as the table says");

/* ---- out ---- */

struct out {
	const struct fields_sink *sink;
	uint64_t sum;
	int rc; /* sticks */
};

static void put(struct out *out, const void *bytes, size_t len)
{
	const char *at = bytes;

	/* Each turn writes a piece. */
	while (len > 0 && out->rc == 0) {
		size_t n = VG_MIN(len, (size_t)PIECE_LEN);
		out->sum = wire_hash_pair(&out->sum, 8, at, n);
		out->rc = out->sink->write(out->sink->ctx, at, n);
		at += n;
		len -= n;
	}
}

static void put_sum(struct out *out)
{
	uint64_t sum = out->sum;

	if (out->rc == 0)
		out->rc = out->sink->write(out->sink->ctx, &sum, 8);
}

static void put_run(struct out *out, const struct fields_run *r)
{
	uint32_t head[] = {r->begin, r->end, r->n_values, r->keys_len,
		r->n_list, r->n_dense};
	size_t at_len = ((size_t)r->n_values + 1) * sizeof(uint32_t);

	put(out, head, sizeof(head));
	put_sum(out);
	put(out, r->key_at, at_len);
	put(out, r->keys, r->keys_len);
	put(out, r->list_at, at_len);
	put(out, r->list, (size_t)r->n_list * sizeof(*r->list));
	put(out, r->dense, r->n_dense * sizeof(*r->dense));
	put(out, r->bits, (size_t)r->n_dense * fields_run_words(r) * 8);
	put_sum(out);
}

/* An entry and what it had when it was taken. */
struct kept {
	struct fields_entry *entry;
	struct fields_runs *runs; /* referenced */
	uint64_t used;
};

static void put_field(struct out *out, const struct kept *k)
{
	uint32_t head[] = {k->entry->name_len, k->runs->n};

	put(out, head, sizeof(head));
	put_sum(out);
	put(out, k->entry->name, k->entry->name_len);
	put_sum(out);
	for (uint32_t i = 0; i < k->runs->n; i++)
		put_run(out, k->runs->at[i]);
}

static int compare_kept(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return (x->used > y->used) - (x->used < y->used);
}

/* All that is indexed, referenced, the least recently used first. Another
 * thread may add while we allocate: then there is a turn more. */
static int take_all(struct fields *f, struct kept **out, uint32_t *n)
{
	uint32_t cap = 0;
	struct kept *kept = NULL;

	/* Each turn but the last met a thread that added a field. */
	for (;;) {
		pthread_rwlock_rdlock(&f->lock);
		if (kept && f->n <= cap)
			break;
		cap = f->n;
		pthread_rwlock_unlock(&f->lock);
		free(kept);
		kept = malloc((cap + (size_t)1) * sizeof(*kept));
		if (!kept)
			return -ENOMEM;
	}
	*n = 0;
	for (uint32_t i = 0; i < f->n; i++) {
		struct fields_entry *e = f->at[i];
		if (!e->runs)
			continue;
		atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&e->runs->refs, 1,
			memory_order_relaxed);
		kept[(*n)++] = (struct kept){e, e->runs,
			atomic_load_explicit(&e->used, memory_order_relaxed)};
	}
	pthread_rwlock_unlock(&f->lock);
	qsort(kept, *n, sizeof(*kept), compare_kept);
	*out = kept;
	return 0;
}

/* A restart has them from the stream; once for all of kept. */
static void mark_saved(struct fields *f, const struct kept *kept, uint32_t n)
{
	pthread_rwlock_wrlock(&f->lock);
	for (uint32_t i = 0; i < n; i++)
		kept[i].entry->saved = kept[i].runs->covered;
	pthread_rwlock_unlock(&f->lock);
}

int fields_save(struct fields *f, const struct fields_sink *sink)
{
	struct out out = {.sink = sink};
	struct kept *kept;
	uint32_t n;
	int rc = take_all(f, &kept, &n);

	if (rc < 0)
		return rc;
	struct head head = {.version = STREAM_VERSION, .n = n};
	memcpy(head.magic, MAGIC, sizeof(head.magic));
	put(&out, &head, sizeof(head));
	put_sum(&out);
	for (uint32_t i = 0; i < n; i++)
		put_field(&out, &kept[i]);
	if (out.rc == 0)
		mark_saved(f, kept, n);
	for (uint32_t i = 0; i < n; i++) {
		fields_runs_unref(kept[i].runs);
		fields_entry_unref(kept[i].entry);
	}
	free(kept);
	return out.rc;
}

/* ---- in ---- */

struct in {
	const struct fields_source *source;
	const char **why;
	uint64_t sum;
	uint32_t n; /* versions there are */
};

static int refuse(struct in *in, const char *why)
{
	*in->why = why;
	return -VG_ECORRUPT;
}

/* Sums go by the pieces that put makes of what it is given at once. */
static int get(struct in *in, void *bytes, size_t len)
{
	int rc;

	assert(len <= PIECE_LEN);
	if (len == 0)
		return 0;
	*in->why = "the stream cannot be read on";
	rc = in->source->read(in->source->ctx, bytes, len);
	if (rc == 0)
		in->sum = wire_hash_pair(&in->sum, 8, bytes, len);
	return rc;
}

static int get_sum(struct in *in)
{
	uint64_t sum = in->sum, is;
	int rc;

	*in->why = "the stream cannot be read on";
	rc = in->source->read(in->source->ctx, &is, 8);
	if (rc == 0 && is != sum)
		return refuse(in, "a sum is wrong");
	return rc;
}

/* len bytes into memory that grows as they come, so that a length that lies
 * takes no more than twice what the stream has. One byte at least. */
static int get_array(struct in *in, size_t len, void *out)
{
	char *bytes = malloc(VG_MAX(VG_MIN(len, (size_t)PIECE_LEN), (size_t)1));
	size_t cap = PIECE_LEN, at = 0;
	int rc = bytes ? 0 : -ENOMEM;

	while (rc == 0 && at < len) {
		size_t n = VG_MIN(len - at, (size_t)PIECE_LEN);
		if (at + n > cap) {
			cap = VG_MIN(2 * cap, VG_MAX(len, cap));
			char *more = realloc(bytes, cap);
			rc = more ? 0 : -ENOMEM;
			bytes = more ? more : bytes;
		}
		if (rc == 0)
			rc = get(in, bytes + at, n);
		at += n;
	}
	if (rc < 0)
		free(bytes);
	else
		memcpy(out, &bytes, sizeof(bytes)); /* any kind of pointer */
	return rc;
}

static int get_arrays(struct in *in, struct fields_run *r)
{
	size_t at_len = ((size_t)r->n_values + 1) * sizeof(uint32_t);
	size_t bits_len = (size_t)r->n_dense * fields_run_words(r) * 8;
	int rc = get_array(in, at_len, &r->key_at);

	if (rc == 0)
		rc = get_array(in, r->keys_len, &r->keys);
	if (rc == 0)
		rc = get_array(in, at_len, &r->list_at);
	if (rc == 0)
		rc = get_array(in, (size_t)r->n_list * 4, &r->list);
	if (rc == 0)
		rc = get_array(in, r->n_dense * sizeof(*r->dense), &r->dense);
	if (rc == 0)
		rc = get_array(in, bits_len, &r->bits);
	return rc;
}

/* The next run, behind the one that ended at `begin`. */
static int get_run(struct in *in, uint32_t begin, struct fields_run **out)
{
	struct fields_run *r;
	uint32_t head[6];
	const char *why;
	int rc = get(in, head, sizeof(head));

	if (rc == 0)
		rc = get_sum(in);
	if (rc < 0)
		return rc;
	if (head[0] != begin || head[1] <= begin || head[1] > in->n)
		return refuse(in, "a run is of other versions");
	if (head[2] > head[3] || head[3] > FIELDS_RUN_MAX ||
		head[4] > FIELDS_RUN_MAX || head[5] > head[2])
		return refuse(in, "a run is larger than any");
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	atomic_init(&r->refs, 1);
	r->begin = head[0];
	r->end = head[1];
	r->n_values = head[2];
	r->keys_len = head[3];
	r->n_list = head[4];
	r->n_dense = head[5];
	rc = get_arrays(in, r);
	if (rc == 0)
		rc = get_sum(in);
	if (rc == 0 && (why = fields_run_check(r)))
		rc = refuse(in, why);
	if (rc < 0) {
		fields_run_unref(r);
		return rc;
	}
	fields_run_done(r);
	assert(r->begin == begin && r->end <= in->n);
	*out = r;
	return 0;
}

/* The runs of a field, n of them. */
static int get_runs(struct in *in, uint32_t n, struct fields_runs **out)
{
	struct fields_run **at = calloc(n, sizeof(struct fields_run *));
	uint32_t begin = 0;
	int rc = at ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = get_run(in, begin, &at[i]);
		if (rc == 0)
			begin = at[i]->end;
	}
	if (rc == 0)
		rc = fields_runs_new(at, n, out);
	for (uint32_t i = 0; at && i < n; i++)
		fields_run_unref(at[i]);
	free(at);
	return rc;
}

static int get_field(struct in *in, struct fields_entry **out)
{
	char name[FILTER_FIELD_MAX];
	struct fields_runs *runs;
	uint32_t head[2];
	int rc = get(in, head, sizeof(head));

	if (rc == 0)
		rc = get_sum(in);
	if (rc < 0)
		return rc;
	if (head[0] < 1 || head[0] > FILTER_FIELD_MAX || head[1] < 1 ||
		head[1] > FIELDS_RUNS_MAX)
		return refuse(in, "a field has no name or no runs");
	rc = get(in, name, head[0]);
	if (rc == 0)
		rc = get_sum(in);
	if (rc == 0)
		rc = get_runs(in, head[1], &runs);
	if (rc < 0)
		return rc;
	rc = fields_entry_new((struct vg_id){name, head[0]}, runs, out);
	if (rc < 0)
		fields_runs_unref(runs);
	else
		(*out)->saved = runs->covered;
	return rc;
}

static int get_head(struct in *in, uint32_t *n)
{
	struct head head;
	int rc = get(in, &head, sizeof(head));

	if (rc < 0)
		return rc;
	if (memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0)
		return refuse(in, "this is no stream of indexes");
	if (head.version != STREAM_VERSION)
		return refuse(in, "this stream has another version");
	rc = get_sum(in);
	if (rc == 0 && head.n > FIELDS_MAX)
		return refuse(in, "there are too many fields");
	*n = head.n;
	return rc;
}

/* Entries while they come. */
struct entries {
	struct fields_entry **at;
	uint32_t n, cap;
};

static int get_entries(struct in *in, struct entries *s)
{
	uint32_t n = 0;
	int rc = get_head(in, &n);

	while (rc == 0 && s->n < n) {
		struct fields_entry **at = filter_grow(s->at, &s->cap,
			s->n + 1, sizeof(struct fields_entry *));
		if (!at)
			return -ENOMEM;
		s->at = at;
		rc = get_field(in, &s->at[s->n]);
		s->n += rc == 0;
	}
	return rc;
}

int fields_load(struct fields *f, uint32_t n,
	const struct fields_source *source, const char **why)
{
	struct in in = {.source = source, .why = why, .n = n};
	struct entries s = {0};
	int rc = get_entries(&in, &s);

	if (rc == 0 && s.n > 0)
		rc = fields_add(f, s.at, s.n);
	for (uint32_t i = 0; i < s.n && rc < 0; i++)
		fields_entry_unref(s.at[i]);
	free(s.at);
	return rc;
}
