/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c: threads serve a real mount, sleep when idle, and end when told. */
#include "fs/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <linux/fuse.h>

#include "tests/tap.h"

#define WAIT_MS 20000
#define N_FILES 3000 /* more than one prune notification holds */
#define BIG (1 << 20)

/* Node numbers: what reading the file of that name does. */
enum {
	ROOT = 1,
	MEET,	/* answers when two readers are there */
	SLOW,	/* answers when it is interrupted */
	WHO,	/* "UNIQUE OPCODE" of the request itself */
	SINK,	/* is written to */
	ERRAND, /* what is written is a number of nodes to prune */
	FILES,	/* FILES + n is the file "n", which is empty */
};

static const char *const names[] = {
	[MEET] = "meet", [SLOW] = "slow", [WHO] = "who", [SINK] = "sink",
	[ERRAND] = "errand"};

/* Shared by the server (a child) and the test. */
struct shared {
	_Atomic int n_forgets, n_meeting, n_lookups, largest_write;
	_Atomic int prune_rc, prune_n, late_prune_rc, unique_after;
	_Atomic int init_rc, run_rc;
};
static struct shared *sh;
static int forget_fd[2], errand_fd[2]; /* pipes of the server */
static char mnt[128];

static struct fuse_session *serving; /* in the server */
static pthread_mutex_t meet_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t meet_cond = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t slow_cond = PTHREAD_COND_INITIALIZER;

static void attr(fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_nlink = 1};
	st->st_mode = ino == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = 3600};

	(void)parent;
	atomic_fetch_add(&sh->n_lookups, 1);
	if (name[0] >= '0' && name[0] <= '9')
		e.ino = FILES + (fuse_ino_t)atoi(name);
	for (fuse_ino_t i = MEET; i < FILES; i++) {
		if (!strcmp(name, names[i]))
			e.ino = i;
	}
	attr(e.ino, &e.attr);
	if (e.ino)
		fuse_reply_entry(req, &e);
	else
		fuse_reply_err(req, ENOENT);
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
	fuse_reply_open(req, fi);
}

static void meet(void)
{
	pthread_mutex_lock(&meet_lock);
	if (atomic_fetch_add(&sh->n_meeting, 1) + 1 == 2)
		pthread_cond_broadcast(&meet_cond);
	while (atomic_load(&sh->n_meeting) < 2)
		pthread_cond_wait(&meet_cond, &meet_lock);
	pthread_mutex_unlock(&meet_lock);
}

static void on_interrupt(fuse_req_t req, void *ctx)
{
	(void)req;
	(void)ctx;
	pthread_mutex_lock(&slow_lock);
	pthread_cond_broadcast(&slow_cond);
	pthread_mutex_unlock(&slow_lock);
}

