/* SPDX-License-Identifier: Apache-2.0 */
/* mount_floor.c: a query through the mount beside what the mount must cost. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/bench/nullfs.h"
#include "contrib/bench/rig.h"
#include "fs/answer.h"
#include "src/store.h"
#include "tests/recall/data.h"

/*
 * Three sides take turns, a block of questions each: the mount; the null
 * filesystem, asked for a file of the answer's size by a path of the same
 * depth; and a store in this process, opened on a copy of the same data
 * directory, which searches and renders. The first should cost what the other
 * two cost together. Wall time is the median; processor time counts caller and
 * daemon, per question, and knows least of a busy neighbour. Each is done twice:
 * where the scheduler likes, and with all on one CPU.
 */
#define K 10
#define BLOCK 25
#define WARM 3 /* questions of a block that only warm up */
#define N_BATCH 1000u
#define N_TRUTH 200u
#define MAX_ROUNDS 1000
#define BUF_LEN (1u << 20)

enum side { MOUNT, NULLFS, LOCAL, SIDES };
static const char *const side_name[] = {"the mount", "null filesystem",
	"search in process"};

struct bench {
	struct rig rig;
	struct nullfs null;
	struct store *store;
	struct collection *coll;
	struct data base, queries;
	struct answer answer;
	struct look look; /* of the question that is being answered */
	struct search_hit hits[K + 1];
	int run_fd[SIDES];
	uint32_t batch_ef;
	int rounds;
	char *buf;
};

/* What one kind of question cost each side. */
struct figures {
	double wall[SIDES][MAX_ROUNDS * BLOCK];
	double cpu[SIDES][MAX_ROUNDS]; /* per question */
	size_t n_wall, n_cpu;
};

static struct figures fig;

/* Asks question no on one side; returns the answer's length. */
typedef size_t ask_fn(struct bench *b, enum side side, uint32_t no,
	uint32_t len);

/* ---- the store in this process ---- */

/* As fs/ask.c does it. */
static void local_begin(struct bench *b, enum answer_fmt fmt, uint32_t n)
{
	struct answer_spec spec = {
		.fmt = fmt,
		.metric = VG_L2,
		.n = n,
		.k = K,
		.has_distance = true,
	};

	rig_must(answer_open(&b->answer, &spec) == 0);
	look_init(&b->look, b->coll, store_moments(b->store));
}

static void local_search(struct bench *b, struct search *q, uint32_t no)
{
	uint32_t n;

	q->dim = b->base.dim;
	q->k = K;
	rig_must(store_search(b->store, &b->look, q, b->hits, &n) == 0);
	for (uint32_t i = 0; i < n; i++) {
		struct answer_row row = {
			.id = version_id(b->hits[i].version),
			.dist = b->hits[i].dist,
			.meta = version_meta(b->hits[i].version),
		};

		rig_must(answer_add(&b->answer, no, &row, 1) == 0);
	}
}

static size_t local_end(struct bench *b)
{
	rig_must(answer_close(&b->answer, false) == 0);
	look_fini(&b->look);
	return b->answer.len;
}

/* ---- a query as a path ---- */

static size_t read_path(struct bench *b, const char *path)
{
	int fd = open(path, O_RDONLY);
	ssize_t len;

	rig_must(fd >= 0);
	len = read(fd, b->buf, BUF_LEN);
	rig_must(len > 0);
	close(fd);
	return (size_t)len;
}

static size_t ask_id_local(struct bench *b, const char *id)
{
	struct search q = {.leave_out = {id, (uint32_t)strlen(id)}};
	uint32_t at;

	local_begin(b, ANSWER_NDJSON, 1);
	at = generation_find(b->look.gen, q.leave_out, b->look.moment);
	rig_must(at != VERSION_NONE);
	q.vec = version_vec(generation_version(b->look.gen, at));
	local_search(b, &q, 0);
	return local_end(b);
}

