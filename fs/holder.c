/* SPDX-License-Identifier: Apache-2.0 */
/* holder.c: see holder.h. */
#include "fs/holder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/arena.h"
#include "fs/loop.h"
#include "fs/options.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#define READY 'R'	/* what goes through the pipes */
#define DEAD_MOUNTS_MAX 16 /* dead mounts stacked on one directory */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u /* kernel 6.8 */
#endif

/* What the holder has in hand. */
struct holder {
	const struct options *o;
	holder_serve_fn *serve;
	void *ctx;
	struct fuse_session *se; /* for mounting only, never served */
	int arena_fd;
	int ready_fd;	/* from the daemon; -1 once it has spoken */
	int command_fd; /* to the waiting command; -1 with -f or once told */
	int signal_fd;
	uint64_t mount_id; /* 0: this kernel does not tell */
	pid_t daemon;
	bool is_ready;	/* the tree was usable, once */
	bool is_up;	/* this daemon makes it so */
	bool is_ending; /* somebody wants it to end */
	unsigned restarts;
	int64_t crash_ns;		     /* wall clock, of the last */
	time_t crash_s[HOLDER_CRASHES]; /* monotonic: a ring, by number */
};

static int complain(int status, const char *fmt, ...) VG_PRINTF(2, 3);

static int complain(int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "vecgridfs: %s\n", text);
	return status;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool is_given_fd(const struct options *o)
{
	return !strncmp(o->mountpoint, "/dev/fd/", 8);
}

/* Standard input, output and error lead nowhere from here on. */
static void leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int to = 0; to <= 2; to++)
		dup2(fd, to);
	if (fd > 2)
		close(fd);
}

/* Runs a program and returns its exit status, or -1. */
static int run(char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Takes a mount off its directory, lazily: it may be in use. */
static void detach(const char *mountpoint)
{
	char *const argv[] = {"fusermount3", "-u", "-q", "-z", "--",
		(char *)(uintptr_t)mountpoint, NULL};

	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 &&
		errno == EPERM)
		run(argv);
}

/*
 * The number of the mount on top of the mountpoint, unique until reboot, or 0.
 * (The older numbers are handed out again at once, to the mount that follows
 * ours.) AT_STATX_DONT_SYNC: no request is sent to a daemon.
 */
static uint64_t top_mount_id(const char *mountpoint)
{
	struct statx sx;

	if (statx(AT_FDCWD, mountpoint,
		    AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW |
			    AT_NO_AUTOMOUNT,
		    STATX_MNT_ID_UNIQUE, &sx) < 0 ||
		!(sx.stx_mask & STATX_MNT_ID_UNIQUE))
		return 0;
	return sx.stx_mnt_id;
}

/*
 * Removes our mount if it is still there. A connection in error was unmounted
 * or aborted: only an aborted one leaves something behind, which we may take
 * for ours only by its number; somebody else may have mounted here already.
 */
static void unmount(struct holder *h)
{
	const char *mountpoint = h->o->mountpoint;
	struct pollfd p = {.fd = fuse_session_fd(h->se)};
	bool is_error = poll(&p, 1, 0) == 1 && (p.revents & POLLERR);

	if (is_given_fd(h->o))
		return;
	/* libfuse leaves a connection in error alone, and closes it first. */
	if (is_error || !h->mount_id ||
		h->mount_id == top_mount_id(mountpoint))
		fuse_session_unmount(h->se);
	if (h->mount_id && h->mount_id == top_mount_id(mountpoint))
		detach(mountpoint);
}

/* The mountpoint must be a directory. What a killed daemon left is removed. */
static int check_mountpoint(const char *mountpoint)
{
	struct stat st;

	for (int i = 0; stat(mountpoint, &st) < 0; i++) {
		if ((errno != ENOTCONN && errno != ECONNABORTED) ||
			i == DEAD_MOUNTS_MAX)
			return complain(HOLDER_MOUNT,
				"the mountpoint '%s' cannot be used: %s%s",
				mountpoint, strerror(errno),
				errno == ENOENT ? " (create it with mkdir)" :
						  "");
		detach(mountpoint);
	}
	if (!S_ISDIR(st.st_mode))
		return complain(HOLDER_MOUNT,
			"the mountpoint '%s' is not a directory", mountpoint);
	return HOLDER_OK;
}

