/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields_build.c: runs made of metadata, and the runs of a field extended.
 *
 * A batch of versions is walked once; what it has is a list of pairs, a key
 * and a version, which is then sorted. A pair has its key's first bytes as a
 * number, so few comparisons look at the key itself.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"

/* A batch ends behind the version that reaches one of these: memory while it
 * is sorted is at most some 150 MB. */
#define BATCH_VERSIONS (1u << 20)
#define BATCH_PAIRS (1u << 20)
#define BATCH_KEYS (64u << 20)

struct pair {
	uint64_t head;	  /* first 8 bytes, the highest first; 0 behind the end */
	const uint8_t *key; /* of keys; an offset until they are all there */
	uint32_t version;
	uint32_t len;
};

struct batch {
	struct vg_id field;
	const struct fields_rows *rows;
	uint32_t begin, end;
	struct pair *pairs;
	uint8_t *keys;
	uint32_t *exists; /* versions that have the field */
	uint32_t n_pairs, keys_len, n_exists;
	uint32_t cap_pairs, cap_keys, cap_exists;
	struct fields_payload payload;
};

static void batch_fini(struct batch *b)
{
	free(b->pairs);
	free(b->keys);
	free(b->exists);
	free(b->payload.made);
}

static int add_exists(struct batch *b, uint32_t version)
{
	uint32_t *exists = filter_grow(b->exists, &b->cap_exists,
		b->n_exists + 1, sizeof(*exists));

	if (!exists)
		return -ENOMEM;
	b->exists = exists;
	exists[b->n_exists++] = version;
	return 0;
}

static int add_hit(struct batch *b, const struct filter_hit *hit,
	uint32_t version)
{
	struct pair *pairs;
	uint8_t *keys;
	int rc = fields_payload_of_hit(&b->payload, hit);

	if (rc < 0)
		return rc;
	pairs = filter_grow(b->pairs, &b->cap_pairs, b->n_pairs + 1,
		sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	b->pairs = pairs;
	keys = filter_grow(b->keys, &b->cap_keys,
		b->keys_len + FIELDS_KEY_MAX, 1);
	if (!keys)
		return -ENOMEM;
	b->keys = keys;
	struct pair *pair = &pairs[b->n_pairs++];
	uint32_t len = (uint32_t)fields_key(&b->payload, keys + b->keys_len);
	*pair = (struct pair){.version = version, .len = len};
	for (uint32_t i = 0; i < 8; i++)
		pair->head = pair->head << 8 |
			(i < len ? keys[b->keys_len + i] : 0);
	b->keys_len += len;
	return 0;
}

/* What one version has. */
static int add_version(struct batch *b, uint32_t version)
{
	struct meta m = b->rows->get(b->rows->ctx, version);
	struct filter_walk w;
	struct filter_hit hit;
	bool is_there = false;
	int rc;

	filter_walk_init(&w, m, b->field.bytes, b->field.len);
	while ((rc = filter_walk_next(&w, &hit)) > 0) {
		if (hit.token.type == JSON_NULL)
			continue;
		is_there = true;
		if (hit.token.type == JSON_ARRAY ||
			hit.token.type == JSON_OBJECT)
			continue;
		rc = add_hit(b, &hit, version);
		if (rc < 0)
			break;
	}
	if (rc == 0 && is_there)
		rc = add_exists(b, version);
	return rc;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int order;

	if (x->head != y->head)
		return x->head < y->head ? -1 : 1;
	order = fields_compare(x->key, x->len, y->key, y->len);
	if (order != 0)
		return order;
	return (x->version > y->version) - (x->version < y->version);
}

static void sort_pairs(struct batch *b)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < b->n_pairs; i++) {
		b->pairs[i].key = b->keys + at;
		at += b->pairs[i].len;
	}
	assert(at == b->keys_len);
	if (b->n_pairs > 1)
		qsort(b->pairs, b->n_pairs, sizeof(*b->pairs), compare_pairs);
}

static bool is_same_key(const struct pair *a, const struct pair *b)
{
	return a->head == b->head &&
		fields_compare(a->key, a->len, b->key, b->len) == 0;
}

/* The versions of one key from pairs[*i] on; *i moves behind them. */
static int put_key(struct fields_run *r, const struct batch *b, uint32_t *i)
{
	const struct pair *first = &b->pairs[*i], *before = NULL;
	int rc = 0;

	for (; *i < b->n_pairs && rc == 0; (*i)++) {
		const struct pair *pair = &b->pairs[*i];
		if (before && !is_same_key(first, pair))
			break;
		if (!before || before->version != pair->version)
			rc = fields_run_put(r, pair->version);
		before = pair;
	}
	return rc < 0 ? rc : fields_run_end(r, first->key, first->len);
}