static size_t ask_path(struct bench *b, enum side side, uint32_t no,
	uint32_t len)
{
	char path[700], id[16];

	snprintf(id, sizeof(id), "%u", no * 7919u % b->base.n);
	if (side == LOCAL)
		return ask_id_local(b, id);
	atomic_store(&b->null.shared->answer_len, len);
	snprintf(path, sizeof(path), "%s/%s/id=%s",
		side == MOUNT ? b->rig.mnt : b->null.mnt,
		side == MOUNT ? "v/query" : "dv/dquery", id);
	return read_path(b, path);
}

/* ---- a query through .run ---- */

static size_t ask_run(struct bench *b, enum side side, uint32_t no,
	uint32_t len)
{
	const float *vec =
		b->queries.vecs + (size_t)(no % b->queries.n) * b->base.dim;
	size_t size = b->base.dim * sizeof(float);
	struct search q = {.vec = vec};
	ssize_t got;

	if (side == LOCAL) {
		local_begin(b, ANSWER_NDJSON, 1);
		local_search(b, &q, 0);
		return local_end(b);
	}
	atomic_store(&b->null.shared->answer_len, len);
	rig_must(pwrite(b->run_fd[side], vec, size, 0) == (ssize_t)size);
	got = pread(b->run_fd[side], b->buf, BUF_LEN, 0);
	rig_must(got > 0);
	return (size_t)got;
}

/* ---- turns ---- */

static double cpu_us(const struct bench *b, enum side side)
{
	double us = rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID);

	if (side == MOUNT)
		us += rig_cpu_us(b->rig.cpu);
	if (side == NULLFS)
		us += rig_cpu_us(rig_clock_of(b->null.pid));
	return us;
}

static void run_block(struct bench *b, ask_fn *ask, enum side side,
	uint32_t first, size_t *len)
{
	double cpu = 0, start, took;

	for (uint32_t i = 0; i < BLOCK; i++) {
		if (i == WARM)
			cpu = cpu_us(b, side);
		start = rig_now_us();
		len[i] = ask(b, side, first + i, (uint32_t)len[i]);
		took = rig_now_us() - start;
		if (i >= WARM)
			fig.wall[side][fig.n_wall + i - WARM] = took;
	}
	fig.cpu[side][fig.n_cpu] = (cpu_us(b, side) - cpu) / (BLOCK - WARM);
}

static void print_side(enum side side)
{
	double *w = fig.wall[side], *c = fig.cpu[side];

	printf("  %-20s %8.1f %8.1f %8.1f %10.1f\n", side_name[side],
		rig_quantile(w, fig.n_wall, .1),
		rig_quantile(w, fig.n_wall, .5),
		rig_quantile(w, fig.n_wall, .9),
		rig_quantile(c, fig.n_cpu, .5));
}

static double ratio(double (*of)(enum side))
{
	return of(MOUNT) / (of(NULLFS) + of(LOCAL));
}

static double wall_p50(enum side side)
{
	return rig_quantile(fig.wall[side], fig.n_wall, .5);
}

static double wall_p10(enum side side)
{
	return rig_quantile(fig.wall[side], fig.n_wall, .1);
}

static double cpu_p50(enum side side)
{
	return rig_quantile(fig.cpu[side], fig.n_cpu, .5);
}

static void race(struct bench *b, ask_fn *ask, const char *what)
{
	size_t len[BLOCK], null_len[BLOCK];

	fig.n_wall = fig.n_cpu = 0;
	for (int r = 0; r < b->rounds; r++) {
		uint32_t first = (uint32_t)r * BLOCK;

		run_block(b, ask, LOCAL, first, len);
		memcpy(null_len, len, sizeof(len));
		run_block(b, ask, NULLFS, first, null_len);
		rig_must(memcmp(null_len, len, sizeof(len)) == 0);
		run_block(b, ask, MOUNT, first, len);
		fig.n_wall += BLOCK - WARM;
		fig.n_cpu++;
	}
	printf("%s, us: %17s %8s %8s %10s\n", what, "p10", "p50", "p90",
		"processor");
	for (enum side s = MOUNT; s < SIDES; s++)
		print_side(s);
	printf("  mount / (null + search): p10 %.3f  p50 %.3f  processor "
	       "%.3f\n",
		ratio(wall_p10), ratio(wall_p50), ratio(cpu_p50));
}

