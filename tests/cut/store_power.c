/* SPDX-License-Identifier: Apache-2.0 */
/* store_power.c: the whole store, its power cut at every moment, in every way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/log.h"
#include "tests/powerkit.h"
#include "tests/tap.h"

/*
 * A run's kind and seed say all about it, but for those in which the store
 * makes checkpoints by itself: VG_POWER_KIND=kind VG_POWER_RUN=seed repeats it.
 */
static const struct {
	const char *what;
	unsigned share; /* of ten */
} kinds[PK_KINDS] = {
	[PK_HONEST] = {"that come at any moment", 4},
	[PK_FULL] = {"of a disk that is full for a while", 1},
	[PK_FULL_GROWS] = {"of one that cannot allocate ahead", 1},
	[PK_SYNC] = {"around a failed sync", 1},
	[PK_WRITE] = {"around a failed write", 1},
	[PK_CALL] = {"around any failed call", 1},
	[PK_NO_SPACE] = {"around a call without space", 1},
};

static uint64_t dice; /* of the seeds of runs */

static uint64_t next_seed(void)
{
	dice = dice * 6364136223846793005ull + 1442695040888963407ull;
	return dice >> 16;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run(enum pk_kind kind, uint64_t seed, struct pk_tally *t)
{
	struct pk_config cfg;

	pk_draw_config(kind, seed, &cfg);
	pk_run(&cfg, seed, t);
}

static void test_kind(enum pk_kind kind, uint64_t states)
{
	struct pk_tally t = {.stops = true};
	double from = now();

	while (t.states < states && t.lost == 0)
		run(kind, next_seed(), &t);
	diag("%.0f states a second; %llu restarts, %llu checkpoints, %llu "
	     "opened from a manifest, %llu damaged, %llu of them refused, "
	     "%llu found it full, %llu copies, %llu compactions",
		(double)t.states / (now() - from),
		(unsigned long long)t.restarts,
		(unsigned long long)t.checkpoints,
		(unsigned long long)t.from_manifest,
		(unsigned long long)t.flips, (unsigned long long)t.refused,
		(unsigned long long)t.full, (unsigned long long)t.copies,
		(unsigned long long)t.compactions);
	if (t.lost)
		diag("VG_POWER_KIND=%d", (int)kind);
	pk_tell(&t);
	ok(t.lost == 0 && t.twice > 0,
		"%llu power cuts %s, %llu of them the second: nothing "
		"acknowledged is missing, and all is as it once was",
		(unsigned long long)t.states, kinds[kind].what,
		(unsigned long long)t.twice);
}

/* What copies share by links stays as it is, though parts are added to. */
static void test_links(uint64_t most)
{
	struct pk_tally t = {.stops = true};
	uint64_t given = (uint64_t)env_long("VG_POWER_LINKS", 0);

	while (t.lost == 0 && t.states < most) {
		struct pk_config cfg;
		uint64_t seed;

		dice = dice * 6364136223846793005ull + 1442695040888963407ull;
		seed = given ? given : dice >> 16;
		pk_draw_config(PK_HONEST, seed, &cfg);
		cfg.links = true;
		cfg.checkpoint_bytes = 1ull << 40;
		pk_run(&cfg, seed, &t);
		most = given ? 0 : most; /* that one run again */
	}
	pk_tell(&t);
	ok(t.lost == 0, "no file that a copy shares is changed: %llu power cuts",
		(unsigned long long)t.states);
}

/* The same life again and again, another sync of it failing each time. */
static void test_each_sync(unsigned n)
{
	struct pk_tally t = {.stops = true};

	for (unsigned i = 1; i <= n && t.lost == 0; i++) {
		struct pk_config cfg;

		pk_draw_config(PK_SYNC, 3, &cfg);
		cfg.fault.nth = i;
		cfg.fault.for_ever = false;
		cfg.checkpoint_bytes = 1ull << 40;
		cfg.one_in = 40;
		pk_run(&cfg, 3, &t);
		if (t.lost)
			diag("sync %u", i);
	}
	pk_tell(&t);
	ok(t.lost == 0 && t.restarts > n,
		"%u syncs fail, each in turn: %llu power cuts", n,
		(unsigned long long)t.states);
}

static void test_one(enum pk_kind kind, uint64_t seed, const char *what)
{
	struct pk_tally t = {.stops = true};

	run(kind, seed, &t);
	pk_tell(&t);
	ok(t.lost == 0, "%s: a run with %llu power cuts %s", what,
		(unsigned long long)t.states, kinds[kind].what);
}

/* What runs found once. */
static const struct {
	enum pk_kind kind;
	uint64_t seed;
	const char *what;
} found[] = {
	{PK_CALL, 71616619052901, "FORMAT whose name was not synced"},
	{PK_SYNC, 194543401132823, "the same, its directory's sync failed"},
	{PK_NO_SPACE, 40933055203235, "wal/ whose name was not synced"},
	{PK_NO_SPACE, 205203916994249, "a change refused, and there all the same"},
	{PK_SYNC, 211011367586306, "a collection's directory, its sync failed"},
	{PK_SYNC, 242961345721268, "the same, named by an older manifest"},
};

int main(void)
{
	long most = env_long("VG_SOAK", 0) ? 100000 : 2000;
	uint64_t states = (uint64_t)env_long("VG_POWER_STATES", most);
	const char *given = getenv("VG_POWER_RUN");
	long kind = env_long("VG_POWER_KIND", given ? PK_HONEST : PK_KINDS);

	plan(kind < PK_KINDS ? 1 : PK_KINDS + 2 + (int)VG_ARRAY_LEN(found));
	log_level_set((enum log_level)env_long("VG_POWER_LOG", LOG_ERR));
	dice = seed();
	if (given)
		test_one((enum pk_kind)kind, strtoull(given, NULL, 0), "given");
	else if (kind < PK_KINDS)
		test_kind((enum pk_kind)kind, states);
	for (int i = 0; kind == PK_KINDS && i < PK_KINDS; i++)
		test_kind((enum pk_kind)i, states / 10 * kinds[i].share);
	if (kind == PK_KINDS) {
		test_links(states / 10);
		test_each_sync(states >= 10000 ? 150 : 40);
	}
	for (size_t i = 0; kind == PK_KINDS && i < VG_ARRAY_LEN(found); i++)
		test_one(found[i].kind, found[i].seed, found[i].what);
	return done();
}
