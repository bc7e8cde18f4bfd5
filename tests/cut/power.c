/* SPDX-License-Identifier: Apache-2.0 */
/* power.c: the log, its power cut at every moment, in every way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/logkit.h"
#include "tests/simdisk.h"
#include "tests/tap.h"

/*
 * A run is what a store does to its log: groups of changes, some synced, some
 * dropped, segments begun and cut, the log closed and opened again, also when
 * a call failed and the kernel goes on with what it did not write. At each of
 * its calls to the disk the power may be cut; each state that is left must
 * replay everything that a sync acknowledged, in order, and nothing that was
 * never written, take more, and keep that over another power cut, also when
 * the first one came while the log was being opened.
 */
#define STEPS 40
#define SEGMENT 1500
#define AFTER 77777u /* the life of changes after a power cut */

struct run {
	struct sim *sim;
	struct wal *wal;	/* NULL while it is closed, or opens */
	struct wal_place from;	/* what a manifest says */
	uint64_t acked;		/* the last change acknowledged */
	uint64_t written;	/* handed to the disk */
	uint32_t life[KIT_MAX]; /* of the change in each place, at last */
	struct kit_seen seen;	/* when it opened */
	uint64_t dice;
	uint64_t states, lost;	/* states looked at, and bad ones */
	bool stops;		/* at the first bad one */
	const char *why;	/* the first bad one's */
	enum sim_mode mode;	/* the first bad one's */
	uint64_t n_full;	/* calls that found the disk full */
	uint64_t n_restarts;	/* after a failed call */
	struct sim_fault fault; /* of the next run */
	unsigned lies;
	const char *lie_prefix;
};
static struct run run;

/* What the last judge saw; the run itself has its own. */
static struct kit_seen seen;
static struct wal_report rep;

static unsigned roll(uint64_t *dice, unsigned below)
{
	*dice = *dice * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)((*dice >> 33) % below);
}

/* Opens what is left: why it is not what it must be, or NULL. */
static const char *replays(const struct run *r, struct sim *left,
	struct wal **wal)
{
	uint64_t first = r->from.lsn > 0 ? r->from.lsn - 1 : 0;

	seen.from = r->from;
	int rc = kit_open(sim_root(left), sim_get_io(left), SEGMENT, &seen,
		&rep, wal);

	if (rc < 0)
		return rc == -VG_ECORRUPT ? rep.error : strerror(-rc);
	if (seen.is_wrong)
		return "a change is not what was written";
	if (seen.n < r->acked)
		return "an acknowledged change is missing";
	if (seen.n > r->written || memcmp(seen.life + first, r->life + first,
					   (seen.n - first) * 4) != 0)
		return "a change is there that was taken back";
	return NULL;
}

/* Two more changes, safe over a power cut. */
static const char *goes_on(struct run *r, struct sim *left, struct wal *wal)
{
	uint64_t n = seen.n;
	int rc = kit_write(wal, AFTER, 2, true);

	if (rc < 0)
		return strerror(-rc);

	struct sim *again = sim_crash(left, r->dice, roll(&r->dice, SIM_MODES));
	static struct run more;
	struct wal *its = NULL;
	const char *why;

	more.from = r->from;
	more.acked = more.written = n + 2;
	memcpy(more.life, r->life, n * 4);
	more.life[n] = more.life[n + 1] = AFTER;
	why = replays(&more, again, &its);
	wal_close(its);
	sim_free(again);
	return why;
}

/* The power is cut once more, at some call of the open. */
struct cut {
	unsigned in; /* calls from now */
	struct sim *left;
	enum sim_mode mode;
	uint64_t seed;
};

static void cut_again(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct cut *c = ctx;

	(void)call;
	(void)number;
	if (c->in-- == 0)
		c->left = sim_crash(sim, c->seed, c->mode);
}

/* What is left after a power cut, or a kill; taken. */
static const char *judge(struct run *r, struct sim *left)
{
	struct cut c = {.in = roll(&r->dice, 8),
		.mode = roll(&r->dice, SIM_MODES),
		.seed = r->dice};
	struct wal *wal = NULL;

	sim_set_capacity(left, 0); /* somebody made room */
	sim_watch(left, SIM_CHANGES, cut_again, &c);
	const char *why = replays(r, left, &wal);

	sim_watch(left, 0, NULL, NULL);
	if (!why)
		why = goes_on(r, left, wal);
	wal_close(wal);
	wal = NULL;
	if (!why && c.left)
		why = replays(r, c.left, &wal);
	wal_close(wal);
	sim_free(c.left);
	sim_free(left);
	return why;
}

