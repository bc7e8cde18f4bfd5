/* SPDX-License-Identifier: Apache-2.0 */
/* ivf.c: each allocation of an inverted file fails once, or from then on all. */
#include "index/ivf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/memkit.h"
#include "tests/streamkit.h"
#include "tests/tap.h"

#define N (IVF_TRAIN + 200)
#define DIM 2

static _Atomic(char *) chunk;
static struct rows rows = {
	.chunk = &chunk, .shift = 31, .stride = DIM * sizeof(float)};
static float vecs[N][DIM];
static const struct ivf_config config = {.dim = DIM, .metric = VG_L2};

struct run {
	struct ivf *v;
	struct ivf_scratch *s;
	bool is_right; /* errors only where something failed, nothing changed */
};

/* Notes the result of a call; true if it is to be done again, unharmed. */
static bool failed(struct run *r, int rc)
{
	if (rc == 0)
		return false;
	r->is_right = r->is_right && rc == -ENOMEM && mem_failed() > 0;
	mem_disarm();
	return true;
}

static bool is_whole(struct run *r, uint32_t n)
{
	const char *why = "";
	bool was_armed = mem_hold(), is;

	is = ivf_check(r->v, &why) == 0 && ivf_count(r->v) == n;
	mem_go_on(was_armed);
	return is;
}

static void run_put(struct run *r)
{
	if (failed(r, ivf_new(&config, &rows, &r->v)))
		must(ivf_new(&config, &rows, &r->v) == 0);
	if (failed(r, ivf_scratch_new(&r->s)))
		must(ivf_scratch_new(&r->s) == 0);
	for (uint32_t i = 0; i < 200; i++) {
		if (!failed(r, ivf_put(r->v, i, r->s)))
			continue;
		r->is_right = r->is_right && is_whole(r, i) &&
			      !ivf_is_linked(r->v, i);
		must(ivf_put(r->v, i, r->s) == 0);
	}
	r->is_right = r->is_right && is_whole(r, 200);
}

/* A run that has got so far, with nothing to fail. */
static void begin(struct run *r, uint32_t n)
{
	bool was_armed = mem_hold();

	must(ivf_new(&config, &rows, &r->v) == 0);
	must(ivf_scratch_new(&r->s) == 0);
	for (uint32_t i = 0; i < n; i++)
		must(ivf_put(r->v, i, r->s) == 0);
	mem_go_on(was_armed);
}

static void run_train(struct run *r)
{
	struct ivf_stat st;

	begin(r, IVF_TRAIN);
	if (failed(r, ivf_train(r->v, NULL))) {
		ivf_stat(r->v, &st);
		r->is_right = r->is_right && st.n_lists == 0 &&
			      is_whole(r, IVF_TRAIN) && ivf_is_due(r->v);
		must(ivf_train(r->v, NULL) == 0);
	}
	for (uint32_t i = IVF_TRAIN; i < N; i++)
		if (failed(r, ivf_put(r->v, i, r->s)))
			must(ivf_put(r->v, i, r->s) == 0);
	ivf_stat(r->v, &st);
	r->is_right = r->is_right && st.n_lists > 0 && is_whole(r, N);
}

static uint8_t room[1 << 20];
static struct stream stream = {.bytes = room, .cap = sizeof(room)};

/* All that is not learning, of what was learnt. */
static struct ivf *learnt;

static void search_all(struct run *r, struct ivf *v)
{
	struct hit hits[64];
	uint32_t n;

	for (uint32_t i = 0; i < N; i += 500) {
		struct ivf_query q = {.vec = vecs[i], .k = 1, .ef = 64};

		if (failed(r, ivf_search(v, &q, r->s, hits, &n)))
			must(ivf_search(v, &q, r->s, hits, &n) == 0);
		r->is_right = r->is_right && n > 0 && hits[0].dist == 0;
	}
}

static void run_rest(struct run *r)
{
	struct ivf_sink sink = {stream_write, &stream};
	struct ivf_source source = {stream_read, &stream};
	const char *why = "";
	bool is_delta;

	if (failed(r, ivf_scratch_new(&r->s)))
		must(ivf_scratch_new(&r->s) == 0);
	search_all(r, learnt);
	stream.len = stream.at = 0;
	if (failed(r, ivf_save(learnt, true, &sink, &is_delta))) {
		stream.len = 0;
		must(ivf_save(learnt, true, &sink, &is_delta) == 0);
	}
	if (failed(r, ivf_load_base(&config, &rows, N, &source, &why, &r->v))) {
		stream.at = 0;
		must(ivf_load_base(&config, &rows, N, &source, &why, &r->v) ==
			0);
	}
	search_all(r, r->v);
	r->is_right = r->is_right && is_whole(r, N);
}

/* Until nothing is left to fail: the first calls one by one, then some. */
static void test(void (*what)(struct run *), const char *name)
{
	uint32_t n_runs = 0;
	bool is_right = true, is_over = false;

	for (long at = 1; !is_over; at += at < 12 ? 1 : at / 2)
		for (int forever = 0; forever < 2; forever++) {
			struct run r = {.is_right = true};
			long before = mem_alive();

			mem_arm(at, forever);
			what(&r);
			mem_disarm();
			ivf_free(r.v);
			ivf_scratch_free(r.s);
			is_over = mem_failed() == 0;
			if (!r.is_right || mem_alive() != before)
				diag("%s: call %ld%s: %s", name, at,
					forever ? " and on" : "",
					r.is_right ? "memory is left" :
						     "not right");
			is_right = is_right && r.is_right && mem_alive() == before;
			n_runs++;
		}
	ok(is_right && n_runs > 10,
		"%s: what finds no memory has changed nothing and is done again "
		"(%u runs)",
		name, n_runs);
}

int main(void)
{
	struct run r = {.is_right = true};

	plan(3);
	srand((unsigned)seed());
	atomic_init(&chunk, (char *)vecs);
	for (uint32_t i = 0; i < N; i++)
		for (uint32_t d = 0; d < DIM; d++)
			vecs[i][d] = (float)(rand() % 20001 - 10000) / 100;
	test(run_put, "puts");
	test(run_train, "learning");
	run_train(&r);
	must(r.is_right);
	learnt = r.v;
	ivf_scratch_free(r.s);
	test(run_rest, "searches, saves and loads");
	ivf_free(learnt);
	return done();
}
