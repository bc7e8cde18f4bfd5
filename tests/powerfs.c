/* SPDX-License-Identifier: Apache-2.0 */
/*
 * powerfs.c: a simulated disk as a mounted filesystem, whose power can be cut.
 *
 *	powerfs MOUNTPOINT [lie]
 *
 * mounts an empty disk (tests/simdisk.h says what is safe there; with `lie` no sync
 * makes anything safe) and obeys its standard input, a line each:
 *
 *	cut SEED MODE	what a power cut at this moment leaves is drawn; from
 *			now on every call fails. Answers "cut", and how many
 *			changes were not safe.
 *	mount		what was left is mounted in place of it: "mounted".
 *	fail		every sync from now on fails: "failing".
 *
 * and ends with its input. One lock is held by each call and by the cut, so no
 * call that was answered well came behind it.
 */
#define FUSE_USE_VERSION 314
#include <fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "src/vg.h"
#include "tests/simdisk_int.h"
#include "tests/tap.h"

static struct {
	pthread_mutex_t lock;
	struct sim *sim;  /* what is mounted */
	struct sim *left; /* behind a cut: what is mounted next; lock */
	bool lies;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The disk's calls, locked; NULL, and not locked: its power is cut. */
static struct io *enter(void)
{
	pthread_mutex_lock(&disk.lock);
	if (!disk.left)
		return sim_get_io(disk.sim);
	pthread_mutex_unlock(&disk.lock);
	return NULL;
}

static int leave(int rc)
{
	pthread_mutex_unlock(&disk.lock);
	return rc;
}

static int root(void)
{
	return sim_root(disk.sim);
}

static int fd_of(const struct fuse_file_info *fi)
{
	return (int)fi->fh;
}

static int stat_ino(uint32_t ino, struct stat *st)
{
	const struct sim_node *node = sim_node_of(disk.sim, ino);

	*st = (struct stat){
		.st_ino = ino + 1,
		.st_mode = node->is_dir ? S_IFDIR | 0700 : S_IFREG | 0600,
		.st_nlink = node->is_dir ? 2 : disk.sim->inode[ino].links,
		.st_size = (off_t)node->size,
		.st_blocks = (blkcnt_t)(node->size / 512),
	};
	return 0;
}

static int op_getattr(const char *path, struct stat *st,
	struct fuse_file_info *fi)
{
	struct sim_place at;
	int rc = 0;

	if (!enter())
		return -EIO;
	if (fi)
		at.ino = disk.sim->fd[fd_of(fi) - SIM_FD].ino;
	else
		rc = sim_place_find(disk.sim, SIM_ROOT, path + 1, &at);
	if (rc == 0 && at.ino == 0)
		rc = -ENOENT;
	return leave(rc < 0 ? rc : stat_ino(at.ino, st));
}

static int keep_fd(int fd, struct fuse_file_info *fi)
{
	if (fd >= 0)
		fi->fh = (uint64_t)fd;
	return leave(VG_MIN(fd, 0));
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
	struct io *io = enter();

	return io ? keep_fd(io->open(io, root(), path + 1,
				    fi->flags & (O_ACCMODE | O_TRUNC)),
			    fi) :
		    -EIO;
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct io *io = enter();

	(void)mode;
	return io ? keep_fd(io->open(io, root(), path + 1,
				    (fi->flags & (O_ACCMODE | O_EXCL)) |
					    O_CREAT),
			    fi) :
		    -EIO;
}

static int op_opendir(const char *path, struct fuse_file_info *fi)
{
	struct io *io = enter();

	return io ? keep_fd(io->open(io, root(), path + 1,
				    O_RDONLY | O_DIRECTORY),
			    fi) :
		    -EIO;
}

/* Behind a cut there is nothing to close. */
static int op_release(const char *path, struct fuse_file_info *fi)
{
	struct io *io = enter();

	(void)path;
	if (!io)
		return 0;
	io->close(io, fd_of(fi));
	return leave(0);
}

static int op_read(const char *path, char *buf, size_t len, off_t off,
	struct fuse_file_info *fi)
{
	struct io *io = enter();

	(void)path;
	return io ? leave((int)io->read(io, fd_of(fi), buf, len,
			    (uint64_t)off)) :
		    -EIO;
}

static int op_write(const char *path, const char *buf, size_t len, off_t off,
	struct fuse_file_info *fi)
{
	struct io *io = enter();
	int rc;

	(void)path;
	if (!io)
		return -EIO;
	rc = io->write(io, fd_of(fi), buf, len, (uint64_t)off, false);
	return leave(rc < 0 ? rc : (int)len);
}

static int op_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	struct io *io = enter();

	(void)path;
	(void)datasync;
	return io ? leave(io->sync(io, fd_of(fi))) : -EIO;
}

static int op_fallocate(const char *path, int mode, off_t off, off_t len,
	struct fuse_file_info *fi)
{
	struct io *io = enter();

	(void)path;
	if (!io)
		return -EIO;
	return leave(mode == FALLOC_FL_KEEP_SIZE ?
			     io->allocate(io, fd_of(fi), (uint64_t)off,
				     (uint64_t)len) :
			     -EOPNOTSUPP);
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	struct io *io = enter();
	int fd, rc;

	if (!io)
		return -EIO;
	if (fi)
		return leave(io->truncate(io, fd_of(fi), (uint64_t)size));
	fd = io->open(io, root(), path + 1, O_RDWR);
	if (fd < 0)
		return leave(fd);
	rc = io->truncate(io, fd, (uint64_t)size);
	io->close(io, fd);
	return leave(rc);
}

