/* SPDX-License-Identifier: Apache-2.0 */
/* holder.c: a mount comes and goes whole: its processes, its tree, its words. */
#include "fs/holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"
#include "tests/unit/demo.h"

#define WAIT_MS 20000 /* what takes longer has failed */

static char self[512], data[128], mnt[128];
static char said[4096]; /* what the last program printed */

/* Starts a program whose output goes to the pipe *out. */
static pid_t start(const char *const *argv, int *out)
{
	int fd[2];
	pid_t pid;

	must(pipe2(fd, O_CLOEXEC) == 0);
	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		execvp(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	close(fd[1]);
	*out = fd[0];
	return pid;
}

static int status_of(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   256 + WTERMSIG(status);
}

/* Reads until nobody holds the pipe: a daemon that kept it would show here. */
static int finish(pid_t pid, int out)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(out, said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	close(out);
	return status_of(pid);
}

static int run(const char *const *argv)
{
	int out;
	pid_t pid = start(argv, &out);

	return finish(pid, out);
}

#define ARGV(...) (const char *const[]){__VA_ARGS__, NULL}
#define RUN(...) run(ARGV(__VA_ARGS__))

/* Waits until a process has ended (a zombie has). */
static bool ends(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool is_gone;

	if (fd < 0)
		return errno == ESRCH;
	is_gone = poll(&p, 1, WAIT_MS) == 1;
	close(fd);
	return is_gone;
}

/* Mounts on a directory, counted from the mount table. */
static int n_mounts(const char *dir)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[1024], want[160];
	int n = 0;

	must(f);
	snprintf(want, sizeof(want), " %s ", dir);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, want) != NULL;
	fclose(f);
	return n;
}

static bool mentions_us(const char *pid)
{
	char path[300], text[1024];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	/* A zombie's command line is empty. */
	return n && memmem(text, n, scratch(), strlen(scratch()));
}

/* Processes that have our scratch directory in their arguments. */
static int n_processes(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	must(d);
	while ((e = readdir(d)))
		n += e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			mentions_us(e->d_name);
	closedir(d);
	return n;
}

