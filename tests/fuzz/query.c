/* SPDX-License-Identifier: Apache-2.0 */
/* query.c: any path or request is taken or refused, and what is taken holds. */
#include "fs/query.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input is a digit, the collection's dim, then p and a path of parameters
 * and a leaf, or r and a request. */

static void must_hold(bool holds)
{
	if (!holds)
		abort();
}

/* Every third id exists. */
static bool exists(void *ctx, struct vg_id id)
{
	(void)ctx;
	return id.len % 3 == 0;
}

static void check(const struct query *q, int rc, uint32_t dim)
{
	must_hold(rc == 0 || rc == -EINVAL || rc == -ENOENT);
	must_hold((rc == -EINVAL) == (q->error[0] != '\0'));
	must_hold(memchr(q->error, '\0', sizeof(q->error)));
	if (rc < 0)
		return;
	must_hold(q->offset + q->k <= VG_K_MAX && q->ef <= VG_EF_MAX);
	must_hold(q->k > 0 || (q->src == QUERY_ALL && !q->has_k));
	must_hold(!isnan(q->max_dist) && !isnan(q->min_score));
	must_hold(q->src != QUERY_NONE && q->fmt < ANSWER_FMTS);
	if (q->src == QUERY_ID || q->src == QUERY_NAME)
		must_hold(q->key_len > 0 && q->key_len <= VG_ID_MAX);
	if (q->src == QUERY_LIKE)
		must_hold(q->n_like > 0 && q->n_like <= QUERY_LIKE_MAX &&
			  q->n_plus <= q->n_like);
	for (uint32_t i = 0; q->src == QUERY_LIKE && i < q->n_like; i++)
		must_hold(q->like[i].len > 0 && q->like[i].len <= VG_ID_MAX);
	if (q->src == QUERY_VEC) {
		must_hold(q->vec && q->n_vec > 0 && q->dim > 0);
		must_hold(!dim || q->dim == dim);
		for (size_t i = 0; i < (size_t)q->n_vec * q->dim; i++)
			must_hold(isfinite(element_get(q->dtype, q->vec, i)));
	}
}

/* Parameters have one normal form, and it asks the same. */
static void check_normal(const struct query *q)
{
	size_t len = query_format_params(q, NULL, 0), again;
	char *text = malloc(2 * len + 1), *at = text, *slash;
	struct query back;

	must_hold(text && query_format_params(q, text, len) == len);
	query_init(&back);
	for (; at < text + len; at = slash + 1) {
		slash = memchr(at, '/', (size_t)(text + len - at));
		must_hold(slash && query_parse_param(&back, at,
					   (size_t)(slash - at)) == 0);
	}
	again = query_format_params(&back, text + len, len);
	must_hold(again == len && memcmp(text, text + len, len) == 0);
	query_fini(&back);
	free(text);
}

/* What begins a complete leaf is complete, or not there yet: never wrong. */
static void check_beginnings(const char *leaf, size_t len,
	const struct query_env *env)
{
	struct query q;

	query_init(&q);
	if (query_parse_leaf(&q, leaf, len, env) < 0)
		len = 0;
	query_fini(&q);
	for (size_t n = 0; n < VG_MIN(len, (size_t)200); n++) {
		query_init(&q);
		int rc = query_parse_leaf(&q, leaf, n, env);

		check(&q, rc, env->dim);
		/* but for all.f32, and for 1000000 before its e-50, or 1.5
		 * before its e1 where whole numbers are */
		must_hold(rc != -EINVAL || strstr(q.error, "too large") ||
			  (q.dtype && strstr(q.error, element_misfit(q.dtype))) ||
			  strstr(q.error, "all has no distances"));
		query_fini(&q);
	}
}

static void run_path(const char *path, size_t len, uint32_t dim,
	enum vg_dtype dtype)
{
	const struct query_env env = {
		.dim = dim, .exists = exists, .dtype = dtype};
	struct query q, copy;
	int rc = -ENOENT;

	query_init(&q);
	for (;;) {
		const char *slash = memchr(path, '/', len);
		size_t part = slash ? (size_t)(slash - path) : len;

		rc = query_parse_param(&q, path, part);
		if (rc < 0 || !slash)
			break;
		path += part + 1;
		len -= part + 1;
	}
	must_hold(rc <= 0);
	if (rc == -ENOENT)
		rc = query_parse_leaf(&q, path, len, &env);
	if (rc == 0 && q.src == QUERY_NONE)
		rc = -ENOENT; /* a directory */
	check(&q, rc, dim);
	if (rc == 0) {
		check_normal(&q);
		must_hold(query_init_from(&copy, &q) == 0);
		check_normal(&copy);
		query_fini(&copy);
	}
	query_fini(&q);
	if (!memchr(path, '/', len))
		check_beginnings(path, len, &env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct query q;
	enum vg_dtype dtype;
	uint32_t dim;

	if (size < 2 || size > 1u << 16)
		return 0;
	dim = data[0] % 16;
	dtype = (enum vg_dtype)(VG_F32 + (data[0] / 16 + 1) % 4); /* '0': f32 */
	dim *= dtype == VG_B1 ? 8 : 1;
	if (data[1] == 'p') {
		run_path((const char *)data + 2, size - 2, dim, dtype);
		return 0;
	}
	query_init(&q);
	check(&q, query_parse_request(&q, data + 2, size - 2, dtype, dim), dim);
	query_fini(&q);
	return 0;
}
