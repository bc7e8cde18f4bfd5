/* SPDX-License-Identifier: Apache-2.0 */
/* restart.c: from exec to the first answer, after an umount and after a kill. */
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "src/store.h"

/*
 * A collection with a graph, loaded and linked, is mounted again and again:
 * timed from before the fork until `cat query/id=7.ids` was read, files in the
 * page cache. Then rows are put into a flat collection with no checkpoint
 * between, the holder is killed, and the store is opened in this process: what
 * that takes beyond opening the same store without those rows is the replay.
 */
#define ROUNDS 5
#define CENTRES 2000u

static uint64_t dice = 88172645463325252ull;

static float draw(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (float)(dice >> 40) * 0x1p-23f - 1.f;
}

/* Rows around CENTRES points, in random order. */
static void fill(const struct rig *r, const char *coll, uint32_t n,
	uint32_t dim)
{
	float *centre = malloc((size_t)CENTRES * dim * sizeof(*centre));
	float *vecs = malloc((size_t)n * dim * sizeof(*vecs));

	rig_must(centre && vecs);
	for (size_t i = 0; i < (size_t)CENTRES * dim; i++)
		centre[i] = draw();
	for (uint32_t i = 0; i < n; i++) {
		uint32_t c = (uint32_t)((draw() + 1.f) * 0.5f *
					(float)(CENTRES - 1));

		for (uint32_t d = 0; d < dim; d++)
			vecs[(size_t)i * dim + d] =
				centre[(size_t)c * dim + d] + 0.4f * draw();
	}
	rig_import(r, coll, vecs, n, dim);
	free(vecs);
	free(centre);
}

/* Milliseconds from before the fork to the first answer. */
static double first_answer(struct rig *r)
{
	char ids[4096];
	double start = rig_now_us();

	rig_mount(r, NULL);
	rig_get(r, "g/query/id=7.ids", ids, sizeof(ids));
	rig_must(ids[0] != '\0');
	return (rig_now_us() - start) * 1e-3;
}

static void clean(struct rig *r)
{
	double first[ROUNDS], down[ROUNDS];
	char pending[32];

	for (int i = 0; i < ROUNDS; i++) {
		double start = rig_now_us();

		rig_close(r);
		down[i] = (rig_now_us() - start) * 1e-3;
		first[i] = first_answer(r);
		rig_get(r, "g/.stats/indexing", pending, sizeof(pending));
		printf("first answer %.0f ms after exec, %s rows to be linked; "
		       "the umount before it took %.0f ms\n",
			first[i], pending, down[i]);
	}
	printf("clean restart: first answer %.0f ms, umount %.0f ms (medians "
	       "of %d; the first umount wrote the most)\n",
		rig_quantile(first, ROUNDS, .5),
		rig_quantile(down, ROUNDS, .5), ROUNDS);
}

/* Milliseconds that opening takes in this process, and what it replayed. */
static double open_ms(const char *dir, uint64_t *replayed)
{
	struct store_config cfg = {.dir = dir, .checkpoint_bytes = UINT64_MAX};
	struct store_report rep;
	struct store *s;
	double start, ms;
	int rc;

	do { /* a killed daemon still gives its memory back */
		start = rig_now_us();
		rc = store_open(&cfg, &rep, &s);
	} while (rc == -EAGAIN);
	rig_must(rc == 0);
	ms = (rig_now_us() - start) * 1e-3;
	*replayed = rep.replayed;
	store_close(s);
	return ms;
}

static void crash(struct rig *r, uint32_t n, uint32_t dim)
{
	double without, with, first;
	uint64_t replayed;

	rig_close(r);
	without = open_ms(r->data, &replayed);
	rig_mount(r, "checkpoint=16G");
	rig_mkdir(r, "f", "flat", "l2");
	fill(r, "f", n, dim);
	kill(r->holder, SIGKILL);
	waitpid(r->holder, NULL, 0);
	rig_unmount(r);
	with = open_ms(r->data, &replayed);
	printf("replay: %llu records in %.0f ms: %.0f a second\n",
		(unsigned long long)replayed, with - without,
		(double)replayed / (with - without) * 1e3);
	first = first_answer(r);
	printf("after kill -9: first answer %.0f ms after exec\n", first);
}

/* restart [DIR [N [DIM [REPLAYED]]]] */
int main(int argc, char **argv)
{
	const char *dir = rig_scratch(argc > 1 ? argv[1] : ".");
	uint32_t n = argc > 2 ? (uint32_t)atol(argv[2]) : 1000000;
	uint32_t dim = argc > 3 ? (uint32_t)atol(argv[3]) : 128;
	uint32_t more = argc > 4 ? (uint32_t)atol(argv[4]) : 200000;
	struct rig r;

	rig_open(&r, dir, "restart", NULL);
	rig_mkdir(&r, "g", "hnsw", "l2");
	fill(&r, "g", n, dim);
	clean(&r);
	crash(&r, more, dim);
	rig_close(&r);
	return 0;
}
