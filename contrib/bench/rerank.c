/* SPDX-License-Identifier: Apache-2.0 */
/* rerank.c: searches of a column that memory does not hold, beside its disk. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "src/store.h"

/*
 * A collection with a graph is made through the mount. A process in a control
 * group that may use half of what column, graph and codes take opens it, with
 * nothing of the column in memory, and searches: first over rows that nobody
 * has read yet, whose sums are checked, then, when each was, over what comes
 * and goes. Right before, one ring reads the same file without the page cache,
 * 4 KiB anywhere, DEPTH at a time: a rate of reads, which divided by the pages
 * that a search read is what the disk allows.
 */
#define CENTRES 2000u
#define NOISE 0.4f
#define K 10u
#define DEPTH 36u /* rows of a rerank, by default */
#define PAGE 4096u
#define SECONDS 5
#define THREADS_MAX 2

struct bench {
	struct rig rig;
	uint32_t n, dim;
	float *centre;
	char group[300], vec[700];
	struct store *store;
	struct collection *coll;
	double disk; /* reads a second */
};

struct searcher {
	struct bench *b;
	pthread_t thread;
	uint64_t dice;
	double until;
	uint64_t n;
};

static float draw(uint64_t *dice)
{
	*dice ^= *dice << 13;
	*dice ^= *dice >> 7;
	*dice ^= *dice << 17;
	return (float)(*dice >> 40) * 0x1p-23f - 1.f;
}

/* A point near one of the centres. */
static void draw_vec(const struct bench *b, uint64_t *dice, float *out)
{
	uint32_t c = (uint32_t)((draw(dice) + 1.f) * 0.5f *
				(float)(CENTRES - 1));

	for (uint32_t d = 0; d < b->dim; d++)
		out[d] = b->centre[(size_t)c * b->dim + d] +
			 NOISE * draw(dice);
}

static void fill(struct bench *b)
{
	uint64_t dice = 88172645463325252ull;
	float *vecs = malloc((size_t)b->n * b->dim * sizeof(*vecs));

	b->centre = malloc((size_t)CENTRES * b->dim * sizeof(*b->centre));
	rig_must(vecs && b->centre);
	for (size_t i = 0; i < (size_t)CENTRES * b->dim; i++)
		b->centre[i] = draw(&dice);
	for (uint32_t i = 0; i < b->n; i++)
		draw_vec(b, &dice, vecs + (size_t)i * b->dim);
	rig_mkdir(&b->rig, "v", "hnsw", "l2");
	rig_import(&b->rig, "v", vecs, b->n, b->dim);
	free(vecs);
}

/* The file of vectors, of which nothing is in memory afterwards. */
static void drop_vectors(struct bench *b)
{
	char pattern[600];
	glob_t found;
	int fd;

	snprintf(pattern, sizeof(pattern), "%s/c/*/vec.0001", b->rig.data);
	rig_must(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1);
	snprintf(b->vec, sizeof(b->vec), "%s", found.gl_pathv[0]);
	globfree(&found);
	fd = open(b->vec, O_RDONLY);
	rig_must(fd >= 0);
	rig_must(fsync(fd) == 0);
	rig_must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	close(fd);
}

/* ---- the control group ---- */

static void write_file(const char *dir, const char *name, long long value)
{
	char path[400];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	rig_must(f && fprintf(f, "%lld", value) > 0 && fclose(f) == 0);
}

static void enter_group(struct bench *b, long long limit)
{
	bool is_v1 = access("/sys/fs/cgroup/memory", F_OK) == 0;

	snprintf(b->group, sizeof(b->group), "/sys/fs/cgroup%s/vgbench.%d",
		is_v1 ? "/memory" : "", getpid());
	rig_must(mkdir(b->group, 0755) == 0);
	write_file(b->group, is_v1 ? "memory.limit_in_bytes" : "memory.max",
		limit);
	write_file(b->group, "cgroup.procs", getpid());
}

static void leave_group(struct bench *b)
{
	char root[sizeof(b->group)];

	snprintf(root, sizeof(root), "%s", b->group);
	*strrchr(root, '/') = '\0';
	write_file(root, "cgroup.procs", getpid());
	rmdir(b->group);
}

/* ---- the disk ---- */

static void push(struct io_uring *ring, int fd, char *buf, uint64_t at)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	rig_must(sqe);
	io_uring_prep_read(sqe, fd, buf, PAGE, at);
	io_uring_sqe_set_data(sqe, buf);
}

/* Reads a second of 4 KiB anywhere in the file, DEPTH under way. */
static double disk_rate(const struct bench *b)
{
	uint64_t dice = 1234567, pages = (uint64_t)b->n * b->dim * 4 / PAGE;
	int fd = open(b->vec, O_RDONLY | O_DIRECT);
	double from = rig_now_us(), now = from;
	struct io_uring ring;
	uint64_t n = 0;
	char *buf = NULL;

	rig_must(fd >= 0 && io_uring_queue_init(64, &ring, 0) == 0);
	rig_must(posix_memalign((void **)&buf, PAGE, DEPTH * PAGE) == 0);
	for (uint32_t i = 0; i < DEPTH; i++)
		push(&ring, fd, buf + i * PAGE,
			(uint64_t)((draw(&dice) + 1) / 2 * (float)pages) *
				PAGE);
	while (now - from < SECONDS * 1e6) {
		struct io_uring_cqe *cqe;

		rig_must(io_uring_submit_and_wait(&ring, 1) >= 0);
		while (io_uring_peek_cqe(&ring, &cqe) == 0) {
			errno = cqe->res < 0 ? -cqe->res : 0;
			rig_must(cqe->res == (int)PAGE);
			push(&ring, fd, io_uring_cqe_get_data(cqe),
				(uint64_t)((draw(&dice) + 1) / 2 *
					   (float)pages) *
					PAGE);
			io_uring_cqe_seen(&ring, cqe);
			n++;
		}
		now = rig_now_us();
	}
	io_uring_queue_exit(&ring);
	close(fd); /* the last reads end in buf, which stays */
	return (double)n / (now - from) * 1e6;
}

