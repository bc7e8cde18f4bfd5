/* SPDX-License-Identifier: Apache-2.0 */
/* mount_scale.c: listings of many vectors, and many names of queries. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/rig.h"

/*
 * Listings are cold: the tree is mounted anew before each kind of them, so
 * that the kernel knows no name of it. Then distinct query paths are read, one
 * after the other, and the daemon's resident memory is looked at meanwhile.
 */
#define DIM 4u
#define ROUNDS 3
#define N_SIZES 3
#define QUARTERS 4

static const uint32_t sizes[N_SIZES] = {25000, 50000, 100000};

static const struct {
	const char *name, *command;
} kinds[] = {
	{"ls", "ls '%s/n%u' >/dev/null"},
	{"find", "find '%s/n%u' -type f >/dev/null"},
	{"find, looking at each", "find '%s/n%u' -size +9 >/dev/null"},
};

static double run(const struct rig *r, unsigned kind, uint32_t n)
{
	char cmd[700];
	double start = rig_now_us();

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(cmd, sizeof(cmd), kinds[kind].command, r->mnt, n);
#pragma GCC diagnostic pop
	rig_must(system(cmd) == 0);
	return (rig_now_us() - start) * 1e-6;
}

static void load(const struct rig *r)
{
	float *vecs = malloc(sizes[N_SIZES - 1] * DIM * sizeof(*vecs));
	char name[16];

	rig_must(vecs);
	for (uint32_t i = 0; i < sizes[N_SIZES - 1] * DIM; i++)
		vecs[i] = (float)(i % 1009);
	for (unsigned s = 0; s < N_SIZES; s++) {
		snprintf(name, sizeof(name), "n%u", sizes[s]);
		rig_mkdir(r, name, "flat", "l2");
		rig_import(r, name, vecs, sizes[s], DIM);
	}
	free(vecs);
}

static void list_all(struct rig *r)
{
	double s[N_SIZES][ROUNDS], median[N_SIZES];

	printf("%-24s %9s %9s %9s   us an entry, at 25,000 and 100,000\n",
		"seconds, of vectors:", "25,000", "50,000", "100,000");
	for (unsigned k = 0; k < VG_ARRAY_LEN(kinds); k++) {
		for (int round = 0; round < ROUNDS; round++) {
			rig_remount(r);
			for (unsigned i = 0; i < N_SIZES; i++)
				s[i][round] = run(r, k, sizes[i]);
		}
		for (unsigned i = 0; i < N_SIZES; i++)
			median[i] = rig_quantile(s[i], ROUNDS, .5);
		printf("%-24s %9.3f %9.3f %9.3f   %.2f %.2f\n", kinds[k].name,
			median[0], median[1], median[2],
			median[0] * 1e6 / sizes[0], median[2] * 1e6 / sizes[2]);
	}
}

/* Reads queries first to first + n - 1, no two of which have one path. */
static void ask(const struct rig *r, uint32_t first, uint32_t n)
{
	char path[700], buf[4096];
	int fd;

	for (uint32_t i = first; i < first + n; i++) {
		snprintf(path, sizeof(path), "%s/one/query/%u,1,2,3.ids",
			r->mnt, i);
		fd = open(path, O_RDONLY);
		rig_must(fd >= 0);
		rig_must(read(fd, buf, sizeof(buf)) > 0);
		close(fd);
	}
}

static void ask_all(const struct rig *r, uint32_t n)
{
	static const float one[DIM] = {1, 2, 3, 4};
	uint32_t done = n / 10;
	double start;
	long warm;

	rig_mkdir(r, "one", "flat", "l2");
	rig_import(r, "one", one, 1, DIM);
	printf("%u distinct query paths; resident memory of the daemon, kB: "
	       "%ld before;",
		n, rig_rss_kb(r));
	ask(r, 0, done);
	warm = rig_rss_kb(r);
	printf(" %ld after a tenth;", warm);
	start = rig_now_us();
	for (uint32_t q = 0; q < QUARTERS; q++) {
		uint32_t step = (n - done) / (QUARTERS - q);

		ask(r, done, step);
		done += step;
		printf(" %ld", rig_rss_kb(r));
		fflush(stdout);
	}
	printf(": %+ld since the tenth; %.1f us each\n", rig_rss_kb(r) - warm,
		(rig_now_us() - start) / (n - n / 10));
}

/* mount_scale [DIR [N]]: N distinct query paths */
int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) : 200000;
	struct rig r;

	if (n < 1000 || n > 1000000000) {
		fputs("the number of query paths is 1000 to 1000000000\n",
			stderr);
		return 1;
	}
	rig_open(&r, rig_scratch(argc > 1 ? argv[1] : "."), "scale", NULL);
	load(&r);
	list_all(&r);
	ask_all(&r, (uint32_t)n);
	rig_close(&r);
	return 0;
}
