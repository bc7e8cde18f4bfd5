/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw.c: each allocation of a graph fails once, of its saves and loads too. */
#include "index/hnsw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/memkit.h"
#include "tests/streamkit.h"
#include "tests/tap.h"

#define N 1500
#define DIM 2

/* The linker sends these here, too (--wrap), and memkit's to memkit. */
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *p, size_t len);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *p, size_t len);

static size_t mapped;

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (mem_fails()) {
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
static struct rows rows = {.chunk = &chunk,
	.shift = 31,
	.stride = DIM * sizeof(float)};
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
	r->is_right = r->is_right && rc == -ENOMEM && mem_failed() > 0;
	r->has_failed = true;
	mem_disarm();
	return true;
}

static uint32_t n_linked(const struct hnsw *h)
{
	struct hnsw_stat st;
	bool was_armed = mem_hold();
	const char *why;

	hnsw_stat(h, &st);
	if (hnsw_check(h, &why) < 0)
		st.linked = UINT32_MAX;
	mem_go_on(was_armed);
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

static struct hnsw_config config = {.dim = DIM,
	.metric = VG_L2,
	.m = 4,
	.ef_construction = 32,
	.codes = HNSW_CODES_AUTO};

static struct run run_once(long nth, bool forever)
{
	struct run r = {.is_right = true,
		.is_untouched = true,
		.is_valid = true};
	long alive_before = mem_alive();
	size_t mapped_before = mapped;
	struct hnsw_scratch *s;
	struct hnsw *h;

	mem_arm(nth, forever);
	if (failed(&r, hnsw_new(&config, &rows, &h)))
		must(hnsw_new(&config, &rows, &h) == 0);
	if (failed(&r, hnsw_scratch_new(&s)))
		must(hnsw_scratch_new(&s) == 0);
	put_all(&r, h, s);
	search_all(&r, h);
	mem_disarm();
	r.is_over = mem_failed() == 0;
	r.is_valid = r.is_valid && n_linked(h) == N;
	hnsw_scratch_free(s);
	hnsw_free(h);
	r.is_freed = mem_alive() == alive_before && mapped == mapped_before;
	return r;
}

/* ---- saving and loading ---- */

static uint8_t room[2 << 20];
static struct stream stream = {.bytes = room, .cap = sizeof(room)};
static const struct hnsw_sink sink = {stream_write, &stream};
static const struct hnsw_source source = {stream_read, &stream};

static int save_base(struct hnsw *h)
{
	int rc;

	stream.len = 0;
	rc = hnsw_save_base(h, &sink);
	return rc < 0 ? rc : hnsw_save_rest(h, &sink);
}

/* After a save that failed only a base is taken. */
static bool is_base_next(struct hnsw *h)
{
	return hnsw_save_rest(h, &sink) == -EINVAL &&
	       hnsw_save_delta(h, &sink) == -EINVAL;
}

/* Half of the rows in a base, the others in a delta, or all in a base. */
static void save_all(struct run *r, struct hnsw *h, struct hnsw_scratch *s)
{
	bool was_armed;

	if (failed(r, save_base(h))) {
		r->is_untouched = r->is_untouched && is_base_next(h);
		must(save_base(h) == 0);
	}
	was_armed = mem_hold();
	for (uint32_t i = N / 2; i < N; i++)
		must(hnsw_put(h, i, s) == 0);
	mem_go_on(was_armed);
	if (failed(r, hnsw_save_delta(h, &sink))) {
		r->is_untouched = r->is_untouched && is_base_next(h);
		must(save_base(h) == 0);
	}
}

static int load_all(struct hnsw **out)
{
	const char *why = NULL;
	struct hnsw *h;
	int rc;

	stream.at = 0;
	rc = hnsw_load_base(&config, &rows, N, &source, &why, &h);
	if (rc < 0)
		return rc;
	if (stream.at < stream.len)
		rc = hnsw_load_delta(h, N, &source, &why);
	must(!why);
	if (rc == 0)
		*out = h;
	else
		hnsw_free(h);
	return rc;
}

static struct run save_once(long nth, bool forever)
{
	struct run r = {.is_right = true,
		.is_untouched = true,
		.is_valid = true};
	long alive_before = mem_alive();
	size_t mapped_before = mapped;
	struct hnsw_scratch *s;
	struct hnsw *h, *again = NULL;

	must(hnsw_new(&config, &rows, &h) == 0);
	must(hnsw_scratch_new(&s) == 0);
	for (uint32_t i = 0; i < N / 2; i++)
		must(hnsw_put(h, i, s) == 0);
	mem_arm(nth, forever);
	save_all(&r, h, s);
	if (failed(&r, load_all(&again)))
		must(load_all(&again) == 0);
	mem_disarm();
	r.is_over = mem_failed() == 0;
	r.is_valid = n_linked(h) == N && n_linked(again) == N;
	hnsw_scratch_free(s);
	hnsw_free(h);
	hnsw_free(again);
	r.is_freed = mem_alive() == alive_before && mapped == mapped_before;
	return r;
}

static void test_all(struct run (*once)(long nth, bool forever), bool forever,
	const char *name)
{
	struct run all = {.is_right = true,
		.is_untouched = true,
		.is_valid = true,
		.is_freed = true};
	long nth = 0, n_seen = 0;

	do {
		struct run r = once(++nth, forever);

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

/* n: allocations of a check. */
static void test_check(int n)
{
	const char *why = NULL;
	struct hnsw *h;
	int rc[6], n_failed_ones = 0;

	must(hnsw_new(&config, &rows, &h) == 0);
	for (int i = 0; i <= n; i++) {
		mem_arm(i + 1, false);
		rc[i] = hnsw_check(h, &why);
		mem_disarm();
		n_failed_ones += rc[i] == -ENOMEM;
	}
	ok(n_failed_ones == n && rc[n] == 0 && !why,
		"a check without memory says so, and blames no invariant");
	hnsw_free(h);
}

int main(void)
{
	plan(32);
	srand((unsigned)seed());
	for (int i = 0; i < N; i++)
		for (int j = 0; j < DIM; j++)
			vecs[i][j] = (float)rand() / (float)RAND_MAX;
	atomic_init(&chunk, (char *)vecs);
	test_all(run_once, false, "once");
	test_all(run_once, true, "forever");
	test_all(save_once, false, "saved and loaded, once");
	test_all(save_once, true, "saved and loaded, forever");
	test_check(3);
	config.codes = HNSW_CODES_NEAR;
	test_all(run_once, false, "with codes of neighbours");
	test_all(save_once, false, "with them, saved and loaded");
	test_check(5);
	return done();
}
