/* SPDX-License-Identifier: Apache-2.0 */
/* holder.h: the process that mounts, and the daemon that serves as its child. */
#ifndef FS_HOLDER_H
#define FS_HOLDER_H

#include <sys/uio.h>

#include "src/vg.h"

struct fuse_lowlevel_ops;
struct fuse_session;
struct options;

/*
 *   vecgridfs ------> holder --------> daemon
 *   (the command;     mounts, keeps    opens the store, serves
 *   returns when      the connection   requests, flushes
 *   the tree is       and the arena
 *   usable)
 *
 * The holder is small so that it does not fail. Whatever the daemon had in the
 * arena and the kernel in the connection outlives the daemon. Killing the
 * holder kills the daemon. With -f the command is the holder itself.
 *
 * A daemon that was ended by a signal is started again, on the connection and
 * the arena that it had; those who use the tree wait meanwhile. The holder
 * gives up after HOLDER_CRASHES of them within a minute, and at the first one
 * with -o norestart, before the tree was usable, or when it is ending.
 *
 * The tree ends in one of these ways, and each leaves no mount and no process:
 *   umount            the session ends, the daemon flushes, all exit 0
 *   SIGTERM, SIGINT   to the holder, who hands them to the daemon: likewise;
 *                     while the daemon starts it is killed instead
 *   the daemon fails  the holder unmounts and exits with its status
 *   kill -9 holder    the daemon dies with it; the mount is dead (ENOTCONN)
 *                     until umount, or until the next mount, which removes it
 */
#define HOLDER_CRASHES 5
#define HOLDER_CRASHES_S 60

/* Exit statuses, as mount(8) knows them. */
enum holder_status {
	HOLDER_OK = 0,
	HOLDER_USAGE = 1,
	HOLDER_MOUNT = 32, /* the tree could not be made usable */
	HOLDER_SIGNAL = 128, /* + the signal that killed the daemon */
};

/* What the daemon finds itself in. Descriptors are the daemon's own. */
struct holder_env {
	const struct options *options; /* borrowed until serve returns */
	int arena_fd;  /* the memory of staged bytes, fs/arena.h */
	int fuse_fd;   /* the connection; holder_session takes it */
	int ready_fd;  /* private to holder.c */
	unsigned restarts; /* daemons that crashed before this one */
	int64_t crash_ns;  /* wall clock of the last crash; 0: none */
	bool is_ready; /* holder_ready returned 0 */
	char why[512]; /* what went wrong, a sentence for the user */
};

/*
 * Runs in the daemon's main thread; it opens the store, makes the session
 * (holder_session), agrees with the kernel (loop_init), calls holder_ready, then
 * loop_run, then flushes and closes. Called again after a crash, in a process
 * that knows no more than the first one did: env->restarts is not 0 then.
 * Threads are made here, never before. SIGTERM, SIGINT and SIGHUP are blocked
 * for loop_run. The tree is already mounted but answers nobody yet: touching
 * the mountpoint here waits for ever.
 *
 * Returns 0, or a negative errno with env->why saying what happened (an empty
 * why prints the errno's own text).
 */
typedef int holder_serve_fn(void *ctx, struct holder_env *env);

/*
 * Mounts and serves as o says. Returns the exit status of the calling process:
 * enum holder_status. Without -f it returns twice: in the command when the
 * tree is usable or has failed, and in the holder when the tree has ended.
 * Reports failures on standard error. Main thread; no other may exist.
 */
int holder_main(const struct options *o, holder_serve_fn *serve, void *ctx);

/* What a session is made of. Borrowed for its life. */
struct holder_calls {
	const struct fuse_lowlevel_ops *ops;
	size_t ops_size;
	void *userdata; /* of ops */
	/* How answers are written, with userdata: holder_writev and what is
	 * to be done beside it; NULL: that alone. */
	ssize_t (*writev)(int fd, struct iovec *iov, int n, void *userdata);
};

/*
 * Makes the daemon's session on the holder's connection. *out is returned
 * owned: fuse_session_destroy is due. -ENOMEM; -EINVAL: libfuse has printed
 * which option it refuses.
 */
int holder_session(struct holder_env *env, const struct holder_calls *calls,
	struct fuse_session **out);

/* Writes an answer, as writev(2). userdata is not used. Any thread. */
ssize_t holder_writev(int fd, struct iovec *iov, int n, void *userdata);

/*
 * The session is agreed on with the kernel (loop_init, loop_init_again): lets
 * the command return. Standard input and output become /dev/null without -f.
 * -EPIPE: the holder is gone.
 */
int holder_ready(struct holder_env *env);

#endif
