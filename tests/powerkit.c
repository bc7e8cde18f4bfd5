/* SPDX-License-Identifier: Apache-2.0 */
/* powerkit.c: see powerkit.h. */
#include "tests/powerkit.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"
#include "tests/witness.h"

struct pk_flip pk_flip;

#define CHANGES_MAX 8 /* of a commit */
#define MORE 12	      /* steps of a life that follows a power cut */

/* What was, what may be, what is promised. */
struct history {
	pthread_mutex_t lock; /* all below; a leaf under the disk's */
	struct pm_state *of;  /* owned: after each change, from none on */
	uint32_t cap;
	uint32_t n;	/* after the last that was begun */
	uint32_t told;	/* after the last that was answered with 0 */
	uint32_t acked; /* after the last that is durable */
};

struct life {
	const struct pk_config *cfg;
	struct sim *sim;
	struct io *wrapped; /* NULL: the disk's own table is used */
	struct store *s; /* NULL: closed, or being opened */
	struct history h;
	uint64_t dice;
	uint32_t next_n;     /* of a vector */
	uint64_t judged;     /* power cuts of a run */
	struct copy *copy;   /* of a run: the one under way, or NULL */
	struct witness witness; /* of a run */
	bool is_faulty;	     /* calls may fail */
	struct pk_tally *t;  /* of the run; NULL: nothing is counted */
	char why[400];	     /* the first thing that is wrong; "": nothing */
};

