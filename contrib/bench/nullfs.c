/* SPDX-License-Identifier: Apache-2.0 */
/* nullfs.c: see nullfs.h. */
#include "contrib/bench/nullfs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/loop.h"

#define IS_DIR (1ull << 62) /* of a node's number */
#define DIR_TIMEOUT 1.0

static struct nullfs_shared *shared;
static char answer[NULLFS_ANSWER_MAX];

static void attr(fuse_ino_t ino, struct stat *st)
{
	bool is_dir = ino == FUSE_ROOT_ID || (ino & IS_DIR);

	*st = (struct stat){
		.st_ino = ino,
		.st_nlink = 1,
		.st_mode = is_dir ? S_IFDIR | 0777 : S_IFREG | 0666,
	};
}

/* FNV-1a: any hash that gives a name the same number each time. */
static fuse_ino_t ino_of(fuse_ino_t parent, const char *name)
{
	uint64_t hash = 0xcbf29ce484222325 ^ parent;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
	return (hash >> 8) + 2;
}

static void entry(fuse_ino_t parent, const char *name,
	struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.ino = ino_of(parent, name)};
	if (name[0] == 'd') {
		e->ino |= IS_DIR;
		e->entry_timeout = e->attr_timeout = DIR_TIMEOUT;
	}
	attr(e->ino, &e->attr);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e;

	entry(parent, name, &e);
	if (name[0] == 'c')
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
	struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	attr(ino, &st);
	fuse_reply_attr(req, &st, 0);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
	mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param e;

	(void)mode;
	entry(parent, name, &e);
	fi->direct_io = 1;
	fuse_reply_create(req, &e, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	size_t len = atomic_load(&shared->answer_len);
	size_t at = VG_MIN((size_t)off, len);

	(void)ino;
	(void)fi;
	fuse_reply_buf(req, answer + at, VG_MIN(size, len - at));
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
	size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	(void)buf;
	(void)off;
	(void)fi;
	fuse_reply_write(req, size);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* The same wishes as the product's. */
static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want |= conn->capable &
		      (FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ATOMIC_O_TRUNC |
			      FUSE_CAP_ASYNC_DIO);
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
			    FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_flush,
};

/* The child: tells by a byte on ready_fd that the tree answers. */
static int serve(const char *mnt, int ready_fd)
{
	char *argv[] = {"nullfs", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct loop_config cfg = {.spin_us = -1};
	struct fuse_session *se;
	int rc = -EIO;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	loop_block_signals();
	memset(answer, 'x', sizeof(answer));
	se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!se)
		return -ENOMEM;
	if (fuse_session_mount(se, mnt) == 0) {
		rc = loop_init(se, NULL);
		if (rc == 0 && write(ready_fd, "R", 1) == 1)
			rc = loop_run(se, &cfg);
		fuse_session_unmount(se);
	}
	fuse_session_destroy(se);
	return rc;
}

void nullfs_open(const char *mnt, struct nullfs *out)
{
	int ready[2];
	char byte;

	snprintf(out->mnt, sizeof(out->mnt), "%s", mnt);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || pipe(ready) < 0) {
		perror("nullfs");
		exit(1);
	}
	out->shared = shared;
	fflush(NULL);
	out->pid = fork();
	if (out->pid == 0) {
		close(ready[0]);
		_exit(serve(mnt, ready[1]) < 0);
	}
	close(ready[1]);
	if (out->pid < 0 || read(ready[0], &byte, 1) != 1) {
		fprintf(stderr, "cannot mount the null filesystem on %s\n",
			mnt);
		exit(1);
	}
	close(ready[0]);
}

void nullfs_close(struct nullfs *fs)
{
	kill(fs->pid, SIGTERM);
	waitpid(fs->pid, NULL, 0);
	munmap(fs->shared, sizeof(*fs->shared));
}
