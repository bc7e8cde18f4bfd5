/* SPDX-License-Identifier: Apache-2.0 */
/* powerkit_life.c: see powerkit_life.h. */
#include "tests/powerkit_life.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/store_int.h"
#include "tests/storekit.h"
#include "tests/tap.h"

bool VG_PRINTF(2, 3) life_wrong(struct life *l, const char *fmt, ...)
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

void history_init(struct history *h, uint32_t cap)
{
	*h = (struct history){.cap = cap};
	pthread_mutex_init(&h->lock, NULL);
	h->of = calloc(cap, sizeof(*h->of));
	must(h->of && cap > 0);
	pm_init(&h->of[0]);
}

void history_fini(struct history *h)
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
static int64_t history_find(const struct history *h, uint32_t lo,
	const struct pm_state *st)
{
	for (int64_t i = h->n; i >= (int64_t)lo; i--)
		if (memcmp(&h->of[i], st, sizeof(*st)) == 0)
			return i;
	return -1;
}

/* As it is at this moment. */
void history_copy(struct history *h, struct history *out)
{
	pthread_mutex_lock(&h->lock);
	history_init(out, h->n + 1 + CHANGES_MAX * (MORE + 1));
	memcpy(out->of, h->of, (h->n + 1) * sizeof(*h->of));
	out->n = h->n;
	out->told = h->told;
	out->acked = h->acked;
	pthread_mutex_unlock(&h->lock);
}

void history_all_durable(struct history *h)
{
	pthread_mutex_lock(&h->lock);
	h->acked = h->n;
	pthread_mutex_unlock(&h->lock);
}

/* ---- one life ---- */

