/* SPDX-License-Identifier: Apache-2.0 */
/* rowfile_rows.c: which versions a moment sees, in the order of slots or ids. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rowfile_int.h"
#include "src/match.h"
#include "src/sortkey.h"

/* Rows between two looks at cancel: some hundred microseconds. */
#define CANCEL_ROWS 4096u

int rowfile_check_cancel(const struct rowfile_help *help)
{
	return help->cancel && atomic_load_explicit(help->cancel,
				       memory_order_relaxed) ?
		       -EINTR :
		       0;
}

static int put_row(struct rowfile *rf, uint32_t no, uint64_t *cap)
{
	uint32_t *rows = rf->rows;

	if (rf->n == *cap) {
		*cap += *cap / 2 + 1024;
		rows = realloc(rows, *cap * sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		rf->rows = rows;
	}
	rows[rf->n++] = no;
	return 0;
}

static int put_cell(struct rowfile *rf, const struct cell *cell,
	const struct rowfile_help *help)
{
	uint32_t n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	uint64_t cap = 0;
	int rc = 0;

	for (uint32_t slot = 0; slot < n && rc == 0; slot++) {
		uint32_t no = cell_find(cell, slot, rf->look.moment);

		if (no != VERSION_NONE)
			rc = put_row(rf, no, &cap);
		if (slot % CANCEL_ROWS == 0 && rc == 0)
			rc = rowfile_check_cancel(help);
	}
	if (rf->n > 0) {
		rf->dim = cell->dim;
		rf->dtype = cell->dtype;
	}
	return rc;
}

/*
 * A collection gets a new cell only while it is empty, or with the record that
 * replaces its only one: whatever a moment sees is in one cell. Mostly that is
 * the newest; it is an older one if the newest came after the moment.
 */
int rowfile_put_rows(struct rowfile *rf, const struct rowfile_help *help)
{
	const struct cell *cell = atomic_load_explicit(
		&rf->look.gen->cell, memory_order_acquire);
	int rc = 0;

	for (; cell && rf->n == 0 && rc == 0; cell = cell->retired)
		rc = put_cell(rf, cell, help);
	return rc;
}

int rowfile_keep_matches(struct rowfile *rf, const struct filter *filter)
{
	struct match *match;
	uint64_t n = 0;
	int rc = match_new(&rf->look, filter, &match);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < rf->n; i++)
		if (match_has(match, rf->rows[i]))
			rf->rows[n++] = rf->rows[i];
	rf->n = n;
	match_free(match);
	return 0;
}

int rowfile_collapse(struct rowfile *rf, struct vg_id field,
	const struct rowfile_help *help)
{
	struct distinct values = {.field = field};
	uint64_t n = 0;
	uint32_t no;
	int rc = 0;

	for (uint64_t i = 0; i < rf->n && rc >= 0; i++) {
		rc = i % CANCEL_ROWS ? 0 : rowfile_check_cancel(help);
		if (rc == 0)
			rc = distinct_put(&values,
				version_meta(generation_version(
					rf->look.gen, rf->rows[i])),
				&no);
		if (rc > 0)
			rf->rows[n++] = rf->rows[i];
	}
	distinct_fini(&values);
	rf->n = n;
	return VG_MIN(rc, 0);
}

/* ---- by id, by a field ---- */

/*
 * Runs are sorted, then merged by twos until one is left, runs and pairs by
 * as many threads as help: unlike one call of qsort this can be stopped.
 */
#define RUN 32768u

/* The first 8 bytes of an id, the first of them on top: mostly they decide,
 * without a look at the id. Of a field's values there is none. */
struct key {
	uint64_t prefix;
	uint32_t no; /* by id: the version; by a field: the row */
};

struct sorting {
	int (*compare)(const void *a, const void *b, void *ctx);
	void *ctx; /* compare's: the generation, or the values */
	const struct rowfile_help *help;
	struct key *from, *to;
	uint64_t n, width; /* of a sorted run in from */
};

static struct key key_of(const struct generation *g, uint32_t no)
{
	struct vg_id id = version_id(generation_version(g, no));
	struct key key = {.no = no};

	for (uint32_t i = 0; i < 8; i++)
		key.prefix = key.prefix << 8 |
			     (i < id.len ? (uint8_t)id.bytes[i] : 0);
	return key;
}

static int compare_ids(const void *a, const void *b, void *ctx)
{
	const struct key *x = a, *y = b;
	struct vg_id p, q;
	int rc;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	p = version_id(generation_version(ctx, x->no));
	q = version_id(generation_version(ctx, y->no));
	rc = memcmp(p.bytes, q.bytes, VG_MIN(p.len, q.len));
	return rc ? rc : (p.len > q.len) - (p.len < q.len);
}

