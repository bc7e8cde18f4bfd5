/* SPDX-License-Identifier: Apache-2.0 */
/* lost: pages of a mapped file that is cut while threads read it. */
#include "src/lost.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tap.h"

#define PAGE 4096u
#define PAGES 200u /* more than bits in a word */
#define KEPT 70u   /* of them, when the file is cut */

static char *map_file(int *fd)
{
	char path[] = "lost.XXXXXX", page[PAGE];
	char *at;

	*fd = mkstemp(path);
	must(*fd >= 0 && unlink(path) == 0);
	memset(page, 'x', sizeof(page));
	for (unsigned i = 0; i < PAGES; i++)
		must(write(*fd, page, sizeof(page)) == sizeof(page));
	at = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, *fd, 0);
	must(at != MAP_FAILED);
	return at;
}

static char byte_of(const char *at, unsigned page)
{
	return *(const volatile char *)(at + (size_t)page * PAGE + 100);
}

/* ---- many threads ---- */

struct readers {
	const char *at;
	const struct lost *lost;
	_Atomic unsigned n_wrong;
};

/* NaN that nobody knows of, or anything else that was not written. */
static void *read_all(void *arg)
{
	struct readers *r = arg;

	for (unsigned i = 0; i < PAGES; i++) {
		char byte = byte_of(r->at, i);
		int rc = lost_check(r->lost, r->at + (size_t)i * PAGE, PAGE);

		if (rc == 0 ? byte != 'x' : i < KEPT)
			atomic_fetch_add(&r->n_wrong, 1);
	}
	return NULL;
}

static unsigned read_beside(const char *at, const struct lost *lost)
{
	struct readers r = {.at = at, .lost = lost};
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		must(pthread_create(&thread[i], NULL, read_all, &r) == 0);
	for (int i = 0; i < 4; i++)
		must(pthread_join(thread[i], NULL) == 0);
	return r.n_wrong;
}

/* Ranges come and go while others are looked up. */
static void *make_ranges(void *arg)
{
	const _Atomic bool *is_over = arg;
	static char memory[8 * PAGE] __attribute__((aligned(PAGE)));
	_Atomic uint32_t n = 0;
	struct lost *lost[8];

	while (!atomic_load(is_over)) {
		for (unsigned i = 0; i < 8; i++)
			must(lost_new(memory + i * PAGE, PAGE, &n, &lost[i]) ==
				0);
		for (unsigned i = 0; i < 8; i++)
			lost_free(lost[i * 5 % 8]);
	}
	must(n == 0);
	return NULL;
}

/* ---- what is not ours ---- */

/* Whether a process survives touching what no range has. */
static bool survives(const char *at, unsigned page)
{
	const struct rlimit none = {0, 0};
	int status;
	pid_t pid = fork();

	must(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		must(freopen("/dev/null", "w", stderr));
		_Exit(byte_of(at, page) == 0);
	}
	must(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void test_cut(void)
{
	int fd;
	char *at = map_file(&fd), *other;
	_Atomic uint32_t n = 0;
	_Atomic bool is_over = false;
	struct lost *lost;
	unsigned wrong = 0;
	pthread_t maker;

	ok(!lost_new(at, PAGES * PAGE, &n, &lost), "a range is made known");
	ok(read_beside(at, lost) == 0 && n == 0, "all of it can be read");
	must(ftruncate(fd, (off_t)KEPT * PAGE) == 0);
	ok(lost_check(lost, at, PAGES * PAGE) == 0 && n == 0,
		"what nobody has touched is not lost yet");
	ok(byte_of(at, 120) == (char)0xff,
		"a page behind the end reads as NaN");
	ok(lost_check(lost, at + 120 * PAGE, 1) == -EIO && n == 1,
		"and is lost");
	ok(lost_check(lost, at + 120 * PAGE - 1, 2) == -EIO &&
			lost_check(lost, at + 121 * PAGE - 1, 2) == -EIO,
		"for who wants a byte of it");
	ok(lost_check(lost, at + 120 * PAGE - 1, 1) == 0 &&
			lost_check(lost, at + 121 * PAGE, 1) == 0,
		"not for others");
	must(pthread_create(&maker, NULL, make_ranges, &is_over) == 0);
	ok(read_beside(at, lost) == 0,
		"no thread took NaN for bytes, ranges come and go or not");
	atomic_store(&is_over, true);
	must(pthread_join(maker, NULL) == 0);
	ok(n == PAGES - KEPT, "each page counts once");
	for (unsigned i = 0; i < KEPT; i++)
		wrong += byte_of(at, i) != 'x';
	ok(wrong == 0, "what is before the end is there");
	other = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	must(other != MAP_FAILED);
	ok(survives(at, PAGES - 1), "a process lives on with lost pages");
	ok(!survives(other, PAGES - 1), "not with those of another's map");
	ok(byte_of(at, 150) == (char)0xff && byte_of(at, 3) == 'x',
		"the range is as it was");
	lost_free(lost);
	munmap(other, PAGES * PAGE);
	munmap(at, PAGES * PAGE);
	close(fd);
}

int main(void)
{
	plan(13);
	must(chdir(scratch()) == 0);
	test_cut();
	return done();
}