/*
 * The data directory may not lie under the mountpoint: the daemon would wait
 * for itself. Each directory above it is compared, by name and by identity.
 */
static int check_overlap(const struct options *o)
{
	struct stat mnt, dir;
	bool is_known = stat(o->mountpoint, &mnt) == 0;
	char *path = strdup(o->data_dir), *cut;
	int rc = HOLDER_OK;

	if (!path)
		return complain(HOLDER_MOUNT, "out of memory");
	do {
		if (strcmp(path, o->mountpoint) == 0 ||
			(is_known && stat(path, &dir) == 0 &&
				dir.st_dev == mnt.st_dev &&
				dir.st_ino == mnt.st_ino)) {
			rc = complain(HOLDER_MOUNT,
				"the data directory '%s' lies under the "
				"mountpoint '%s': mount elsewhere",
				o->data_dir, o->mountpoint);
			break;
		}
		cut = strrchr(path, '/');
		if (cut)
			*cut = '\0';
	} while (cut && *path);
	free(path);
	return rc;
}

static int take_signals(int *out)
{
	sigset_t set;

	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*out = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *out < 0 ? -errno : 0;
}

/* The daemon: serves, tells what went wrong, ends. */
static _Noreturn void run_daemon(struct holder *h, pid_t holder, int ready_fd)
{
	struct holder_env env = {
		.options = h->o,
		.arena_fd = h->arena_fd,
		.fuse_fd = fuse_session_fd(h->se),
		.ready_fd = ready_fd,
		.restarts = h->restarts,
		.crash_ns = h->crash_ns,
	};
	sigset_t set;
	int rc;

	/* The holder may have died before it could take us along. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != holder)
		_exit(HOLDER_MOUNT);
	signal(SIGHUP, SIG_DFL);
	loop_block_signals();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	close_fd(&h->signal_fd);
	close_fd(&h->ready_fd);
	close_fd(&h->command_fd);
	rc = h->serve(h->ctx, &env);
	if (rc && env.why[0])
		complain(0, "%s", env.why);
	else if (rc)
		complain(0, "the store in '%s' cannot be served: %s",
			h->o->data_dir, strerror(-rc));
	exit(!rc ? HOLDER_OK : env.is_ready ? HOLDER_USAGE : HOLDER_MOUNT);
}

static int start_daemon(struct holder *h)
{
	pid_t self = getpid();
	int fd[2], rc;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	h->ready_fd = fd[0];
	h->is_up = false;
	fflush(NULL);
	h->daemon = fork();
	rc = h->daemon < 0 ? -errno : 0;
	if (h->daemon == 0)
		run_daemon(h, self, fd[1]);
	close(fd[1]);
	return rc;
}

/* The daemon spoke, or ended before it did (which SIGCHLD tells, too). */
static void hear_ready(struct holder *h)
{
	char byte;

	if (read(h->ready_fd, &byte, 1) == 1 && byte == READY) {
		if (!h->is_ready && !h->o->foreground)
			leave_terminal();
		h->is_ready = h->is_up = true;
		if (h->command_fd >= 0 && write(h->command_fd, &byte, 1) < 0) {
			/* The command was killed; the tree is mounted. */
			assert(errno == EPIPE);
		}
		close_fd(&h->command_fd);
	}
	close_fd(&h->ready_fd);
}

static void hear_signals(struct holder *h)
{
	struct signalfd_siginfo si;

	while (read(h->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		/* A start can be cut at any point, as by a power failure. */
		kill(h->daemon, h->is_up ? (int)si.ssi_signo : SIGKILL);
		h->is_ending = true;
	}
}

/* Waits until the daemon has ended; returns what waitpid told. */
static int watch_daemon(struct holder *h)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(h->daemon, &status, WNOHANG)) == 0 ||
		(pid < 0 && errno == EINTR)) {
		/* poll passes over descriptors that are -1 */
		struct pollfd p[3] = {
			{.fd = h->signal_fd, .events = POLLIN},
			{.fd = h->ready_fd, .events = POLLIN},
			{.fd = h->command_fd},
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents)
			hear_ready(h);
		if (p[0].revents)
			hear_signals(h);
		/* Nobody waits for a half-started tree any more. */
		if (h->command_fd >= 0 && (p[2].revents & POLLERR)) {
			kill(h->daemon, SIGKILL);
			h->is_ending = true;
			close_fd(&h->command_fd);
		}
	}
	if (h->ready_fd >= 0)
		hear_ready(h);
	return pid < 0 ? -1 : status;
}