static void note(struct run *r, const char *why, enum sim_mode mode)
{
	static char text[sizeof(rep.error)];

	r->states++;
	if (!why)
		return;
	if (r->lost++ > 0)
		return;
	snprintf(text, sizeof(text), "%s", why);
	r->why = text;
	r->mode = mode;
}

/* Before each call that changes the disk. */
static void power_cut(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct run *r = ctx;
	enum sim_mode mode = roll(&r->dice, SIM_MODES);
	struct wal_stat st;

	(void)call;
	(void)number;
	if (r->stops && r->lost > 0)
		return;
	if (r->wal) {
		wal_stat(r->wal, &st);
		r->acked = VG_MAX(r->acked, st.durable_lsn);
		r->written = st.appended_lsn;
	}
	note(r, judge(r, sim_crash(sim, r->dice, mode)), mode);
}

static int open_log(struct run *r)
{
	struct wal_report its;
	struct wal *wal;

	r->wal = NULL;
	r->seen.from = r->from;
	int rc = kit_open(sim_root(r->sim), sim_get_io(r->sim), SEGMENT,
		&r->seen, &its, &wal);

	if (rc < 0)
		return rc;
	r->acked = r->written = r->seen.n;
	r->wal = wal;
	return 0;
}

static int reopen_log(struct run *r)
{
	struct wal_stat st;

	if (r->wal) {
		wal_stat(r->wal, &st);
		r->acked = VG_MAX(r->acked, st.durable_lsn);
		r->written = st.appended_lsn;
	}
	wal_close(r->wal);
	r->wal = NULL;
	return open_log(r);
}

/* The program that failed is started again, on the same kernel. It may take
 * more than one try: the fault may come only now. */
static int restart_log(struct run *r)
{
	struct sim_fault none = {0};
	struct sim_stat st;
	int rc;

	sim_stat(r->sim, &st);
	if (st.failed > 0)
		sim_fail(r->sim, &none);
	rc = reopen_log(r);
	if (rc < 0) {
		sim_fail(r->sim, &none);
		rc = reopen_log(r);
	}
	r->n_restarts += rc == 0;
	return rc;
}

/* A checkpoint: a place is kept, then what is before it is cut. */
static int cut_log(struct run *r)
{
	int rc = wal_write(r->wal, true);

	if (rc == 0)
		rc = wal_rotate(r->wal);
	if (rc < 0)
		return rc;
	wal_get_place(r->wal, &r->from);
	return wal_cut(r->wal, sim_get_io(r->sim), r->from.segment);
}

static int one_step(struct run *r, uint32_t nr)
{
	unsigned what = roll(&r->dice, 32), n = 1 + roll(&r->dice, 4);
	struct wal_stat st;
	int rc = 0;

	if (what == 0)
		return reopen_log(r);
	if (what == 1)
		return cut_log(r);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = kit_append(r->wal, nr, i == 2);
		wal_stat(r->wal, &st);
		if (rc == 0)
			r->life[st.appended_lsn - 1] = nr;
		r->n_full += io_is_full(rc);
	}
	if (what == 2)
		wal_drop(r->wal);
	else if (rc == 0 || io_is_full(rc))
		rc = wal_write(r->wal, what < 22);
	r->n_full += io_is_full(rc);
	return io_is_full(rc) ? 0 : rc;
}

/* One life of a log on a fresh disk, which is given back. -errno: it ended. */
static int run_log(const struct sim_config *cfg)
{
	struct run *r = &run;
	int rc;

	r->sim = sim_new(cfg);
	r->from = (struct wal_place){0};
	r->acked = r->written = 0;
	r->wal = NULL;
	sim_watch(r->sim, SIM_CHANGES, power_cut, r);
	sim_fail(r->sim, &r->fault);
	sim_lie(r->sim, r->lies, r->lie_prefix);
	rc = open_log(r);
	for (uint32_t i = 1; i <= STEPS && rc == 0; i++) {
		rc = one_step(r, i);
		if (rc == -EIO || rc == -EROFS)
			rc = restart_log(r);
	}
	if (rc == 0)
		rc = wal_write(r->wal, true);
	return rc;
}