void life_unwrap(struct life *l)
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
int life_start(struct life *l, struct store_report *rep)
{
	const struct pk_config *cfg = l->cfg;
	struct store_config sc = {
		.durability = cfg->durability,
		.indexers = 1,
		.segment_size = cfg->segment_size,
		.checkpoint_bytes = cfg->checkpoint_bytes,
		.spill_bytes = 1,
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
		life_unwrap(l);
	l->s = s;
	return rc;
}

/* Looks at what was opened: it is a state from lo on. */
bool life_is_known(struct life *l, uint32_t lo, const char *when)
{
	struct pm_state got;
	uint32_t n_damaged;
	const char *why = pm_dump(l->s, &got, &n_damaged);
	int64_t k;

	if (why)
		return life_wrong(l, "%s: %s", when, why);
	if (n_damaged)
		return life_wrong(l, "%s: %u vectors are damaged", when,
			n_damaged);
	k = history_find(&l->h, lo, &got);
	if (k < 0 && history_find(&l->h, 0, &got) >= 0)
		return life_wrong(l,
			"%s: an acknowledged change is missing: it is state "
			"%d, %u is durable, %u the last",
			when, (int)history_find(&l->h, 0, &got), lo, l->h.n);
	if (k < 0)
		return life_wrong(l,
			"%s: it is none of the states %u to %u: %s", when, lo,
			l->h.n, pm_diff(&l->h.of[l->h.n], &got));
	pthread_mutex_lock(&l->h.lock);
	l->h.n = l->h.told = (uint32_t)k;
	pthread_mutex_unlock(&l->h.lock);
	return true;
}

void life_hold(struct life *l, struct generation *g)
{
	hold_fini(&l->hold);
	generation_unref(l->held);
	l->held = g;
	if (g)
		hold_init(&l->hold, g, VERSION_NONE);
}

bool life_open(struct life *l, uint32_t lo, const char *when)
{
	struct store_report rep;
	int rc = life_start(l, &rep);

	if (rc < 0)
		return life_wrong(l, "%s: not opened: %d, %s", when, rc,
			rep.error);
	if (l->t)
		l->t->from_manifest += rep.manifest > 0;
	if (!life_is_known(l, lo, when))
		return false;
	history_all_durable(
		&l->h); /* an open does not take what it reads for safe */
	if (l->h.n % 2)
		store_settle(l->s);
	return true;
}

void life_close(struct life *l)
{
	life_hold(l, NULL);
	store_close(l->s);
	l->s = NULL;
	life_unwrap(l);
}

bool life_is_sound(struct life *l, const char *when)
{
	const char *why = NULL;

	if (store_check(l->s, &why) < 0)
		return life_wrong(l, "%s: it is not sound: %s", when,
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
			l->cfg->is_same ? PM_SAME :
			n > 1		? PM_RECORDS :
					  PM_ANY,
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
bool life_is_excuse(const struct life *l, int rc)
{
	return l->is_faulty && (rc == -EIO || rc == -EROFS || rc == -ENOSPC);
}

/* What became of change i, whose number's state was before. */
static bool note_answer(struct life *l, const struct asked *a, uint32_t i)
{
	struct pm_state st = l->h.of[l->h.n];
	int rc = a->change[i].rc, want = pm_apply(&st, &a->want[i]);

	if (rc != want && !life_is_excuse(l, rc))
		return life_wrong(l, "%s n%u/i%u: %d instead of %d: %s",
			op_name(a->want[i].type), a->want[i].name,
			a->want[i].id, rc, want, a->change[i].why);
	if (rc < 0 && !a->change[i].why[0])
		return life_wrong(l, "%s: %d without a sentence",
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
	uint32_t n = 1 + (pm_roll(&l->dice, 3) == 0 ?
					 pm_roll(&l->dice, l->cfg->batch) :
					 0);
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
	if (a->commit.sync && !life_is_excuse(l, rc))
		l->h.acked = l->h.n;
	pthread_mutex_unlock(&l->h.lock);
	for (uint32_t i = 0; i < n; i++)
		pm_unask(&a->asked[i]);
	free(a);
	return life_is_excuse(l, rc) ? rc : 0;
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
	if (rc != (is_late && a->commit.n ? -ESTALE : 0) &&
		!life_is_excuse(l, rc))
		life_wrong(l, "an atomic commit gave %d: %s", rc,
			a->commit.why);
	for (uint32_t i = 0; i < a->commit.n; i++)
		pm_unask(&a->asked[i]);
	free(a);
	return life_is_excuse(l, rc) ? rc : 0;
}

static int step_sync(struct life *l)
{
	struct commit commit = {.sync = true};
	int rc = store_commit_wait(l->s, &commit);

	if (rc == 0)
		history_all_durable(&l->h);
	else if (!life_is_excuse(l, rc))
		life_wrong(l, "a sync gave %d", rc);
	return rc;
}

int life_checkpoint(struct life *l)
{
	bool all = pm_roll(&l->dice, 3) > 0;
	int rc;

	if (all)
		sk_wait_linked(l->s); /* so that a seed says what is saved */
	rc = store_checkpoint(l->s, all);
	if (rc == 0)
		history_all_durable(&l->h);
	else if (!life_is_excuse(l, rc))
		life_wrong(l, "a checkpoint gave %d", rc);
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
	if (l->next_n % 4 > 0)
		life_hold(l, collection_gen(c));
	rc = store_compact(l->s, c);
	collection_unref(c);
	if (rc < 0 && rc != -EAGAIN && !life_is_excuse(l, rc))
		life_wrong(l, "a compaction gave %d", rc);
	if (l->t)
		l->t->compactions += rc == 0;
	return rc == -EAGAIN ? 0 : rc;
}

int life_step(struct life *l)
{
	uint32_t what = pm_roll(&l->dice, 100);

	if (what < 8)
		return life_checkpoint(l);
	if (what > 96)
		return step_compact(l);
	if (what < 11)
		return step_sync(l);
	if (what < 21 && !l->cfg->is_same)
		return step_atomic(l);
	return step_commit(l);
}
