/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c: see ask.h. */
#include "fs/ask.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rowfile.h"
#include "src/match.h"

/* Searches whose reading takes longer than some 200 us go to the pool. */
#define LONG_BYTES (4u << 20)

/* Queries of a batch that are searched before their rows are rendered: bounds
 * the memory that hits take. */
#define CHUNK_HITS 262144u

/* The vectors that a query means. */
struct source {
	const float *vecs;
	uint32_t n, dim;
	struct vg_id leave_out;
	const struct version *version; /* whose vector it is, or NULL */
	struct named_request *named; /* referenced */
	struct look look; /* what all of it is searched in; id= borrows of it */
	struct match *match; /* owned, of look; NULL: there is no filter */
};

static void source_fini(struct source *src)
{
	match_free(src->match);
	named_unref(src->named);
	look_fini(&src->look);
}

static int source_of_id(struct ask *ask, struct source *src)
{
	const struct query *q = ask->query;
	struct vg_id id = {q->key, q->key_len};
	const struct version *v;
	uint32_t no;
	int rc;

	no = generation_find(src->look.gen, id, src->look.moment);
	if (no == VERSION_NONE)
		return -ENOENT;
	v = generation_version(src->look.gen, no);
	rc = cell_check_row(v->cell, v->slot);
	if (rc < 0)
		return rc;
	src->vecs = version_vec(v);
	src->version = v;
	src->n = 1;
	src->dim = v->cell->dim;
	src->leave_out = version_id(v);
	return 0;
}

static int source_of_name(struct ask *ask, struct source *src)
{
	struct named_key key = {ask->coll, ask->uid,
		{ask->query->key, ask->query->key_len}};

	src->named = named_get(&ask->fs->named, &key);
	if (!src->named)
		return -ENOENT;
	src->vecs = src->named->vecs;
	src->n = src->named->n;
	src->dim = src->named->dim;
	return 0;
}

static int source_init(struct ask *ask, struct source *src)
{
	const struct query *q = ask->query;

	*src = (struct source){0};
	look_init(&src->look, ask->in, store_moments(ask->fs->store));
	if (q->filter) {
		int rc = match_new(&src->look, q->filter, &src->match);

		if (rc < 0)
			return rc;
	}
	if (q->src == QUERY_ID)
		return source_of_id(ask, src);
	if (q->src == QUERY_NAME)
		return source_of_name(ask, src);
	if (q->src == QUERY_COUNT || q->src == QUERY_FACET)
		return 0;
	assert(q->src == QUERY_VEC);
	src->vecs = q->vec;
	src->n = q->n_vec;
	src->dim = q->dim;
	return 0;
}

/* Says why a search was refused: the two ways a vector may not fit. */
static void say_misfit(struct ask *ask, const struct source *src)
{
	uint32_t dim = collection_config(ask->in).dim;

	if (src->dim != dim)
		snprintf(ask->why, sizeof(ask->why),
			"the query has %u dimensions, the collection %u",
			src->dim, dim);
	else
		snprintf(ask->why, sizeof(ask->why),
			"a zero vector has no direction: cosine cannot "
			"compare it");
}

/* One chunk of a batch. */
struct chunk {
	struct ask *ask;
	const struct source *src;
	uint32_t first, k;
	struct search_hit *hits; /* k for each query */
	uint32_t *n_hits;
	_Atomic bool is_cut; /* somewhere the time was up */
};

static int search_one(void *ctx, size_t item)
{
	struct chunk *ch = ctx;
	const struct query *q = ch->ask->query;
	struct search search = {
		.vec = ch->src->vecs + (ch->first + item) * ch->src->dim,
		.dim = ch->src->dim,
		.k = ch->k,
		.ef = q->ef,
		.exact = q->exact,
		.leave_out = ch->src->leave_out,
		.match = ch->src->match,
		.cancel = ch->ask->cancel,
	};
	int rc = store_search(ch->ask->fs->store, &ch->src->look, &search,
		ch->hits + item * ch->k, &ch->n_hits[item]);

	if (rc == -EINTR && q->partial) {
		atomic_store_explicit(&ch->is_cut, true, memory_order_relaxed);
		rc = 0;
	}
	return rc;
}

static float score_of(enum vg_metric metric, float dist)
{
	return metric == VG_COSINE ? 1 - dist : -dist;
}

/* Passes the hits of one query on that the parameters let through. */
static int add_rows(struct answer *a, const struct query *q, uint32_t no,
	const struct search_hit *hits, uint32_t n)
{
	int rc = 0;

	for (uint32_t i = q->offset; i < n && rc == 0; i++) {
		struct answer_row row = {
			.id = version_id(hits[i].version),
			.dist = hits[i].dist,
			.meta = version_meta(hits[i].version),
		};

		if (row.dist > q->max_dist ||
			score_of(a->spec.metric, row.dist) < q->min_score)
			break;
		rc = answer_add(a, no, &row, 1);
	}
	return rc;
}

