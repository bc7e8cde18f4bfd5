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
#include "src/collapse.h"
#include "src/element.h"
#include "src/sortkey.h"

/* Searches whose reading takes longer than some 200 us go to the pool. */
#define LONG_BYTES (4u << 20)

/* Queries of a batch that are searched before their rows are rendered: bounds
 * the memory that hits take. */
#define CHUNK_HITS 262144u

/* The vectors that a query means. */
struct source {
	const void *vecs;
	uint32_t n, dim;
	enum vg_dtype dtype;
	struct vg_id leave_out[QUERY_LIKE_MAX];
	uint32_t n_leave_out;
	void *made; /* owned: vecs of like= */
	const struct version *version; /* whose vector it is, or NULL */
	struct named_request *named; /* referenced */
	struct look look; /* what all of it is searched in; id= borrows of it */
	struct match *match; /* owned, of look; NULL: there is no filter */
	struct collapse *collapse; /* owned, of both; NULL: no groups */
};

static void source_fini(struct source *src)
{
	free(src->made);
	collapse_free(src->collapse);
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
	src->dtype = v->cell->dtype;
	src->leave_out[src->n_leave_out++] = version_id(v);
	return 0;
}

/* Adds weight times the vector of v to sum, of length 1 under cosine. */
static int add_like(
	const struct version *v, float weight, double *sum, uint32_t dim)
{
	const void *vec = version_vec(v);
	enum vg_dtype dtype = v->cell->dtype;
	double scale = weight, square = 0;

	for (uint32_t i = 0; i < dim; i++) {
		double x = (double)element_get(dtype, vec, i);

		square += x * x;
	}
	if (v->cell->metric == VG_COSINE && square > 0)
		scale /= sqrt(square);
	for (uint32_t i = 0; i < dim; i++)
		sum[i] += scale * (double)element_get(dtype, vec, i);
	return cell_check_row(v->cell, v->slot);
}

static int find_like(struct ask *ask, struct source *src, struct vg_id id,
	const struct version **out)
{
	uint32_t no = generation_find(src->look.gen, id, src->look.moment);
	bool is_known = false;

	if (no == VERSION_NONE) {
		snprintf(ask->why, sizeof(ask->why),
			"like: there is no record %.*s", (int)id.len, id.bytes);
		return -ENOENT;
	}
	*out = generation_version(src->look.gen, no);
	for (uint32_t i = 0; i < src->n_leave_out; i++)
		is_known |= src->leave_out[i].bytes ==
			    version_id(*out).bytes;
	if (!is_known)
		src->leave_out[src->n_leave_out++] = version_id(*out);
	return cell_check_row((*out)->cell, (*out)->slot);
}

/*
 * Makes the sum, divided by `by`, the nearest vector of the dtype that there
 * is: i8 is rounded and ends at -128 and 127. Under cosine, where length says
 * nothing, i8 is as long as it can be, so that little is rounded off.
 */
static int make_like(struct ask *ask, struct source *src,
	const struct cell *cell, const double *sum, double by)
{
	bool is_small = cell->dtype == VG_I8, fits = true;
	double most = 0;

	assert(cell->dim == src->dim && cell->dtype == src->dtype);
	src->made = malloc(vg_row_len(src->dtype, src->dim));
	if (!src->made)
		return -ENOMEM;
	for (uint32_t i = 0; i < src->dim; i++)
		most = VG_MAX(most, fabs(sum[i]));
	if (is_small && cell->metric == VG_COSINE && most > 0)
		by = most / INT8_MAX;
	for (uint32_t i = 0; i < src->dim; i++) {
		double x = sum[i] / by;

		if (is_small)
			x = fmax(INT8_MIN, fmin(INT8_MAX, round(x)));
		fits &= element_put(src->dtype, src->made, i, x);
	}
	if (fits)
		return 0;
	snprintf(ask->why, sizeof(ask->why),
		"like: the sum of these vectors is beyond %s",
		element_word(src->dtype));
	return -EINVAL;
}

