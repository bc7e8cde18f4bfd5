/* SPDX-License-Identifier: Apache-2.0 */
/* powerkit.c: see powerkit.h. */
#include "tests/powerkit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/powerkit_life.h"
#include "tests/tap.h"

struct pk_flip pk_flip;

/* ---- judging ---- */

static void tally_bad(struct pk_tally *t, const struct life *l,
	enum sim_mode mode, const char *what)
{
	if (t->lost++ == 0)
		snprintf(t->why, sizeof(t->why), "%s, mode %d: %s", what,
			(int)mode, l->why);
}

/* A second power cut, while what the first one left is used. */
struct second {
	struct life *l; /* of which it cuts off */
	unsigned in;	/* calls from now */
	enum sim_mode mode;
	uint64_t seed;
	struct sim *left;
	bool is_early;	  /* it was not open yet */
	struct history h; /* as it was then, else */
};

static void cut_again(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct second *c = ctx;

	(void)call;
	(void)number;
	if (c->in-- != 0 || c->left)
		return;
	c->left = sim_crash(sim, c->seed, c->mode);
	c->is_early = !c->l->s;
	if (!c->is_early)
		history_copy(&c->l->h, &c->h);
}

static struct life *life_new(const struct life *of, struct sim *left,
	const struct history *h)
{
	struct life *l = calloc(1, sizeof(*l));

	must(l);
	l->cfg = of->cfg;
	l->sim = left;
	l->h = *h;
	l->next_n = 1u << 20; /* above those of any run */
	return l;
}

static void life_free(struct life *l)
{
	life_close(l);
	history_fini(&l->h);
	sim_free(l->sim);
	free(l);
}

/* What the second power cut left; taken. base: what the first one did. */
static void judge_second(struct life *run, struct second *c,
	const struct pm_state *base)
{
	struct life *l;

	if (!c->left)
		return;
	if (c->is_early) {
		history_init(&c->h, 2);
		c->h.of[0] = *base;
	}
	l = life_new(run, c->left, &c->h);
	if (life_open(l, l->h.acked, "opened"))
		life_is_sound(l, "opened");
	run->t->twice++;
	run->t->states++;
	if (l->why[0])
		tally_bad(run->t, l, c->mode,
			c->is_early ? "cut while it was opened" :
				      "cut once more");
	life_free(l);
}

/* A file of the disk, drawn. */
struct pick {
	uint64_t *dice;
	uint32_t n;
	char path[160];
	uint64_t size;
};

static int pick_file(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	struct pick *p = ctx;

	if (is_dir || st->size == 0)
		return 0;
	if (pm_roll(p->dice, ++p->n) == 0) {
		snprintf(p->path, sizeof(p->path), "%s", path);
		p->size = st->size;
	}
	return 0;
}

/* Flips a bit of some file, or lets it not be read: the file, "" if none. */
static void damage(struct life *l, uint64_t *dice, char path[160])
{
	struct pick p = {.dice = dice};
	uint8_t bits;
	uint64_t at;

	sim_each(l->sim, pick_file, &p);
	snprintf(path, 160, "%s", p.path);
	if (!p.path[0])
		return;
	at = pm_roll(dice, (uint32_t)p.size);
	if (pm_roll(dice, 2)) /* much of a large file is zeros */
		at = p.size - 1 - at % VG_MIN(p.size, (uint64_t)500);
	bits = (uint8_t)(1u << pm_roll(dice, 8));
	pk_flip = (struct pk_flip){.offset = at, .bits = bits};
	if (pm_roll(dice, 4)) {
		must(sim_flip(l->sim, p.path, at, bits, pm_roll(dice, 2)) == 0);
		snprintf(pk_flip.path, sizeof(pk_flip.path), "%s", p.path);
	} else {
		must(sim_bad(l->sim, p.path, (struct sim_range){at, 1}, -EIO,
			     pm_roll(dice, 2)) == 0);
	}
}

/* Whether vectors are left out of what was opened: so it is where nothing older
 * has them. What it says of the others is looked at once it is healed. */
static bool leaves_out(struct life *l)
{
	struct pm_state got;
	uint32_t n_damaged;

	return !pm_dump(l->s, &got, &n_damaged) && n_damaged > 0;
}

/*
 * Opens with damage: refused with a sentence, or right. False: there is no
 * more to judge. Damage in the log's last frames looks like a torn tail; then
 * it must say that it cut one.
 */