static int explain(const struct holder *h, int status)
{
	int sig;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	sig = WTERMSIG(status);
	complain(0, "the daemon of '%s' was ended by signal %d (%s)%s",
		h->o->mountpoint, sig, strsignal(sig),
		h->is_ready ? "" : " while it started");
	return h->is_ready ? HOLDER_SIGNAL + sig : HOLDER_MOUNT;
}

static bool is_unmounted(const struct holder *h)
{
	struct pollfd p = {.fd = fuse_session_fd(h->se)};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* Whether a daemon that ended so is to be followed by another one. */
static bool is_to_restart(struct holder *h, int status)
{
	struct timespec now, wall;
	time_t *first = &h->crash_s[(h->restarts + 1) % HOLDER_CRASHES];

	if (!WIFSIGNALED(status) || !h->is_ready || h->is_ending ||
		h->o->norestart || is_unmounted(h))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	clock_gettime(CLOCK_REALTIME, &wall);
	h->crash_s[h->restarts % HOLDER_CRASHES] = now.tv_sec;
	if (h->restarts + 1 >= HOLDER_CRASHES &&
		now.tv_sec - *first < HOLDER_CRASHES_S) {
		complain(0, "the daemon of '%s' crashed %d times within a "
			 "minute: it is not started again", h->o->mountpoint,
			HOLDER_CRASHES);
		return false;
	}
	h->restarts++;
	h->crash_ns = wall.tv_sec * 1000000000LL + wall.tv_nsec;
	complain(0, "the daemon of '%s' was ended by signal %d (%s): it is "
		 "started again", h->o->mountpoint, WTERMSIG(status),
		strsignal(WTERMSIG(status)));
	return true;
}

/* Starts daemons until one ends for good: what waitpid told of that one. */
static int keep_daemon(struct holder *h, int *status)
{
	int rc;

	do {
		rc = start_daemon(h);
		if (rc == 0)
			*status = watch_daemon(h);
	} while (rc == 0 && is_to_restart(h, *status));
	return rc;
}

/* The holder's life. Returns its exit status. */
static int hold(struct holder *h)
{
	int rc = take_signals(&h->signal_fd), status = HOLDER_MOUNT, ended;

	if (rc)
		goto close_all;
	umask(0);
	h->arena_fd = arena_create(h->o->staging_max);
	rc = h->arena_fd < 0 ? h->arena_fd : chdir("/") < 0 ? -errno : 0;
	if (rc)
		goto close_all;
	if (fuse_session_mount(h->se, h->o->mountpoint) < 0)
		goto close_all; /* libfuse or fusermount3 has said why */
	if (!is_given_fd(h->o))
		h->mount_id = top_mount_id(h->o->mountpoint);
	rc = keep_daemon(h, &ended);
	if (!rc)
		status = explain(h, ended);
	unmount(h);
close_all:
	if (rc)
		complain(0, "cannot start: %s", strerror(-rc));
	close_fd(&h->ready_fd);
	close_fd(&h->command_fd);
	close_fd(&h->signal_fd);
	close_fd(&h->arena_fd);
	fuse_session_destroy(h->se);
	return status;
}

/* The command: waits for the holder to say that the tree is usable. */
static int wait_for_holder(pid_t holder, int fd)
{
	int status;
	ssize_t n;
	char byte;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		return HOLDER_OK;
	while (waitpid(holder, &status, 0) < 0) {
		if (errno != EINTR)
			return HOLDER_MOUNT;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status))
		return WEXITSTATUS(status);
	return HOLDER_MOUNT;
}

