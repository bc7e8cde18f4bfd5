/* SPDX-License-Identifier: Apache-2.0 */
/* commits.c: acknowledged puts a second through the mount, one closer and 16. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/bench/nullfs.h"
#include "contrib/bench/rig.h"
#include "tests/recall/data.h"

/*
 * A put is open(O_CREAT), write, close of a vector of 384 dimensions, raw; it
 * is acknowledged when close() returns. One put at a time is set beside the
 * null filesystem's insert of the same bytes and a bare write and fdatasync of
 * them, in the file system of the data directory, in a file with its space
 * taken ahead; the three take turns, a few each, and 16 closers at once take
 * their turn after one. Where others use the disk as well, p10 says more than
 * the median. In /dev/shm a sync costs nothing: what is left is our own.
 */
#define DIM 384u
#define BLOCK 4
#define WARM 1 /* puts of a block that only warm up */
#define CLOSERS 16
#define TURN_US 200000.0
#define MAX_ROUNDS 2000
#define MAX_TURNS 100

enum side { MOUNT, NULLFS, BARE, SIDES };

struct bench {
	struct rig rig;
	struct nullfs null;
	int bare_fd;
	off_t bare_at;
	const char *coll;
	uint32_t dim;
	const float *vecs; /* NULL: any bytes */
	uint32_t n_vecs;
	_Atomic uint64_t serial; /* of names */
	_Atomic uint64_t n_puts;
	enum side turn_of;
	double until_us;
	double cpu_us; /* of a put in the last turn */
};

static double wall[SIDES][MAX_ROUNDS * BLOCK];

static void insert(struct bench *b, const char *dir)
{
	uint64_t serial = atomic_fetch_add(&b->serial, 1);
	size_t len = b->dim * sizeof(float);
	char path[700];
	float vec[1024];
	int fd;

	if (b->vecs)
		memcpy(vec, b->vecs + serial % b->n_vecs * b->dim, len);
	else
		memset(vec, 0x3e, len);
	vec[0] = (float)serial; /* no two alike */
	snprintf(path, sizeof(path), "%s/c%llu", dir,
		(unsigned long long)serial);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	rig_must(write(fd, vec, len) == (ssize_t)len);
	rig_must(close(fd) == 0);
}

static void put_once(struct bench *b, enum side side)
{
	char dir[600], bytes[DIM * sizeof(float)];

	switch (side) {
	case MOUNT:
		snprintf(dir, sizeof(dir), "%s/%s", b->rig.mnt, b->coll);
		insert(b, dir);
		break;
	case NULLFS:
		snprintf(dir, sizeof(dir), "%s/dv", b->null.mnt);
		insert(b, dir);
		break;
	default:
		memset(bytes, 0x3e, sizeof(bytes));
		rig_must(pwrite(b->bare_fd, bytes, sizeof(bytes), b->bare_at) ==
			 (ssize_t)sizeof(bytes));
		rig_must(fdatasync(b->bare_fd) == 0);
		b->bare_at += (off_t)sizeof(bytes);
	}
}

/* ---- one at a time ---- */

/* One side's block of a round. */
static void run_block(struct bench *b, enum side side, double *us)
{
	for (size_t i = 0; i < BLOCK; i++) {
		double start = rig_now_us();

		put_once(b, side);
		if (i >= WARM)
			us[i - WARM] = rig_now_us() - start;
	}
}

static void race(struct bench *b, int rounds)
{
	static const char *const name[] = {"put through the mount",
		"null insert", "bare write and sync"};
	double p50[SIDES], p10[SIDES];
	size_t n = 0;

	for (int r = 0; r < rounds; r++, n += BLOCK - WARM)
		for (enum side s = MOUNT; s < SIDES; s++)
			run_block(b, s, wall[s] + n);
	printf("%-24s %8s %8s %8s\n", "us", "p10", "p50", "p90");
	for (enum side s = MOUNT; s < SIDES; s++) {
		p10[s] = rig_quantile(wall[s], n, .1);
		p50[s] = rig_quantile(wall[s], n, .5);
		printf("%-24s %8.1f %8.1f %8.1f\n", name[s], p10[s], p50[s],
			rig_quantile(wall[s], n, .9));
	}
	printf("put / (null insert + bare write and sync): p10 %.3f  p50 "
	       "%.3f\n",
		p10[MOUNT] / (p10[NULLFS] + p10[BARE]),
		p50[MOUNT] / (p50[NULLFS] + p50[BARE]));
}

/* ---- many at once ---- */

static void *closer(void *arg)
{
	struct bench *b = arg;

	while (rig_now_us() < b->until_us) {
		put_once(b, b->turn_of);
		atomic_fetch_add(&b->n_puts, 1);
	}
	return NULL;
}

/* Processor time of the closers and the daemon. */
static double cpu_us(const struct bench *b, enum side side)
{
	return rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID) +
	       rig_cpu_us(
		       side == MOUNT ? b->rig.cpu : rig_clock_of(b->null.pid));
}