static bool judge_damaged(struct life *run, struct life *l, uint64_t *dice)
{
	struct store_report rep;
	char path[160], what[220];
	uint32_t lo = l->h.acked;
	int rc;

	damage(l, dice, path);
	run->t->flips++;
	rc = life_start(l, &rep);
	pk_flip.path[0] = '\0';
	snprintf(what, sizeof(what), "damaged in %s", path);
	if (rc == 0 && leaves_out(l)) {
		life_close(l);
		run->t->refused++;
		sim_heal(l->sim);
		return true;
	}
	if (rc == 0) {
		if (strncmp(path, "wal/", 4) == 0 && rep.cut_len > 0)
			lo = 0;
		if (life_is_known(l, lo, what))
			life_is_sound(l, what);
		return false;
	}
	run->t->refused++;
	if (rc != -VG_ECORRUPT && rc != -VG_EFORMAT && rc != -EIO)
		life_wrong(l, "%s: %d, %s", what, rc, rep.error);
	if (!rep.error[0])
		life_wrong(l, "%s: %d without a sentence", what, rc);
	sim_heal(l->sim);
	return !l->why[0];
}

/* What a power cut left of the run's disk; taken. */
static void judge(struct life *run, struct sim *left, enum sim_mode mode)
{
	uint64_t dice = run->t->seed ^ (++run->judged * 0x9e3779b97f4a7c15ull);
	struct second c = {.mode = pm_roll(&dice, SIM_MODES),
		.in = pm_roll(&dice, pm_roll(&dice, 2) ? 12 : 150),
		.seed = dice};
	struct pm_state base;
	struct history h;
	struct life *l;
	bool goes_on = true;

	history_copy(&run->h, &h);
	l = life_new(run, left, &h);
	l->dice = dice;
	c.l = l;
	sim_set_capacity(left, 0); /* somebody made room */
	run->t->states++;
	if (run->cfg->flips && pm_roll(&dice, run->cfg->flips) == 0)
		goes_on = judge_damaged(run, l, &dice);
	if (goes_on)
		sim_watch(left, SIM_CHANGES, cut_again, &c);
	if (goes_on && life_open(l, l->h.acked, "opened")) {
		base = l->h.of[l->h.n];
		life_is_sound(l, "opened");
		for (uint32_t i = pm_roll(&dice, MORE); i > 0 && !l->why[0];
			i--)
			life_step(l);
		if (!l->why[0])
			life_is_sound(l, "used again");
	}
	life_close(l);
	sim_watch(left, 0, NULL, NULL);
	if (l->why[0])
		tally_bad(run->t, l, mode, "cut");
	else
		judge_second(run, &c, &base);
	if (l->why[0] && c.left) {
		sim_free(c.left);
		if (!c.is_early)
			history_fini(&c.h);
	}
	life_free(l);
}

/* ---- copies ---- */

#define COPY_MAX 1000 /* files */

struct copy {
	struct sim *to;
	uint32_t acked; /* when it was begun */
	char *path[COPY_MAX];
	uint32_t n, next;
	bool has_wal; /* whose names are looked up when it is reached */
};

