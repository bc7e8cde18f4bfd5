/* SPDX-License-Identifier: Apache-2.0 */
/* compact.c: see compact.h. */
#include "src/compact.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "index/hnsw.h"
#include "src/auto_index.h"
#include "src/collection_int.h"
#include "src/clock.h"
#include "src/log.h"
#include "src/match.h"
#include "src/repair.h"
#include "src/store_int.h"

#define LOOK_S 1     /* between two looks at all collections */
#define ROUND_MIN 64 /* versions that may be left for the leader */
#define PAUSE_NS 2000000
#define CARRY_STEP 1024u /* versions between two looks at the memory they take */
#define RETRY_S 60 /* after one that failed */

/* One compaction under way. */
struct compaction {
	struct commit commit; /* first: at_rest gets it */
	struct store *s;
	struct generation *old, *new;
	struct cell *cell; /* of old; NULL: it has no vectors */
	uint32_t *version; /* by number in old: in new, or VERSION_NONE */
	uint32_t *slot;	   /* by slot of cell: in new, or VG_SLOT_NONE */
	uint32_t cap_version, cap_slot;
	uint32_t n_versions, n_ended; /* of old that were looked at */
	uint32_t n_rounds;
	int rc;
};

bool compact_is_stopped(struct store *s)
{
	bool is;

	pthread_mutex_lock(&s->compactor.lock);
	is = s->compactor.is_stopping;
	pthread_mutex_unlock(&s->compactor.lock);
	return is;
}

/* ---- carrying over ---- */

/* Room for n numbers; new ones say none. */
static int grow(uint32_t **map, uint32_t *cap, uint32_t n)
{
	uint32_t want = VG_MAX(n, *cap + *cap / 2);
	uint32_t *grown;

	if (n <= *cap)
		return 0;
	grown = realloc(*map, (size_t)want * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + *cap, 0xff, (size_t)(want - *cap) * sizeof(*grown));
	*map = grown;
	*cap = want;
	return 0;
}

static_assert(VERSION_NONE == UINT32_MAX && VG_SLOT_NONE == UINT32_MAX,
	"grow fills with them");

static uint32_t n_versions(const struct generation *g)
{
	return atomic_load_explicit(&g->n_versions, memory_order_acquire);
}

/* Versions that are open now, from the first that was not looked at up to n. */
static int carry_versions(struct compaction *cp, uint32_t n)
{
	int rc = grow(&cp->version, &cp->cap_version, n);
	uint32_t ahead = 0;

	for (; cp->n_versions < n && rc == 0; cp->n_versions++) {
		const struct version *v =
			generation_version(cp->old, cp->n_versions);

		if (atomic_load_explicit(&v->end, memory_order_acquire) !=
			VERSION_OPEN)
			continue;
		if (v->cell != cp->cell)
			return -EAGAIN;
		rc = grow(&cp->slot, &cp->cap_slot, v->slot + 1);
		column_fetch_ahead(&cp->cell->vec, v->slot, &ahead);
		if (rc == 0)
			rc = generation_carry(
				cp->new, v, &cp->slot[v->slot]);
		if (rc == 0)
			rc = cell_check_row(v->cell, v->slot);
		if (rc == 0)
			cp->version[cp->n_versions] = n_versions(cp->new) - 1;
	}
	return rc;
}

/*
 * What has ended of the versions that were carried. One that is not looked at
 * yet is known to have ended when it is, and is not carried.
 */
static void carry_ends(struct compaction *cp)
{
	uint32_t n = atomic_load_explicit(
		&cp->old->n_ended, memory_order_acquire);

	for (; cp->n_ended < n; cp->n_ended++) {
		uint32_t no = *(const uint32_t *)column_at(
			&cp->old->ended, cp->n_ended);
		uint32_t to = no < cp->n_versions ? cp->version[no]
						  : VERSION_NONE;

		if (to != VERSION_NONE)
			generation_end(cp->new, to,
				atomic_load_explicit(
					&generation_version(cp->old, no)->end,
					memory_order_acquire));
	}
}

static void put_new(struct compaction *cp)
{
	struct collection *c = cp->old->coll;

	collection_put_gen(c, generation_ref(cp->new));
	/* The collection's is a reference of its own kind. */
	collection_unref(c);
	atomic_store_explicit(&cp->s->checkpoint.has_new_gen, true,
		memory_order_relaxed);
}

/* By the leader, between two groups: nothing changes. So all that is open, and
 * only that, is open in new. */