/* ---- a batch ---- */

static void ask_batch_local(struct bench *b)
{
	local_begin(b, ANSWER_IDS, N_BATCH);
	for (uint32_t i = 0; i < N_BATCH; i++) {
		struct search q = {
			.vec = b->queries.vecs +
			       (size_t)(i % b->queries.n) * b->base.dim,
			.ef = b->batch_ef,
		};

		local_search(b, &q, i);
	}
	local_end(b);
}

static void put_batch(const struct bench *b)
{
	size_t row = b->base.dim * sizeof(float);
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/v/query/batch", b->rig.mnt);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	for (uint32_t i = 0; i < N_BATCH; i++)
		rig_must(write(fd,
				 b->queries.vecs + (size_t)(i % b->queries.n) *
							   b->base.dim,
				 row) == (ssize_t)row);
	rig_must(close(fd) == 0);
}

static void batch(struct bench *b)
{
	double rate[2][64], cpu[2][64], part;
	int rounds = VG_MIN(b->rounds, 15);
	char path[700];

	put_batch(b);
	snprintf(path, sizeof(path), "%s/v/query/threads=1/ef=%u/batch.ids",
		b->rig.mnt, b->batch_ef);
	for (int r = 0; r < rounds; r++)
		for (int mount = 0; mount < 2; mount++) {
			enum side side = mount ? MOUNT : LOCAL;
			double start = rig_now_us(), c = cpu_us(b, side);

			if (mount)
				read_path(b, path);
			else
				ask_batch_local(b);
			cpu[mount][r] = (cpu_us(b, side) - c) / N_BATCH;
			rate[mount][r] = N_BATCH * 1e6 / (rig_now_us() - start);
		}
	rig_must(strlen(b->answer.bytes) > 0);
	part = rig_quantile(rate[1], (size_t)rounds, .5) /
	       rig_quantile(rate[0], (size_t)rounds, .5);
	printf("a batch of %u, threads=1, ef=%u: %.0f/s through the mount, "
	       "%.0f/s in process: %.3f; best rounds %.3f; processor us %.1f "
	       "and %.1f: %.3f\n",
		N_BATCH, b->batch_ef, rate[1][rounds / 2], rate[0][rounds / 2],
		part, rate[1][rounds - 1] / rate[0][rounds - 1],
		rig_quantile(cpu[1], (size_t)rounds, .5),
		rig_quantile(cpu[0], (size_t)rounds, .5),
		cpu[0][rounds / 2] / cpu[1][rounds / 2]);
}

/* ---- the recall of an ef ---- */

static double recall_of(struct bench *b, const float *kth, uint32_t ef)
{
	uint32_t n_truth = VG_MIN(N_TRUTH, b->queries.n), found = 0, n;

	look_init(&b->look, b->coll, store_moments(b->store));
	for (uint32_t i = 0; i < n_truth; i++) {
		struct search q = {
			.vec = b->queries.vecs + (size_t)i * b->base.dim,
			.dim = b->base.dim,
			.k = K,
			.ef = ef,
		};

		rig_must(store_search(b->store, &b->look, &q, b->hits, &n) == 0);
		for (uint32_t j = 0; j < n; j++)
			found += b->hits[j].dist <= kth[i];
	}
	look_fini(&b->look);
	return found / (double)(n_truth * K);
}

/* The lowest ef, in steps of a tenth, whose recall is .99. */
static void find_ef(struct bench *b)
{
	float kth[N_TRUTH];
	uint32_t n;
	double recall = 0;

	look_init(&b->look, b->coll, store_moments(b->store));
	for (uint32_t i = 0; i < VG_MIN(N_TRUTH, b->queries.n); i++) {
		struct search q = {
			.vec = b->queries.vecs + (size_t)i * b->base.dim,
			.dim = b->base.dim,
			.k = K,
			.exact = true,
		};

		rig_must(store_search(b->store, &b->look, &q, b->hits, &n) == 0);
		kth[i] = b->hits[K - 1].dist;
	}
	look_fini(&b->look);
	for (b->batch_ef = K; b->batch_ef < 1000;
		b->batch_ef += b->batch_ef / 10) {
		recall = recall_of(b, kth, b->batch_ef);
		if (recall >= .99)
			break;
	}
	printf("recall@%u %.4f at ef=%u\n", K, recall, b->batch_ef);
}

