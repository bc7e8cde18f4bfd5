/* SPDX-License-Identifier: Apache-2.0 */
/* uring.c: a write through io_uring and a plain one cannot be told apart. */
#include "src/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/logkit.h"
#include "tests/tap.h"

#define LARGE (5u << 20)
#define TESTS_OF_AN_IO 18

static void test_write(struct io *io, int dir, const char *name)
{
	char *bytes = malloc(LARGE), *got = malloc(LARGE);
	int fd = io->open(io, dir, name, O_RDWR | O_CREAT | O_EXCL);
	struct io_stat st;

	must(bytes && got && fd >= 0);
	for (size_t i = 0; i < LARGE; i++)
		bytes[i] = (char)(i * 7 + i / 256);
	ok(io->write(io, fd, bytes, 100, 0, true) == 0 &&
			io->write(io, fd, bytes + 100, LARGE - 100, 100,
				true) == 0,
		"%s: small and large writes are whole", name);
	ok(io->read(io, fd, got, LARGE, 0) == LARGE &&
			memcmp(got, bytes, LARGE) == 0,
		"%s: and are read back", name);
	ok(io->write(io, fd, "xyz", 3, 50, false) == 0 &&
			io->read(io, fd, got, 4, 49) == 4 &&
			memcmp(got + 1, "xyz", 3) == 0,
		"%s: a write without sync is there, too", name);
	ok(io->write(io, fd, NULL, 0, 0, true) == 0 &&
			io->write(io, fd, NULL, 0, 0, false) == 0,
		"%s: no bytes and a sync are only the sync", name);
	ok(io->stat(io, fd, &st) == 0 && st.size == LARGE && st.links == 1,
		"%s: size and links are told", name);
	ok(io->read(io, fd, got, 100, LARGE - 10) == 10 &&
			io->read(io, fd, got, 100, LARGE) == 0,
		"%s: the end of a file makes a read short", name);
	ok(io->truncate(io, fd, 10) == 0 && io->stat(io, fd, &st) == 0 &&
			st.size == 10,
		"%s: a file is cut", name);
	int rc = io->allocate(io, fd, 10, 1 << 20);

	ok((rc == 0 || rc == -EOPNOTSUPP) && io->stat(io, fd, &st) == 0 &&
			st.size == 10,
		"%s: space is taken and the size stays", name);
	ok(io->sync(io, fd) == 0 && io->sync(io, dir) == 0,
		"%s: files and directories are synced", name);
	io->close(io, fd);
	free(bytes);
	free(got);
}

static void test_errors(struct io *io, int dir, const char *name)
{
	int fd = io->open(io, dir, name, O_RDONLY);
	int full = open("/dev/full", O_RDWR);
	int null = open("/dev/null", O_RDWR);

	must(fd >= 0 && full >= 0 && null >= 0);
	ok(io->write(io, fd, "x", 1, 0, true) == -EBADF,
		"%s: a file open for reading is not written", name);
	ok(io->write(io, full, "x", 1, 0, true) == -ENOSPC,
		"%s: a full disk is told", name);
	ok(io->write(io, null, "x", 1, 0, true) == -EINVAL,
		"%s: a failed sync is told", name);
	ok(io->write(io, null, "x", 1, 0, false) == 0,
		"%s: without it the same write is good", name);
	ok(io->open(io, dir, name, O_RDWR | O_CREAT | O_EXCL) == -EEXIST &&
			io->open(io, dir, "none", O_RDONLY) == -ENOENT,
		"%s: so are errors of open", name);
	ok(io->unlink(io, dir, "none") == -ENOENT &&
			io->read(io, dir, &fd, 1, 0) == -EISDIR &&
			io->truncate(io, fd, 0) == -EINVAL,
		"%s: and of the others", name);
	io->close(io, fd);
	close(full);
	close(null);
}

