/* SPDX-License-Identifier: Apache-2.0 */
/* datadir: one owner at a time, one identity for ever, nothing else touched. */
#include "src/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

struct place {
	int dirfd, lockfd, walfd;
	uint8_t uuid[16];
	char why[512];
};

static int take(struct place *p, const char *dir, unsigned wait_ms)
{
	static struct io io;
	struct datadir d = {.io = &io,
		.dirfd = &p->dirfd,
		.lockfd = &p->lockfd,
		.waldirfd = &p->walfd,
		.uuid = p->uuid};

	io_init(&io);
	*p = (struct place){.dirfd = -1, .lockfd = -1, .walfd = -1};
	return datadir_open(dir, wait_ms, &d, p->why);
}

static void leave(struct place *p)
{
	if (p->walfd >= 0)
		close(p->walfd);
	if (p->lockfd >= 0)
		close(p->lockfd);
	if (p->dirfd >= 0)
		close(p->dirfd);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	must(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static bool has_file(const char *dir, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static size_t read_file(const char *dir, const char *name, char out[200])
{
	char path[300];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	must(f);
	n = fread(out, 1, 199, f);
	out[n] = '\0';
	fclose(f);
	return n;
}

static void test_new(const char *dir)
{
	struct place p, again;
	char text[200], want[64];
	struct stat st;

	ok(take(&p, dir, 0) == 0, "a directory that is missing is made");
	ok(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700,
		"for its owner alone");
	ok(has_file(dir, "FORMAT") && has_file(dir, "LOCK") &&
			has_file(dir, "wal") && !has_file(dir, "FORMAT.new"),
		"with FORMAT, LOCK and wal");
	ok(read_file(dir, "FORMAT", text) == 50 &&
			strncmp(text, "vecgridfs 1\nuuid ", 17) == 0 &&
			text[49] == '\n',
		"FORMAT is two lines of text");
	for (int i = 0; i < 16; i++)
		snprintf(want + 2 * i, 3, "%02x", p.uuid[i]);
	ok(strncmp(text + 17, want, 32) == 0, "with the uuid");
	read_file(dir, "LOCK", text);
	ok(atol(text) == (long)getpid(), "LOCK names the owner");
	leave(&p);
	ok(take(&again, dir, 0) == 0 && memcmp(again.uuid, p.uuid, 16) == 0,
		"it is the same one when it is taken again");
	leave(&again);
}

/* Another process has it. */
static void test_owner(const char *dir)
{
	struct place p;
	int ready[2];
	char c;
	pid_t pid;

	must(pipe(ready) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		c = take(&p, dir, 0) == 0;
		if (write(ready[1], &c, 1) == 1)
			pause();
		_exit(0);
	}
	must(read(ready[0], &c, 1) == 1 && c == 1);
	ok(take(&p, dir, 0) == -EBUSY, "a second owner is refused");
	snprintf(p.why + 480, 30, "process %d", (int)pid);
	ok(strstr(p.why, p.why + 480), "with the first one's pid: %s", p.why);
	leave(&p);
	ok(take(&p, dir, 60) == -EBUSY, "also after it waited");
	leave(&p);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(take(&p, dir, 5000) == 0, "an owner that died is no owner");
	leave(&p);
	close(ready[0]);
	close(ready[1]);
}

/* An owner that is ending is waited for. */
static void test_wait(const char *dir)
{
	struct place p;
	int ready[2], go[2];
	char c = 1;
	pid_t pid;

	must(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		c = take(&p, dir, 0) == 0;
		if (write(ready[1], &c, 1) == 1 && read(go[0], &c, 1) == 1)
			fsync(p.dirfd);
		_exit(0);
	}
	must(read(ready[0], &c, 1) == 1 && c == 1);
	must(write(go[1], &c, 1) == 1);
	ok(take(&p, dir, 20000) == 0, "an owner that ends is waited for");
	leave(&p);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	close(go[0]);
	close(go[1]);
}

/* Every damage to FORMAT is told, and harms nothing. */
static void test_format(const char *dir)
{
	static const char good[] =
		"vecgridfs 1\nuuid 00112233445566778899aabbccddeeff\n";
	char text[200], path[300];
	unsigned wrong = 0, said = 0;
	struct place p;

	write_file(dir, "FORMAT", good);
	ok(take(&p, dir, 0) == 0 && p.uuid[0] == 0 && p.uuid[15] == 0xff,
		"the golden FORMAT is read");
	leave(&p);
	for (size_t len = 0; len < sizeof(good) - 1; len++) {
		memcpy(text, good, len);
		text[len] = '\0';
		write_file(dir, "FORMAT", text);
		wrong += take(&p, dir, 0) != -VG_EFORMAT;
		said += strstr(p.why, "FORMAT") != NULL;
		leave(&p);
	}
	ok(wrong == 0 && said == sizeof(good) - 1,
		"no prefix of it is taken: %s", p.why);
	wrong = 0;
	for (size_t at = 0; at < sizeof(good) - 1; at++) {
		memcpy(text, good, sizeof(good));
		text[at] = '~';
		write_file(dir, "FORMAT", text);
		wrong += take(&p, dir, 0) != -VG_EFORMAT;
		leave(&p);
	}
	ok(wrong == 0, "nor one with any byte changed");
	snprintf(text, sizeof(text), "%sx", good);
	write_file(dir, "FORMAT", text);
	ok(take(&p, dir, 0) == -VG_EFORMAT, "nor one that goes on");
	leave(&p);
	snprintf(path, sizeof(path), "%s/FORMAT", dir);
	must(unlink(path) == 0);
	ok(take(&p, dir, 0) == -VG_ECORRUPT && strstr(p.why, "restore"),
		"a log without FORMAT is not taken for a new store: %s", p.why);
	leave(&p);
	ok(!has_file(dir, "FORMAT"), "and none is made up");
	write_file(dir, "FORMAT", good);
}

static void test_refused(void)
{
	char dir[200];
	struct place p;

	snprintf(dir, sizeof(dir), "%s/no/such", scratch());
	ok(take(&p, dir, 0) == -ENOENT && strstr(p.why, dir),
		"a directory without its parent is not made: %s", p.why);
	leave(&p);
	snprintf(dir, sizeof(dir), "%s/file", scratch());
	write_file(scratch(), "file", "hello");
	ok(take(&p, dir, 0) == -ENOTDIR && strstr(p.why, dir),
		"a file is no directory: %s", p.why);
	leave(&p);
	snprintf(dir, sizeof(dir), "%s/foreign", scratch());
	must(mkdir(dir, 0755) == 0);
	write_file(dir, "FORMAT", "another program's\n");
	ok(take(&p, dir, 0) == -VG_EFORMAT && !has_file(dir, "LOCK") &&
			!has_file(dir, "wal"),
		"nothing is written into another program's directory");
	leave(&p);
	snprintf(dir, sizeof(dir), "%s/torn", scratch());
	must(mkdir(dir, 0755) == 0);
	write_file(dir, "FORMAT.new", "vecgrid");
	ok(take(&p, dir, 0) == 0 && !has_file(dir, "FORMAT.new"),
		"a crash while it was made is made good");
	leave(&p);
	snprintf(dir, sizeof(dir), "%s/full", scratch());
	must(mkdir(dir, 0755) == 0);
	write_file(dir, "thesis.txt", "my life's work\n");
	ok(take(&p, dir, 0) == -ENOTEMPTY && strstr(p.why, "not empty"),
		"a directory with other files is not taken: %s", p.why);
	leave(&p);
	ok(!has_file(dir, "LOCK") && !has_file(dir, "FORMAT") &&
			!has_file(dir, "wal"),
		"and nothing is written there");
	snprintf(dir, sizeof(dir), "%s/fresh", scratch());
	must(mkdir(dir, 0755) == 0);
	snprintf(dir, sizeof(dir), "%s/fresh/lost+found", scratch());
	must(mkdir(dir, 0755) == 0);
	snprintf(dir, sizeof(dir), "%s/fresh", scratch());
	ok(take(&p, dir, 0) == 0, "a new file system's root is");
	leave(&p);
}

int main(void)
{
	char dir[200];

	plan(25);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	test_new(dir);
	test_owner(dir);
	test_wait(dir);
	test_format(dir);
	test_refused();
	return done();
}