static bool VG_PRINTF(2, 3) wrong(struct life *l, const char *fmt, ...)
{
	va_list ap;

	if (l->why[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
	return false;
}

/* ---- history ---- */

static void history_init(struct history *h, uint32_t cap)
{
	*h = (struct history){.cap = cap};
	pthread_mutex_init(&h->lock, NULL);
	h->of = calloc(cap, sizeof(*h->of));
	must(h->of && cap > 0);
	pm_init(&h->of[0]);
}

static void history_fini(struct history *h)
{
	pthread_mutex_destroy(&h->lock);
	free(h->of);
}

static void push_locked(struct history *h, const struct pm_state *st)
{
	must(h->n + 1 < h->cap);
	h->of[++h->n] = *st;
}

/* The newest of the states lo to n that is this one; -1: none is. */
static int64_t history_find(
	const struct history *h, uint32_t lo, const struct pm_state *st)
{
	for (int64_t i = h->n; i >= (int64_t)lo; i--)
		if (memcmp(&h->of[i], st, sizeof(*st)) == 0)
			return i;
	return -1;
}

/* As it is at this moment. */
static void history_copy(struct history *h, struct history *out)
{
	pthread_mutex_lock(&h->lock);
	history_init(out, h->n + 1 + CHANGES_MAX * (MORE + 1));
	memcpy(out->of, h->of, (h->n + 1) * sizeof(*h->of));
	out->n = h->n;
	out->told = h->told;
	out->acked = h->acked;
	pthread_mutex_unlock(&h->lock);
}

static void all_durable(struct history *h)
{
	pthread_mutex_lock(&h->lock);
	h->acked = h->n;
	pthread_mutex_unlock(&h->lock);
}

/* ---- one life ---- */

static void unwrap(struct life *l)
{
	if (l->wrapped)
		l->cfg->unwrap(l->wrapped);
	l->wrapped = NULL;
}

/* What the store's own thread does first, done now: calls come in the same
 * order each time. */
static void sweep(struct store *s)
{
	struct checkpointer *cp = &s->checkpoint;

	pthread_mutex_lock(&cp->run_lock);
	if (!cp->is_swept && !store_read_only(s))
		cp->is_swept = checkpoint_sweep(s) == 0;
	pthread_mutex_unlock(&cp->run_lock);
}

/* Opens without a look at what it holds. */
static int open_store(struct life *l, struct store_report *rep)
{
	const struct pk_config *cfg = l->cfg;
	struct store_config sc = {
		.durability = cfg->durability,
		.indexers = 1,
		.segment_size = cfg->segment_size,
		.checkpoint_bytes = cfg->checkpoint_bytes,
		.has_grace = true,
		.grace_s = cfg->keeps ? 3600 : 0,
		.no_uring = true,
		.io = sim_get_io(l->sim),
		.has_dirfd = true,
		.dirfd = sim_root(l->sim),
	};

	if (cfg->wrap)
		sc.io = l->wrapped = cfg->wrap(l->sim, l->is_faulty);

	struct store *s = NULL;
	int rc = store_open(&sc, rep, &s);

	if (rc == 0)
		sweep(s);
	else
		unwrap(l);
	l->s = s;
	return rc;
}

/* Looks at what was opened: it is a state from lo on. */
static bool is_known(struct life *l, uint32_t lo, const char *when)
{
	struct pm_state got;
	uint32_t n_damaged;
	const char *why = pm_dump(l->s, &got, &n_damaged);
	int64_t k;

	if (why)
		return wrong(l, "%s: %s", when, why);
	if (n_damaged)
		return wrong(l, "%s: %u vectors are damaged", when, n_damaged);
	k = history_find(&l->h, lo, &got);
	if (k < 0 && history_find(&l->h, 0, &got) >= 0)
		return wrong(l,
			"%s: an acknowledged change is missing: it is state "
			"%d, %u is durable, %u the last",
			when, (int)history_find(&l->h, 0, &got), lo, l->h.n);
	if (k < 0)
		return wrong(l, "%s: it is none of the states %u to %u: %s",
			when, lo, l->h.n, pm_diff(&l->h.of[l->h.n], &got));
	pthread_mutex_lock(&l->h.lock);
	l->h.n = l->h.told = (uint32_t)k;
	pthread_mutex_unlock(&l->h.lock);
	return true;
}

static bool life_open(struct life *l, uint32_t lo, const char *when)
{
	struct store_report rep;
	int rc = open_store(l, &rep);

	if (rc < 0)
		return wrong(l, "%s: not opened: %d, %s", when, rc, rep.error);
	if (l->t)
		l->t->from_manifest += rep.manifest > 0;
	if (!is_known(l, lo, when))
		return false;
	all_durable(&l->h); /* an open does not take what it reads for safe */
	return true;
}

static void life_close(struct life *l)
{
	store_close(l->s);
	l->s = NULL;
	unwrap(l);
}

static bool is_sound(struct life *l, const char *when)
{
	const char *why = NULL;

	if (store_check(l->s, &why) < 0)
		return wrong(l, "%s: it is not sound: %s", when,
			why ? why : "?");
	return true;
}

/* ---- changes ---- */

struct asked {
	struct pm_change want[CHANGES_MAX];
	struct pm_asked asked[CHANGES_MAX];
	struct change change[CHANGES_MAX];
	struct commit commit;
};

static bool has_collection(const struct pm_state *st)
{
	for (uint32_t i = 0; i < PM_NAMES; i++)
		if (st->of[i].kind == PM_COLLECTION)
			return true;
	return false;
}

/* Draws a commit's changes; what they make may be there from now on. */
static void draw_commit(struct life *l, struct asked *a, uint32_t n)
{
	pthread_mutex_lock(&l->h.lock);
	for (uint32_t i = 0; i < n; i++) {
		struct pm_state st = l->h.of[l->h.n];

		pm_draw(&st,
			l->cfg->is_same ? PM_SAME : n > 1 ? PM_RECORDS : PM_ANY,
			&l->next_n, &l->dice, &a->want[i]);
		if (pm_apply(&st, &a->want[i]) == 0)
			push_locked(&l->h, &st);
	}
	pthread_mutex_unlock(&l->h.lock);
	for (uint32_t i = 0; i < n; i++) {
		pm_ask(l->s, &a->want[i], &a->asked[i]);
		a->change[i] = a->asked[i].change;
	}
}

/* Is this what a failing disk may answer? */
static bool is_excuse(const struct life *l, int rc)
{
	return l->is_faulty && (rc == -EIO || rc == -EROFS || rc == -ENOSPC);
}

/* What became of change i, whose number's state was before. */
static bool note_answer(struct life *l, const struct asked *a, uint32_t i)
{
	struct pm_state st = l->h.of[l->h.n];
	int rc = a->change[i].rc, want = pm_apply(&st, &a->want[i]);

	if (rc != want && !is_excuse(l, rc))
		return wrong(l, "%s n%u/i%u: %d instead of %d: %s",
			op_name(a->want[i].type), a->want[i].name,
			a->want[i].id, rc, want, a->change[i].why);
	if (rc < 0 && !a->change[i].why[0])
		return wrong(l, "%s: %d without a sentence",
			op_name(a->want[i].type), rc);
	if (want == 0 && (rc == 0 || rc == -EIO))
		push_locked(&l->h, &st);
	if (rc == 0)
		l->h.told = l->h.n;
	if (rc == 0 && l->cfg->durability == STORE_CLOSE)
		l->h.acked = l->h.n;
	return true;
}

static int step_commit(struct life *l)
{
	uint32_t n = 1 + (pm_roll(&l->dice, 3) == 0
					 ? pm_roll(&l->dice, l->cfg->batch)
					 : 0);
	struct asked *a = calloc(1, sizeof(*a));
	uint32_t before = l->h.n;
	int rc;

	must(a && n <= CHANGES_MAX);
	if (!l->cfg->is_same && !has_collection(&l->h.of[before]))
		n = 1; /* which makes one */
	draw_commit(l, a, n);
	a->commit.changes = a->change;
	a->commit.n = n;
	a->commit.sync = pm_roll(&l->dice, l->cfg->is_same ? 16 : 4) == 0;
	rc = store_commit_wait(l->s, &a->commit);
	pthread_mutex_lock(&l->h.lock);
	l->h.n = before;
	for (uint32_t i = 0; i < n; i++)
		if (!note_answer(l, a, i))
			break;
	if (a->commit.sync && !is_excuse(l, rc))
		l->h.acked = l->h.n;
	pthread_mutex_unlock(&l->h.lock);
	for (uint32_t i = 0; i < n; i++)
		pm_unask(&a->asked[i]);
	free(a);
	return is_excuse(l, rc) ? rc : 0;
}

/* Changes that are there together or not at all; some that come too late. */
static int step_atomic(struct life *l)
{
	struct asked *a = calloc(1, sizeof(*a));
	uint32_t before = l->h.n;
	struct pm_state st;
	bool is_late = pm_roll(&l->dice, 5) == 0;
	int rc;

	must(a);
	st = l->h.of[before];
	a->commit.n = pm_draw_atomic(&st, 1 + pm_roll(&l->dice, 6), &l->next_n,
		&l->dice, a->want);
	for (uint32_t i = 0; i < a->commit.n; i++) {
		must(pm_apply(&st, &a->want[i]) == 0);
		pm_ask(l->s, &a->want[i], &a->asked[i]);
		a->change[i] = a->asked[i].change;
	}
	if (a->commit.n && is_late) {
		a->change[a->commit.n - 1].flags |= CHANGE_IF;
		a->change[a->commit.n - 1].if_begin = 1ull << 60;
	}
	pthread_mutex_lock(&l->h.lock);
	if (a->commit.n && !is_late)
		push_locked(&l->h, &st); /* it may be there from now on */
	pthread_mutex_unlock(&l->h.lock);
	a->commit.changes = a->change;
	a->commit.is_atomic = true;
	a->commit.sync = pm_roll(&l->dice, 4) == 0 || a->commit.n == 0;
	rc = store_commit_wait(l->s, &a->commit);
	pthread_mutex_lock(&l->h.lock);
	l->h.n = before;
	if (a->commit.n && !is_late && (rc == 0 || rc == -EIO))
		push_locked(&l->h, &st);
	if (rc == 0)
		l->h.told = l->h.n;
	if (rc == 0 && (a->commit.sync || l->cfg->durability == STORE_CLOSE))
		l->h.acked = l->h.n;
	pthread_mutex_unlock(&l->h.lock);
	if (rc != (is_late && a->commit.n ? -ESTALE : 0) && !is_excuse(l, rc))
		wrong(l, "an atomic commit gave %d: %s", rc, a->commit.why);
	for (uint32_t i = 0; i < a->commit.n; i++)
		pm_unask(&a->asked[i]);
	free(a);
	return is_excuse(l, rc) ? rc : 0;
}

static int step_sync(struct life *l)
{
	struct commit commit = {.sync = true};
	int rc = store_commit_wait(l->s, &commit);

	if (rc == 0)
		all_durable(&l->h);
	else if (!is_excuse(l, rc))
		wrong(l, "a sync gave %d", rc);
	return rc;
}

static int step_checkpoint(struct life *l)
{
	bool all = pm_roll(&l->dice, 3) > 0;
	int rc;

	if (all)
		sk_wait_linked(l->s); /* so that a seed says what is saved */
	rc = store_checkpoint(l->s, all);
	if (rc == 0)
		all_durable(&l->h);
	else if (!is_excuse(l, rc))
		wrong(l, "a checkpoint gave %d", rc);
	if (l->t)
		l->t->checkpoints += rc == 0;
	return rc;
}

/* A collection is made anew; nobody sees a difference. */
static int step_compact(struct life *l)
{
	char name[4];
	struct collection *c;
	int rc;

	snprintf(name, sizeof(name), "n%u", pm_roll(&l->dice, PM_NAMES) % 10);
	c = sk_get(l->s, name);
	if (!c)
		return 0;
	rc = store_compact(l->s, c);
	collection_unref(c);
	if (rc < 0 && rc != -EAGAIN && !is_excuse(l, rc))
		wrong(l, "a compaction gave %d", rc);
	if (l->t)
		l->t->compactions += rc == 0;
	return rc == -EAGAIN ? 0 : rc;
}

static int one_step(struct life *l)
{
	uint32_t what = pm_roll(&l->dice, 100);

	if (what < 8)
		return step_checkpoint(l);
	if (what > 96)
		return step_compact(l);
	if (what < 11)
		return step_sync(l);
	if (what < 21 && !l->cfg->is_same)
		return step_atomic(l);
	return step_commit(l);
}

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
	struct life *l;	 /* of which it cuts off */
	unsigned in;	 /* calls from now */
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

static struct life *life_new(
	const struct life *of, struct sim *left, const struct history *h)
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
		is_sound(l, "opened");
	run->t->twice++;
	run->t->states++;
	if (l->why[0])
		tally_bad(run->t, l, c->mode,
			c->is_early ? "cut while it was opened"
				    : "cut once more");
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
		must(sim_flip(l->sim, p.path, at, bits,
			     pm_roll(dice, 2)) == 0);
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
	rc = open_store(l, &rep);
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
		if (is_known(l, lo, what))
			is_sound(l, what);
		return false;
	}
	run->t->refused++;
	if (rc != -VG_ECORRUPT && rc != -VG_EFORMAT && rc != -EIO)
		wrong(l, "%s: %d, %s", what, rc, rep.error);
	if (!rep.error[0])
		wrong(l, "%s: %d without a sentence", what, rc);
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
		is_sound(l, "opened");
		for (uint32_t i = pm_roll(&dice, MORE); i > 0 && !l->why[0]; i--)
			one_step(l);
		if (!l->why[0])
			is_sound(l, "used again");
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
		is_sound(l, "copied");
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
		l->s = NULL;
		store_close(s);
		unwrap(l);
		sim_free(killed);
		set_faults(l);
	} else {
		life_close(l);
	}
	l->t->restarts++;
	for (unsigned tries = 0; tries < 8; tries++) {
		rc = open_store(l, &rep);
		if (rc == 0)
			break;
		if (!is_excuse(l, rc) && !(l->is_faulty && rc < 0))
			break;
		sim_fail(l->sim, &none);
		sim_set_capacity(l->sim, 0);
	}
	if (rc < 0)
		return wrong(l, "not started again: %d, %s", rc, rep.error);
	l->t->from_manifest += rep.manifest > 0;
	if (!is_known(l, l->h.told, "started again"))
		return false;
	all_durable(&l->h);
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
		return wrong(l, "%s was changed, which a copy shares",
			l->witness.path);
	if (l->cfg->links)
		witness_put(&l->witness, l->sim, l->dice >> 20);
	if (what < 2)
		return restart(l, what == 0);
	rc = one_step(l);
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
		step_checkpoint(l);
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
		runs = is_sound(l, "at the end") &&
		       is_known(l, l->h.told, "at the end");
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
		.checkpoint_bytes = pm_roll(&dice, 6)
					    ? 1ull << 40
					    : 1000 + pm_roll(&dice, 4000),
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