/* Without -f the holder is a child in a session of its own. */
static int hold_in_background(struct holder *h)
{
	pid_t pid;
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return complain(HOLDER_MOUNT, "cannot start: %s",
			strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		setsid();
		h->command_fd = fd[1];
		return hold(h);
	}
	close(fd[1]);
	int status = pid < 0 ? complain(HOLDER_MOUNT, "cannot start: %s",
				       strerror(errno)) :
			       wait_for_holder(pid, fd[0]);

	close(fd[0]);
	fuse_session_destroy(h->se);
	return status;
}

/* mount(8) runs us again for a remount: only it can do one. */
static int remount(const struct options *o)
{
	execlp("mount", "mount", "-i", "-o", o->remount, o->mountpoint,
		(char *)NULL);
	return complain(HOLDER_MOUNT, "cannot run mount: %s", strerror(errno));
}

int holder_main(const struct options *o, holder_serve_fn *serve, void *ctx)
{
	static const struct fuse_lowlevel_ops no_ops;
	struct holder h = {
		.o = o,
		.serve = serve,
		.ctx = ctx,
		.arena_fd = -1,
		.ready_fd = -1,
		.command_fd = -1,
		.signal_fd = -1,
	};
	struct fuse_args args;
	int rc = HOLDER_OK;

	if (o->action == OPTIONS_REMOUNT)
		return remount(o);
	assert(o->action == OPTIONS_MOUNT);
	if (!is_given_fd(o))
		rc = check_mountpoint(o->mountpoint);
	if (!rc && !is_given_fd(o))
		rc = check_overlap(o);
	if (rc)
		return rc;
	if (options_args(o, &args) < 0)
		return complain(HOLDER_MOUNT, "out of memory");
	h.se = fuse_session_new(&args, &no_ops, sizeof(no_ops), NULL);
	fuse_opt_free_args(&args);
	if (!h.se) /* libfuse has named the option */
		return complain(HOLDER_USAGE, "see vecgridfs --help");
	return o->foreground ? hold(&h) : hold_in_background(&h);
}

ssize_t holder_writev(int fd, struct iovec *iov, int n, void *userdata)
{
	(void)userdata;
	/*
	 * Not writev(): a sanitizer's looks at the bytes once more after the
	 * call, and by then the client may have read the answer and closed
	 * its file, and another thread have freed them.
	 */
	loop_reply_leaves();
	return syscall(SYS_writev, fd, iov, n);
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

int holder_session(struct holder_env *env, const struct holder_calls *calls,
	struct fuse_session **out)
{
	struct fuse_custom_io io = {
		.writev = calls->writev ? calls->writev : holder_writev,
		.read = io_read,
	};
	struct fuse_session *se;
	struct fuse_args args;
	int rc = options_args(env->options, &args);

	if (rc)
		return rc;
	assert(env->fuse_fd >= 0);
	se = fuse_session_new(
		&args, calls->ops, calls->ops_size, calls->userdata);
	fuse_opt_free_args(&args);
	if (!se)
		return -EINVAL;
	rc = fuse_session_custom_io(se, &io, env->fuse_fd);
	if (rc) {
		fuse_session_destroy(se);
		return rc;
	}
	env->fuse_fd = -1;
	*out = se;
	return 0;
}

int holder_ready(struct holder_env *env)
{
	static const char byte = READY;

	assert(env->ready_fd >= 0);
	if (!env->options->foreground)
		leave_terminal();
	if (write(env->ready_fd, &byte, 1) != 1)
		return -EPIPE;
	close_fd(&env->ready_fd);
	env->is_ready = true;
	return 0;
}
