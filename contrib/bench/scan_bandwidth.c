/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan_bandwidth.c: what share of the memory's bandwidth the exact scan reads
 * rows with.
 *
 *	scan_bandwidth [MiB [PASSES [KERNELS]]]
 *
 * One thread reads MiB (1,024) of memory in huge pages, by a loop that does
 * nothing else (the widest loads of the processor, four sums, with and without
 * asking ahead: the faster counts), and by flat_scan with k = 10, for each form
 * of rows, dimension and metric. The two take turns; a line has the medians of
 * PASSES (9): of both rates, and of the ratio of a scan to the loop right before
 * it. Batches of 32 queries count each row once for each query; above 100 % rows
 * were reused. KERNELS is a name for dist_force.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "contrib/bench/rig.h"
#include "index/flat.h"

#define K 10
#define SHIFT 12 /* rows of a chunk: 1 << SHIFT */
#define HUGE_PAGE (2u << 20)
#define PASSES_MAX 99

static const char *const form_names[DIST_FORMS] = {[DIST_F32] = "f32",
	[DIST_F16] = "f16",
	[DIST_I8] = "i8",
	[DIST_B1] = "b1",
	[DIST_U8] = "u8",
	[DIST_U4] = "u4"};
static const char *const metric_names[] = {"", "l2", "cosine", "ip", "l1",
	"hamming"};

static char *memory;
static size_t memory_len;
static int n_passes = 9;
static volatile uint64_t sink;

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	return rig_now_us() * 1e-6;
}

/* ---- the plain loop ---- */

typedef uint64_t wide __attribute__((vector_size(64), may_alias));

#define READ_BODY static inline __attribute__((always_inline))
#define READ_AHEAD 8192u /* as far as the scan does, if at all */

READ_BODY uint64_t read_all(bool is_ahead)
{
	const char *end = memory + memory_len;
	wide sum[4] = {{0}};

	for (const char *p = memory; p < end; p += sizeof(sum))
		for (size_t i = 0; i < 4; i++) {
			if (is_ahead)
				__builtin_prefetch(p + 64 * i + READ_AHEAD);
			sum[i] |= ((const wide *)(const void *)p)[i];
		}
	sum[0] |= sum[1] | sum[2] | sum[3];
	return sum[0][0] | sum[0][7];
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static uint64_t read_avx512(bool is_ahead)
{
	return is_ahead ? read_all(true) : read_all(false);
}

__attribute__((target("avx2"))) static uint64_t read_avx2(bool is_ahead)
{
	return is_ahead ? read_all(true) : read_all(false);
}
#endif

static uint64_t read_plain(bool is_ahead)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx512f"))
		return read_avx512(is_ahead);
	if (__builtin_cpu_supports("avx2"))
		return read_avx2(is_ahead);
#endif
	return is_ahead ? read_all(true) : read_all(false);
}

/* Bytes a second, in 10^9: of the faster of two ways. */
static double plain_rate(void)
{
	double best = 0;

	for (int is_ahead = 0; is_ahead < 2; is_ahead++) {
		double t = now();

		sink += read_plain(is_ahead);
		t = now() - t;
		best = VG_MAX(best, (double)memory_len / t / 1e9);
	}
	return best;
}

/* ---- a scan ---- */

struct job {
	enum dist_form form;
	enum vg_metric metric;
	uint32_t dim;
	uint32_t n_queries;
};

