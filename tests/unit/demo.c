/* SPDX-License-Identifier: Apache-2.0 */
/* demo.c: see demo.h. */
#include "tests/unit/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/holder.h"
#include "fs/inflight.h"
#include "fs/loop.h"
#include "fs/options.h"

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

enum { ROOT = 1, HELLO, IDS, NOTE, END };

struct demo {
	struct inflight *inflight;
	_Atomic uint64_t init_unique;
	pthread_mutex_t lock;
	char text[END][256]; /* lock */
	size_t len[END];
};

static const char *const name_of[] = {
	[HELLO] = "hello", [IDS] = "ids", [NOTE] = "note"};

static void fill(struct demo *d, fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_nlink = 1};
	if (ino == ROOT) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return;
	}
	st->st_mode = S_IFREG | 0644;
	pthread_mutex_lock(&d->lock);
	st->st_size = (off_t)d->len[ino];
	pthread_mutex_unlock(&d->lock);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {0};

	(void)parent;
	for (fuse_ino_t i = HELLO; i < END; i++) {
		if (!strcmp(name, name_of[i]))
			e.ino = i;
	}
	if (!e.ino) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill(fuse_req_userdata(req), e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
	struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	fill(fuse_req_userdata(req), ino, &st);
	fuse_reply_attr(req, &st, 0);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st,
	int set, struct fuse_file_info *fi)
{
	struct demo *d = fuse_req_userdata(req);

	(void)st;
	if (set & FUSE_SET_ATTR_SIZE) {
		pthread_mutex_lock(&d->lock);
		d->len[ino] = 0;
		pthread_mutex_unlock(&d->lock);
	}
	op_getattr(req, ino, fi);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct demo *d = fuse_req_userdata(req);
	char text[256];
	size_t len;

	(void)fi;
	pthread_mutex_lock(&d->lock);
	len = d->len[ino];
	memcpy(text, d->text[ino], len);
	pthread_mutex_unlock(&d->lock);
	if ((size_t)off >= len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, text + off,
			VG_MIN(len - (size_t)off, size));
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
	size_t size, off_t off, struct fuse_file_info *fi)
{
	struct demo *d = fuse_req_userdata(req);

	(void)fi;
	if (ino != NOTE || (size_t)off + size > sizeof(d->text[NOTE])) {
		fuse_reply_err(req, EFBIG);
		return;
	}
	/* What ends a daemon, at the first time or always. */
	if (size >= 6 && !memcmp(buf, "poison", 6))
		abort();
	if (size >= 4 && !memcmp(buf, "once", 4) && !loop_unique().resent)
		abort();
	pthread_mutex_lock(&d->lock);
	memcpy(d->text[NOTE] + off, buf, size);
	d->len[NOTE] = VG_MAX(d->len[NOTE], (size_t)off + size);
	pthread_mutex_unlock(&d->lock);
	fuse_reply_write(req, size);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
};

static void tell_ids(struct demo *d)
{
	mode_t mask = umask(0);
	char cwd[128];

	umask(mask);
	d->len[IDS] = (size_t)snprintf(d->text[IDS], sizeof(d->text[IDS]),
		"%d %d %o %s\n", getpid(), getppid(), mask,
		getcwd(cwd, sizeof(cwd)));
}

/* The store's part: DATADIR is opened, or a sentence says why not. */
static int open_store(int dir, struct holder_env *env, int *lock_fd)
{
	int fd;

	if (faccessat(dir, "refuse", F_OK, 0) == 0) {
		snprintf(env->why, sizeof(env->why),
			"the store refuses to be opened: remove 'refuse'");
		return -EINVAL;
	}
	if (faccessat(dir, "silent", F_OK, 0) == 0)
		return -ENOSPC;
	if (faccessat(dir, "crash", F_OK, 0) == 0)
		abort();
	fd = openat(dir, "hang", O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	*lock_fd = openat(dir, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (*lock_fd < 0 || flock(*lock_fd, LOCK_EX) < 0)
		return -errno;
	return 0;
}

static int save_note(struct demo *d, int dir)
{
	int fd, rc = 0;

	if (!d->len[NOTE])
		return 0;
	fd = openat(dir, "note", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		0644);
	if (fd < 0)
		return -errno;
	if (write(fd, d->text[NOTE], d->len[NOTE]) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static ssize_t reply(int fd, struct iovec *iov, int n, void *userdata)
{
	struct demo *d = userdata;
	const struct fuse_out_header *out = iov[0].iov_base;
	uint64_t unique = out->unique;
	ssize_t len = 0;

	for (int i = 0; i < n; i++)
		len += (ssize_t)iov[i].iov_len;
	if (unique != atomic_load(&d->init_unique))
		len = holder_writev(fd, iov, n, NULL);
	inflight_answered(d->inflight, unique);
	return len;
}

/* With the kernel, and after a crash with what it still waits for. */
static int agree(struct demo *d, struct holder_env *env,
	struct fuse_session *se)
{
	int rc = env->restarts ? loop_init_again(
					 se, d->inflight, &d->init_unique)
			       : loop_init(se, d->inflight);

	if (!rc)
		rc = holder_ready(env);
	if (!rc && env->restarts)
		rc = inflight_recover(d->inflight, fuse_session_fd(se));
	if (rc >= 0 && env->restarts)
		rc = loop_repeat(se, d->inflight);
	return rc < 0 ? rc : 0;
}

static int demo_serve(void *ctx, struct holder_env *env)
{
	struct demo *d = ctx;
	struct loop_config cfg = {
		.n_threads = env->options->n_threads,
		.spin_us = env->options->spin_us,
	};
	struct arena *arena = NULL;
	struct fuse_session *se;
	int lock_fd = -1, rc;
	int dir = open(env->options->data_dir, O_PATH | O_CLOEXEC);

	if (dir < 0) {
		snprintf(env->why, sizeof(env->why),
			"the data directory '%s' cannot be opened: %s",
			env->options->data_dir, strerror(errno));
		return -ENOENT;
	}
	rc = open_store(dir, env, &lock_fd);
	if (rc)
		goto close_dir;
	rc = arena_open(env->arena_fd, &arena);
	if (!rc)
		rc = inflight_open(arena, &d->inflight);
	if (rc)
		goto close_lock;
	cfg.inflight = d->inflight;
	rc = holder_session(env,
		&(struct holder_calls){&ops, sizeof(ops), d, reply}, &se);
	if (rc)
		goto close_lock;
	tell_ids(d);
	rc = agree(d, env, se);
	if (!rc)
		rc = loop_run(se, &cfg);
	if (!rc)
		rc = save_note(d, dir);
	fuse_session_destroy(se);
close_lock:
	inflight_close(d->inflight);
	arena_close(arena);
	close(lock_fd);
close_dir:
	close(dir);
	return rc;
}

int demo_main(int argc, char **argv)
{
	struct demo d = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.text[HELLO] = "hello\n",
		.len[HELLO] = 6,
	};
	struct options o;
	char why[512];
	int status;

	if (options_parse(argc, argv, why, sizeof(why), &o) < 0) {
		fprintf(stderr, "vecgridfs: %s\n", why);
		return HOLDER_USAGE;
	}
	if (o.action == OPTIONS_HELP) {
		options_usage(stdout);
		status = 0;
	} else {
		status = holder_main(&o, demo_serve, &d);
	}
	options_fini(&o);
	return status;
}