/* A limit on file sizes cuts a write short, as signals and full disks may. */
static void test_short(struct io *io, int dir, const char *name)
{
	static char bytes[10000];
	struct rlimit old, limit;
	int fd = io->open(io, dir, name, O_RDWR);

	must(fd >= 0 && io->truncate(io, fd, 0) == 0);
	must(getrlimit(RLIMIT_FSIZE, &old) == 0);
	limit = (struct rlimit){5000, old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	int rc = io->write(io, fd, bytes, sizeof(bytes), 0, true);

	must(setrlimit(RLIMIT_FSIZE, &old) == 0);
	struct io_stat st;

	must(io->stat(io, fd, &st) == 0);
	ok(rc == -EFBIG && st.size == 5000,
		"%s: a write cut short goes on to its error", name);
	ok(io->write(io, fd, bytes, sizeof(bytes), 0, true) == 0,
		"%s: and the next is whole", name);
	io->close(io, fd);
}

static int count_name(void *ctx, const char *name)
{
	(void)name;
	return ++*(int *)ctx == 2 ? -ECANCELED : 0;
}

static void test_io(struct io *io, int dir, const char *name)
{
	int n = 0;

	test_write(io, dir, name);
	test_errors(io, dir, name);
	test_short(io, dir, name);
	ok(io->unlink(io, dir, name) == 0 &&
			io->list(io, dir, count_name, &n) == 0 && n <= 1,
		"%s: what is unlinked is not listed", name);
}

/* In a child where io_uring_setup is forbidden as containers forbid it. */
static int forbidden_child(int dir)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, code};
	struct kit_seen *seen = calloc(1, sizeof(*seen));
	struct wal_config cfg = {.dirfd = dir};
	struct wal_report rep;
	struct uring *uring;
	struct wal *wal;

	must(seen);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		return 77;
	if (uring_open(&uring) != -EPERM)
		return 1;
	memcpy(cfg.uuid, kit_uuid, 16);
	if (wal_open(&cfg, kit_see, seen, &rep, &wal) < 0)
		return 2;
	if (rep.uring || seen->n != 4 || kit_write(wal, 2, 3, true) < 0)
		return 3;
	wal_close(wal);
	free(seen);
	return 0;
}

static void test_log(int dir)
{
	struct kit_seen *seen = calloc(1, sizeof(*seen));
	struct wal_config cfg = {.dirfd = dir};
	struct wal_report rep;
	struct wal *wal;
	int status;

	must(seen);
	memcpy(cfg.uuid, kit_uuid, 16);
	must(wal_open(&cfg, kit_see, seen, &rep, &wal) == 0);
	ok(rep.uring, "the log uses io_uring where it may");
	must(kit_write(wal, 1, 3, true) == 0 && kit_write(wal, 1, 1, false) == 0);
	wal_close(wal);
	fflush(NULL);
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0)
		_exit(forbidden_child(dir));
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(1, "seccomp filters are not to be had here");
	else
		ok(WEXITSTATUS(status) == 0,
			"and plain calls where the kernel forbids it");
	seen->n = 0;
	must(wal_open(&cfg, kit_see, seen, &rep, &wal) == 0);
	ok(seen->n >= 4 && !seen->is_wrong, "both write the same log");
	wal_close(wal);
	free(seen);
}

/* How many names a directory has; two stand for more. */
static int list_names(int dir)
{
	struct io io;
	int n = 0;

	io_init(&io);
	io.list(&io, dir, count_name, &n);
	return n;
}

/* Either outcome is right; that there is one, and nothing but it, is tested. */
static void test_trial(int dir)
{
	bool once;

	kit_dir_clear(dir);
	once = uring_is_faster(dir);
	diag("io_uring is %s here", once ? "no slower" : "slower");
	ok(list_names(dir) == 0, "a trial leaves no file");
	ok(!uring_is_faster(-1), "where no file can be made it is not used");
}

int main(void)
{
	struct uring *uring;
	struct io plain;

	plan(2 * TESTS_OF_AN_IO + 5);
	int dir = kit_dir("uring");

	io_init(&plain);
	test_io(&plain, dir, "plain");
	int rc = uring_open(&uring);

	if (rc < 0) {
		skip(TESTS_OF_AN_IO + 4, "io_uring is not to be had here");
		ok(!uring_is_faster(dir), "nor is it faster");
		close(dir);
		return done();
	}
	test_io(uring_get_io(uring), dir, "uring");
	uring_close(uring);
	uring_close(NULL);
	kit_dir_clear(dir);
	test_log(dir);
	test_trial(dir);
	close(dir);
	return done();
}
