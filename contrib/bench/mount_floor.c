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
#include "contrib/bench/vectors.h"
#include "fs/answer.h"
#include "src/store.h"

/*
 * Four sides take turns, a block of questions each: the mount; a small file of
 * the same tree, which is kept and asks nothing, by the same system calls; the
 * null filesystem, asked for a file of the answer's size by a path of the same
 * depth; and a store in this process, opened on a copy of the same data
 * directory, which searches and renders. The first should cost what the last one
 * costs with either of the two between. Wall time is the median; processor time
 * counts caller and daemon, per question, and knows least of a busy neighbour.
 * Each is done twice: where the scheduler likes, and with all on one CPU.
 */
#define K 10
#define EF "50" /* or each side would tune its own while it is measured */
#define BLOCK 25
#define WARM 3 /* questions of a block that only warm up */
#define N_QUERIES 1000u
#define MAX_ROUNDS 1000
#define BUF_LEN (1u << 20)

enum side { MOUNT, SMALL, NULLFS, LOCAL, SIDES };
static const char *const side_name[] = {"the mount", "a small file of it",
	"null filesystem", "search in process"};

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
	const struct vg_id self = {id, (uint32_t)strlen(id)};
	struct search q = {.leave_out = &self, .n_leave_out = 1};
	uint32_t at;

	local_begin(b, ANSWER_NDJSON, 1);
	at = generation_find(b->look.gen, self, b->look.moment);
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
	if (side == SMALL)
		snprintf(path, sizeof(path), "%s/v/query/.small", b->rig.mnt);
	else
		snprintf(path, sizeof(path), "%s/%s/id=%s",
			side == MOUNT ? b->rig.mnt : b->null.mnt,
			side == MOUNT ? "v/query" : "dv/dquery", id);
	return read_path(b, path);
}

/* ---- a query that is written to a file ---- */

static const float *query_vec(const struct bench *b, uint32_t no)
{
	return b->queries.vecs + (size_t)(no % b->queries.n) * b->base.dim;
}

static size_t ask_vec_local(struct bench *b, uint32_t no)
{
	struct search q = {.vec = query_vec(b, no)};

	local_begin(b, ANSWER_NDJSON, 1);
	local_search(b, &q, 0);
	return local_end(b);
}

static void write_path(
	struct bench *b, const char *dir, const char *name, uint32_t no)
{
	size_t size = b->base.dim * sizeof(float);
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	rig_must(fd >= 0);
	rig_must(write(fd, query_vec(b, no), size) == (ssize_t)size);
	rig_must(close(fd) == 0);
}

static size_t ask_named(struct bench *b, enum side side, uint32_t no,
	uint32_t len)
{
	/* What the null filesystem calls c... is not there yet. */
	static const char *const name[] = {"q", ".small", "cq"};
	static const char *const read_name[] = {"q", ".small", "q"};
	char dir[600], path[700];

	if (side == LOCAL)
		return ask_vec_local(b, no);
	atomic_store(&b->null.shared->answer_len, len);
	snprintf(dir, sizeof(dir), "%s/%s",
		side == NULLFS ? b->null.mnt : b->rig.mnt,
		side == NULLFS ? "dv/dquery" : "v/query");
	write_path(b, dir, name[side], no);
	snprintf(path, sizeof(path), "%s/%s", dir, read_name[side]);
	return read_path(b, path);
}

/* ---- a query through .run ---- */

static size_t ask_run(struct bench *b, enum side side, uint32_t no,
	uint32_t len)
{
	size_t size = b->base.dim * sizeof(float);
	ssize_t got;

	if (side == LOCAL)
		return ask_vec_local(b, no);
	atomic_store(&b->null.shared->answer_len, len);
	rig_must(pwrite(b->run_fd[side], query_vec(b, no), size, 0) ==
		 (ssize_t)size);
	got = pread(b->run_fd[side], b->buf, BUF_LEN, 0);
	rig_must(got > 0);
	return (size_t)got;
}

