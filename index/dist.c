/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist.c: see dist.h. Which kernels are in use, and what exact distances are
 * made of their sums. tests/unit/dist*.c compare all kernels with dist_scalar.c.
 */
#include "index/dist.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "index/dist_int.h"

/* 255^2 * 65,535 and 128^2 * 65,535 are what sums of bytes come to. */
static_assert(255ull * 255 * VG_DIM_MAX <= UINT32_MAX, "sums without a sign");
static_assert(128ull * 128 * VG_DIM_MAX <= INT32_MAX, "products with a sign");

/* ---- dispatch ---- */

static bool always(void)
{
	return true;
}

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows it. */
static bool has_f16c(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("popcnt") && has_f16c();
}

static bool has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq");
}

static bool has_avx512vnni(void)
{
	return has_avx512() && __builtin_cpu_supports("avx512vnni") &&
	       __builtin_cpu_supports("avx512vpopcntdq");
}
#elif defined(DIST_NEONDOT)
static bool has_neondot(void)
{
	return getauxval(AT_HWCAP) & 1 << 20; /* HWCAP_ASIMDDP */
}
#endif

/* Widest first. */
static const struct {
	const struct dist_kernels *kernels;
	bool (*is_there)(void);
} known[] = {
#if defined(__x86_64__)
	{&dist_avx512vnni, has_avx512vnni},
	{&dist_avx512, has_avx512},
	{&dist_avx2, has_avx2},
#elif defined(__aarch64__)
#if defined(DIST_NEONDOT)
	{&dist_neondot, has_neondot},
#endif
	{&dist_neon, always},
#endif
	{&dist_scalar, always},
};

/* Relaxed: the tables are constant, and two threads choose the same one. */
static _Atomic(const struct dist_kernels *) in_use;

int dist_force(const char *name)
{
	for (size_t i = 0; i < VG_ARRAY_LEN(known); i++) {
		if (name && strcmp(name, known[i].kernels->name) != 0)
			continue;
		if (!known[i].is_there())
			continue;
		atomic_store_explicit(&in_use, known[i].kernels,
			memory_order_relaxed);
		return 0;
	}
	return -ENOTSUP;
}

const struct dist_kernels *dist_kernels_get(void)
{
	const struct dist_kernels *k =
		atomic_load_explicit(&in_use, memory_order_relaxed);

	if (!k) {
		int rc = dist_force(NULL);

		assert(rc == 0); /* scalar is always there */
		(void)rc;
		k = atomic_load_explicit(&in_use, memory_order_relaxed);
	}
	return k;
}

const char *dist_kernel_name(void)
{
	const struct dist_kernels *k = dist_kernels_get();

	assert(k);
	return k->name;
}

/* ---- exact distances ---- */

/* The nearest float, but never an infinity; from a damaged row, whose bytes are
 * no numbers, as far as can be. */
static float to_float(double d)
{
	if (!(d < FLT_MAX))
		return FLT_MAX;
	return d <= -FLT_MAX ? -FLT_MAX : (float)d;
}

static float cosine(double dot, double aa, double bb, uint32_t dim)
{
	double noise = (dim / 16 + 32) * 0x1p-53;
	double length2 = aa * bb;
	double d;

	assert(!(length2 < 0)); /* of a damaged row it may be no number */
	assert(noise < 1e-12);	/* VG_DIM_MAX */
	if (length2 == 0)
		return 1.0f;
	d = 1.0 - dot / sqrt(length2);
	return d < noise ? 0.0f : to_float(d);
}

bool dist_has(enum dist_form form, enum vg_metric metric)
{
	if (form <= 0 || form >= DIST_FORMS)
		return false;
	if (form == DIST_B1)
		return metric == VG_HAMMING;
	return metric == VG_L2 || metric == VG_COSINE || metric == VG_IP ||
	       metric == VG_L1;
}

/* The exact sum over two rows of q's form: a choice of kernel. */
static double exact_dot(const struct dist_query *q, const void *a,
	const void *b)
{
	const struct dist_kernels *k = q->kernels;
	uint32_t len = dist_row_len(q->form, q->dim);

	switch (q->form) {
	case DIST_F32:
		return k->dot_exact(a, b, q->dim);
	case DIST_F16:
		return k->f16_dot_exact(a, b, q->dim);
	case DIST_I8:
		return k->i8_dot(a, b, len);
	case DIST_U8:
		return k->u8_dot(a, b, len);
	default:
		assert(q->form == DIST_U4);
		return k->u4_dot(a, b, len);
	}
}

static double exact_l2sq(const struct dist_query *q, const void *a,
	const void *b)
{
	const struct dist_kernels *k = q->kernels;
	uint32_t len = dist_row_len(q->form, q->dim);

	switch (q->form) {
	case DIST_F32:
		return k->l2sq_exact(a, b, q->dim);
	case DIST_F16:
		return k->f16_l2sq_exact(a, b, q->dim);
	case DIST_I8:
		return k->i8_l2sq(a, b, len);
	case DIST_U8:
		return k->u8_l2sq(a, b, len);
	default:
		assert(q->form == DIST_U4);
		return k->u4_l2sq(a, b, len);
	}
}

static double exact_l1(const struct dist_query *q, const void *a, const void *b)
{
	const struct dist_kernels *k = q->kernels;
	uint32_t len = dist_row_len(q->form, q->dim);

	switch (q->form) {
	case DIST_F32:
		return k->l1_exact(a, b, q->dim);
	case DIST_F16:
		return k->f16_l1_exact(a, b, q->dim);
	case DIST_I8:
		return k->i8_l1(a, b, len);
	case DIST_U8:
		return k->u8_l1(a, b, len);
	case DIST_U4:
		return k->u4_l1(a, b, len);
	default:
		assert(q->form == DIST_B1);
		return k->b1_hamming(a, b, len);
	}
}

