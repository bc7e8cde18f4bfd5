/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.c: every allocation of a graph fails once; the graph goes on. */
#include "index/hnsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/tap.h"

#define N 1500
#define DIM 2

/*
 * The linker sends the library's calls here (--wrap). Counted are what is
 * alive and which call is to fail: fail_at, and all after it if is_forever.
 */
void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void __real_free(void *p);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *p, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void __wrap_free(void *p);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *p, size_t len);

static long n_calls, fail_at, n_failed;
static bool is_armed, is_forever;
static long n_alive;
static size_t mapped;

static bool is_to_fail(void)
{
	if (!is_armed)
		return false;
	n_calls++;
	if (n_calls != fail_at && !(is_forever && n_calls > fail_at))
		return false;
	n_failed++;
	return true;
}

void *__wrap_malloc(size_t len)
{
	if (is_to_fail())
		return NULL;
	n_alive++;
	return __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
	if (is_to_fail())
		return NULL;
	n_alive++;
	return __real_calloc(n, len);
}

void __wrap_free(void *p)
{
	n_alive -= p != NULL;
	__real_free(p);
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (is_to_fail()) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	mapped += len;
	return __real_mmap(at, len, prot, flags, fd, off);
}

int __wrap_munmap(void *p, size_t len)
{
	mapped -= len;
	return __real_munmap(p, len);
}

static _Atomic(char *) chunk;
static struct rows rows = {
	.chunk = &chunk, .shift = 31, .stride = DIM * sizeof(float)};
static float vecs[N][DIM];

struct run {
	bool is_over;	   /* nothing was left to fail */
	bool has_failed;   /* some call said -ENOMEM */
	bool is_right;	   /* errors only where something failed */
	bool is_untouched; /* a failed call changed nothing */
	bool is_valid;	   /* and so is the graph in the end */
	bool is_freed;
};

/* Notes the result of a call; true if it is to be done again, unharmed. */
static bool failed(struct run *r, int rc)
{
	if (rc == 0)
		return false;
	r->is_right = r->is_right && rc == -ENOMEM && n_failed > 0;
	r->has_failed = true;
	is_armed = false;
	return true;
}

static uint32_t n_linked(const struct hnsw *h)
{
	struct hnsw_stat st;
	bool was_armed = is_armed;
	const char *why;

	is_armed = false;
	hnsw_stat(h, &st);
	if (hnsw_check(h, &why) < 0)
		st.linked = UINT32_MAX;
	is_armed = was_armed;
	return st.linked;
}

static void put_all(struct run *r, struct hnsw *h, struct hnsw_scratch *s)
{
	for (uint32_t i = 0; i < N; i++) {
		if (!failed(r, hnsw_put(h, i, s)))
			continue;
		r->is_untouched = r->is_untouched && n_linked(h) == i;
		must(hnsw_put(h, i, s) == 0);
	}
}

static void search_all(struct run *r, struct hnsw *h)
{
	struct hnsw_scratch *s;
	struct hit hits[64];
	uint32_t n, n_right = 0;

	if (failed(r, hnsw_scratch_new(&s)))
		must(hnsw_scratch_new(&s) == 0);
	for (uint32_t i = 0; i < N; i += 10) {
		struct hnsw_query q = {.vec = vecs[i], .k = 1, .ef = 64};

		if (failed(r, hnsw_search(h, &q, s, hits, &n)))
			must(hnsw_search(h, &q, s, hits, &n) == 0);
		n_right += n > 0 && hits[0].dist == 0;
	}
	r->is_valid = r->is_valid && n_right >= N / 10 * 9 / 10;
	hnsw_scratch_free(s);
}

static struct run run_once(long nth, bool forever)
{
	struct run r = {.is_right = true,
		.is_untouched = true,
		.is_valid = true};
	struct hnsw_config config = {.dim = DIM,
		.metric = VG_L2,
		.m = 4,
		.ef_construction = 32};
	long alive_before = n_alive;
	size_t mapped_before = mapped;
	struct hnsw_scratch *s;
	struct hnsw *h;

	n_calls = n_failed = 0;
	fail_at = nth;
	is_forever = forever;
	is_armed = true;
	if (failed(&r, hnsw_new(&config, &rows, &h)))
		must(hnsw_new(&config, &rows, &h) == 0);
	if (failed(&r, hnsw_scratch_new(&s)))
		must(hnsw_scratch_new(&s) == 0);
	put_all(&r, h, s);
	search_all(&r, h);
	is_armed = false;
	r.is_over = n_failed == 0;
	r.is_valid = r.is_valid && n_linked(h) == N;
	hnsw_scratch_free(s);
	hnsw_free(h);
	r.is_freed = n_alive == alive_before && mapped == mapped_before;
	return r;
}

static void test_all(bool forever, const char *name)
{
	struct run all = {.is_right = true,
		.is_untouched = true,
		.is_valid = true,
		.is_freed = true};
	long nth = 0, n_seen = 0;

	do {
		struct run r = run_once(++nth, forever);

		all.is_over = r.is_over;
		all.is_right = all.is_right && r.is_right;
		all.is_untouched = all.is_untouched && r.is_untouched;
		all.is_valid = all.is_valid && r.is_valid;
		all.is_freed = all.is_freed && r.is_freed;
		n_seen += r.has_failed;
	} while (!all.is_over && nth < 1000);
	ok(all.is_over && n_seen == nth - 1 && n_seen > 10,
		"%s: each of %ld failed allocations is reported", name, n_seen);
	ok(all.is_right, "%s: as -ENOMEM, and nothing else is", name);
	ok(all.is_untouched, "%s: a call that failed changed nothing", name);
	ok(all.is_valid, "%s: tried again, all rows are in and found", name);
	ok(all.is_freed, "%s: nothing leaks", name);
}

static void test_check(void)
{
	struct hnsw_config config = {.dim = DIM,
		.metric = VG_L2,
		.m = 4,
		.ef_construction = 32};
	const char *why = NULL;
	struct hnsw *h;
	int rc[3];

	must(hnsw_new(&config, &rows, &h) == 0);
	for (int i = 0; i < 3; i++) {
		n_calls = 0;
		fail_at = i + 1;
		is_forever = false;
		is_armed = true;
		rc[i] = hnsw_check(h, &why);
		is_armed = false;
	}
	ok(rc[0] == -ENOMEM && rc[1] == -ENOMEM && rc[2] == 0 && !why,
		"a check without memory says so, and blames no invariant");
	hnsw_free(h);
}

int main(void)
{
	plan(11);
	srand((unsigned)seed());
	for (int i = 0; i < N; i++)
		for (int j = 0; j < DIM; j++)
			vecs[i][j] = (float)rand() / (float)RAND_MAX;
	atomic_init(&chunk, (char *)vecs);
	test_all(false, "once");
	test_all(true, "forever");
	test_check();
	return done();
}