static bool slurp(const char *dir, const char *name, char *out, size_t cap)
{
	char path[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, out, cap - 1);
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

static int open_in(const char *dir, const char *name, int flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

static bool says_hello(const char *dir)
{
	char text[64];

	return slurp(dir, "hello", text, sizeof(text)) &&
		!strcmp(text, "hello\n");
}

static bool write_note(const char *text)
{
	char path[300];
	bool is_written;
	int fd;

	snprintf(path, sizeof(path), "%s/note", mnt);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	is_written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	return close(fd) == 0 && is_written;
}

static bool note_is(const char *text)
{
	char got[300];

	return slurp(data, "note", got, sizeof(got)) && !strcmp(got, text);
}

struct ids {
	pid_t daemon, holder;
	unsigned umask;
	char cwd[128];
};

static struct ids ids_of(const char *dir)
{
	struct ids ids = {0};
	char text[300];

	must(slurp(dir, "ids", text, sizeof(text)));
	must(sscanf(text, "%d %d %o %127s", &ids.daemon, &ids.holder,
		     &ids.umask, ids.cwd) == 4);
	return ids;
}

static bool both_end(const struct ids *ids)
{
	return ends(ids->daemon) && ends(ids->holder);
}

static void touch(const char *name, bool is_there)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", data, name);
	if (is_there)
		must(close(open(path, O_CREAT | O_WRONLY, 0644)) == 0);
	else
		must(unlink(path) == 0);
}

static void test_life(void)
{
	struct ids ids;
	char text[64], path[160];

	ok(RUN(self, data, mnt) == 0 && !said[0],
		"the command returns 0 and says nothing");
	ok(says_hello(mnt), "the tree is usable at once");
	ids = ids_of(mnt);
	ok(getsid(ids.holder) == ids.holder && getsid(ids.daemon) == ids.holder,
		"the holder leads a session of its own, the daemon is in it");
	snprintf(path, sizeof(path), "/proc/%d", ids.holder);
	strncat(path, "/cwd", 5);
	text[0] = '\0';
	ok(readlink(path, text, sizeof(text)) == 1 && text[0] == '/' &&
			!strcmp(ids.cwd, "/") && !ids.umask,
		"both work in / with umask 0");
	ok(n_mounts(mnt) == 1, "there is one mount");
	ok(write_note("umount"), "a file is written");
	ok(umount(mnt) == 0, "umount succeeds");
	ok(both_end(&ids), "after umount no process is left");
	ok(note_is("umount"), "and what was written is in the data directory");
	ok(n_mounts(mnt) == 0, "nor is a mount");
}

static void test_again(void)
{
	struct ids first, second;

	must(RUN(self, data, mnt) == 0);
	first = ids_of(mnt);
	must(write_note("first") && umount(mnt) == 0);
	ok(RUN(self, data, mnt) == 0 && says_hello(mnt),
		"a mount right after umount succeeds");
	ok(both_end(&first) && note_is("first"),
		"the first mount's processes finish beside it");
	ok(says_hello(mnt) && n_mounts(mnt) == 1,
		"and leave the second mount alone");
	second = ids_of(mnt);
	ok(second.holder != first.holder, "which is another");
	must(umount(mnt) == 0 && both_end(&second));
}

static void test_signals(void)
{
	static const int sig[] = {SIGTERM, SIGINT};
	struct ids ids;
	char path[160], byte;
	int fd;

	for (size_t i = 0; i < 2; i++) {
		must(RUN(self, data, mnt) == 0);
		ids = ids_of(mnt);
		must(write_note(strsignal(sig[i])));
		kill(ids.holder, sig[i]);
		ok(both_end(&ids) && n_mounts(mnt) == 0 &&
				note_is(strsignal(sig[i])),
			"%s to the holder flushes and unmounts",
			strsignal(sig[i]));
	}
	must(RUN(self, data, mnt) == 0);
	ids = ids_of(mnt);
	kill(ids.holder, SIGHUP);
	ok(says_hello(mnt) && kill(ids.holder, 0) == 0,
		"the holder ignores SIGHUP");
	snprintf(path, sizeof(path), "%s/hello", mnt);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	kill(ids.holder, SIGTERM);
	ok(both_end(&ids) && n_mounts(mnt) == 0,
		"a tree in use is unmounted, too");
	ok(fd >= 0 && read(fd, &byte, 1) < 0, "its open files fail");
	close(fd);
}

static void test_kills(void)
{
	struct ids ids;
	char text[64];

	must(RUN(self, data, mnt) == 0);
	ids = ids_of(mnt);
	kill(ids.holder, SIGKILL);
	ok(both_end(&ids), "kill -9 of the holder kills the daemon");
	ok(n_mounts(mnt) == 1 && !slurp(mnt, "hello", text, sizeof(text)) &&
			errno == ENOTCONN,
		"the mount is dead then");
	ok(RUN(self, data, mnt) == 0 && says_hello(mnt),
		"a dead mount is mounted over");
	ok(n_mounts(mnt) == 1, "after it was removed");
	must(umount(mnt) == 0 && both_end(&ids));
	must(RUN(self, data, mnt, "-o", "norestart") == 0);
	ids = ids_of(mnt);
	kill(ids.daemon, SIGKILL);
	ok(both_end(&ids) && n_mounts(mnt) == 0,
		"with norestart the holder unmounts and ends when the daemon dies");
}

static void test_restarts(void)
{
	struct ids ids, now;
	int fd;

	must(RUN(self, data, mnt) == 0);
	ids = ids_of(mnt);
	fd = open_in(mnt, "note", O_RDWR);
	kill(ids.daemon, SIGKILL);
	ok(says_hello(mnt), "a daemon that dies is followed by another one");
	now = ids_of(mnt);
	ok(now.holder == ids.holder && now.daemon != ids.daemon &&
			ends(ids.daemon),
		"of the same holder");
	ok(write(fd, "once", 4) == 4,
		"a call that ends a daemon is answered by the next one");
	ok(now.daemon != ids_of(mnt).daemon, "which it was");
	errno = 0;
	ok(write(fd, "poison", 6) < 0 && errno == EIO,
		"what ends that one as well fails");
	ok(says_hello(mnt), "others go on");
	close(fd);
	now = ids_of(mnt);
	kill(now.daemon, SIGKILL);
	ok(both_end(&now) && n_mounts(mnt) == 0,
		"the fifth crash within a minute ends the tree");
}

static void five_times(const struct ids *ids)
{
	struct ids now = *ids;

	for (int i = 0; i < HOLDER_CRASHES; i++) {
		kill(now.daemon, SIGKILL);
		if (i < HOLDER_CRASHES - 1)
			now = ids_of(mnt);
	}
}

static void by_killing(const struct ids *ids);

/* Starts with -f, calls with the pids when the tree is there, gives status. */
static int in_foreground(void (*then)(const struct ids *ids))
{
	const char *const argv[] = {self, data, mnt, "-f",
		then == by_killing ? "-onorestart" : NULL, NULL};
	struct ids ids;
	char text[64];
	int out, status;
	pid_t pid = start(argv, &out);

	/* Wait for the mount: until then the directory has no such file. */
	while (!slurp(mnt, "ids", text, sizeof(text)))
		must(waitpid(pid, &status, WNOHANG) == 0 && !sched_yield());
	ids = ids_of(mnt);
	must(ids.holder == pid);
	then(&ids);
	return finish(pid, out);
}

static void by_umount(const struct ids *ids)
{
	(void)ids;
	must(umount(mnt) == 0);
}

static void by_sigterm(const struct ids *ids)
{
	kill(ids->holder, SIGTERM);
}

static void by_killing(const struct ids *ids)
{
	kill(ids->daemon, SIGKILL);
}

static void by_hangup(const struct ids *ids)
{
	kill(ids->daemon, SIGHUP);
}

static void by_force(const struct ids *ids)
{
	(void)ids;
	must(umount2(mnt, MNT_FORCE) == 0);
}

static void test_foreground(void)
{
	ok(in_foreground(by_umount) == 0, "-f exits 0 after umount");
	ok(in_foreground(by_force) == 0, "-f exits 0 after umount -f");
	ok(in_foreground(by_sigterm) == 0, "-f exits 0 after SIGTERM");
	ok(in_foreground(by_hangup) == 0, "-f exits 0 after a hang-up");
	ok(in_foreground(by_killing) == HOLDER_SIGNAL + SIGKILL &&
			strstr(said, "signal 9"),
		"-f tells which signal killed the daemon");
	ok(in_foreground(five_times) == HOLDER_SIGNAL + SIGKILL &&
			strstr(said, "5 times within a minute"),
		"and that it was not the first time");
	ok(n_mounts(mnt) == 0 && n_processes() == 0, "and nothing is left");
}

static bool nothing_left(void)
{
	return n_mounts(mnt) == 0 && n_processes() == 0;
}

static void test_failed_start(void)
{
	touch("refuse", true);
	ok(RUN(self, data, mnt) == HOLDER_MOUNT,
		"a store that refuses to open is exit status 32");
	ok(!strcmp(said, "vecgridfs: the store refuses to be opened: remove "
			 "'refuse'\n"),
		"with its sentence");
	ok(nothing_left(), "with no mount and no process");
	ok(RUN(self, data, mnt, "-f") == HOLDER_MOUNT && nothing_left() &&
			strstr(said, "remove 'refuse'"),
		"likewise with -f");
	touch("refuse", false);
	touch("silent", true);
	ok(RUN(self, data, mnt) == HOLDER_MOUNT && nothing_left() &&
			strstr(said, "No space left"),
		"without a sentence the error has one");
	touch("silent", false);
	touch("crash", true);
	ok(RUN(self, data, mnt) == HOLDER_MOUNT && nothing_left() &&
			strstr(said, "signal 6"),
		"a daemon that crashes while it starts is named");
	touch("crash", false);
	ok(RUN(self, "/vgtest-missing", mnt) == HOLDER_MOUNT &&
			strstr(said, "'/vgtest-missing'") && nothing_left(),
		"a data directory that cannot be opened is named");
}

/* The one child of a process, or 0. */
static pid_t child_of(pid_t pid)
{
	char dir[64], text[64];

	snprintf(dir, sizeof(dir), "/proc/%d/task/%d", pid, pid);
	if (!slurp(dir, "children", text, sizeof(text)))
		return 0;
	return atoi(text);
}

/* Starts while DATADIR/hang keeps the daemon; the three processes are given. */
static pid_t start_hanging(int *out, struct ids *ids)
{
	const char *const argv[] = {self, data, mnt, NULL};
	pid_t pid = start(argv, out);

	do {
		ids->holder = child_of(pid);
	} while (!ids->holder && !sched_yield());
	/* A helper that mounts for us may be the first child. */
	do {
		ids->daemon = child_of(ids->holder);
	} while (!ids->daemon && !sched_yield());
	return pid;
}

static void test_cut_start(void)
{
	struct ids ids;
	char path[300];
	int out;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/hang", data);
	must(mkfifo(path, 0644) == 0);
	pid = start_hanging(&out, &ids);
	kill(ids.holder, SIGTERM);
	ok(finish(pid, out) == HOLDER_MOUNT && nothing_left(),
		"SIGTERM to the holder cuts a start that hangs");
	pid = start_hanging(&out, &ids);
	kill(pid, SIGKILL);
	ok(finish(pid, out) == 256 + SIGKILL && both_end(&ids) &&
			nothing_left(),
		"killing the command ends what it has started");
	must(unlink(path) == 0);
}

static void test_usage(void)
{
	ok(RUN(self, data, mnt, "-o", "nonsense") == HOLDER_USAGE &&
			strstr(said, "nonsense") && strstr(said, "--help"),
		"an unknown option is named, exit status 1");
	ok(RUN(self, data) == HOLDER_USAGE && strstr(said, "MOUNTPOINT"),
		"a missing argument is named, exit status 1");
	ok(RUN(self, data, mnt, "-o", "durability=x") == HOLDER_USAGE &&
			strstr(said, "durability=x"),
		"a wrong value is named, exit status 1");
	ok(nothing_left(), "and nothing was started");
}

static void test_places(void)
{
	char below[300], file[300], beside[300];

	snprintf(below, sizeof(below), "%s/below/data", mnt);
	ok(RUN(self, mnt, mnt) == HOLDER_MOUNT && strstr(said, "lies under"),
		"the mountpoint cannot be its own data directory");
	must(mkdir(below, 0755) < 0);
	snprintf(below, sizeof(below), "%s/below", mnt);
	ok(RUN(self, below, mnt) == HOLDER_MOUNT && strstr(said, "lies under"),
		"nor can a directory that is still to be made in it");
	must(mkdir(below, 0755) == 0);
	ok(RUN(self, below, mnt) == HOLDER_MOUNT && strstr(said, "lies under"),
		"nor one that is there");
	must(rmdir(below) == 0);
	snprintf(beside, sizeof(beside), "%s-data", mnt);
	must(mkdir(beside, 0755) == 0);
	ok(RUN(self, beside, mnt) == 0 && says_hello(mnt),
		"a data directory beside it with a longer name is fine");
	struct ids ids = ids_of(mnt);

	must(umount(mnt) == 0 && both_end(&ids));
	snprintf(file, sizeof(file), "%s/file", data);
	must(close(open(file, O_CREAT | O_WRONLY, 0644)) == 0);
	ok(RUN(self, data, file) == HOLDER_MOUNT &&
			strstr(said, "not a directory"),
		"a mountpoint must be a directory");
	ok(RUN(self, data, below) == HOLDER_MOUNT && strstr(said, "mkdir"),
		"a missing mountpoint can be made with mkdir");
	ok(nothing_left(), "and nothing was started");
}

static void test_remount(void)
{
	struct statvfs sv;
	struct ids ids;

	must(RUN(self, data, mnt) == 0);
	ids = ids_of(mnt);
	/* The arguments are those that mount(8) gives. */
	ok(RUN(self, data, mnt, "-o",
		   "ro,nosuid,nodev,relatime,remount,user_id=0,group_id=0") ==
			0,
		"a remount succeeds");
	ok(statvfs(mnt, &sv) < 0 || (sv.f_flag & ST_RDONLY),
		"and is the kernel's");
	ok(!write_note("no") && errno == EROFS, "nothing can be written then");
	ok(says_hello(mnt) && ids_of(mnt).holder == ids.holder &&
			n_mounts(mnt) == 1,
		"the same daemon goes on");
	must(umount(mnt) == 0 && both_end(&ids));
	ok(RUN(self, data, mnt, "-o", "remount,ro") != 0,
		"what is not mounted cannot be remounted");
	ok(RUN(self, data, mnt, "-o", "ro") == 0 && says_hello(mnt) &&
			!write_note("no") && errno == EROFS,
		"a mount may be read-only from the start");
	ids = ids_of(mnt);
	must(umount(mnt) == 0 && both_end(&ids));
}

static void test_mount_program(void)
{
	char source[1024], type[32];
	struct ids ids;

	if (access("/sbin/mount.fuse", X_OK) < 0) {
		skip(4, "there is no /sbin/mount.fuse (package fuse3)");
		return;
	}
	snprintf(source, sizeof(source), "%s#%s", self, data);
	ok(RUN("mount", "-t", "fuse", source, mnt, "-o",
		   "allow_other,noatime,threads=2") == 0 &&
			says_hello(mnt),
		"mount(8) mounts");
	ids = ids_of(mnt);
	must(umount(mnt) == 0 && both_end(&ids));
	touch("refuse", true);
	ok(RUN("mount", "-t", "fuse", source, mnt) == HOLDER_MOUNT &&
			strstr(said, "remove 'refuse'") && nothing_left(),
		"and passes on a failure with its sentence");
	touch("refuse", false);
	snprintf(type, sizeof(type), "drop_privileges");
	ok(RUN("mount", "-t", "fuse", source, mnt, "-o", type) == 0 &&
			says_hello(mnt),
		"a mount that mount(8) made for us is served");
	ids = ids_of(mnt);
	must(umount(mnt) == 0);
	ok(both_end(&ids), "until it is unmounted");
}

/* In a child: root without the right to mount, so fusermount3 must do it. */
static int mount_by_fusermount(void)
{
	const char *argv[] = {"demo", data, mnt, NULL};
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	int fd[2];
	pid_t pid;

	must(pipe2(fd, O_CLOEXEC) == 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		must(syscall(SYS_capget, &head, caps) == 0);
		caps[0].effective &= ~(1u << CAP_SYS_ADMIN);
		caps[0].permitted &= ~(1u << CAP_SYS_ADMIN);
		must(syscall(SYS_capset, &head, caps) == 0);
		exit(demo_main(3, (char **)(uintptr_t)argv));
	}
	close(fd[1]);
	return finish(pid, fd[0]);
}

static void test_fusermount(void)
{
	struct ids ids;

	ok(mount_by_fusermount() == 0 && says_hello(mnt),
		"without the right to mount, fusermount3 mounts");
	ids = ids_of(mnt);
	must(write_note("unprivileged"));
	kill(ids.holder, SIGTERM);
	ok(both_end(&ids) && n_mounts(mnt) == 0 && note_is("unprivileged"),
		"and unmounts");
	must(mount_by_fusermount() == 0);
	ids = ids_of(mnt);
	kill(ids.holder, SIGKILL);
	must(both_end(&ids));
	ok(mount_by_fusermount() == 0 && says_hello(mnt) && n_mounts(mnt) == 1,
		"a dead mount is removed by it, too");
	ids = ids_of(mnt);
	ok(RUN("fusermount3", "-u", mnt) == 0 && both_end(&ids) &&
			n_mounts(mnt) == 0,
		"fusermount3 -u ends the tree");
}

/* A user without rights, where the system lets such users mount. */
static void test_user(void)
{
	const struct passwd *pw = getpwnam("nobody");
	char as[64], dir[300], store[300], text[64];
	struct stat st;

	if (!pw || stat("/dev/fuse", &st) < 0 ||
		(st.st_mode & 0006) != 0006) {
		skip(3, "/dev/fuse is not open to every user here");
		return;
	}
	snprintf(dir, sizeof(dir), "%s/user-mnt", scratch());
	snprintf(store, sizeof(store), "%s/user-data", scratch());
	must(mkdir(dir, 0755) == 0 && mkdir(store, 0755) == 0);
	must(chown(dir, pw->pw_uid, pw->pw_gid) == 0);
	must(chown(store, pw->pw_uid, pw->pw_gid) == 0);
	snprintf(as, sizeof(as), "--reuid=%u", pw->pw_uid);
	ok(RUN("setpriv", as, "--clear-groups", self, store, dir) == 0,
		"a user without rights mounts");
	ok(!slurp(dir, "hello", text, sizeof(text)) && errno == EACCES,
		"not even root looks into it");
	ok(RUN("setpriv", as, "--clear-groups", "fusermount3", "-u", dir) ==
			0,
		"and that user unmounts");
}

static void test_all(void)
{
	test_life();
	test_again();
	test_signals();
	test_kills();
	test_restarts();
	test_foreground();
	test_failed_start();
	test_cut_start();
	test_usage();
	test_places();
	test_remount();
	test_mount_program();
	test_fusermount();
	test_user();
	ok(nothing_left(), "after all this no mount and no process is left");
}

int main(int argc, char **argv)
{
	int fd;

	/* With arguments we are the program under test. */
	if (argc > 1)
		return demo_main(argc, argv);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		skip_all("/dev/fuse cannot be opened: run as root with fuse");
	close(fd);
	if (geteuid() != 0)
		skip_all("mounting and unmounting for others needs root");
	plan(76);
	alarm(300);
	must(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(data, sizeof(data), "%s/data", scratch());
	snprintf(mnt, sizeof(mnt), "%s/mnt", scratch());
	must(chmod(scratch(), 0755) == 0);
	must(mkdir(data, 0755) == 0 && mkdir(mnt, 0755) == 0);
	test_all();
	return done();
}