/* query.row, and row.row to *bb. */
static double exact_dot_norm(const struct dist_query *q, const void *row,
	double *bb)
{
	const struct dist_kernels *k = q->kernels;

	if (q->form == DIST_F32)
		return k->dot_norm_exact(q->vec, row, q->dim, bb);
	if (q->form == DIST_F16)
		return k->f16_dot_norm_exact(q->vec, row, q->dim, bb);
	*bb = exact_dot(q, row, row);
	return exact_dot(q, q->vec, row);
}

/* ---- fast sums of pairs ---- */

typedef float fast_fn(const struct dist_query *q, const void *a, const void *b,
	float bound);

#define FAST(NAME, CALL)                                                       \
	static float NAME(const struct dist_query *q, const void *a,           \
		const void *b, float bound)                                    \
	{                                                                      \
		(void)bound;                                                   \
		return (float)q->kernels->CALL;                                \
	}

FAST(f32_l2sq, l2sq(a, b, q->dim, bound))
FAST(f32_dot, dot(a, b, q->dim))
FAST(f32_l1, l1(a, b, q->dim))
FAST(f16_l2sq, f16_l2sq(a, b, q->dim, bound))
FAST(f16_dot, f16_dot(a, b, q->dim))
FAST(f16_l1, f16_l1(a, b, q->dim))
FAST(i8_l2sq, i8_l2sq(a, b, q->dim))
FAST(i8_dot, i8_dot(a, b, q->dim))
FAST(i8_l1, i8_l1(a, b, q->dim))
FAST(b1_l1, b1_hamming(a, b, (q->dim + 7) / 8))
FAST(u8_l2sq, u8_l2sq(a, b, q->dim))
FAST(u8_dot, u8_dot(a, b, q->dim))
FAST(u8_l1, u8_l1(a, b, q->dim))
FAST(u4_l2sq, u4_l2sq(a, b, (q->dim + 1) / 2))
FAST(u4_dot, u4_dot(a, b, (q->dim + 1) / 2))
FAST(u4_l1, u4_l1(a, b, (q->dim + 1) / 2))

static fast_fn *const fast_sums[DIST_FORMS][DIST_TERMS] = {
	[DIST_F32] = {f32_l2sq, f32_dot, f32_l1},
	[DIST_F16] = {f16_l2sq, f16_dot, f16_l1},
	[DIST_I8] = {i8_l2sq, i8_dot, i8_l1},
	[DIST_B1] = {NULL, NULL, b1_l1},
	[DIST_U8] = {u8_l2sq, u8_dot, u8_l1},
	[DIST_U4] = {u4_l2sq, u4_dot, u4_l1},
};

static enum dist_term term_of(enum vg_metric metric)
{
	switch (metric) {
	case VG_L2:
		return DIST_L2SQ;
	case VG_COSINE:
	case VG_IP:
		return DIST_DOT;
	default:
		return DIST_L1;
	}
}

/* ---- queries ---- */

void dist_query_init_form(struct dist_query *q, enum dist_form form,
	enum vg_metric metric, uint32_t dim, const void *vec)
{
	assert(dim >= 1 && dim <= VG_DIM_MAX);
	assert(dist_has(form, metric));
	q->kernels = dist_kernels_get();
	q->vec = vec;
	q->dim = dim;
	q->metric = metric;
	q->form = form;
	/* Whole sums are rounded once, to float. */
	q->error = form == DIST_F32 || form == DIST_F16 ? dist_fast_error(dim) :
							  0x1p-23;
	q->fast = fast_sums[form][term_of(metric)];
	q->norm2 = form == DIST_B1 ? 0 : exact_dot(q, vec, vec);
	assert(!(q->norm2 < 0)); /* of a damaged row it may be no number */
}

void dist_query_init(struct dist_query *q, enum vg_metric metric, uint32_t dim,
	const float *vec)
{
	dist_query_init_form(q, DIST_F32, metric, dim, vec);
}

float dist_query_exact(const struct dist_query *q, const void *row)
{
	double dot, bb;

	switch (q->metric) {
	case VG_L2:
		return to_float(sqrt(exact_l2sq(q, q->vec, row)));
	case VG_COSINE:
		dot = exact_dot_norm(q, row, &bb);
		return cosine(dot, q->norm2, bb, q->dim);
	case VG_IP:
		/* 0 - x, not -x: the distance of orthogonal vectors is 0, not
		 * -0. */
		return to_float(0.0 - exact_dot(q, q->vec, row));
	case VG_L1:
	case VG_HAMMING:
		break;
	}
	assert(q->metric == VG_L1 || q->metric == VG_HAMMING);
	return to_float(exact_l1(q, q->vec, row));
}

void dist_query_exact_rows(const struct dist_query *q, const void *rows,
	uint32_t n, float *out)
{
	size_t stride = dist_row_len(q->form, q->dim);

	for (uint32_t i = 0; i < n; i++)
		out[i] = dist_query_exact(q, (const char *)rows + i * stride);
}

float dist_query_exact_pair(const struct dist_query *q, const void *a,
	const void *b)
{
	struct dist_query pair;

	dist_query_init_form(&pair, q->form, q->metric, q->dim, a);
	return dist_query_exact(&pair, b);
}

float dist_exact(enum vg_metric metric, uint32_t dim, const float *a,
	const float *b)
{
	struct dist_query q;

	dist_query_init(&q, metric, dim, a);
	return dist_query_exact(&q, b);
}