static void wait_for_interrupt(fuse_req_t req)
{
	fuse_req_interrupt_func(req, on_interrupt, NULL);
	pthread_mutex_lock(&slow_lock);
	atomic_fetch_add(&sh->n_meeting, 100); /* tells the test: inside */
	while (!fuse_req_interrupted(req))
		pthread_cond_wait(&slow_cond, &slow_lock);
	pthread_mutex_unlock(&slow_lock);
	fuse_req_interrupt_func(req, NULL, NULL);
	fuse_reply_err(req, EINTR);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct loop_request r = loop_unique();
	char text[64];
	int n;

	(void)fi;
	(void)size;
	(void)off;
	if (ino == MEET)
		meet();
	if (ino == SLOW) {
		wait_for_interrupt(req);
		return;
	}
	n = snprintf(text, sizeof(text), "%llu %u %d",
		(unsigned long long)r.unique, r.opcode, r.resent);
	fuse_reply_buf(req, text, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf,
	size_t size, off_t off, struct fuse_file_info *fi)
{
	int n = ino == ERRAND ? atoi(buf) : 0;

	(void)fi;
	(void)off;
	if ((int)size > atomic_load(&sh->largest_write))
		atomic_store(&sh->largest_write, (int)size);
	if (n)
		must(write(errand_fd[1], &n, sizeof(n)) == sizeof(n));
	fuse_reply_write(req, size);
}

static void op_forget_multi(fuse_req_t req, size_t n,
	struct fuse_forget_data *d)
{
	char byte = 'f';

	(void)d;
	atomic_fetch_add(&sh->n_forgets, (int)n);
	must(write(forget_fd[1], &byte, 1) == 1);
	fuse_reply_none(req);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct fuse_forget_data d = {.ino = ino, .nlookup = n};

	op_forget_multi(req, 1, &d);
}

static const struct fuse_lowlevel_ops ops = {
	.lookup = op_lookup,
	.getattr = op_getattr,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
};

/* The thread that notifies the kernel, under no lock and no request. */
static void *do_errands(void *arg)
{
	static uint64_t nodeid[N_FILES];
	char byte = 'e';
	int n;

	(void)arg;
	for (int i = 0; i < N_FILES; i++)
		nodeid[i] = FILES + (uint64_t)i;
	while (read(errand_fd[0], &n, sizeof(n)) == sizeof(n) && n > 0) {
		atomic_store(&sh->prune_rc,
			loop_prune(serving, nodeid, (size_t)n));
		atomic_fetch_add(&sh->prune_n, n);
		must(write(forget_fd[1], &byte, 1) == 1);
	}
	return NULL;
}

/* The server's life; byte by byte it tells the test through to_test. */
static int serve(const struct loop_config *cfg, int to_test)
{
	char *argv[] = {(char *)(uintptr_t)"loop", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	pthread_t errands;
	int n = 0, rc;
	uint64_t one = FILES;

	loop_block_signals();
	serving = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	must(serving && fuse_session_mount(serving, mnt) == 0);
	must(pthread_create(&errands, NULL, do_errands, NULL) == 0);
	atomic_store(&sh->init_rc, loop_init(serving, NULL));
	must(write(to_test, "r", 1) == 1);
	rc = loop_run(serving, cfg);
	atomic_store(&sh->run_rc, rc);
	atomic_store(&sh->unique_after, loop_unique().unique != 0);
	must(write(errand_fd[1], &n, sizeof(n)) == sizeof(n));
	pthread_join(errands, NULL);
	umount2(mnt, MNT_DETACH);
	atomic_store(&sh->late_prune_rc, loop_prune(serving, &one, 1));
	fuse_session_unmount(serving);
	fuse_session_destroy(serving);
	return rc ? 1 : 0;
}

static pid_t start(int n_threads, int spin_us)
{
	const struct loop_config cfg = {
		.n_threads = n_threads, .spin_us = spin_us};
	int fd[2];
	pid_t pid;
	char byte;

	memset(sh, 0, sizeof(*sh));
	must(pipe2(fd, O_CLOEXEC) == 0);
	must(pipe2(forget_fd, O_CLOEXEC) == 0);
	must(pipe2(errand_fd, O_CLOEXEC) == 0);
	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(serve(&cfg, fd[1]));
	}
	close(fd[1]);
	must(read(fd[0], &byte, 1) == 1);
	close(fd[0]);
	return pid;
}

/* Waits for the server's end; 0 if it ended well. */
static int end(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0) == pid);
	for (int i = 0; i < 2; i++) {
		close(forget_fd[i]);
		close(errand_fd[i]);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

/* Reads from the server's pipe until what is counted has come to n. */
static bool comes_to(_Atomic int *counter, int n)
{
	struct pollfd p = {.fd = forget_fd[0], .events = POLLIN};
	char text[512];

	while (atomic_load(counter) < n) {
		if (poll(&p, 1, WAIT_MS) != 1)
			return false;
		must(read(forget_fd[0], text, sizeof(text)) > 0);
	}
	return true;
}

static int open_in(const char *name, int flags)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", mnt, name);
	return open(path, flags | O_CLOEXEC);
}