static void end_log(void)
{
	sim_watch(run.sim, 0, NULL, NULL);
	wal_close(run.wal);
	sim_free(run.sim);
}

static void run_reset(void)
{
	run = (struct run){.dice = run.dice};
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void tell(void)
{
	const struct run *r = &run;

	if (r->lost > 0)
		diag("%llu of %llu states; the first, in mode %d: %s",
			(unsigned long long)r->lost,
			(unsigned long long)r->states, (int)r->mode, r->why);
}

static void test_honest(uint64_t states)
{
	double from = now();
	bool runs = true;

	run_reset();
	for (unsigned i = 0; runs && run.states < states; i++) {
		runs = run_log(&(struct sim_config){.seed = run.dice,
			       .sector = i % 2 ? 512 : 4096,
			       .names_in_order = i % 4 == 0}) == 0;
		end_log();
	}
	diag("%.0f states a second", (double)run.states / (now() - from));
	tell();
	ok(runs && run.lost == 0,
		"%llu power cuts: what was acknowledged is there, in order",
		(unsigned long long)run.states);
}

/* Full disks: where space can be taken ahead, and where not. */
static void test_full(uint64_t states, bool no_allocate)
{
	uint64_t least = no_allocate ? 8192 : (1u << 20) + 4096;
	bool runs = true;

	run_reset();
	for (unsigned i = 0; runs && run.states < states; i++) {
		runs = run_log(&(struct sim_config){.seed = run.dice,
			       .capacity = least + i % 3 * 4096,
			       .no_allocate = no_allocate}) == 0;
		end_log();
	}
	tell();
	ok(runs && run.lost == 0 && run.n_full > 0,
		"%llu power cuts of a full disk that %s",
		(unsigned long long)run.states,
		no_allocate ? "cannot allocate" : "allocates ahead");
}

/* Some call fails, once or from then on: the log ends and is opened again. */
static void test_failing(uint64_t states, unsigned calls, const char *what)
{
	unsigned odd = 0;

	run_reset();
	while (run.states < states) {
		struct sim_fault f = {.calls = calls,
			.nth = 1 + roll(&run.dice, 60),
			.for_ever = roll(&run.dice, 2),
			.partly = roll(&run.dice, 2),
			.rc = -EIO};
		struct sim_config cfg = {.seed = run.dice};
		int rc;

		run.fault = f;
		rc = run_log(&cfg);

		odd += rc != 0 && rc != -EIO && rc != -EROFS;
		end_log();
	}
	tell();
	ok(run.lost == 0 && run.n_restarts > 0 && odd == 0,
		"%llu power cuts around a failed %s: the same",
		(unsigned long long)run.states, what);
}

/* A sync that is not done is noticed. */
static void test_lies(unsigned what, const char *prefix, const char *name)
{
	uint64_t most = 2000;

	run_reset();
	run.stops = true;
	for (unsigned i = 0; run.lost == 0 && run.states < most; i++) {
		struct sim_config cfg = {.seed = run.dice,
			.sector = i % 2 ? 512 : 4096};

		run.lies = what;
		run.lie_prefix = prefix;
		run_log(&cfg);
		end_log();
	}
	tell();
	ok(run.lost > 0, "without the sync of %s it is noticed: %llu states",
		name, (unsigned long long)run.states);
}

int main(void)
{
	uint64_t states = (uint64_t)env_long("VG_STATES", 2000);

	plan(8);
	run.dice = seed();
	test_honest(states);
	test_full(states / 4, false);
	test_full(states / 4, true);
	test_failing(states / 4, SIM_BIT(SIM_SYNC), "sync");
	test_failing(states / 4, SIM_BIT(SIM_WRITE), "write");
	test_failing(states / 4, SIM_CHANGES, "call");
	test_lies(SIM_LIE_FILES, "", "the log");
	test_lies(SIM_LIE_DIRS, "", "its directory");
	return done();
}
