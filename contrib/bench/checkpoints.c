/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoints.c: what a checkpoint costs who puts meanwhile. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/rig.h"

/*
 * Two mounts with the same rows, one whose checkpoints come often, one that
 * has none. They take turns of a minute in which closers put new vectors at a
 * steady rate, each put timed from when it was due to its close; so a stall
 * counts for all that it delays. Beside them a bare loop writes and syncs as
 * many bytes, in the same file system, now and then.
 */
#define DIM 128u
#define CLOSERS 4
#define MAX_PUTS 4000000u

struct side {
	struct rig rig;
	const char *name;
	uint32_t serial; /* of names */
	float *put_us, *bare_us; /* MAX_PUTS each */
	_Atomic uint32_t n_puts, n_bare;
	unsigned made; /* checkpoints in its turns */
};

struct turn {
	struct side *side;
	double start_us, until_us, every_us;
	_Atomic uint32_t next;
	int bare_fd;
};

static void sleep_until(double us)
{
	double left = us - rig_now_us();

	if (left > 0)
		usleep((useconds_t)left);
}

static void put(const struct side *s, uint32_t serial)
{
	float vec[DIM];
	char path[700];
	int fd;

	for (uint32_t d = 0; d < DIM; d++)
		vec[d] = (float)((serial * 2654435761u + d * 40503u) >> 12);
	snprintf(path, sizeof(path), "%s/g/p%u", s->rig.mnt, serial);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	rig_must(write(fd, vec, sizeof(vec)) == (ssize_t)sizeof(vec));
	rig_must(close(fd) == 0);
}

static void *closer(void *arg)
{
	struct turn *t = arg;

	for (;;) {
		uint32_t i = atomic_fetch_add(&t->next, 1);
		double due = t->start_us + i * t->every_us;
		uint32_t at;

		if (due >= t->until_us)
			return NULL;
		sleep_until(due);
		put(t->side, t->side->serial + i);
		at = atomic_fetch_add(&t->side->n_puts, 1);
		if (at < MAX_PUTS)
			t->side->put_us[at] = (float)(rig_now_us() - due);
	}
}

static void *bare(void *arg)
{
	struct turn *t = arg;
	char bytes[DIM * 4 + 200] = "";
	off_t at = lseek(t->bare_fd, 0, SEEK_END);

	while (rig_now_us() < t->until_us) {
		double start = rig_now_us();
		uint32_t n;

		rig_must(pwrite(t->bare_fd, bytes, sizeof(bytes), at) ==
			 (ssize_t)sizeof(bytes));
		rig_must(fdatasync(t->bare_fd) == 0);
		at += (off_t)sizeof(bytes);
		n = atomic_fetch_add(&t->side->n_bare, 1);
		if (n < MAX_PUTS)
			t->side->bare_us[n] = (float)(rig_now_us() - start);
		usleep(2000);
	}
	return NULL;
}

/* The number of the newest manifest. */
static unsigned newest(const struct side *s)
{
	DIR *dir = opendir(s->rig.data);
	struct dirent *e;
	unsigned n, last = 0;

	rig_must(dir);
	while ((e = readdir(dir)))
		if (sscanf(e->d_name, "MANIFEST.%u", &n) == 1 && n > last)
			last = n;
	closedir(dir);
	return last;
}

static void run_turn(struct side *s, double seconds, double rate)
{
	pthread_t thread[CLOSERS + 1];
	struct turn t = {.side = s, .every_us = 1e6 / rate};
	unsigned before = newest(s);
	char path[700];

	snprintf(path, sizeof(path), "%s/bare", s->rig.data);
	t.bare_fd = open(path, O_RDWR | O_CREAT, 0600);
	rig_must(t.bare_fd >= 0);
	t.start_us = rig_now_us();
	t.until_us = t.start_us + seconds * 1e6;
	for (unsigned i = 0; i < CLOSERS; i++)
		rig_must(pthread_create(&thread[i], NULL, closer, &t) == 0);
	rig_must(pthread_create(&thread[CLOSERS], NULL, bare, &t) == 0);
	for (unsigned i = 0; i <= CLOSERS; i++)
		pthread_join(thread[i], NULL);
	s->serial += atomic_load(&t.next);
	s->made += newest(s) - before;
	close(t.bare_fd);
}

static double quantile(const float *us, uint32_t n, double part)
{
	double *v = malloc(VG_MAX(n, 1u) * sizeof(*v)), q;

	rig_must(v && n > 0);
	for (uint32_t i = 0; i < n; i++)
		v[i] = us[i];
	q = rig_quantile(v, n, part);
	free(v);
	return q;
}

static void report(const struct side *s)
{
	uint32_t n = VG_MIN(atomic_load(&s->n_puts), MAX_PUTS);
	uint32_t b = VG_MIN(atomic_load(&s->n_bare), MAX_PUTS);

	printf("%-20s %6u puts %3u checkpoints  p50 %7.0f  p99 %7.0f  p99.9 "
	       "%7.0f us; bare p50 %5.0f  p99 %7.0f  p99.9 %7.0f\n",
		s->name, n, s->made, quantile(s->put_us, n, .5),
		quantile(s->put_us, n, .99), quantile(s->put_us, n, .999),
		quantile(s->bare_us, b, .5), quantile(s->bare_us, b, .99),
		quantile(s->bare_us, b, .999));
}

static void load(struct side *s, const char *dir, const char *name,
	const char *options, uint32_t n)
{
	float *vecs = malloc((size_t)n * DIM * sizeof(*vecs));
	uint64_t dice = 88172645463325252ull;

	rig_must(vecs);
	for (size_t i = 0; i < (size_t)n * DIM; i++) {
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		vecs[i] = (float)(dice >> 44);
	}
	s->name = options;
	s->put_us = malloc(MAX_PUTS * sizeof(float));
	s->bare_us = malloc(MAX_PUTS * sizeof(float));
	rig_must(s->put_us && s->bare_us);
	rig_open(&s->rig, dir, name, options);
	rig_mkdir(&s->rig, "g", "flat", "l2");
	rig_import(&s->rig, "g", vecs, n, DIM);
	free(vecs);
}

/* checkpoints [DIR [SECONDS [TURNS [PUTS_A_SECOND [ROWS]]]]] */
int main(int argc, char **argv)
{
	const char *dir = rig_scratch(argc > 1 ? argv[1] : ".");
	double seconds = argc > 2 ? atof(argv[2]) : 60;
	int turns = argc > 3 ? atoi(argv[3]) : 3;
	double rate = argc > 4 ? atof(argv[4]) : 1000;
	uint32_t n = argc > 5 ? (uint32_t)atol(argv[5]) : 100000;
	static struct side with, without;

	load(&with, dir, "with", "checkpoint=4M", n);
	load(&without, dir, "without", "checkpoint=16G", n);
	for (int i = 0; i < turns; i++) {
		run_turn(&with, seconds, rate);
		run_turn(&without, seconds, rate);
	}
	report(&with);
	report(&without);
	printf("p99 with checkpoints / without: %.2f\n",
		quantile(with.put_us, atomic_load(&with.n_puts), .99) /
			quantile(without.put_us, atomic_load(&without.n_puts),
				.99));
	rig_close(&with.rig);
	rig_close(&without.rig);
	return 0;
}
