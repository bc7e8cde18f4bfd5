/* SPDX-License-Identifier: Apache-2.0 */
/* repair.c: see repair.h. */
#include "src/repair.h"

#include <errno.h>

#include "index/hnsw.h"
#include "src/collection_file.h"
#include "src/log.h"
#include "src/store_int.h"

#define STEP 256u /* slots between two looks whether it is to stop */

bool repair_is_due(struct collection *c, bool is_idle)
{
	struct generation *g = collection_gen(c);
	const struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint64_t live = atomic_load_explicit(&c->n_live, memory_order_relaxed);
	uint64_t n = cell && cell->hnsw ? hnsw_count(cell->hnsw) : 0;
	uint64_t dead = n - VG_MIN(live, n);

	generation_unref(g);
	return dead >= REPAIR_MIN &&
	       dead * (is_idle ? REPAIR_IDLE_SHARE : REPAIR_SHARE) > n;
}

/* Marks what nobody sees; returns how many. */
static int delete_dead(struct store *s, const struct cell *cell)
{
	uint32_t n_slots =
		atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	struct moment *oldest = moment_oldest(&s->moments);
	int n = 0;

	for (uint32_t slot = 0; slot < n_slots && n >= 0; slot++) {
		if (hnsw_is_linked(cell->hnsw, slot) &&
			cell_is_over(cell, slot, oldest))
			n += hnsw_delete(cell->hnsw, slot) == 0;
		if (slot % STEP == 0 && compact_is_stopped(s))
			n = -EINTR;
	}
	moment_unref(&s->moments, oldest);
	return n;
}

/* Whether there is something else to do first: a compaction makes the graph
 * anew without those rows. */
static bool is_to_stop(struct store *s, struct collection *c)
{
	return compact_is_stopped(s) ||
	       (s->compactor.has_thread && compact_is_due(c));
}

/* The long part, beside everything. */
static int mend(struct store *s, struct collection *c,
	const struct cell *cell, struct hnsw_scratch *scratch)
{
	uint32_t n_slots =
		atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	int rc = 0;

	for (uint32_t from = 0; from < n_slots && rc == 0; from += STEP)
		rc = is_to_stop(s, c)
			     ? -EINTR
			     : hnsw_repair(cell->hnsw, from, from + STEP,
				       scratch);
	return rc;
}

/* The short one: no row is linked, and no graph saved, beside it. */
static int purge(struct store *s, const struct generation *g,
	struct cell *cell, struct hnsw_scratch *scratch)
{
	uint32_t before, left;
	int rc;

	pthread_mutex_lock(&s->checkpoint.run_lock);
	indexer_pause(&s->indexer);
	before = hnsw_count(cell->hnsw);
	rc = hnsw_purge(cell->hnsw, scratch);
	left = before - hnsw_count(cell->hnsw);
	atomic_fetch_add_explicit(
		&cell->n_repaired, left, memory_order_relaxed);
	collection_note_purged(g, left);
	indexer_resume(&s->indexer);
	pthread_mutex_unlock(&s->checkpoint.run_lock);
	return rc;
}

int store_repair(struct store *s, struct collection *c)
{
	struct generation *g = collection_gen(c);
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	struct hnsw_scratch *scratch = NULL;
	int n = 0, rc = 0;

	if (cell && cell->hnsw)
		n = delete_dead(s, cell);
	if (n > 0)
		rc = hnsw_scratch_new(&scratch);
	if (n > 0 && rc == 0)
		rc = mend(s, c, cell, scratch);
	if (n > 0 && rc == 0)
		rc = purge(s, g, cell, scratch);
	hnsw_scratch_free(scratch);
	generation_unref(g);
	if (n > 0 && rc == 0) {
		tune_wake(s);
		log_info("repaired: collection=%u rows=%d", c->no, n);
	}
	return rc < 0 ? rc : n;
}