static int copy_note(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	struct copy *c = ctx;
	struct io *io = sim_get_io(c->to);

	(void)st;
	if ((strncmp(path, "wal", 3) == 0) != c->has_wal ||
		strcmp(path, "IDENTITY") == 0) /* without it it is a copy */
		return 0;
	if (is_dir) {
		must(io->mkdir(io, sim_root(c->to), path) == 0);
		return 0;
	}
	must(c->n < COPY_MAX);
	c->path[c->n] = strdup(path);
	must(c->path[c->n++]);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void copy_list(struct copy *c, struct sim *from)
{
	uint32_t first = c->n;

	sim_each(from, copy_note, c);
	qsort(c->path + first, c->n - first, sizeof(c->path[0]), by_name);
}

static void copy_free(struct copy *c)
{
	for (uint32_t i = 0; c && i < c->n; i++)
		free(c->path[i]);
	if (c)
		sim_free(c->to);
	free(c);
}

/* What was copied opens, and has all that was durable when it was begun. */
static void copy_judge(struct life *run, struct copy *c)
{
	struct history h;
	struct life *l;

	history_copy(&run->h, &h);
	l = life_new(run, c->to, &h);
	c->to = NULL;
	run->t->copies++;
	run->t->states++;
	if (life_open(l, c->acked, "copied"))
		life_is_sound(l, "copied");
	if (l->why[0])
		tally_bad(run->t, l, SIM_ALL, "a copy");
	life_free(l);
}

/* Goes on with the copy, or begins one. */
static void copy_step(struct life *run, struct sim *sim, uint64_t *dice)
{
	struct copy *c = run->copy;
	size_t len;
	void *bytes;

	if (!c && (!run->s || pm_roll(dice, 20)))
		return;
	if (!c) {
		c = run->copy = calloc(1, sizeof(*c));
		must(c);
		c->to = sim_new(NULL);
		pthread_mutex_lock(&run->h.lock);
		c->acked = run->h.acked;
		pthread_mutex_unlock(&run->h.lock);
		copy_list(c, sim);
	}
	if (c->next == c->n && !c->has_wal) {
		c->has_wal = true;
		copy_list(c, sim);
	}
	if (c->next < c->n) {
		bytes = sim_load(sim, c->path[c->next], &len);
		if (bytes) /* else it went meanwhile */
			must(sim_save(c->to, c->path[c->next], bytes, len) ==
				0);
		free(bytes);
		c->next++;
		return;
	}
	copy_judge(run, c);
	copy_free(c);
	run->copy = NULL;
}

/* Before a call that changes the run's disk. */
static void power_cut(void *ctx, struct sim *sim, enum sim_call call,
	uint64_t number)
{
	struct life *l = ctx;
	uint64_t dice = (number + 1) * 0xd1342543de82ef95ull ^ l->t->seed;
	uint32_t one_in = l->cfg->one_in;
	enum sim_mode mode;
	struct sim_stat st;

	(void)call;
	if (l->t->stops && l->t->lost > 0)
		return;
	if (l->cfg->copies)
		copy_step(l, sim, &dice);
	sim_stat(sim, &st);
	if (st.failed > 0) /* what follows is looked at more closely */
		one_in = one_in / 3 + 1;
	pm_roll(&dice, 2);
	if (pm_roll(&dice, one_in) != 0)
		return;
	mode = pm_roll(&dice, SIM_MODES);
	judge(l, sim_crash(sim, dice, mode), mode);
}

/* ---- a run ---- */

static void set_faults(struct life *l)
{
	sim_watch(l->sim, SIM_CHANGES, power_cut, l);
	sim_fail(l->sim, &l->cfg->fault);
	l->is_faulty |= l->cfg->fault.nth > 0;
}

/* The program is started again on the same kernel: what it was told is there.
 * While calls fail it may take some tries. */
static bool restart(struct life *l, bool is_killed)
{
	struct sim_fault none = {0};
	struct store_report rep;
	struct sim *killed = l->sim;
	struct store *s = l->s;
	int rc;

	if (is_killed) { /* the other one's end is of another world */
		l->sim = sim_clone(l->sim);
		sim_watch(killed, 0, NULL, NULL);
		sim_fail(killed, &none);
		sim_set_capacity(killed, 0);
		life_hold(l, NULL);
		l->s = NULL;
		store_close(s);
		life_unwrap(l);
		sim_free(killed);
		set_faults(l);
	} else {
		life_close(l);
	}
	l->t->restarts++;
	for (unsigned tries = 0; tries < 8; tries++) {
		rc = life_start(l, &rep);
		if (rc == 0)
			break;
		if (!life_is_excuse(l, rc) && !(l->is_faulty && rc < 0))
			break;
		sim_fail(l->sim, &none);
		sim_set_capacity(l->sim, 0);
	}
	if (rc < 0)
		return life_wrong(l, "not started again: %d, %s", rc,
			rep.error);
	l->t->from_manifest += rep.manifest > 0;
	if (!life_is_known(l, l->h.told, "started again"))
		return false;
	history_all_durable(&l->h);
	if (l->h.n % 2)
		store_settle(l->s);
	return true;
}

static void fill_disk(struct life *l, unsigned step)
{
	const struct pk_config *cfg = l->cfg;
	struct sim_stat st;

	if (cfg->full_at == 0)
		return;
	sim_stat(l->sim, &st);
	if (step == cfg->steps / 3) {
		l->is_faulty = true;
		sim_set_capacity(l->sim, st.used + cfg->full_at);
	} else if (step == cfg->steps / 3 + cfg->full_for) {
		sim_set_capacity(l->sim, 0);
	}
}

/* One step of a run, or the end of a program and the begin of the next. */
static bool run_step(struct life *l, unsigned step)
{
	struct sim_fault none = {0};
	uint32_t what = pm_roll(&l->dice, 60);
	int rc;

	fill_disk(l, step);
	if (!witness_check(&l->witness, l->sim))
		return life_wrong(l, "%s was changed, which a copy shares",
			l->witness.path);
	if (l->cfg->links)
		witness_put(&l->witness, l->sim, l->dice >> 20);
	if (what < 2)
		return restart(l, what == 0);
	rc = life_step(l);
	if (l->why[0])
		return false;
	l->t->full += rc == -ENOSPC;
	if (rc != -EIO && rc != -EROFS)
		return true;
	if (l->cfg->fault.for_ever)
		sim_fail(l->sim, &none);
	if (!restart(l, false))
		return false;
	if (pm_roll(&l->dice, 2)) /* a last one, with nothing new */
		life_checkpoint(l);
	return !l->why[0];
}

void pk_run(const struct pk_config *cfg, uint64_t seed, struct pk_tally *t)
{
	struct life *l = calloc(1, sizeof(*l));
	bool runs;

	must(l && cfg->batch <= CHANGES_MAX);
	*l = (struct life){.cfg = cfg, .t = t, .dice = seed};
	t->seed = seed;
	l->sim = sim_new(&cfg->disk);
	history_init(&l->h, cfg->steps * CHANGES_MAX + 2);
	set_faults(l);
	runs = restart(l, false);
	for (unsigned i = 0; runs && i < cfg->steps; i++)
		runs = run_step(l, i) && !(t->stops && t->lost > 0);
	if (runs)
		runs = life_is_sound(l, "at the end") &&
		       life_is_known(l, l->h.told, "at the end");
	if (l->why[0])
		tally_bad(t, l, SIM_ALL, "alive");
	life_close(l);
	sim_watch(l->sim, 0, NULL, NULL);
	copy_free(l->copy);
	witness_fini(&l->witness);
	life_free(l);
}

static void draw_any(uint64_t seed, struct pk_config *cfg)
{
	uint64_t dice = seed ^ 0x5851f42d4c957f2dull;

	pm_roll(&dice, 2);
	*cfg = (struct pk_config){
		.disk = {.seed = seed,
			.sector = pm_roll(&dice, 2) ? 512 : 4096,
			.names_in_order = pm_roll(&dice, 4) == 0,
			.no_map = pm_roll(&dice, 4) == 0,
			.no_allocate = pm_roll(&dice, 5) == 0},
		.durability = pm_roll(&dice, 2) ? STORE_CLOSE : STORE_FSYNC,
		.segment_size = 1000 + pm_roll(&dice, 5000),
		.checkpoint_bytes = pm_roll(&dice, 6) ?
					    1ull << 40 :
					    1000 + pm_roll(&dice, 4000),
		.keeps = pm_roll(&dice, 3) == 0,
		.steps = 30 + pm_roll(&dice, 50),
		.one_in = 10 + pm_roll(&dice, 50),
		.flips = 6,
		.batch = 1 + pm_roll(&dice, CHANGES_MAX),
		.is_same = pm_roll(&dice, 10) == 0,
	};
	cfg->copies = cfg->keeps;
}

void pk_draw_config(enum pk_kind kind, uint64_t seed, struct pk_config *cfg)
{
	static const struct {
		unsigned calls;
		int rc;
	} faults[PK_KINDS] = {
		[PK_SYNC] = {SIM_BIT(SIM_SYNC), -EIO},
		[PK_WRITE] = {SIM_BIT(SIM_WRITE), -EIO},
		[PK_CALL] = {SIM_ANY, -EIO},
		[PK_NO_SPACE] = {SIM_CHANGES, -ENOSPC},
	};

	draw_any(seed, cfg);
	if (kind == PK_HONEST)
		return;
	cfg->flips = 0;
	cfg->batch = 1;
	if (kind == PK_FULL || kind == PK_FULL_GROWS) {
		cfg->disk.no_allocate = kind == PK_FULL_GROWS;
		cfg->full_at = 1 + seed % 30 * 4096;
		cfg->full_for = (unsigned)(seed % 25);
		return;
	}
	cfg->fault = (struct sim_fault){.calls = faults[kind].calls,
		.nth = 1 + seed / 8 % (kind == PK_SYNC ? 120 : 400),
		.for_ever = seed % 2,
		.partly = seed % 4 < 2,
		.rc = faults[kind].rc};
}

void pk_tell(const struct pk_tally *t)
{
	if (t->lost > 0)
		diag("%llu of %llu states; run %llu: %s",
			(unsigned long long)t->lost,
			(unsigned long long)t->states,
			(unsigned long long)t->seed, t->why);
}