static void swap(struct commit *commit)
{
	struct compaction *cp = (struct compaction *)(void *)commit;
	struct generation *old = cp->old;

	if (old->coll->gen != old ||
		atomic_load_explicit(&old->cell, memory_order_relaxed) !=
			cp->cell) {
		cp->rc = -EAGAIN;
		return;
	}
	cp->rc = carry_versions(cp, n_versions(old));
	if (cp->rc < 0)
		return;
	carry_ends(cp);
	put_new(cp);
	hold_move(old, cp->version);
}

/* ---- generations that were replaced ---- */

/* Keeps what was replaced; without memory for that who has just looked up a
 * name looks it up again. */
static void keep_old(struct store *s, struct generation *g)
{
	struct compact_old *old = malloc(sizeof(*old));

	if (!old)
		return;
	old->gen = generation_ref(g);
	old->until_s = clock_now_s() + COMPACT_KEEP_S;
	old->next = s->compactor.old;
	s->compactor.old = old;
}

/* Gives back those whose time is over, or all. The run_lock is held. */
static void drop_old_locked(struct store *s, bool all)
{
	struct compact_old **link = &s->compactor.old;
	double now = clock_now_s();

	while (*link) {
		struct compact_old *old = *link;

		if (!all && old->until_s > now) {
			link = &old->next;
			continue;
		}
		*link = old->next;
		generation_unref(old->gen);
		free(old);
	}
}

static void drop_old(struct store *s, bool all)
{
	pthread_mutex_lock(&s->compactor.run_lock);
	drop_old_locked(s, all);
	pthread_mutex_unlock(&s->compactor.run_lock);
}

/* ---- one compaction ---- */

static int make_generation(struct compaction *cp, struct collection *c)
{
	struct op_config config;
	struct cell_shape shape;
	struct cell *cell;
	uint32_t no;
	int rc = catalogue_add_gen(&cp->s->catalogue, c, &no);

	/* Before anybody can see the number. */
	if (rc == 0 && cp->s->next_gen)
		atomic_store(cp->s->next_gen, no + 1);
	if (rc == 0)
		rc = generation_new(c, no, &cp->new);
	if (rc < 0)
		return rc;
	collection_ref(c); /* a reference that we have has one on it */
	if (!cp->cell)
		return 0;
	config = collection_config(c);
	shape = cell_shape_anew(&config, cp->cell);
	shape.index = cell_index_anew(cp->cell, &config);
	rc = cell_new(cp->new, &shape, &cell);
	if (rc == 0)
		atomic_store_explicit(
			&cp->new->cell, cell, memory_order_release);
	return rc;
}

/* Whether the new rows are linked but for a tail that searches afford. */
static bool is_linked(const struct compaction *cp)
{
	const struct cell *cell = atomic_load_explicit(
		&cp->new->cell, memory_order_relaxed);

	return !cell || (indexer_pending(cell) <= cell->tail_max / 2 &&
				!indexer_is_learning(&cp->s->indexer, cell));
}

/* Codes are chosen from all rows, now that they are there and none is linked. */
static void train(struct cell *cell)
{
	if (!cell->hnsw)
		return;
	cell->n_trained = atomic_load_explicit(
		&cell->n_slots, memory_order_acquire);
	hnsw_train_on(cell->hnsw, cell->n_trained);
}

/* All that there are. They may take more memory than there is: what was carried
 * goes to its files on the way. */
static int carry_far(struct compaction *cp)
{
	uint32_t n = n_versions(cp->old);
	int rc = 0;

	while (cp->n_versions < n && rc == 0) {
		rc = carry_versions(cp, cp->n_versions +
			VG_MIN(n - cp->n_versions, CARRY_STEP));
		if (rc == 0)
			rc = checkpoint_spill(cp->s, cp->new);
		if (rc == 0 && compact_is_stopped(cp->s))
			rc = -EINTR;
	}
	return rc;
}

static int carry_round(struct compaction *cp)
{
	struct cell *cell;
	int rc = carry_far(cp);

	carry_ends(cp);
	cell = atomic_load_explicit(&cp->new->cell, memory_order_relaxed);
	if (rc == 0 && cell && cp->n_rounds++ == 0)
		train(cell);
	if (rc == 0 && cell)
		indexer_add(&cp->s->indexer, cell);
	return rc;
}

/* Carries until next to nothing is left to carry and the graph is there. */
static int carry_all(struct compaction *cp)
{
	struct timespec pause = {.tv_nsec = PAUSE_NS};
	int rc = 0;

	do {
		rc = carry_round(cp);
		if (rc < 0)
			return rc;
		if (compact_is_stopped(cp->s))
			return -EINTR;
		if (!is_linked(cp))
			nanosleep(&pause, NULL);
	} while (!is_linked(cp) ||
		 n_versions(cp->old) - cp->n_versions > ROUND_MIN);
	return 0;
}