static int refuse_like(struct ask *ask)
{
	snprintf(ask->why, sizeof(ask->why),
		"like: vectors of bits (dtype b1) have no sum: ask for the "
		"neighbours of one record by id=");
	return -EINVAL;
}

/*
 * The sum of those with + less the sum of those with -, divided by how many
 * more there are of the first, if that is more than one: of several the mean,
 * and of a - b + c the corner that makes a parallelogram of them.
 */
static int source_of_like(struct ask *ask, struct source *src)
{
	const struct query *q = ask->query;
	uint32_t n_minus = q->n_like - q->n_plus;
	double more = q->n_plus > n_minus ? q->n_plus - n_minus : 1;
	const struct version *v = NULL;
	double *sum = NULL;
	int rc = 0;

	for (uint32_t i = 0; i < q->n_like && rc == 0; i++) {
		rc = find_like(ask, src, q->like[i], &v);
		if (rc == 0 && v->cell->dtype == VG_B1)
			rc = refuse_like(ask);
		if (rc == 0 && !sum) {
			src->dim = v->cell->dim;
			src->dtype = v->cell->dtype;
			sum = calloc(src->dim, sizeof(*sum));
			rc = sum ? 0 : -ENOMEM;
		}
		assert(rc < 0 || v->cell->dim == src->dim);
		if (rc == 0)
			rc = add_like(v, i < q->n_plus ? 1 : -1, sum, src->dim);
	}
	if (rc == 0 && v)
		rc = make_like(ask, src, v->cell, sum, more);
	free(sum);
	src->vecs = src->made;
	src->n = 1;
	return rc;
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
	src->dtype = src->named->dtype;
	return 0;
}

static int source_init(struct ask *ask, struct source *src)
{
	const struct query *q = ask->query;
	int rc = 0;

	*src = (struct source){0};
	look_init(&src->look, ask->in, store_moments(ask->fs->store));
	if (q->filter)
		rc = match_new(&src->look, q->filter, &src->match);
	if (rc == 0 && q->group.len)
		rc = collapse_new(
			&src->look, src->match, q->group, &src->collapse);
	if (rc < 0)
		return rc;
	if (q->src == QUERY_ID)
		return source_of_id(ask, src);
	if (q->src == QUERY_LIKE)
		return source_of_like(ask, src);
	if (q->src == QUERY_NAME)
		return source_of_name(ask, src);
	if (q->src == QUERY_COUNT || q->src == QUERY_FACET)
		return 0;
	assert(q->src == QUERY_VEC);
	src->vecs = q->vec;
	src->n = q->n_vec;
	src->dim = q->dim;
	src->dtype = q->dtype;
	return 0;
}

