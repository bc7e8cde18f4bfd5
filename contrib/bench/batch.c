/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c: batches through a named file beside the index library's own loop. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "contrib/bench/rig.h"
#include "contrib/bench/vectors.h"
#include "index/hnsw.h"
#include "src/store.h"

/*
 * Three sides take turns with the same 1,000 queries, of which 10 neighbours each
 * are wanted with the ef that gives recall .99: hnsw_search in a loop, one
 * thread, in this process; the mount, where threads=1/ef=E/batch.ids is read, to
 * its close(); and the same with the batch written to query/batch before. All
 * have loaded one graph from one checkpoint, which the mount made: the loop has a
 * copy of its data directory. The loop asks nobody whether a row is visible and
 * turns no slot into an id, so what visibility, ids and text cost is the mount's.
 */
#define K 10
#define N_BATCH 1000u
#define RECALL .99
#define EF_MAX 2000u
#define MAX_ROUNDS 200
#define BUF_LEN (1u << 20)

enum side { LOOP, READ, WRITE_READ, SIDES };
static const char *const side_name[] = {"hnsw_search in process",
	"the mount, read", "the mount, written and read"};

struct bench {
	struct rig rig;
	struct store *store;
	struct collection *coll;
	struct look look;
	struct data base, queries;
	struct hnsw_scratch *scratch;
	uint32_t ef;
	struct hit hits[EF_MAX];
	uint32_t slots[N_BATCH][K];
	char *buf;
};

/* ---- the sides ---- */

static const float *query_vec(const struct bench *b, uint32_t i)
{
	return b->queries.vecs + (size_t)(i % b->queries.n) * b->queries.dim;
}

static uint32_t loop_search(struct bench *b, uint32_t i, uint32_t ef)
{
	struct hnsw_query q = {.vec = query_vec(b, i), .k = K, .ef = ef};
	uint32_t n;

	rig_must(hnsw_search(b->look.cell->hnsw, &q, b->scratch, b->hits, &n) ==
		 0);
	return VG_MIN(n, (uint32_t)K);
}

static void ask_loop(struct bench *b)
{
	for (uint32_t i = 0; i < N_BATCH; i++) {
		uint32_t n = loop_search(b, i, b->ef);

		for (uint32_t j = 0; j < n; j++)
			b->slots[i][j] = b->hits[j].slot;
	}
}

static void write_batch(const struct bench *b)
{
	size_t row = b->queries.dim * sizeof(float);
	uint32_t step = VG_MIN(b->queries.n, N_BATCH);
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/v/query/batch", b->rig.mnt);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	for (uint32_t i = 0; i < N_BATCH; i += step) {
		size_t len = row * VG_MIN(step, N_BATCH - i);

		rig_must(write(fd, b->queries.vecs, len) == (ssize_t)len);
	}
	rig_must(close(fd) == 0);
}

static size_t read_answer(struct bench *b)
{
	char path[700];
	ssize_t n;
	size_t len = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/v/query/threads=1/ef=%u/batch.ids",
		b->rig.mnt, b->ef);
	fd = open(path, O_RDONLY);
	rig_must(fd >= 0);
	while ((n = read(fd, b->buf + len, BUF_LEN - len)) > 0)
		len += (size_t)n;
	rig_must(n == 0);
	close(fd);
	return len;
}

static void ask(struct bench *b, enum side side)
{
	if (side == LOOP) {
		ask_loop(b);
		return;
	}
	if (side == WRITE_READ)
		write_batch(b);
	rig_must(read_answer(b) > 0);
}

/* Whether the mount told the rows that the loop found, ties apart. */
static double share_alike(struct bench *b)
{
	const struct generation *gen = b->look.gen;
	char *at = b->buf;
	uint32_t alike = 0;

	ask(b, LOOP);
	b->buf[read_answer(b)] = '\0';
	for (uint32_t i = 0; i < N_BATCH; i++, at++)
		for (uint32_t j = 0; j < K; j++) {
			struct vg_id id = {at, (uint32_t)strcspn(at, "\n")};
			uint32_t no = generation_find(gen, id, b->look.moment);

			rig_must(no != VERSION_NONE);
			alike += generation_version(gen, no)->slot ==
				 b->slots[i][j];
			at += id.len + 1;
		}
	return alike / (double)(N_BATCH * K);
}

/* ---- the race ---- */

static double cpu_us(const struct bench *b, enum side side)
{
	double us = rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID);

	return side == LOOP ? us : us + rig_cpu_us(b->rig.cpu);
}

