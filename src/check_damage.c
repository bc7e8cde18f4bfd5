/* SPDX-License-Identifier: Apache-2.0 */
/* check_damage.c: which records are lost with rows that cannot be read. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/check_int.h"
#include "src/json.h"

#define NAMED_MAX 20u /* records that are told by id */

void check_add_range(void *ctx, uint32_t first, uint32_t n)
{
	struct check_damage *d = ctx;
	struct range *last = d->n ? &d->range[d->n - 1] : NULL;

	assert(n > 0 && (!last || last->first + last->n <= first));
	d->rows += n;
	if (last && last->first + last->n == first) {
		last->n += n;
		return;
	}
	if (d->n == d->cap) {
		uint32_t cap = d->cap ? 2 * d->cap : 16;
		struct range *grown =
			realloc(d->range, cap * sizeof(*grown));

		d->failed = d->failed || !grown;
		if (!grown)
			return;
		d->range = grown;
		d->cap = cap;
	}
	d->range[d->n++] = (struct range){first, n};
}

static bool has_row(const struct check_damage *d, uint32_t row)
{
	uint32_t low = 0, high = d->n;

	assert(d->n <= d->cap);
	while (low < high) { /* ends: the distance halves */
		uint32_t middle = low + (high - low) / 2;

		if (row < d->range[middle].first)
			high = middle;
		else if (row - d->range[middle].first < d->range[middle].n)
			return true;
		else
			low = middle + 1;
	}
	return false;
}

/* The file that has a row. */
static uint32_t number_of(const struct manifest_column *column, uint32_t row)
{
	uint32_t number = 0;

	for (uint32_t i = 0; i < column->n_parts; i++)
		if (column->part[i].first <= row)
			number = column->part[i].number;
	assert(number > 0);
	return number;
}

/* ---- what is lost ---- */

/* Whether the present shows v, or a snapshot. */
static bool is_seen(const struct generation *g, const struct version *v)
{
	return (g == g->coll->gen && atomic_load(&v->end) == VERSION_OPEN) ||
	       version_is_kept(v);
}

/* The ids of records whose vectors are damaged, or would be left out with them,
 * NAMED_MAX of them, in `out`; how many there are. */
static uint64_t name_records(
	const struct generation *g, const struct check_damage *d, char out[CHECK_TEXT])
{
	struct cell *cell = atomic_load(&g->cell);
	uint32_t n = atomic_load(&g->n_versions);
	char text[JSON_STRING_MAX(VG_ID_MAX) + 1];
	size_t len = 0;
	uint64_t lost = 0;

	assert(d->n > 0 && !d->failed);
	out[0] = '\0';
	for (uint32_t no = 0; no < n; no++) {
		const struct version *v = generation_version(g, no);
		struct vg_id id;

		if (!is_seen(g, v) || v->cell != cell ||
			(!has_row(d, v->slot) &&
				cell_check_row(cell, v->slot) == 0))
			continue;
		if (lost++ >= NAMED_MAX)
			continue;
		id = version_id(v);
		text[json_string_encode(id.bytes, id.len, text)] = '\0';
		if (len + strlen(text) + 3 < CHECK_TEXT / 2)
			len += (size_t)snprintf(out + len, CHECK_TEXT - len,
				"%s%s", lost > 1 ? ", " : "", text);
	}
	return lost;
}

/* Vectors of the collection as it was opened. */
static void say_vectors(struct check_look *at, const struct check_damage *d,
	const char *where)
{
	struct generation *g = catalogue_find_gen(
		&at->ck->s->catalogue, at->mc->gen);
	char ids[CHECK_TEXT] = "";
	uint64_t lost = g ? name_records(g, d, ids) : d->rows;

	if (!g)
		check_say(at->ck, true, "%s: %s '%s' cannot be opened", where,
			check_part_of(at), check_name_of(at));
	else if (lost == 0)
		check_say(at->ck, true,
			"%s: they are no record's any more: nothing is lost",
			where);
	else
		check_say(at->ck, true,
			"%s: %s '%s' lose%s the vectors of %" PRIu64
			" records: %s%s",
			where, check_part_of(at), check_name_of(at),
			manifest_is_past(at->mc) ? "" : "s", lost, ids,
			lost > NAMED_MAX ? ", and more" : "");
	generation_unref(g);
}

void check_say_damage(struct check_look *at, enum column_kind kind,
	const char *column, const struct check_damage *d)
{
	const struct manifest_column *columns[COLUMNS] = {&at->mc->vec,
		&at->mc->meta, &at->mc->version, &at->mc->end};
	char where[256];

	assert(d->n > 0);
	snprintf(where, sizeof(where),
		"c/%s/%s.%04" PRIu32 ": %" PRIu64
		" rows are damaged, from %" PRIu32 " to %" PRIu32,
		at->uuid, column,
		number_of(columns[kind], d->range[0].first), d->rows,
		d->range[0].first,
		d->range[d->n - 1].first + d->range[d->n - 1].n - 1);
	if (at->m->number != at->ck->taken)
		check_say(at->ck, true,
			"%s: only MANIFEST.%" PRIu64 " needs them, nothing is "
			"lost",
			where, at->m->number);
	else if (kind == COLUMN_VEC)
		say_vectors(at, d, where);
	else
		check_say(at->ck, true,
			"%s: %s '%s' cannot be opened without them", where,
			check_part_of(at), check_name_of(at));
}