static int run_chunk(struct chunk *ch, uint32_t n, struct answer *a)
{
	const struct query *q = ch->ask->query;
	unsigned threads = q->threads ? q->threads : POOL_EACH_MAX;
	int rc;

	memset(ch->n_hits, 0, n * sizeof(*ch->n_hits));
	if (n == 1)
		rc = search_one(ch, 0);
	else
		rc = pool_each(&ch->ask->fs->pool, n, threads, search_one, ch);
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_rows(a, q, ch->first + i, ch->hits + (size_t)i * ch->k,
			ch->n_hits[i]);
	return rc;
}

static int run_search(struct ask *ask, const struct source *src,
	struct answer *a, bool *is_partial)
{
	const struct query *q = ask->query;
	struct chunk ch = {.ask = ask, .src = src, .k = q->offset + q->k};
	uint32_t step = VG_MAX(1u, CHUNK_HITS / ch.k);
	struct answer_spec spec = {
		.fmt = q->fmt,
		.metric = src->look.cell ? src->look.cell->metric : VG_L2,
		.fields = q->fields,
		.n_fields = q->n_fields,
		.n = src->n,
		.k = q->k,
		.offset = q->offset,
		.has_distance = true,
		.trailer = q->trailer,
	};
	uint32_t unread = generation_unread(src->look.gen);
	int rc = answer_open(a, &spec);

	step = VG_MIN(step, src->n);
	ch.hits = malloc((size_t)step * ch.k * sizeof(*ch.hits));
	ch.n_hits = malloc(step * sizeof(*ch.n_hits));
	if (!ch.hits || !ch.n_hits)
		rc = -ENOMEM;
	for (; ch.first < src->n && rc == 0; ch.first += step)
		rc = run_chunk(&ch, VG_MIN(step, src->n - ch.first), a);
	free(ch.hits);
	free(ch.n_hits);
	*is_partial = atomic_load(&ch.is_cut) ||
		      generation_damaged(src->look.gen) > 0 ||
		      generation_unread(src->look.gen) != unread;
	if (rc == 0)
		rc = answer_close(a, *is_partial);
	return rc;
}

static void fill_spec(const struct query *q, struct rowfile_spec *spec)
{
	spec->kind = ROWFILE_ALL;
	spec->threads = q->threads;
	spec->fmt = q->fmt;
	spec->fields = q->fields;
	spec->n_fields = q->n_fields;
	spec->offset = q->offset;
	spec->k = q->has_k ? q->k : 0;
	spec->trailer = q->trailer;
	spec->filter = q->filter;
}

int ask_open_rows(struct fs *fs, struct qnode *node,
	struct rowfile_spec *spec, struct rowfile **out)
{
	struct collection *in = ask_collection(node->coll, &node->query);
	int rc;

	if (!in)
		return -ENOENT;
	fill_spec(&node->query, spec);
	rc = rowfile_open(fs->store, in, spec, NULL, out);
	collection_unref(in);
	return rc;
}

static int run_all(struct ask *ask, struct answer_bytes *out)
{
	struct rowfile_spec spec = {.pool = &ask->fs->pool};
	int rc;

	fill_spec(ask->query, &spec);
	rc = rowfile_open(
		ask->fs->store, ask->in, &spec, ask->cancel, &out->rows);
	if (rc == 0)
		out->len = rowfile_size(out->rows);
	return rc;
}

static int run_count(struct ask *ask, struct answer *a)
{
	struct source src;
	uint64_t n = atomic_load_explicit(
		&ask->in->n_live, memory_order_relaxed);
	int rc = 0;

	if (ask->query->filter) {
		rc = source_init(ask, &src);
		if (rc == 0)
			n = match_count(src.match);
		source_fini(&src);
	}
	return rc < 0 ? rc : answer_put_count(a, n);
}

/* A facet's values on their way into an answer. */
struct facet {
	struct answer *a;
	const struct query *q;
	uint64_t n; /* seen so far */
	const _Atomic bool *cancel;
};

#define FACET_END 1 /* there are as many as are wanted */

static int add_value(void *ctx, struct meta json, uint32_t n)
{
	struct facet *f = ctx;

	if (f->cancel &&
		atomic_load_explicit(f->cancel, memory_order_relaxed))
		return -EINTR;
	if (f->n++ < f->q->offset)
		return 0;
	if (f->q->k > 0 && f->n > (uint64_t)f->q->offset + f->q->k)
		return FACET_END;
	return answer_add_value(f->a, json, n);
}