/* Filters that were asked before are asked again: they find their indexes. What
 * cannot be made here they make themselves. */
static int index_fields(struct compaction *cp)
{
	for (uint32_t i = 0; match_index_like(cp->new, cp->old, i) > 0; i++)
		if (compact_is_stopped(cp->s))
			return -EINTR;
	return 0;
}

/* Says what is under way; NULL: nothing is. */
static void tell_now(struct store *s, struct generation *now)
{
	struct compactor *cp = &s->compactor;
	struct generation *was;

	pthread_mutex_lock(&cp->lock);
	was = cp->now;
	cp->now = now ? generation_ref(now) : NULL;
	cp->now_no = now ? now->coll->no : 0;
	pthread_mutex_unlock(&cp->lock);
	generation_unref(was);
}

bool store_compacting(struct store *s, const struct collection *c,
	uint32_t *rows, uint32_t *linked)
{
	struct compactor *cp = &s->compactor;
	struct generation *now = NULL;
	struct cell *cell;

	pthread_mutex_lock(&cp->lock);
	if (cp->now && cp->now_no == c->no)
		now = generation_ref(cp->now);
	pthread_mutex_unlock(&cp->lock);
	if (!now)
		return false;
	cell = atomic_load_explicit(&now->cell, memory_order_acquire);
	*rows = *linked = 0;
	if (cell) {
		*rows = atomic_load_explicit(
			&cell->n_slots, memory_order_acquire);
		*linked = *rows - VG_MIN(indexer_pending(cell), *rows);
	}
	generation_unref(now);
	return true;
}

static int compact_locked(struct store *s, struct collection *c)
{
	struct compaction cp = {
		.commit = {.sync = true, .at_rest = swap},
		.s = s,
		.old = collection_gen(c),
	};
	uint32_t before = n_versions(cp.old);
	int rc;

	cp.cell = atomic_load_explicit(&cp.old->cell, memory_order_acquire);
	/* What had ended by now is not carried. */
	cp.n_ended = atomic_load_explicit(
		&cp.old->n_ended, memory_order_acquire);
	rc = make_generation(&cp, c);
	if (rc == 0) {
		tell_now(s, cp.new);
		rc = carry_all(&cp);
	}
	if (rc == 0)
		rc = index_fields(&cp);
	if (rc == 0)
		rc = carry_all(&cp); /* what came meanwhile */
	if (rc == 0)
		rc = store_commit_wait(s, &cp.commit);
	if (rc == 0)
		rc = cp.rc;
	if (rc == 0) {
		/* The leader left it rows that are not linked. */
		if (cp.cell)
			indexer_add(&s->indexer,
				atomic_load_explicit(&cp.new->cell,
					memory_order_relaxed));
		/* Else snapshots want its rows linked. */
		if (cp.cell && atomic_load(&cp.old->n_snaps) == 0)
			indexer_retire(&s->indexer, cp.cell);
		if (s->compactor.has_thread)
			keep_old(s, cp.old);
		atomic_fetch_add_explicit(
			&s->compactor.n_made, 1, memory_order_relaxed);
		tune_wake(s);
		log_info("compacted: collection=%u versions=%u before=%u",
			c->no, n_versions(cp.new), before);
	}
	tell_now(s, NULL);
	generation_unref(cp.new);
	generation_unref(cp.old);
	free(cp.version);
	free(cp.slot);
	return rc;
}

int store_compact(struct store *s, struct collection *c)
{
	int rc;

	if (store_read_only(s))
		return -EROFS;
	pthread_mutex_lock(&s->compactor.run_lock);
	rc = compact_locked(s, c);
	pthread_mutex_unlock(&s->compactor.run_lock);
	return rc;
}

int store_renew(struct store *s, struct collection *c)
{
	struct compaction cp = {.s = s, .old = collection_gen(c)};
	bool is_empty = atomic_load(&c->n_live) == 0;
	int rc;

	assert(atomic_load(&c->n_live) <= 1);
	if (!is_empty)
		cp.cell = atomic_load_explicit(
			&cp.old->cell, memory_order_relaxed);
	rc = make_generation(&cp, c);
	if (rc == 0 && !is_empty)
		rc = carry_versions(&cp, n_versions(cp.old));
	if (rc == 0)
		put_new(&cp);
	generation_unref(cp.new);
	generation_unref(cp.old);
	free(cp.version);
	free(cp.slot);
	return rc;
}