/* ---- turns ---- */

static double cpu_us(const struct bench *b, enum side side)
{
	double us = rig_cpu_us(CLOCK_PROCESS_CPUTIME_ID);

	if (side == MOUNT || side == SMALL)
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

static double ratio(double (*of)(enum side), enum side floor)
{
	return of(MOUNT) / (of(floor) + of(LOCAL));
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

static void print_ratios(enum side floor)
{
	printf("  mount / (%s + search): p10 %.3f  p50 %.3f  processor %.3f; "
	       "beyond it %.1f us, of processor %.1f\n",
		side_name[floor], ratio(wall_p10, floor),
		ratio(wall_p50, floor), ratio(cpu_p50, floor),
		wall_p50(MOUNT) - wall_p50(floor) - wall_p50(LOCAL),
		cpu_p50(MOUNT) - cpu_p50(floor) - cpu_p50(LOCAL));
}

static void race(struct bench *b, ask_fn *ask, const char *what)
{
	size_t len[BLOCK], null_len[BLOCK], small_len[BLOCK] = {0};

	fig.n_wall = fig.n_cpu = 0;
	for (int r = 0; r < b->rounds; r++) {
		uint32_t first = (uint32_t)r * BLOCK;

		run_block(b, ask, LOCAL, first, len);
		memcpy(null_len, len, sizeof(len));
		run_block(b, ask, NULLFS, first, null_len);
		rig_must(memcmp(null_len, len, sizeof(len)) == 0);
		run_block(b, ask, SMALL, first, small_len);
		run_block(b, ask, MOUNT, first, len);
		fig.n_wall += BLOCK - WARM;
		fig.n_cpu++;
	}
	printf("%s, us: %17s %8s %8s %10s\n", what, "p10", "p50", "p90",
		"processor");
	for (enum side s = MOUNT; s < SIDES; s++)
		print_side(s);
	print_ratios(SMALL);
	print_ratios(NULLFS);
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
	rig_put(&b->rig, "v/.config/ef_search", EF);
	rig_import(&b->rig, "v", b->base.vecs, b->base.n, b->base.dim);
	open_copy(b, dir);
	snprintf(mnt, sizeof(mnt), "%s/v/query", b->rig.mnt);
	write_path(b, mnt, ".small", 0);
	b->run_fd[MOUNT] = open_run(mnt, ".run");
	b->run_fd[SMALL] = open_run(mnt, ".small");
	b->run_fd[NULLFS] = open_run(b->null.mnt, "run");
}

static void tear_down(struct bench *b)
{
	close(b->run_fd[MOUNT]);
	close(b->run_fd[SMALL]);
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

/* mount_floor [DIR [ROUNDS [ROWS]]] */
int main(int argc, char **argv)
{
	int rows = argc > 3 ? atoi(argv[3]) : 200000;
	static struct bench b;

	b.rounds = argc > 2 ? atoi(argv[2]) : 200;
	if (b.rounds < 1 || b.rounds > MAX_ROUNDS || rows < 1) {
		fprintf(stderr, "rounds are 1 to %d\n", MAX_ROUNDS);
		return 1;
	}
	vectors_load(&b.base, (uint32_t)rows, &b.queries, N_QUERIES);
	printf("%u vectors of %u dimensions, hnsw, ef=%s, k=%u\n",
		b.base.n, b.base.dim, EF, K);
	set_up(&b, rig_scratch(argc > 1 ? argv[1] : "."));
	for (int pinned = 0; pinned < 2; pinned++) {
		pin(&b, pinned ? sched_getcpu() : -1);
		race(&b, ask_path, "open+read+close");
		race(&b, ask_named, "write, then read");
		race(&b, ask_run, ".run write+read");
	}
	pin(&b, -1);
	tear_down(&b);
	return 0;
}
