/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match_kept.c: the last matches of a generation, for who asks the same again.
 *
 * What a filter means changes with what a moment shows of the generation. For
 * the present two counts tell that: versions, and those that have ended. Both
 * only grow, and apply counts before it publishes the moment that shows it. So
 * a look whose moment shows the last version and the last end shows all of
 * both, as does every other of which that holds with the same counts, whatever
 * changed in other collections. One whose moment does not yet is no one's
 * equal, and its match is not kept. A snapshot's moment is for good: its number
 * tells it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/match_int.h"

#define KEPT 8u
#define BYTES_MAX ((size_t)32 << 20) /* of all but the last */

/* What a look shows of its generation. */
struct shown {
	const struct cell *cell;
	uint32_t snap_no; /* PRESENT: it is none */
	uint32_t n_versions, n_ended; /* of the present */
};

#define PRESENT UINT32_MAX

struct kept {
	struct match *match;  /* referenced; NULL: free */
	struct meta_buf text; /* owned: the filter as filter_format has it */
	struct shown shown;
	size_t bytes;
	uint64_t used; /* of clock */
};

struct match_kept {
	pthread_mutex_t lock; /* a leaf: all below */
	uint64_t clock;
	struct kept at[KEPT];
};

/* Whether others can show the same, and what that is. */
static bool is_common(const struct look *look, struct shown *out)
{
	const struct generation *g = look->gen;
	const uint64_t *seq = look->moment->seq;
	const struct version *v;
	uint32_t n, n_ended;

	assert(!look->cell || look->cell->gen == g);
	assert(look->coll->no < PRESENT);
	*out = (struct shown){.cell = look->cell, .snap_no = look->coll->no};
	if (look->coll->of)
		return true;
	n = atomic_load_explicit(&g->n_versions, memory_order_acquire);
	n_ended = atomic_load_explicit(&g->n_ended, memory_order_acquire);
	out->snap_no = PRESENT;
	out->n_versions = n;
	out->n_ended = n_ended;
	if (n > 0) {
		v = generation_version(g, n - 1);
		if (v->begin > seq[v->partition])
			return false;
	}
	if (n_ended > 0) {
		v = generation_version(g,
			*(const uint32_t *)column_at(&g->ended, n_ended - 1));
		if (atomic_load_explicit(&v->end, memory_order_acquire) >
			seq[v->partition])
			return false;
	}
	return true;
}

/* The generation's, made by who needs it first; NULL: there is no memory. */
static struct match_kept *get_kept(struct generation *g)
{
	struct match_kept *kept, *was = NULL;

	kept = atomic_load_explicit(&g->kept, memory_order_acquire);
	if (kept)
		return kept;
	kept = calloc(1, sizeof(*kept));
	if (!kept)
		return NULL;
	pthread_mutex_init(&kept->lock, NULL);
	if (atomic_compare_exchange_strong(&g->kept, &was, kept))
		return kept;
	match_kept_free(kept);
	return was;
}

void match_kept_free(struct match_kept *kept)
{
	if (!kept)
		return;
	for (uint32_t i = 0; i < KEPT; i++) {
		match_free(kept->at[i].match);
		free(kept->at[i].text.bytes);
	}
	pthread_mutex_destroy(&kept->lock);
	free(kept);
}

static bool is_text(const struct kept *k, const struct meta_buf *text)
{
	return k->match && k->text.len == text->len &&
	       memcmp(k->text.bytes, text->bytes, text->len) == 0;
}

static bool is_shown(const struct shown *a, const struct shown *b)
{
	return a->cell == b->cell && a->snap_no == b->snap_no &&
	       a->n_versions == b->n_versions && a->n_ended == b->n_ended;
}

/* Referenced, or NULL. */
static struct match *find(struct match_kept *kept, const struct meta_buf *text,
	const struct shown *shown)
{
	struct match *m = NULL;

	pthread_mutex_lock(&kept->lock);
	for (uint32_t i = 0; i < KEPT && !m; i++) {
		struct kept *k = &kept->at[i];

		if (!is_text(k, text) || !is_shown(&k->shown, shown))
			continue;
		assert(k->used > 0 && k->used <= kept->clock);
		k->used = ++kept->clock;
		m = k->match;
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&kept->lock);
	return m;
}

/* Where a new one goes: the place of what nobody can ask for any more, because
 * it changed since; or a free one; or that of what was asked for longest ago. */
static struct kept *find_place_locked(struct match_kept *kept,
	const struct meta_buf *text, const struct shown *shown)
{
	struct kept *place = &kept->at[0];

	for (uint32_t i = 0; i < KEPT; i++) {
		struct kept *k = &kept->at[i];

		if (is_text(k, text) && k->shown.snap_no == shown->snap_no)
			return k;
		if (k->used < place->used)
			place = k;
	}
	return place;
}

/* The one that was asked for longest ago but the last, if all are too much;
 * else NULL. */
static struct kept *find_excess_locked(struct match_kept *kept)
{
	struct kept *oldest = NULL;
	size_t bytes = 0;

	for (uint32_t i = 0; i < KEPT; i++) {
		struct kept *k = &kept->at[i];

		if (!k->match || k->used == kept->clock)
			continue;
		bytes += k->bytes;
		if (!oldest || k->used < oldest->used)
			oldest = k;
	}
	return bytes > BYTES_MAX ? oldest : NULL;
}

/* Moves one out; its place is free. */
static struct kept take(struct kept *k)
{
	struct kept out = *k;

	*k = (struct kept){0};
	return out;
}

/* Takes new's text, and a reference of its match. */
static void put(struct match_kept *kept, struct kept new)
{
	struct kept gone[KEPT], *k;
	uint32_t n = 0;

	assert(new.match && new.text.bytes && new.bytes > 0);
	pthread_mutex_lock(&kept->lock);
	k = find_place_locked(kept, &new.text, &new.shown);
	gone[n++] = take(k);
	new.used = ++kept->clock;
	*k = new;
	while (n < KEPT && (k = find_excess_locked(kept)))
		gone[n++] = take(k);
	pthread_mutex_unlock(&kept->lock);
	while (n-- > 0) {
		match_free(gone[n].match);
		free(gone[n].text.bytes);
	}
}

int match_new(const struct look *look, const struct filter *filter,
	struct match **out)
{
	struct kept new = {0};
	struct match_kept *kept = NULL;
	int rc;

	if (is_common(look, &new.shown))
		kept = get_kept(look->gen);
	if (!kept)
		return match_make(look, filter, out);
	rc = filter_format(filter, &new.text);
	if (rc < 0)
		return rc;
	*out = find(kept, &new.text, &new.shown);
	if (!*out)
		rc = match_make(look, filter, &new.match);
	if (rc < 0 || *out) {
		free(new.text.bytes);
		return rc;
	}
	*out = new.match;
	new.bytes = match_bytes(new.match);
	atomic_fetch_add_explicit(&new.match->refs, 1, memory_order_relaxed);
	put(kept, new);
	return 0;
}
