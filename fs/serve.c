/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c: see serve.h. */
#include "fs/serve.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/boards.h"
#include "fs/change.h"
#include "fs/handle.h"
#include "fs/inflight.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "src/clock.h"
#include "src/log.h"

/* How long a new mount waits for the directory's owner to end. */
#define OWNER_WAIT_MS 30000

static void tidy(void *ctx)
{
	struct fs *fs = ctx;

	named_expire(&fs->named);
	stages_expire(&fs->stages, clock_now_ns());
}

/* Before 6.18 the kernel is told of each name by itself. */
static void forget_name(struct fs *fs, uint64_t nodeid)
{
	struct qnode *node = nodes_get(&fs->nodes, nodeid);
	const char *name;
	size_t len;

	if (!node)
		return;
	len = node->path_len -
	      (node->kind == QNODE_DIR || node->kind == QNODE_HITS);
	name = node->path + len;
	while (name > node->path && name[-1] != '/')
		name--;
	fuse_lowlevel_notify_inval_entry(fs->se, node->parent, name,
		len - (size_t)(name - node->path));
	nodes_unref(&fs->nodes, node);
}

/* Asks the kernel to forget the oldest names below query/: it would remember
 * each of them until it is short of memory. */
static void *pruner_main(void *arg)
{
	struct fs *fs = arg;
	uint64_t *nodeid = calloc(NODES_PRUNE, sizeof(*nodeid));
	bool by_name = false;
	size_t n;

	while (nodeid &&
		(n = nodes_wait_prune(&fs->nodes, nodeid, NODES_PRUNE)) > 0) {
		if (!by_name)
			by_name = loop_prune(fs->se, nodeid, n) == -EINVAL;
		for (size_t i = 0; i < n && by_name; i++)
			forget_name(fs, nodeid[i]);
	}
	free(nodeid);
	return NULL;
}

static int fs_init(struct fs *fs, struct boards *boards)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	fs->session = arena_session(fs->arena);
	fs->uid = getuid();
	fs->gid = getgid();
	fs->started_ns = fs_now();
	fs->boards = boards;
	pthread_mutex_init(&fs->handles_lock, NULL);
	boards_init(boards);
	fs->open = calloc(ARENA_FILES_MAX, sizeof(*fs->open));
	if (!fs->open)
		return -ENOMEM;
	rc = stages_init(&fs->stages, fs->arena);
	if (rc < 0)
		return rc;
	nodes_init(&fs->nodes, fs->session, fs->arena);
	named_init(&fs->named, fs->arena);
	rc = pool_init(&fs->pool, (unsigned)VG_MAX(2L, VG_MIN(cpus, 64L)));
	if (rc < 0)
		return rc;
	rc = timer_init(&fs->timer, tidy, fs);
	if (rc < 0)
		pool_fini(&fs->pool);
	return rc;
}

/* What the kernel did not close. */
static void free_handles(struct fs *fs)
{
	while (fs->handles)
		handle_forget(fs, fs->handles);
}

/* Nothing is served any more. */
static void fs_fini(struct fs *fs)
{
	pool_fini(&fs->pool);
	free_handles(fs);
	timer_fini(&fs->timer);
	nodes_fini(&fs->nodes);
	stages_fini(&fs->stages);
	named_fini(&fs->named);
	boards_fini(fs->boards);
	pthread_mutex_destroy(&fs->handles_lock);
	free(fs->open);
}

/* The value of -o max_read=N, which is libfuse's option, or 0. */
static uint32_t max_read_of(const struct options *o)
{
	const char *at = NULL;

	for (int i = 0; i < o->fuse->argc; i++) {
		const char *found = strstr(o->fuse->argv[i], "max_read=");

		at = found ? found : at;
	}
	return at ? (uint32_t)strtoul(at + 9, NULL, 10) : 0;
}

/* An answer goes to the kernel; but for INIT's second one, which it has had. */
static ssize_t reply(int fd, struct iovec *iov, int n, void *userdata)
{
	struct fs *fs = userdata;
	const struct fuse_out_header *out = iov[0].iov_base;
	uint64_t unique = out->unique;
	ssize_t len = 0;

	if (unique && unique == atomic_load_explicit(
				&fs->init_unique, memory_order_relaxed)) {
		for (int i = 0; i < n; i++)
			len += (ssize_t)iov[i].iov_len;
		return len;
	}
	len = holder_writev(fd, iov, n, NULL);
	if (unique) {
		int error = errno;

		inflight_answered(fs->inflight, unique);
		errno = error;
	}
	return len;
}

/* What the former daemon left: first of all which requests it had not answered,
 * for what they made is made again. */
static int load_kept(struct fs *fs)
{
	struct catalogue *cat = store_catalogue(fs->store);
	int rc = inflight_recover(fs->inflight, fuse_session_fd(fs->se));

	if (rc >= 0)
		rc = stages_load(&fs->stages, cat);
	if (rc == 0)
		rc = named_load(&fs->named, cat);
	if (rc == 0)
		rc = ops_load_nodes(fs);
	if (rc == 0)
		rc = handles_load(fs);
	if (rc == 0)
		stages_expire(&fs->stages, clock_now_ns());
	return rc;
}

/*
 * Comes to terms with the kernel. After a crash it has done so with another
 * daemon, and awaits answers to what that one was asked.
 */