static int compare_values(const void *a, const void *b, void *ctx)
{
	const struct key *x = a, *y = b;
	int order = sortkeys_compare(ctx, x->no, y->no);

	return order ? order : (x->no > y->no) - (x->no < y->no);
}

static int sort_run(void *ctx, size_t item)
{
	struct sorting *s = ctx;
	uint64_t begin = (uint64_t)item * RUN;

	qsort_r(s->from + begin, VG_MIN(s->n - begin, (uint64_t)RUN),
		sizeof(*s->from), s->compare, s->ctx);
	return rowfile_check_cancel(s->help);
}

static int merge_pair(void *ctx, size_t item)
{
	struct sorting *s = ctx;
	uint64_t at = 2 * s->width * item;
	uint64_t a = at, a_end = VG_MIN(s->n, at + s->width);
	uint64_t b = a_end, end = VG_MIN(s->n, at + 2 * s->width);

	while (at < end) {
		bool takes_a =
			b == end ||
			(a < a_end && s->compare(&s->from[a], &s->from[b],
					      s->ctx) < 0);

		s->to[at++] = takes_a ? s->from[a++] : s->from[b++];
		if (at % CANCEL_ROWS == 0 && rowfile_check_cancel(s->help) < 0)
			return -EINTR;
	}
	assert(a == a_end && b == end);
	return 0;
}

static int sort_keys(struct sorting *s)
{
	int rc = pool_each(s->help->pool, (s->n + RUN - 1) / RUN,
		s->help->threads, sort_run, s);

	for (s->width = RUN; s->width < s->n && rc == 0; s->width *= 2) {
		struct key *from = s->from;

		rc = pool_each(s->help->pool,
			(s->n + 2 * s->width - 1) / (2 * s->width),
			s->help->threads, merge_pair, s);
		s->from = s->to;
		s->to = from;
	}
	return rc;
}

/* Room for the keys of n rows. -ENOMEM: sorting_fini all the same. */
static int sorting_init(struct sorting *s, uint64_t n)
{
	s->n = n;
	s->from = malloc((n + 1) * sizeof(*s->from));
	s->to = malloc((n + 1) * sizeof(*s->to));
	return s->from && s->to ? 0 : -ENOMEM;
}

static void sorting_fini(struct sorting *s)
{
	free(s->from);
	free(s->to);
}

int rowfile_sort(struct rowfile *rf, const struct rowfile_help *help)
{
	struct sorting s = {
		.compare = compare_ids, .ctx = rf->look.gen, .help = help};
	int rc = sorting_init(&s, rf->n);

	if (rc < 0)
		goto fini_sorting;
	for (uint64_t i = 0; i < rf->n; i++)
		s.from[i] = key_of(rf->look.gen, rf->rows[i]);
	rc = sort_keys(&s);
	for (uint64_t i = 0; i < rf->n && rc == 0; i++)
		rf->rows[i] = s.from[i].no;
fini_sorting:
	sorting_fini(&s);
	return rc;
}

/* The values of all rows. */
static int put_values(const struct rowfile *rf, struct vg_id field,
	const struct rowfile_help *help, struct sortkeys *values)
{
	int rc = 0;

	for (uint64_t i = 0; i < rf->n && rc == 0; i++) {
		rc = i % CANCEL_ROWS ? 0 : rowfile_check_cancel(help);
		if (rc == 0)
			rc = sortkeys_add(values,
				version_meta(generation_version(
					rf->look.gen, rf->rows[i])),
				field);
	}
	return rc;
}

int rowfile_order(struct rowfile *rf, const struct rowfile_spec *spec,
	const struct rowfile_help *help)
{
	struct sortkeys values = {.is_desc = spec->is_desc};
	struct sorting s = {
		.compare = compare_values, .ctx = &values, .help = help};
	uint32_t *rows = malloc((rf->n + 1) * sizeof(*rows));
	int rc = sorting_init(&s, rf->n);

	if (rc == 0)
		rc = rows ? put_values(rf, spec->order, help, &values)
			  : -ENOMEM;
	for (uint64_t i = 0; i < rf->n && rc == 0; i++)
		s.from[i] = (struct key){.no = (uint32_t)i};
	if (rc == 0)
		rc = sort_keys(&s);
	for (uint64_t i = 0; i < rf->n && rc == 0; i++)
		rows[i] = rf->rows[s.from[i].no];
	if (rc == 0) {
		free(rf->rows);
		rf->rows = rows;
		rows = NULL;
	}
	free(rows);
	sorting_fini(&s);
	sortkeys_fini(&values);
	return rc;
}