static int run_facet(struct ask *ask, struct answer *a)
{
	const struct query *q = ask->query;
	struct facet f = {.a = a, .q = q, .cancel = ask->cancel};
	struct answer_spec spec = {
		.fmt = q->fmt, .n = 1, .k = q->k, .trailer = q->trailer};
	struct source src;
	int rc = source_init(ask, &src);

	if (rc == 0)
		rc = answer_open(a, &spec);
	if (rc == 0)
		rc = match_each_value(
			&src.look, src.match, q->fields[0], add_value, &f);
	source_fini(&src);
	return rc < 0 ? rc : answer_close(a, false);
}

static int run(struct ask *ask, struct answer_bytes *out)
{
	struct source src;
	struct answer a;
	int rc;

	if (ask->query->src == QUERY_ALL)
		return run_all(ask, out);
	answer_init(&a);
	if (ask->query->src == QUERY_COUNT) {
		rc = run_count(ask, &a);
	} else if (ask->query->src == QUERY_FACET) {
		rc = run_facet(ask, &a);
	} else {
		rc = source_init(ask, &src);
		if (rc == 0)
			rc = run_search(ask, &src, &a, &out->is_partial);
		/* Was it there to the end? */
		if (rc >= 0 && src.version)
			rc = cell_check_row(
				src.version->cell, src.version->slot);
		if (rc == -EINVAL)
			say_misfit(ask, &src);
		source_fini(&src);
	}
	if (rc == 0) {
		out->bytes = a.bytes;
		out->len = a.len;
	} else {
		answer_fini(&a);
	}
	return rc;
}

struct collection *ask_collection(struct collection *c, const struct query *q)
{
	if (q->snap_len == 0)
		return collection_ref(c);
	return collection_find_snap(
		c, (struct vg_id){q->snap, q->snap_len});
}

/* run, within the time that the query has. */
static int run_timed(struct ask *ask, struct answer_bytes *a)
{
	const struct query *q = ask->query;
	struct deadline deadline;
	bool is_late = false;
	int rc;

	if (q->timeout_ms)
		timer_add(&ask->fs->timer, &deadline, q->timeout_ms,
			ask->cancel);
	rc = run(ask, a);
	if (q->timeout_ms)
		is_late = timer_del(&ask->fs->timer, &deadline);
	if (rc == -EINTR && is_late)
		rc = -ETIMEDOUT;
	return rc == 0 && a->is_partial && q->strict ? -EIO : rc;
}

int ask_run(struct ask *ask, struct answer_bytes **out)
{
	struct answer_bytes *a = calloc(1, sizeof(*a));
	int rc = -ENOENT;

	if (!a)
		return -ENOMEM;
	atomic_init(&a->refs, 1);
	/* Read first: what changes from here on may or may not be seen. */
	a->changes = atomic_load_explicit(
		&ask->coll->changes, memory_order_acquire);
	ask->in = ask_collection(ask->coll, ask->query);
	if (ask->in) {
		pthread_mutex_lock(&ask->in->lock);
		a->mtime_ns = ask->in->commit_ns;
		pthread_mutex_unlock(&ask->in->lock);
		rc = run_timed(ask, a);
	}
	collection_unref(ask->in);
	if (rc < 0) {
		answer_unref(a);
		return rc;
	}
	*out = a;
	return 0;
}

bool ask_is_long(struct ask *ask)
{
	const struct query *q = ask->query;
	struct search search = {
		.k = q->offset + q->k, .ef = q->ef, .exact = q->exact};
	struct collection *in;
	struct look look;
	uint64_t cost = 0;

	/* Its first use makes a field's index. */
	if (q->filter || q->src == QUERY_FACET)
		return true;
	if (q->src == QUERY_COUNT)
		return false;
	if (q->src == QUERY_ALL || q->n_vec > 1)
		return true;
	if (q->src == QUERY_NAME) {
		struct named_key key = {ask->coll, ask->uid,
			{q->key, q->key_len}};
		struct named_request *r = named_get(&ask->fs->named, &key);
		bool is_batch = r && r->n > 1;

		named_unref(r);
		if (is_batch)
			return true;
	}
	in = ask_collection(ask->coll, q);
	if (!in)
		return false;
	look_init(&look, in, store_moments(ask->fs->store));
	cost = store_search_cost(&look, &search);
	look_fini(&look);
	collection_unref(in);
	return cost > LONG_BYTES;
}

int64_t answer_read(struct answer_bytes *a, uint64_t off, char *buf, size_t len)
{
	size_t n;
	int rc;

	if (a->rows) {
		rc = rowfile_read(a->rows, off, buf, len, &n);
		return rc < 0 ? rc : (int64_t)n;
	}
	if (off >= a->len)
		return 0;
	n = VG_MIN(len, a->len - off);
	memcpy(buf, a->bytes + off, n);
	return (int64_t)n;
}