static int op_unlink(const char *path)
{
	struct io *io = enter();

	return io ? leave(io->unlink(io, root(), path + 1)) : -EIO;
}

static int op_rename(const char *from, const char *to, unsigned flags)
{
	struct io *io = enter();

	if (!io)
		return -EIO;
	return leave(
		flags ? -EINVAL : io->rename(io, root(), from + 1, to + 1));
}

static int op_mkdir(const char *path, mode_t mode)
{
	struct io *io = enter();

	(void)mode;
	return io ? leave(io->mkdir(io, root(), path + 1)) : -EIO;
}

static int op_rmdir(const char *path)
{
	struct io *io = enter();

	return io ? leave(io->rmdir(io, root(), path + 1)) : -EIO;
}

struct listing {
	void *buf;
	fuse_fill_dir_t fill;
};

static int list_name(void *ctx, const char *name)
{
	struct listing *l = ctx;

	return l->fill(l->buf, name, NULL, 0, 0) ? -ENOMEM : 0;
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
	off_t off, struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	struct listing l = {buf, fill};
	struct io *io = enter();

	(void)path;
	(void)off;
	(void)flags;
	return io ? leave(io->list(io, fd_of(fi), list_name, &l)) : -EIO;
}

/* Times and modes are not kept; nothing here is a cut's to lose. */
static int op_utimens(const char *path, const struct timespec tv[2],
	struct fuse_file_info *fi)
{
	(void)path;
	(void)tv;
	(void)fi;
	return 0;
}

static int op_statfs(const char *path, struct statvfs *st)
{
	(void)path;
	*st = (struct statvfs){.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = 1 << 20,
		.f_bfree = 1 << 19,
		.f_bavail = 1 << 19,
		.f_namemax = 255};
	return 0;
}

/* What was changed is seen at once: nothing is remembered of names and sizes,
 * and inodes are the disk's. A file that is open may lose its name. */
static void *op_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn;
	cfg->use_ino = 1;
	cfg->hard_remove = 1;
	cfg->nullpath_ok = 1;
	cfg->attr_timeout = cfg->entry_timeout = cfg->negative_timeout = 0;
	return NULL;
}

static const struct fuse_operations ops = {
	.init = op_init,
	.getattr = op_getattr,
	.open = op_open,
	.create = op_create,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fallocate = op_fallocate,
	.truncate = op_truncate,
	.unlink = op_unlink,
	.rename = op_rename,
	.mkdir = op_mkdir,
	.rmdir = op_rmdir,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_release,
	.fsyncdir = op_fsync,
	.utimens = op_utimens,
	.statfs = op_statfs,
};

/* A mount that is forced off leaves libfuse with requests of its own. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfuse3";
}

/* ---- mounts, one after the other ---- */

static struct fuse *fuse;
static pthread_t server;

static void *serve(void *arg)
{
	fuse_loop(arg);
	return NULL;
}

static void mount_disk(const char *mountpoint)
{
	char name[] = "powerfs";
	char *argv[] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);

	if (disk.lies)
		sim_lie(disk.sim, SIM_LIE_FILES | SIM_LIE_DIRS, "");
	fuse = fuse_new(&args, &ops, sizeof(ops), NULL);
	must(fuse && fuse_mount(fuse, mountpoint) == 0);
	fuse_opt_free_args(&args);
	must(pthread_create(&server, NULL, serve, fuse) == 0);
}

/* MNT_FORCE: calls that wait, and who has a file open, get an error. */
static void unmount_disk(const char *mountpoint)
{
	umount2(mountpoint, MNT_FORCE | MNT_DETACH);
	pthread_join(server, NULL);
	fuse_unmount(fuse);
	fuse_destroy(fuse);
}

static void cut(uint64_t seed, enum sim_mode mode)
{
	struct sim_stat st;

	pthread_mutex_lock(&disk.lock);
	must(!disk.left);
	sim_stat(disk.sim, &st);
	disk.left = sim_crash(disk.sim, seed, mode);
	pthread_mutex_unlock(&disk.lock);
	printf("cut %" PRIu64 "\n", st.pending);
}

static void mount_left(const char *mountpoint)
{
	unmount_disk(mountpoint);
	must(disk.left);
	sim_free(disk.sim);
	disk.sim = disk.left;
	disk.left = NULL;
	mount_disk(mountpoint);
	printf("mounted\n");
}

static void fail_syncs(void)
{
	struct sim_fault fault = {.calls = SIM_BIT(SIM_SYNC),
		.nth = 1,
		.for_ever = true,
		.partly = true,
		.rc = -EIO};

	sim_fail(disk.sim, &fault);
	printf("failing\n");
}

int main(int argc, char **argv)
{
	char line[80];
	uint64_t cut_seed;
	unsigned mode;

	must(argc == 2 || (argc == 3 && strcmp(argv[2], "lie") == 0));
	disk.lies = argc == 3;
	setvbuf(stdout, NULL, _IOLBF, 0);
	disk.sim = sim_new(NULL);
	mount_disk(argv[1]);
	printf("mounted\n");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "cut %" SCNu64 " %u", &cut_seed, &mode) == 2 &&
			mode < SIM_MODES)
			cut(cut_seed, (enum sim_mode)mode);
		else if (strcmp(line, "mount\n") == 0)
			mount_left(argv[1]);
		else if (strcmp(line, "fail\n") == 0)
			fail_syncs();
		else
			must(false);
	}
	unmount_disk(argv[1]);
	sim_free(disk.left);
	sim_free(disk.sim);
	return 0;
}
