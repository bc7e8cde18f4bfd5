/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: runs a fuzz target without libFuzzer: its corpus, then seeded changes. */
#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

/*
 * A target is one file, tests/fuzz/NAME.c, with LLVMFuzzerTestOneInput (which
 * aborts when something is wrong) and seeds in tests/fuzz/corpus/NAME/. As a
 * test it takes every seed, then VG_FUZZ_N inputs made from the seeds, for at
 * most VG_FUZZ_S seconds. An input that kills it is left in NAME.crash in the
 * working directory; `tests/fuzz/NAME FILE...` takes only these files, as
 * a target linked with libFuzzer (configure --enable-fuzz) does too.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __attribute__((weak)) __sanitizer_set_death_callback(void (*)(void));

#define SEEDS_MAX 1024
#define INPUT_MAX (64u << 10)

struct input {
	uint8_t *bytes;
	size_t len;
};

static struct input seeds[SEEDS_MAX];
static size_t n_seeds;
static uint64_t rng;
static const uint8_t *current;
static size_t current_len;
static char crash_path[300];

static uint64_t random_next(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * 0x2545f4914f6cdd1dull;
}

static size_t random_below(size_t n)
{
	return n ? (size_t)(random_next() >> 11) % n : 0;
}

/* Only calls that are allowed in a signal handler. */
static void crash_save(void)
{
	int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ssize_t rc;

	if (fd < 0)
		return;
	rc = write(fd, current, current_len);
	(void)rc;
	close(fd);
}

static void on_signal(int sig)
{
	crash_save();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void run_one(const uint8_t *bytes, size_t len)
{
	/* A copy of its exact length, so that a sanitizer sees each overrun. */
	uint8_t *copy = malloc(len ? len : 1);

	must(copy);
	if (len)
		memcpy(copy, bytes, len);
	current = copy;
	current_len = len;
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static struct input file_load(const char *path)
{
	struct input in = {NULL, 0};
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		return in;
	}
	in.bytes = malloc((size_t)st.st_size + 1);
	must(in.bytes);
	must(read(fd, in.bytes, (size_t)st.st_size) == st.st_size);
	in.len = (size_t)st.st_size;
	close(fd);
	return in;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their names, so that a seed of ours repeats a run. */
static void corpus_load(const char *dir)
{
	static char *names[SEEDS_MAX];
	size_t n = 0;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && n < SEEDS_MAX && (e = readdir(d)))
		if (e->d_name[0] != '.')
			must((names[n++] = strdup(e->d_name)));
	if (d)
		closedir(d);
	if (n)
		qsort(names, n, sizeof(names[0]), by_name);
	for (size_t i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		seeds[n_seeds] = file_load(path);
		if (seeds[n_seeds].bytes)
			n_seeds++;
		free(names[i]);
	}
}

/* Makes room for n bytes at `at`, or takes -n away; returns the new length. */
static size_t resize(uint8_t *buf, size_t len, size_t at, long n)
{
	if (n > 0) {
		if (len + (size_t)n > INPUT_MAX)
			return len;
		memmove(buf + at + n, buf + at, len - at);
		memset(buf + at, 0, (size_t)n);
		return len + (size_t)n;
	}
	size_t cut = (size_t)-n < len - at ? (size_t)-n : len - at;

	memmove(buf + at, buf + at + cut, len - at - cut);
	return len - cut;
}

static void overwrite_integer(uint8_t *buf, size_t len, size_t at)
{
	static const uint64_t values[] = {0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100,
		0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
		0xffffffff, 0x100000000, 0x7fffffffffffffff,
		0x8000000000000000, 0xffffffffffffffff};
	uint64_t v = values[random_below(sizeof(values) / sizeof(values[0]))];
	size_t width = (size_t)1 << random_below(4);

	if (width <= len - at)
		memcpy(buf + at, &v, width);
}

static size_t change_once(uint8_t *buf, size_t len)
{
	size_t at = random_below(len + 1);
	const struct input *other;
	size_t from, n;

	switch (random_below(9)) {
	case 0:
	case 1:
		if (at < len)
			buf[at] ^= (uint8_t)(1u << random_below(8));
		return len;
	case 2:
		if (at < len)
			buf[at] = (uint8_t)random_next();
		return len;
	case 3:
		overwrite_integer(buf, len, at);
		return len;
	case 4:
		return resize(buf, len, at, (long)random_below(16) + 1);
	case 5:
		return resize(buf, len, at, -(long)random_below(16) - 1);
	case 6:
		return at;
	case 7: /* a range once more */
		from = random_below(len + 1);
		n = random_below(len - from + 1);
		if (len + n > INPUT_MAX)
			return len;
		len = resize(buf, len, at, (long)n);
		memmove(buf + at, buf + (from >= at ? from + n : from),
			from >= at || from + n <= at ? n : 0);
		return len;
	default: /* the end of another seed */
		if (!n_seeds)
			return len;
		other = &seeds[random_below(n_seeds)];
		from = random_below(other->len + 1);
		n = other->len - from;
		if (at + n > INPUT_MAX)
			return len;
		memcpy(buf + at, other->bytes + from, n);
		return at + n;
	}
}

static long random_runs(long n, long limit_s)
{
	static uint8_t buf[INPUT_MAX + 64];
	time_t end = time(NULL) + limit_s;
	long i;

	for (i = 0; i < n && time(NULL) < end; i++) {
		size_t len = 0;

		if (n_seeds) {
			const struct input *in = &seeds[random_below(n_seeds)];

			len = in->len < INPUT_MAX ? in->len : INPUT_MAX;
			memcpy(buf, in->bytes, len);
		}
		for (size_t k = random_below(8) + 1; k > 0; k--)
			len = change_once(buf, len);
		run_one(buf, len);
	}
	return i;
}

int main(int argc, char **argv)
{
	const char *src = getenv("VG_SRC");
	const char *name = basename(argv[0]);
	char dir[3800];
	long n;

	snprintf(crash_path, sizeof(crash_path), "%.200s.crash", name);
	signal(SIGABRT, on_signal);
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(crash_save);
	} else {
		signal(SIGSEGV, on_signal);
		signal(SIGBUS, on_signal);
		signal(SIGFPE, on_signal);
	}
	for (int i = 1; i < argc; i++) {
		struct input in = file_load(argv[i]);

		must(in.bytes);
		run_one(in.bytes, in.len);
		free(in.bytes);
	}
	if (argc > 1)
		return 0;

	plan(3);
	rng = (uint64_t)seed() * 0x9e3779b97f4a7c15ull | 1;
	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", src ? src : ".",
		name);
	corpus_load(dir);
	ok(n_seeds > 0, "%s has a corpus of %zu seeds", name, n_seeds);
	for (size_t i = 0; i < n_seeds; i++)
		run_one(seeds[i].bytes, seeds[i].len);
	run_one(NULL, 0);
	ok(true, "every seed is taken or refused without harm");
	n = random_runs(env_long("VG_FUZZ_N", 20000), env_long("VG_FUZZ_S", 20));
	ok(n > 0, "%ld changed inputs are taken or refused without harm", n);
	for (size_t i = 0; i < n_seeds; i++)
		free(seeds[i].bytes);
	return done();
}