static double scan_rate(const struct job *j)
{
	struct flat_query q[FLAT_BATCH];
	struct hit hits[FLAT_BATCH][K];
	struct topk tops[FLAT_BATCH];
	uint32_t stride = dist_row_len(j->form, j->dim);
	size_t chunk_len = (size_t)stride << SHIFT;
	uint32_t n_chunks = (uint32_t)(memory_len / chunk_len);
	_Atomic(char *) *chunks = calloc(n_chunks, sizeof(*chunks));
	struct rows rows = {.chunk = chunks, .shift = SHIFT, .stride = stride};
	uint32_t n = n_chunks << SHIFT;
	double t;

	if (!chunks)
		give_up("chunks");
	for (uint32_t i = 0; i < n_chunks; i++)
		atomic_init(&chunks[i], memory + i * chunk_len);
	for (uint32_t i = 0; i < j->n_queries; i++) {
		/* Rows like any other, from the middle. */
		q[i] = (struct flat_query){.vec = rows_get(&rows,
						   n / 2 + i * 7),
			.dim = j->dim,
			.metric = j->metric,
			.form = j->form};
		topk_init(&tops[i], hits[i], K, NULL, NULL);
	}
	t = now();
	if (flat_scan_batch(q, j->n_queries, &rows, 0, n, tops) < 0)
		give_up("scan");
	t = now() - t;
	for (uint32_t i = 0; i < j->n_queries; i++)
		sink += hits[i][0].slot;
	free(chunks);
	return (double)n * stride * j->n_queries / t / 1e9;
}

static double median(double *v)
{
	return rig_quantile(v, (size_t)n_passes, .5);
}

static void measure(const struct job *j)
{
	double plain[PASSES_MAX], scan[PASSES_MAX], share[PASSES_MAX];
	double rows_s;

	for (int i = 0; i < n_passes; i++) {
		plain[i] = plain_rate();
		scan[i] = scan_rate(j);
		share[i] = scan[i] / plain[i];
	}
	rows_s = median(scan) * 1e3 / dist_row_len(j->form, j->dim);
	printf("%-4s %4u  %-8s %4u %10.1f %10.1f %7.0f %%  %8.1f\n",
		form_names[j->form], j->dim, metric_names[j->metric],
		j->n_queries, median(plain), median(scan), 100 * median(share),
		rows_s);
	fflush(stdout);
}

/* Finite elements of small whole numbers, whatever they are read as. */
static void fill(enum dist_form form)
{
	uint64_t state = 1;

	for (size_t i = 0; i < memory_len; i += 4) {
		uint32_t *word = (uint32_t *)(void *)(memory + i);
		float f;

		state = state * 6364136223846793005u + 1442695040888963407u;
		f = (float)(state >> 56);
		if (form == DIST_F32)
			memcpy(word, &f, sizeof(f));
		else if (form == DIST_F16) /* 1 to 2 */
			*word = 0x3c003c00 | (state >> 40 & 0x03ff03ff);
		else
			*word = (uint32_t)(state >> 32);
	}
}

static void measure_form(enum dist_form form)
{
	static const uint32_t dims[] = {128, 784};
	struct job j = {.form = form};

	fill(form);
	for (size_t d = 0; d < VG_ARRAY_LEN(dims); d++)
		for (int m = VG_L2; m <= VG_HAMMING; m++)
			for (j.n_queries = 1; j.n_queries <= FLAT_BATCH;
				j.n_queries *= FLAT_BATCH) {
				j.metric = (enum vg_metric)m;
				j.dim = dims[d];
				if (dist_has(form, j.metric))
					measure(&j);
			}
}

int main(int argc, char **argv)
{
	memory_len = (argc > 1 ? strtoul(argv[1], NULL, 10) : 1024) << 20;
	if (argc > 2)
		n_passes = atoi(argv[2]);
	if (memory_len == 0 || n_passes < 1 || n_passes > PASSES_MAX ||
		dist_force(argc > 3 ? argv[3] : NULL) < 0) {
		fprintf(stderr, "scan_bandwidth [MiB [PASSES [KERNELS]]]\n");
		return 2;
	}
	/* Its end is left to prefetches. */
	memory = mmap(NULL, memory_len + HUGE_PAGE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		give_up("mmap");
	memory += HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE;
	madvise(memory, memory_len, MADV_HUGEPAGE);
	printf("kernels %s, %zu MiB, %d passes\n", dist_kernel_name(),
		memory_len >> 20, n_passes);
	printf("form  dim  metric  queries plain GB/s  scan GB/s   share  "
	       "Mrows/s\n");
	for (int form = DIST_F32; form < DIST_FORMS; form++)
		measure_form((enum dist_form)form);
	return 0;
}