/* ---- when ---- */

/* Whether nobody has changed c for a while; remembers what it saw. */
static bool is_idle(struct collection *c)
{
	uint64_t changes =
		atomic_load_explicit(&c->changes, memory_order_acquire);
	double now = clock_now_s();

	if (changes != c->seen_changes) {
		c->seen_changes = changes;
		c->seen_s = now;
	}
	return now - c->seen_s >= COMPACT_IDLE_S;
}

/* Whether its rows are to be linked, or coded, as they are not yet. */
static bool is_set_anew(struct collection *c, const struct generation *g)
{
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	struct op_config config = collection_config(c);
	struct cell_shape shape;

	if (!cell)
		return false;
	shape = cell_shape_anew(&config, cell);
	return !cell_is_shaped(cell, &shape) || cell_wants_codes(cell) ||
	       cell_is_outgrown(cell, &config);
}

bool compact_is_due(struct collection *c)
{
	struct generation *g = collection_gen(c);
	bool is_other = is_set_anew(c, g);
	uint64_t live = atomic_load_explicit(&c->n_live, memory_order_relaxed);
	uint64_t n = n_versions(g), dead = n - VG_MIN(live, n);

	generation_unref(g);
	if (clock_now_s() < c->not_before_s)
		return false;
	if (is_other)
		return true;
	if (is_idle(c))
		return dead > live / 2;
	return dead > VG_MAX(live, (uint64_t)COMPACT_MIN);
}

/* Takes dead rows out of the graph where it is time. */
static void repair(struct store *s, struct collection *c)
{
	int n;

	if (clock_now_s() < c->no_repair_before_s ||
		!repair_is_due(c, is_idle(c)))
		return;
	n = store_repair(s, c);
	if (n < (int)REPAIR_MIN / 2)
		c->no_repair_before_s = clock_now_s() + RETRY_S;
	if (n < 0 && n != -EINTR)
		log_warn("the graph of collection %u could not be repaired: %s",
			c->no, strerror(-n));
}

/* Compacts what is due; whether there was something. */
static bool look_at_all(struct store *s)
{
	struct collection *c;
	bool was = false;

	for (uint32_t no = 0; !compact_is_stopped(s) &&
			      (c = catalogue_next_no(&s->catalogue, &no));
		no++) {
		int rc = 0;

		if (compact_is_due(c)) {
			rc = store_compact(s, c);
			was = was || rc == 0;
			c->not_before_s = rc < 0 ? clock_now_s() + RETRY_S : 0;
		} else {
			repair(s, c);
		}
		collection_unref(c);
		if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EROFS)
			log_warn("collection %u could not be compacted: %s",
				no, strerror(-rc));
	}
	return was;
}

static void *compact_main(void *arg)
{
	struct store *s = arg;
	struct compactor *cp = &s->compactor;

	pthread_mutex_lock(&cp->lock);
	while (!cp->is_stopping) {
		clock_wait(&cp->cond, &cp->lock, clock_now_s() + LOOK_S);
		if (cp->is_stopping)
			break;
		pthread_mutex_unlock(&cp->lock);
		drop_old(s, false);
		/* Files are of use only when they say so. */
		if (atomic_load(&s->is_settled) && look_at_all(s))
			store_checkpoint(s, true);
		pthread_mutex_lock(&cp->lock);
	}
	pthread_mutex_unlock(&cp->lock);
	return NULL;
}

void compact_prepare(struct compactor *cp)
{
	pthread_mutex_init(&cp->lock, NULL);
	pthread_mutex_init(&cp->run_lock, NULL);
	pthread_cond_init(&cp->cond, NULL);
}

int compact_init(struct store *s)
{
	int rc = -pthread_create(
		&s->compactor.thread, NULL, compact_main, s);

	s->compactor.has_thread = rc == 0;
	return rc;
}

void compact_stop(struct store *s)
{
	struct compactor *cp = &s->compactor;

	if (!cp->has_thread)
		return;
	pthread_mutex_lock(&cp->lock);
	cp->is_stopping = true;
	pthread_cond_signal(&cp->cond);
	pthread_mutex_unlock(&cp->lock);
	pthread_join(cp->thread, NULL);
	cp->has_thread = false;
	drop_old(s, true);
}

void compact_fini(struct store *s)
{
	compact_stop(s);
	pthread_mutex_destroy(&s->compactor.lock);
	pthread_mutex_destroy(&s->compactor.run_lock);
	pthread_cond_destroy(&s->compactor.cond);
}