static void race(struct bench *b, int rounds)
{
	double wall[SIDES][MAX_ROUNDS], cpu[SIDES][MAX_ROUNDS];
	double part[SIDES][MAX_ROUNDS], cpu_part[SIDES][MAX_ROUNDS];
	size_t n = (size_t)rounds;

	for (int r = 0; r < rounds; r++) {
		for (int turn = 0; turn < SIDES; turn++) {
			/* Who goes first changes. */
			enum side s = (enum side)((r + turn) % SIDES);
			double start = rig_now_us(), c = cpu_us(b, s);

			ask(b, s);
			cpu[s][r] = (cpu_us(b, s) - c) / N_BATCH;
			wall[s][r] = (rig_now_us() - start) / N_BATCH;
		}
		for (enum side s = LOOP; s < SIDES; s++) {
			part[s][r] = wall[LOOP][r] / wall[s][r];
			cpu_part[s][r] = cpu[LOOP][r] / cpu[s][r];
		}
	}
	printf("%-30s %9s %9s %7s %7s %7s %9s\n", "batches of 1,000, .ids",
		"queries/s", "processor", "share", "p10", "p90", "processor");
	for (enum side s = LOOP; s < SIDES; s++)
		printf("%-30s %9.0f %7.1fus %7.3f %7.3f %7.3f %9.3f\n",
			side_name[s], 1e6 / rig_quantile(wall[s], n, .5),
			rig_quantile(cpu[s], n, .5),
			rig_quantile(part[s], n, .5),
			rig_quantile(part[s], n, .1),
			rig_quantile(part[s], n, .9),
			rig_quantile(cpu_part[s], n, .5));
}

/* ---- setting up ---- */

/* The lowest ef, in steps of a twentieth, whose recall is RECALL. */
static void find_ef(struct bench *b)
{
	struct truth t = {.base = &b->base,
		.queries = &b->queries,
		.metric = VG_L2,
		.k = K,
		.threads = 2};
	float *nearest = truth_new(&t);
	double recall = 0;

	for (b->ef = K; b->ef < EF_MAX; b->ef += VG_MAX(1u, b->ef / 20)) {
		uint32_t right = 0;

		for (uint32_t i = 0; i < b->queries.n; i++) {
			uint32_t n = loop_search(b, i, b->ef);

			right += truth_count(&t, nearest, i, b->hits, n);
		}
		recall = right / (double)(b->queries.n * K);
		if (recall >= RECALL)
			break;
	}
	rig_must(recall >= RECALL);
	printf("recall@%u %.4f at ef=%u\n", K, recall, b->ef);
	free(nearest);
}

static void open_copy(struct bench *b, const char *dir)
{
	struct store_config cfg = {0};
	struct entry_info info;
	struct store_report rep;
	struct store_stat st;
	char cmd[1200], data[600];

	snprintf(data, sizeof(data), "%s/copy", dir);
	snprintf(cmd, sizeof(cmd), "cp -r '%s' '%s'", b->rig.data, data);
	rig_must(system(cmd) == 0);
	cfg.dir = data;
	rig_must(store_open(&cfg, &rep, &b->store) == 0);
	rig_must(catalogue_get(store_catalogue(b->store),
			 (struct vg_id){"v", 1}, &info) == 0);
	b->coll = info.coll;
	store_stat(b->store, &st);
	rig_must(st.pending == 0); /* the checkpoint has the graph */
	look_init(&b->look, b->coll, store_moments(b->store));
	rig_must(hnsw_scratch_new(&b->scratch) == 0);
}

static void set_up(struct bench *b, const char *dir)
{
	b->buf = malloc(BUF_LEN);
	rig_must(b->buf);
	rig_open(&b->rig, dir, "batch", NULL);
	rig_mkdir(&b->rig, "v", "hnsw", "l2");
	rig_import(&b->rig, "v", b->base.vecs, b->base.n, b->base.dim);
	rig_close(&b->rig);
	open_copy(b, dir);
	rig_mount(&b->rig, NULL);
	find_ef(b);
	write_batch(b);
	printf("answers alike: %.4f\n", share_alike(b));
}

static void tear_down(struct bench *b)
{
	look_fini(&b->look);
	hnsw_scratch_free(b->scratch);
	collection_unref(b->coll);
	store_close(b->store);
	rig_close(&b->rig);
	free(b->buf);
	data_fini(&b->base);
	data_fini(&b->queries);
}

/* batch [DIR [ROWS [ROUNDS]]] */
int main(int argc, char **argv)
{
	int rows = argc > 2 ? atoi(argv[2]) : 200000;
	int rounds = argc > 3 ? atoi(argv[3]) : 31;
	static struct bench b;

	if (rows < 5000 || rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "rows are 5000 at least, rounds 1 to %d\n",
			MAX_ROUNDS);
		return 1;
	}
	vectors_load(&b.base, (uint32_t)rows, &b.queries, N_BATCH);
	printf("%u vectors of %u dimensions, hnsw, l2\n", b.base.n, b.base.dim);
	set_up(&b, rig_scratch(argc > 1 ? argv[1] : "."));
	race(&b, rounds);
	tear_down(&b);
	return 0;
}