/* ---- setting up ---- */

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
	do {
		usleep(20000);
		store_stat(b->store, &st);
	} while (st.pending);
}

static int open_run(const char *mnt, const char *path)
{
	char full[700];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", mnt, path);
	fd = open(full, O_RDWR);
	rig_must(fd >= 0);
	return fd;
}

static void set_up(struct bench *b, const char *dir)
{
	char mnt[600];

	b->buf = malloc(BUF_LEN);
	answer_init(&b->answer);
	snprintf(mnt, sizeof(mnt), "%s/null.mnt", dir);
	rig_must(mkdir(mnt, 0755) == 0);
	nullfs_open(mnt, &b->null);
	rig_open(&b->rig, dir, "floor", NULL);
	rig_mkdir(&b->rig, "v", "hnsw", "l2");
	rig_import(&b->rig, "v", b->base.vecs, b->base.n, b->base.dim);
	open_copy(b, dir);
	b->run_fd[MOUNT] = open_run(b->rig.mnt, "v/query/.run");
	b->run_fd[NULLFS] = open_run(mnt, "run");
	find_ef(b);
}

static void tear_down(struct bench *b)
{
	close(b->run_fd[MOUNT]);
	close(b->run_fd[NULLFS]);
	collection_unref(b->coll);
	store_close(b->store);
	rig_close(&b->rig);
	nullfs_close(&b->null);
	answer_fini(&b->answer);
	free(b->buf);
	data_fini(&b->base);
	data_fini(&b->queries);
}

static void pin(struct bench *b, int cpu)
{
	rig_pin(getpid(), cpu);
	rig_pin(b->rig.daemon, cpu);
	rig_pin(b->null.pid, cpu);
	printf("\n%s\n",
		cpu < 0 ? "-- where the scheduler likes" : "-- all on one CPU");
}

static bool load(struct bench *b)
{
	const char *dir = getenv("VG_DATA"), *src = getenv("VG_SRC");
	char base[600], queries[600];

	if (dir && *dir) {
		snprintf(base, sizeof(base),
			"%s/fashion-mnist/train-images-idx3-ubyte.gz", dir);
		snprintf(queries, sizeof(queries),
			"%s/fashion-mnist/t10k-images-idx3-ubyte.gz", dir);
		return data_load_idx(&b->base, base, UINT32_MAX, false) &&
		       data_load_idx(&b->queries, queries, N_BATCH, false);
	}
	src = src ? src : ".";
	snprintf(base, sizeof(base), "%s/tests/data/sift5k/sift5k_base.fvecs",
		src);
	snprintf(queries, sizeof(queries),
		"%s/tests/data/sift5k/sift5k_query.fvecs", src);
	return data_load_fvecs(&b->base, base, UINT32_MAX) &&
	       data_load_fvecs(&b->queries, queries, UINT32_MAX);
}

/* mount_floor [DIR [ROUNDS]] */
int main(int argc, char **argv)
{
	static struct bench b;

	b.rounds = VG_MIN(argc > 2 ? atoi(argv[2]) : 200, MAX_ROUNDS);
	if (b.rounds < 1 || !load(&b)) {
		fputs("no vectors: run it in the source directory, or set "
		      "VG_DATA or VG_SRC; rounds are 1 to 1000\n",
			stderr);
		return 1;
	}
	printf("%u vectors of %u dimensions, hnsw, default ef, k=%u\n",
		b.base.n, b.base.dim, K);
	set_up(&b, rig_scratch(argc > 1 ? argv[1] : "."));
	for (int pinned = 0; pinned < 2; pinned++) {
		pin(&b, pinned ? sched_getcpu() : -1);
		race(&b, ask_path, "open+read+close");
		race(&b, ask_run, ".run write+read");
	}
	pin(&b, -1);
	batch(&b);
	tear_down(&b);
	return 0;
}