static ssize_t read_in(const char *name, char *out, size_t cap)
{
	int fd = open_in(name, O_RDONLY), keep;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, out, cap - 1);
	keep = errno;
	close(fd);
	out[n > 0 ? n : 0] = '\0';
	return n < 0 ? -keep : n;
}

static void write_errand(int n)
{
	int fd = open_in("errand", O_WRONLY);

	must(fd >= 0 && dprintf(fd, "%d", n) > 0);
	close(fd);
}

/* A client in a process of its own that reads one file. */
static pid_t read_apart(const char *name)
{
	char text[64];
	pid_t pid;

	fflush(NULL);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(read_in(name, text, sizeof(text)) == -EINTR ? 2 : 0);
	}
	return pid;
}

static void on_signal(int sig)
{
	(void)sig;
}

static void test_requests(void)
{
	unsigned long long a, b;
	unsigned op, resent;
	char text[64], *big;
	int fd, status;
	pid_t pid, server = start(2, -1);

	ok(atomic_load(&sh->init_rc) == 0, "INIT is answered apart");
	must(read_in("who", text, sizeof(text)) > 0);
	ok(sscanf(text, "%llu %u %u", &a, &op, &resent) == 3 && a &&
			op == FUSE_READ && !resent,
		"a handler knows the number and kind of its request");
	must(read_in("who", text, sizeof(text)) > 0);
	ok(sscanf(text, "%llu", &b) == 1 && b != a, "numbers do not repeat");
	pid = read_apart("meet");
	ok(read_in("meet", text, sizeof(text)) > 0 &&
			waitpid(pid, &status, 0) == pid && !status,
		"two requests are served at the same time");
	big = aligned_alloc(4096, BIG);
	must(big);
	memset(big, 'x', BIG);
	fd = open_in("sink", O_WRONLY);
	ok(fd >= 0 && write(fd, big, BIG) == BIG &&
			atomic_load(&sh->largest_write) == BIG,
		"a megabyte is one request");
	close(fd);
	free(big);
	must(umount(mnt) == 0);
	ok(end(server) == 0, "umount ends the loop");
	ok(!atomic_load(&sh->unique_after), "outside a request there is none");
	ok(!atomic_load(&sh->late_prune_rc) ||
			atomic_load(&sh->late_prune_rc) == -ENOTCONN,
		"after the end there is nothing to prune");
}

static void test_interrupt(void)
{
	pid_t server = start(2, 0), pid;
	int status;

	pid = read_apart("slow");
	while (atomic_load(&sh->n_meeting) < 100)
		sched_yield();
	kill(pid, SIGUSR1);
	ok(waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
			WEXITSTATUS(status) == 2,
		"an interrupt is seen while a handler is at work");
	must(umount(mnt) == 0 && end(server) == 0);
}

static void test_ends(void)
{
	static const int sig[] = {SIGTERM, SIGINT, SIGHUP};

	for (size_t i = 0; i < VG_ARRAY_LEN(sig); i++) {
		pid_t server = start(3, 0);

		kill(server, sig[i]);
		ok(end(server) == 0, "%s ends three sleeping threads",
			strsignal(sig[i]));
	}
	for (int spin_us = 0; spin_us <= 1000000; spin_us += 1000000) {
		pid_t server = start(1, spin_us);
		char text[64];

		must(read_in("who", text, sizeof(text)) > 0);
		kill(server, SIGTERM);
		ok(end(server) == 0, "SIGTERM ends a thread that spins %d us",
			spin_us);
	}
	pid_t server = start(0, -1);

	must(umount2(mnt, MNT_FORCE) == 0);
	ok(end(server) == 0, "umount -f ends the loop, with default threads");
}

/* The state letter of a thread, as in ps. */
static char state_of(pid_t pid, const char *tid)
{
	char path[320], text[300], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at ? at[2] : '?';
}

static int n_awake(pid_t pid, int *n_threads)
{
	char path[64];
	struct dirent *e;
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	must(d);
	*n_threads = 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n += state_of(pid, e->d_name) != 'S';
		(*n_threads)++;
	}
	closedir(d);
	return n;
}