static int make_run(struct batch *b, struct fields_run **out)
{
	static const uint8_t exists = FIELDS_EXISTS;
	struct fields_run *r;
	int rc = fields_run_new(b->begin, b->end, &r);

	if (rc < 0)
		return rc;
	sort_pairs(b);
	for (uint32_t i = 0; i < b->n_exists && rc == 0; i++)
		rc = fields_run_put(r, b->exists[i]);
	if (rc == 0 && b->n_exists > 0)
		rc = fields_run_end(r, &exists, 1);
	for (uint32_t i = 0; i < b->n_pairs && rc == 0;)
		rc = put_key(r, b, &i);
	if (rc < 0) {
		fields_run_unref(r);
		return rc;
	}
	fields_run_done(r);
	*out = r;
	return 0;
}

/* The run of as many versions from begin on as a batch takes. */
static int build_run(struct vg_id field, const struct fields_rows *rows,
	uint32_t begin, struct fields_run **out)
{
	struct batch b = {.field = field, .rows = rows, .begin = begin,
		.end = begin};
	int rc = 0;

	assert(begin < rows->n);
	while (rc == 0 && b.end < rows->n && b.end - begin < BATCH_VERSIONS &&
		b.n_pairs < BATCH_PAIRS && b.keys_len < BATCH_KEYS)
		rc = add_version(&b, b.end++);
	if (rc == 0)
		rc = make_run(&b, out);
	batch_fini(&b);
	return rc;
}

/* ---- lists of runs ---- */

int fields_runs_new(struct fields_run *const *at, uint32_t n,
	struct fields_runs **out)
{
	struct fields_runs *runs = malloc(sizeof(*runs) + n * sizeof(*at));

	assert(n > 0);
	if (!runs)
		return -ENOMEM;
	atomic_init(&runs->refs, 1);
	runs->n = n;
	runs->covered = at[n - 1]->end;
	runs->bytes = sizeof(*runs) + n * sizeof(*at);
	for (uint32_t i = 0; i < n; i++) {
		runs->at[i] = fields_run_ref(at[i]);
		runs->bytes += at[i]->bytes;
	}
	*out = runs;
	return 0;
}

void fields_runs_unref(struct fields_runs *runs)
{
	if (!runs || atomic_fetch_sub_explicit(&runs->refs, 1,
		memory_order_acq_rel) > 1)
		return;
	for (uint32_t i = 0; i < runs->n; i++)
		fields_run_unref(runs->at[i]);
	free(runs);
}

/* Runs while they are extended; each is referenced. */
struct stack {
	struct fields_run **at;
	uint32_t n, cap;
};

static int push(struct stack *s, struct fields_run *run)
{
	struct fields_run **at = filter_grow(s->at, &s->cap, s->n + 1,
		sizeof(struct fields_run *));

	if (!at) {
		fields_run_unref(run);
		return -ENOMEM;
	}
	s->at = at;
	s->at[s->n++] = run;
	return 0;
}

static uint64_t weight(const struct fields_run *r)
{
	return (uint64_t)(r->end - r->begin) + r->n_list + r->n_values;
}

/* Merges what is next to each other until each run is more than twice as heavy
 * as the one behind it; but for what would be too much for one run. */
static int merge_top(struct stack *s)
{
	struct fields_run *merged;

	/* Each turn makes one of two. */
	while (s->n > 1) {
		struct fields_run *a = s->at[s->n - 2], *b = s->at[s->n - 1];
		if (weight(a) > 2 * weight(b) || !fields_run_can_merge(a, b))
			return 0;
		int rc = fields_run_merge(a, b, &merged);
		if (rc < 0)
			return rc;
		fields_run_unref(a);
		fields_run_unref(b);
		s->n--;
		s->at[s->n - 1] = merged;
	}
	return 0;
}

int fields_runs_extend(struct fields_runs *old, struct vg_id field,
	const struct fields_rows *rows, struct fields_runs **out)
{
	struct stack s = {0};
	uint32_t covered = old ? old->covered : 0;
	int rc = 0;

	assert(covered < rows->n);
	for (uint32_t i = 0; old && i < old->n && rc == 0; i++)
		rc = push(&s, fields_run_ref(old->at[i]));
	while (rc == 0 && covered < rows->n) {
		struct fields_run *run = NULL;
		rc = build_run(field, rows, covered, &run);
		if (rc < 0)
			break;
		covered = run->end;
		rc = push(&s, run);
		if (rc == 0)
			rc = merge_top(&s);
	}
	if (rc == 0 && s.n > FIELDS_RUNS_MAX)
		rc = -ENOMEM;
	if (rc == 0)
		rc = fields_runs_new(s.at, s.n, out);
	for (uint32_t i = 0; i < s.n; i++)
		fields_run_unref(s.at[i]);
	free(s.at);
	return rc;
}
