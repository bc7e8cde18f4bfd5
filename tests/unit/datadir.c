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
	write_file(dir, "wal/0001.wal", "");
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

/* What a copy of dir by hard links has: its FORMAT, LOCK and wal/. */
static void link_copy(const char *dir, const char *copy)
{
	static const char *const names[] = {"FORMAT", "LOCK"};
	char from[300], to[300];

	must(mkdir(copy, 0700) == 0);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "%s/%s", dir, names[i]);
		snprintf(to, sizeof(to), "%s/%s", copy, names[i]);
		must(link(from, to) == 0);
	}
	snprintf(to, sizeof(to), "%s/wal", copy);
	must(mkdir(to, 0700) == 0);
}

/* A copy that shares LOCK and FORMAT with a directory that is in use. */
static void test_linked(void)
{
	char dir[200], copy[200], before[200], after[200];
	struct place p, q, r;

	snprintf(dir, sizeof(dir), "%s/first", scratch());
	snprintf(copy, sizeof(copy), "%s/linked", scratch());
	must(take(&p, dir, 0) == 0);
	link_copy(dir, copy);
	read_file(dir, "LOCK", before);
	ok(take(&q, copy, 0) == 0 && memcmp(p.uuid, q.uuid, 16) == 0,
		"a copy made of links opens while the first is in use: %s",
		q.why);
	ok(take(&r, dir, 0) == -EBUSY && strstr(r.why, "in use by process"),
		"which is locked still, with another name of its LOCK");
	leave(&r);
	ok(take(&r, copy, 0) == -EBUSY, "and so is the copy");
	leave(&r);
	read_file(dir, "LOCK", after);
	ok(strcmp(before, after) == 0, "the first's LOCK was not written");
	leave(&p);
	leave(&q);
	ok(take(&p, dir, 0) == 0 && take(&q, copy, 0) == 0,
		"each has a lock of its own from then on");
	leave(&p);
	leave(&q);
}

static struct datadir reader(struct place *p)
{
	static struct io io;

	io_init(&io);
	*p = (struct place){.dirfd = -1, .lockfd = -1, .walfd = -1};
	return (struct datadir){.io = &io,
		.dirfd = &p->dirfd,
		.lockfd = &p->lockfd,
		.waldirfd = &p->walfd,
		.uuid = p->uuid,
		.is_read_only = true};
}

static void test_read_only(void)
{
	char dir[200], path[300];
	struct place p, q, r;
	struct datadir d = reader(&q);

	snprintf(dir, sizeof(dir), "%s/missing", scratch());
	ok(datadir_open(dir, 0, &d, q.why) == -ENOENT && access(dir, F_OK) < 0,
		"what is missing is not made to be read");
	snprintf(dir, sizeof(dir), "%s/read", scratch());
	must(take(&p, dir, 0) == 0);
	d = reader(&q);
	ok(datadir_open(dir, 0, &d, q.why) == -EBUSY &&
			strstr(q.why, "in use by process"),
		"what is in use is not read: %s", q.why);
	leave(&q);
	leave(&p);
	snprintf(path, sizeof(path), "%s/LOCK", dir);
	must(unlink(path) == 0);
	d = reader(&q);
	ok(datadir_open(dir, 0, &d, q.why) == 0 && !has_file(dir, "LOCK") &&
			memcmp(q.uuid, p.uuid, 16) == 0,
		"else it is, and nothing is written");
	d = reader(&r);
	ok(datadir_open(dir, 0, &d, r.why) == 0, "by several");
	leave(&r);
	ok(take(&p, dir, 0) == -EBUSY && strstr(p.why, "only read"),
		"an owner has to wait for that: %s", p.why);
	leave(&p);
	leave(&q);
	snprintf(path, sizeof(path), "%s/wal", dir);
	must(rmdir(path) == 0);
	d = reader(&q);
	ok(datadir_open(dir, 0, &d, q.why) == -VG_ECORRUPT,
		"FORMAT without wal/ is a part of a data directory");
	leave(&q);
	ok(take(&p, dir, 0) == -VG_ECORRUPT && !has_file(dir, "wal") &&
			strstr(p.why, "wal/ is missing"),
		"for an owner, too: %s", p.why);
	leave(&p);
}

int main(void)
{
	char dir[200];

	plan(37);
	snprintf(dir, sizeof(dir), "%s/data", scratch());
	test_new(dir);
	test_owner(dir);
	test_wait(dir);
	test_format(dir);
	test_refused();
	test_linked();
	test_read_only();
	return done();
}