/* Waits until each thread sleeps; gives their number, 0 if they do not. */
static int n_asleep(pid_t pid)
{
	int n_threads, n_looks = 0;

	/* 4 threads, the one that waits for signals, the errands. */
	while (n_awake(pid, &n_threads) || n_threads < 6) {
		if (++n_looks == 100000)
			return 0;
		sched_yield();
	}
	return n_threads;
}

static void test_sleep(void)
{
	pid_t server = start(4, 1000);
	int n_at_first = n_asleep(server);
	char text[64];

	for (int i = 0; i < 100; i++)
		must(read_in("who", text, sizeof(text)) > 0);
	ok(n_at_first && n_asleep(server) == n_at_first,
		"threads that have spun go to sleep, and none was added");
	kill(server, SIGTERM);
	must(end(server) == 0);
}

static void test_parked(void)
{
	enum { N = 5 };
	pid_t server = start(N + 1, 0), pid[N];
	char text[64];
	int status;

	must(n_asleep(server));
	for (int i = 0; i < N; i++) {
		pid[i] = read_apart("slow");
		while (atomic_load(&sh->n_meeting) < 100 * (i + 1))
			sched_yield();
	}
	ok(read_in("who", text, sizeof(text)) > 0,
		"while five handlers wait the sixth thread serves");
	for (int i = 0; i < N; i++)
		kill(pid[i], SIGUSR1);
	for (int i = 0; i < N; i++)
		must(waitpid(pid[i], &status, 0) == pid[i] &&
			WEXITSTATUS(status) == 2);
	ok(n_asleep(server), "afterwards all sleep again");
	must(umount(mnt) == 0 && end(server) == 0);
}

static void look_up(int from, int to)
{
	char path[200];
	struct stat st;

	for (int i = from; i < to; i++) {
		snprintf(path, sizeof(path), "%s/%d", mnt, i);
		must(stat(path, &st) == 0);
	}
}

static void test_prune(void)
{
	pid_t server = start(2, -1);
	char text[64];
	int n, fd;

	look_up(0, N_FILES);
	n = atomic_load(&sh->n_lookups);
	look_up(0, N_FILES);
	must(atomic_load(&sh->n_lookups) == n); /* the kernel remembers */
	write_errand(N_FILES);
	must(comes_to(&sh->prune_n, N_FILES));
	if (atomic_load(&sh->prune_rc) == -EINVAL) {
		skip(4, "this kernel cannot prune (6.18 can)");
	} else {
		ok(atomic_load(&sh->prune_rc) == 0, "the kernel prunes");
		ok(comes_to(&sh->n_forgets, N_FILES),
			"each pruned node comes back as a FORGET");
		n = atomic_load(&sh->n_lookups);
		look_up(0, 10);
		ok(atomic_load(&sh->n_lookups) == n + 10,
			"and is looked up anew");
		fd = open_in("5", O_RDONLY);
		write_errand(10);
		ok(comes_to(&sh->prune_n, N_FILES + 10) &&
				comes_to(&sh->n_forgets, N_FILES + 9) &&
				fd >= 0 && read(fd, text, sizeof(text)) > 0,
			"a node that is in use stays");
		close(fd);
	}
	must(umount(mnt) == 0 && end(server) == 0);
}

int main(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct sigaction sa = {.sa_handler = on_signal};

	if (fd < 0)
		skip_all("/dev/fuse cannot be opened: run as root with fuse");
	close(fd);
	if (geteuid() != 0)
		skip_all("umount needs root");
	plan(22);
	alarm(120);
	must(sigaction(SIGUSR1, &sa, NULL) == 0);
	snprintf(mnt, sizeof(mnt), "%s/mnt", scratch());
	must(mkdir(mnt, 0755) == 0);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(sh != MAP_FAILED);
	test_requests();
	test_interrupt();
	test_ends();
	test_sleep();
	test_parked();
	test_prune();
	return done();
}