/* Says why a search was refused: the ways a vector may not fit. */
static void say_misfit(struct ask *ask, const struct source *src)
{
	struct op_config config = collection_config(ask->in);
	uint32_t dim = config.dim;

	if (ask->why[0]) /* like= did */
		return;
	if (src->dtype != config.dtype)
		snprintf(ask->why, sizeof(ask->why),
			"the query was written while the collection had "
			"another dtype: write it again");
	else if (src->dim != dim)
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
		.vec = (const char *)ch->src->vecs +
		       (ch->first + item) *
			       vg_row_len(ch->src->dtype, ch->src->dim),
		.dim = ch->src->dim,
		.dtype = ch->src->dtype,
		.k = ch->k,
		.ef = q->ef,
		.nprobe = q->nprobe,
		.exact = q->exact,
		.leave_out = ch->src->leave_out,
		.n_leave_out = ch->src->n_leave_out,
		.match = ch->src->match,
		.collapse = ch->src->collapse,
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

/* How many of hits[n] the parameters let through: they are the nearest. */
static uint32_t count_near(const struct answer *a, const struct query *q,
	const struct search_hit *hits, uint32_t n)
{
	uint32_t near = 0;

	while (near < n && !(hits[near].dist > q->max_dist) &&
		!(score_of(a->spec.metric, hits[near].dist) < q->min_score))
		near++;
	return near;
}

static int compare_rows(const void *a, const void *b, void *ctx)
{
	const uint32_t *x = a, *y = b;
	int order = sortkeys_compare(ctx, *x, *y);

	return order ? order : (*x > *y) - (*x < *y);
}

/* Sorts no[n], numbers of hits in order, by the field of hits[n]. */
static int sort_rows(const struct query *q, const struct search_hit *hits,
	uint32_t n, uint32_t *no)
{
	struct sortkeys keys = {.is_desc = q->is_desc};
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = sortkeys_add(
			&keys, version_meta(hits[i].version), q->order);
	if (rc == 0)
		qsort_r(no, n, sizeof(*no), compare_rows, &keys);
	sortkeys_fini(&keys);
	return rc;
}

static int add_hit(struct answer *a, uint32_t no, const struct search_hit *hit,
	uint32_t rank)
{
	struct answer_row row = {
		.id = version_id(hit->version),
		.dist = hit->dist,
		.meta = version_meta(hit->version),
		.rank = rank,
	};

	return answer_add(a, no, &row, 1);
}

/* Those of hits[n], which are in order, by their field instead. */
static int add_sorted(struct answer *a, const struct query *q, uint32_t no,
	const struct search_hit *hits, uint32_t n)
{
	uint32_t *order = malloc(n * sizeof(*order));
	int rc;

	assert(n > 0 && q->order.len > 0);
	if (!order)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	rc = sort_rows(q, hits, n, order);
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_hit(a, no, &hits[order[i]], q->offset + order[i] + 1);
	free(order);
	return rc;
}

/* Passes the hits of one query on that the parameters let through. */
static int add_rows(struct answer *a, const struct query *q, uint32_t no,
	const struct search_hit *hits, uint32_t n)
{
	int rc = 0;

	if (n <= q->offset)
		return 0;
	hits += q->offset;
	n = count_near(a, q, hits, n - q->offset);
	if (q->order.len && n > 1)
		return add_sorted(a, q, no, hits, n);
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_hit(a, no, &hits[i], q->offset + i + 1);
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

	if (q->is_hits && src->n > 1) {
		snprintf(ask->why, sizeof(ask->why),
			"hits/ lists one answer: this name has %u vectors",
			src->n);
		return -EINVAL;
	}
	/* What one thread found is rendered while it is at hand. */
	step = q->threads == 1 ? 1 : VG_MIN(step, src->n);
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

/* The ids of an answer to `all` at once, as hits/ lists them. */
static int load_rows(struct ask *ask, struct answer_bytes *out)
{
	uint64_t n = rowfile_rows(out->rows);
	size_t len = out->len, got = 0;
	int rc;

	if (n > VG_K_MAX) {
		snprintf(ask->why, sizeof(ask->why),
			"all.hits lists at most %u links, these are %llu: give "
			"k= and offset=, or a filter",
			VG_K_MAX, (unsigned long long)n);
		return -EINVAL;
	}
	out->bytes = malloc(len + 1);
	if (!out->bytes)
		return -ENOMEM;
	rc = rowfile_read(out->rows, 0, out->bytes, len, &got);
	assert(rc < 0 || got == len);
	rowfile_close(out->rows);
	out->rows = NULL;
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
	spec->order = q->order;
	spec->is_desc = q->is_desc;
	spec->group = q->group;
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
	return rc == 0 && ask->query->is_hits ? load_rows(ask, out) : rc;
}

static int run_count(struct ask *ask, struct answer *a)
{
	struct collapse_groups groups;
	struct source src;
	uint64_t n = atomic_load_explicit(
		&ask->in->n_live, memory_order_relaxed);
	int rc = 0;

	if (ask->query->filter || ask->query->group.len) {
		rc = source_init(ask, &src);
		if (rc == 0 && src.collapse)
			rc = collapse_get(src.collapse, ask->cancel, &groups);
		if (rc == 0)
			n = src.collapse ? groups.n : match_count(src.match);
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
		.k = q->offset + q->k,
		.ef = q->ef,
		.nprobe = q->nprobe,
		.exact = q->exact};
	struct collection *in;
	struct look look;
	uint64_t cost = 0;

	/* Its first use makes a field's index. */
	if (q->filter || q->group.len || q->src == QUERY_FACET)
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