/* Bytes that this process has read from disks. */
static double bytes_read(void)
{
	unsigned long long n = 0;
	char line[128];
	FILE *f = fopen("/proc/self/io", "r");

	rig_must(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "read_bytes: %llu", &n);
	fclose(f);
	return (double)n;
}

/* ---- searches ---- */

static void *search_main(void *arg)
{
	struct searcher *s = arg;
	struct bench *b = s->b;
	float *vec = malloc(b->dim * sizeof(*vec));
	struct search q = {.vec = vec, .dim = b->dim, .k = K};
	struct search_hit hits[K];
	struct look look;
	uint32_t n;

	rig_must(vec);
	while (rig_now_us() < s->until) {
		draw_vec(b, &s->dice, vec);
		look_init(&look, b->coll, store_moments(b->store));
		rig_must(store_search(b->store, &look, &q, hits, &n) == 0);
		look_fini(&look);
		rig_must(n == K);
		s->n++;
	}
	free(vec);
	return NULL;
}

static void measure(struct bench *b, const char *what, int n_threads)
{
	static uint64_t seed = 362436069;
	struct searcher s[THREADS_MAX];
	double from = rig_now_us(), read = bytes_read(), sec, pages;
	struct rusage before, after;
	uint64_t n = 0;

	rig_must(n_threads <= THREADS_MAX);
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < n_threads; i++) {
		s[i] = (struct searcher){.b = b,
			.dice = seed += 7919,
			.until = from + SECONDS * 1e6};
		rig_must(pthread_create(&s[i].thread, NULL, search_main,
				 &s[i]) == 0);
	}
	for (int i = 0; i < n_threads; i++) {
		pthread_join(s[i].thread, NULL);
		n += s[i].n;
	}
	sec = (rig_now_us() - from) * 1e-6;
	getrusage(RUSAGE_SELF, &after);
	pages = (bytes_read() - read) / PAGE / (double)n;
	printf("%-8s %d threads: %6.0f searches/s, %5.1f pages read and "
	       "%4.1f major faults each",
		what, n_threads, (double)n / sec, pages,
		(double)(after.ru_majflt - before.ru_majflt) / (double)n);
	if (pages > 1)
		printf("; the disk allows %6.0f/s: %.2f of it", b->disk / pages,
			(double)n / sec / (b->disk / pages));
	printf("\n");
	fflush(stdout);
}

/* Each row is read once, in order, so that its sum is known. */
static void check_rows(struct bench *b)
{
	struct cell *cell = atomic_load(&b->coll->gen->cell);

	for (uint32_t i = 0; i < b->n; i++)
		rig_must(cell_check_row(cell, i) == 0);
}

static void search_limited(struct bench *b, long long limit)
{
	struct store_config cfg = {.dir = b->rig.data};
	struct entry_info info;
	struct store_report rep;
	double from;

	drop_vectors(b);
	if (limit > 0)
		enter_group(b, limit);
	b->disk = disk_rate(b);
	printf("disk: %.0f reads of 4 KiB a second, %u at a time\n", b->disk,
		DEPTH);
	from = bytes_read();
	rig_must(store_open(&cfg, &rep, &b->store) == 0);
	rig_must(catalogue_get(store_catalogue(b->store),
			 (struct vg_id){"v", 1}, &info) == 0);
	b->coll = info.coll;
	printf("open: %.1f MB read\n", (bytes_read() - from) * 1e-6);
	measure(b, "first", 1);
	check_rows(b);
	for (int i = 0; i < 3; i++)
		for (int threads = 1; threads <= THREADS_MAX; threads++)
			measure(b, "settled", threads);
	collection_unref(b->coll);
	store_close(b->store);
	if (limit > 0) {
		leave_group(b);
	}
}

/* rerank [DIR [N [DIM [LIMIT_MB]]]]; a limit of 0: none */
int main(int argc, char **argv)
{
	const char *dir = rig_scratch(argc > 1 ? argv[1] : ".");
	struct bench b = {0};
	long long limit;

	b.n = argc > 2 ? (uint32_t)atol(argv[2]) : 120000;
	b.dim = argc > 3 ? (uint32_t)atol(argv[3]) : 784;
	limit = (long long)b.n * (b.dim * 5 + 180) / 2;
	if (argc > 4)
		limit = atoll(argv[4]) << 20;
	rig_open(&b.rig, dir, "rerank", NULL);
	fill(&b);
	rig_close(&b.rig);
	printf("%u x %u: %.0f MB of vectors, at most %.0f MB of memory\n", b.n,
		b.dim, b.n * 4e-6 * b.dim, (double)limit * 1e-6);
	search_limited(&b, limit);
	free(b.centre);
	return 0;
}