/* Acknowledged puts a second of n closers in a turn of us. */
static double turn(struct bench *b, enum side side, unsigned n, double us)
{
	pthread_t thread[CLOSERS];
	double start = rig_now_us(), cpu = cpu_us(b, side);

	b->n_puts = 0;
	b->turn_of = side;
	b->until_us = start + us;
	for (unsigned i = 0; i < n; i++)
		rig_must(pthread_create(&thread[i], NULL, closer, b) == 0);
	for (unsigned i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	b->cpu_us = (cpu_us(b, side) - cpu) / (double)VG_MAX(b->n_puts, 1u);
	return (double)b->n_puts * 1e6 / (rig_now_us() - start);
}

static void crowd(struct bench *b, int turns)
{
	static const struct {
		enum side side;
		unsigned closers;
		const char *name;
	} kinds[] = {
		{MOUNT, 1, "the mount, one closer"},
		{MOUNT, CLOSERS, "the mount, 16 closers"},
		{NULLFS, 1, "null filesystem, one"},
		{NULLFS, CLOSERS, "null filesystem, 16"},
	};
	double rate[VG_ARRAY_LEN(kinds)][MAX_TURNS], p50[VG_ARRAY_LEN(kinds)];
	double cpu[VG_ARRAY_LEN(kinds)][MAX_TURNS];

	for (int t = 0; t < turns; t++)
		for (size_t k = 0; k < VG_ARRAY_LEN(kinds); k++) {
			rate[k][t] = turn(b, kinds[k].side, kinds[k].closers,
				TURN_US);
			cpu[k][t] = b->cpu_us;
		}
	printf("%-24s %12s %18s\n", "", "puts/s", "processor us a put");
	for (size_t k = 0; k < VG_ARRAY_LEN(kinds); k++) {
		p50[k] = rig_quantile(rate[k], (size_t)turns, .5);
		printf("%-24s %12.0f %18.1f\n", kinds[k].name, p50[k],
			rig_quantile(cpu[k], (size_t)turns, .5));
	}
	printf("16 closers to one: %.1f times\n", p50[1] / p50[0]);
}

/* ---- with the graph ---- */

static void sustain(struct bench *b, const struct data *d, double seconds)
{
	char path[64], pending[64];
	double cpu, rate, start;

	b->coll = "graph";
	b->dim = d->dim;
	b->vecs = d->vecs;
	b->n_vecs = d->n;
	rig_mkdir(&b->rig, b->coll, "hnsw", "l2");
	start = rig_now_us();
	cpu = rig_cpu_us(b->rig.cpu);
	rate = turn(b, MOUNT, CLOSERS, seconds * 1e6);
	cpu = (rig_cpu_us(b->rig.cpu) - cpu) / (rig_now_us() - start);
	snprintf(path, sizeof(path), "%s/.stats/indexing", b->coll);
	rig_get(&b->rig, path, pending, sizeof(pending));
	printf("hnsw, %u dimensions, %u closers, %.0f s: %.0f acknowledged "
	       "puts a second sustained; %s rows unlinked at the end; the "
	       "daemon used %.2f CPUs\n",
		d->dim, CLOSERS, seconds, rate, pending, cpu);
}

/* commits [DIR [ROUNDS [SECONDS]]] */
int main(int argc, char **argv)
{
	const char *dir = rig_scratch(argc > 1 ? argv[1] : ".");
	int rounds = argc > 2 ? atoi(argv[2]) : 300;
	double seconds = argc > 3 ? atof(argv[3]) : 10;
	static struct bench b = {.coll = "flat", .dim = DIM};
	const char *src = getenv("VG_SRC");
	struct data d;
	char path[700];

	snprintf(path, sizeof(path), "%s/tests/data/sift5k/sift5k_base.fvecs",
		src ? src : ".");
	if (rounds < 1 || rounds > MAX_ROUNDS ||
		!data_load_fvecs(&d, path, UINT32_MAX)) {
		fprintf(stderr,
			"no vectors in %s: run it in the source "
			"directory, or set VG_SRC; rounds are 1 to "
			"%d\n",
			path, MAX_ROUNDS);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/null.mnt", dir);
	rig_must(mkdir(path, 0755) == 0);
	nullfs_open(path, &b.null);
	rig_open(&b.rig, dir, "commits", NULL);
	snprintf(path, sizeof(path), "%s/bare", b.rig.data);
	b.bare_fd = open(path, O_RDWR | O_CREAT, 0600);
	rig_must(b.bare_fd >= 0);
	fallocate(b.bare_fd, FALLOC_FL_KEEP_SIZE, 0,
		(off_t)DIM * sizeof(float) * BLOCK * MAX_ROUNDS);
	rig_must(fsync(b.bare_fd) == 0);
	rig_mkdir(&b.rig, b.coll, "flat", "l2");
	race(&b, rounds);
	crowd(&b, VG_MIN(VG_MAX(rounds / 20, 1), MAX_TURNS));
	sustain(&b, &d, seconds);
	close(b.bare_fd);
	rig_close(&b.rig);
	nullfs_close(&b.null);
	data_fini(&d);
	return 0;
}