static int start_session(struct fs *fs, struct holder_env *env)
{
	int rc = env->restarts
			 ? loop_init_again(
				   fs->se, fs->inflight, &fs->init_unique)
			 : loop_init(fs->se, fs->inflight);

	if (rc == 0)
		rc = holder_ready(env);
	if (rc == 0 && env->restarts)
		rc = load_kept(fs);
	if (rc == 0 && env->restarts)
		rc = loop_repeat(fs->se, fs->inflight);
	if (rc < 0)
		return rc;
	store_settle(fs->store);
	if (env->restarts)
		log_warn("restarted times=%u requests=%d", env->restarts, rc);
	return 0;
}

static int serve_tree(struct fs *fs, struct holder_env *env)
{
	struct loop_config loop = {.n_threads = env->options->n_threads,
		.spin_us = env->options->spin_us,
		.inflight = fs->inflight};
	struct boards boards;
	pthread_t pruner;
	int rc = fs_init(fs, &boards);

	if (rc < 0)
		return rc;
	fs->max_read = max_read_of(env->options);
	fs->restarts = env->restarts;
	fs->crash_ns = env->crash_ns;
	rc = holder_session(env,
		&(struct holder_calls){&fs_ops, sizeof(fs_ops), fs, reply},
		&fs->se);
	if (rc < 0)
		goto fini_fs;
	rc = start_session(fs, env);
	if (rc < 0)
		goto destroy_session;
	rc = -pthread_create(&pruner, NULL, pruner_main, fs);
	if (rc < 0)
		goto destroy_session;
	rc = loop_run(fs->se, &loop);
	nodes_stop(&fs->nodes);
	pthread_join(pruner, NULL);
	/* Imports that were cut off end what they began, while commits still
	 * go on; then every request is answered, and the session can go. */
	pool_fini(&fs->pool);
	free_handles(fs);
	store_quiesce(fs->store);
destroy_session:
	fuse_session_destroy(fs->se);
fini_fs:
	fs_fini(fs);
	return rc;
}

/* In the arena's small region, behind the stages' part. */
enum { LEFT_UNKNOWN, LEFT_URING, LEFT_PWRITE };
#define LEFT_OFF 16384u
static_assert(STAGE_MISSES_OFF + sizeof(struct stage_misses) <= LEFT_OFF,
	"it has a place of its own");

/* What one daemon leaves to the next, that is no file; zeros at first. */
struct left {
	uint8_t how; /* the store writes: to measure it takes longer than all
			else of a restart */
	_Atomic uint32_t next_gen; /* the store's */
};

static int open_store(
	struct holder_env *env, struct arena *arena, struct store **out)
{
	static const enum store_durability modes[] = {
		[OPTIONS_CLOSE] = STORE_CLOSE,
		[OPTIONS_FSYNC] = STORE_FSYNC,
		[OPTIONS_ASYNC] = STORE_ASYNC};
	void *small;
	int rc = arena_get_region(arena, ARENA_SMALL, 0, &small);

	if (rc < 0)
		return rc;

	struct left *left = (void *)((char *)small + LEFT_OFF);
	struct store_config cfg = {
		.dir = env->options->data_dir,
		.durability = modes[env->options->durability],
		.wait_ms = OWNER_WAIT_MS,
		.try_uring = left->how == LEFT_UNKNOWN,
		.no_uring = left->how == LEFT_PWRITE,
		.next_gen = &left->next_gen,
		.will_settle = true,
		.checkpoint_bytes = env->options->checkpoint,
		.segment_size = VG_MIN(env->options->checkpoint, 64ull << 20),
		.has_grace = true,
		.grace_s = env->options->backup_grace_s,
		.is_recovery = env->options->is_recovery,
	};
	struct store_report rep;

	rc = store_open(&cfg, &rep, out);
	if (rc < 0) {
		snprintf(env->why, sizeof(env->why), "%s", rep.error);
		return rc;
	}
	left->how = rep.uring ? LEFT_URING : LEFT_PWRITE;
	log_info("opened data=%s manifest=%llu replayed=%llu log=%s",
		env->options->data_dir, (unsigned long long)rep.manifest,
		(unsigned long long)rep.replayed,
		rep.uring ? "io_uring" : "pwrite");
	return 0;
}

/* As many descriptors as we may have: programs begin with few because of
 * select(2), which we do not use. */
static void take_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("the limit of open files stays as it was");
}

int serve(void *ctx, struct holder_env *env)
{
	struct fs *fs = calloc(1, sizeof(*fs));
	int rc;

	(void)ctx;
	if (!fs)
		return -ENOMEM;
#ifdef PR_SET_IO_FLUSHER
	/* Memory that we ask for must not wait for our own answers. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
#endif
	take_descriptors();
	rc = arena_open(env->arena_fd, &fs->arena);
	if (rc < 0)
		goto free_fs;
	rc = open_store(env, fs->arena, &fs->store);
	if (rc < 0)
		goto close_arena;
	rc = inflight_open(fs->arena, &fs->inflight);
	if (rc == 0)
		rc = serve_tree(fs, env);
	inflight_close(fs->inflight);
	store_close(fs->store);
close_arena:
	arena_close(fs->arena);
free_fs:
	free(fs);
	return rc;
}
