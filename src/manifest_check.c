/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_check.c: what a manifest may say; whoever loads one builds on it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/catalogue.h"
#include "src/manifest.h"

/*
 * A manifest with a right hash was written by a program like ours, or by who
 * means harm. Both are held to the same rules (docs/format.md has them in
 * words), so that who opens a store adds, indexes and allocates by what it
 * says without asking again:
 *
 *   R1  counters are not over COUNTER_MAX; number, lsn and segment are not 0;
 *       the offset is behind a segment's header, at a multiple of 8
 *   R2  a generation's number is its collection's, or from GENERATION_FIRST on
 *       below next_gen; a collection's number is below next_no, which is at most
 *       CATALOGUE_MAX; a cursor is 1 to next_cursor
 *   R3  names are a directory's: 1 to 255 bytes, no slash, no NUL
 *   R4  config, and what rows were made with, are such as an op may say
 *   R5  a column's parts have the rows from 0 on, none twice, none left out,
 *       in files whose numbers grow
 *   R6  deltas need a graph, and a graph an index that is one; numbers of its
 *       files grow from the graph's on
 *   R7  no two have the same name or cursor; no two collections the same
 *       number or uuid
 *   R8  origins are of a session, and no more than a store remembers
 */

/* Counters that only grow end here: nobody overflows by adding to one. */
#define COUNTER_MAX (1ull << 62)

static bool name_is_valid(const char *name, uint32_t len)
{
	return len > 0 && len <= VG_ID_MAX && !memchr(name, '/', len) &&
	       !memchr(name, '\0', len);
}

/* Rows without a gap from 0 on, in files whose numbers grow. */
static bool column_is_valid(const struct manifest_column *column)
{
	uint64_t rows = 0;
	uint32_t last = 0;

	assert(column->part || column->n_parts == 0);
	for (uint32_t i = 0; i < column->n_parts; i++) {
		const struct colfile_part *p = &column->part[i];

		if (p->number <= last || p->first != rows || p->n == 0)
			return false;
		last = p->number;
		rows += p->n;
	}
	return rows <= UINT32_MAX;
}

static bool file_is_valid(const struct manifest_file *f)
{
	if (f->number == 0)
		return f->len == 0 && f->hash == 0;
	return f->len > 0 && f->len <= COUNTER_MAX;
}

/* A base, and what was added to it in this order, each file younger. */
static bool graph_is_valid(const struct manifest_collection *c)
{
	uint32_t last = c->graph.number;

	if (!file_is_valid(&c->graph) || c->n_deltas > MANIFEST_DELTAS_MAX)
		return false;
	if (c->graph.number == 0 ? c->n_deltas > 0 : c->index != VG_HNSW)
		return false;
	for (uint32_t i = 0; i < c->n_deltas; i++) {
		if (c->delta[i].number <= last || !file_is_valid(&c->delta[i]))
			return false;
		last = c->delta[i].number;
	}
	return true;
}

static int coll_rows_check(const struct manifest_collection *c)
{
	struct op_config config = c->config;
	int rc;

	if (c->dim == 0)
		return c->vec.n_parts == 0 && c->version.n_parts == 0 &&
				       c->meta.n_parts == 0 &&
				       c->end.n_parts == 0 &&
				       c->graph.number == 0 &&
				       c->n_deltas == 0 ?
			       0 :
			       -VG_ECORRUPT;
	/* What the rows were made with has the limits of what they are made
	 * with from now on. */
	config.dim = c->dim;
	config.metric = c->metric;
	config.index = c->index;
	config.m = c->m;
	config.ef_construction = c->ef_construction;
	rc = op_config_check(&config);
	if (rc < 0)
		return rc;
	return column_is_valid(&c->vec) && column_is_valid(&c->version) &&
			       column_is_valid(&c->meta) &&
			       column_is_valid(&c->end) && graph_is_valid(c) ?
		       0 :
		       -VG_ECORRUPT;
}

static int coll_check(const struct manifest *m,
	const struct manifest_collection *c)
{
	int rc;

	if (c->no >= m->next_no || c->cursor == 0 ||
		(c->gen != c->no && (c->gen < GENERATION_FIRST ||
					    c->gen >= m->next_gen)) ||
		c->cursor > m->next_cursor || c->attr.mode > 07777 ||
		!name_is_valid(c->name, c->name_len))
		return -VG_ECORRUPT;
	rc = op_config_check(&c->config);
	return rc < 0 ? rc : coll_rows_check(c);
}

static bool alias_is_valid(const struct manifest *m,
	const struct manifest_alias *a)
{
	return a->cursor > 0 && a->cursor <= m->next_cursor &&
	       name_is_valid(a->name, a->name_len) && a->target_len > 0 &&
	       a->target_len <= VG_ID_MAX &&
	       !memchr(a->target, '\0', a->target_len);
}

static bool head_is_valid(const struct manifest *m)
{
	for (uint32_t i = 0; i < VG_SEQS; i++)
		if (m->seq[i] > COUNTER_MAX)
			return false;
	return m->number > 0 && m->number <= COUNTER_MAX && m->lsn > 0 &&
	       m->lsn <= COUNTER_MAX && m->segment > 0 &&
	       m->segment <= COUNTER_MAX && m->offset >= 64 &&
	       m->offset % 8 == 0 && m->offset <= COUNTER_MAX &&
	       m->next_no <= CATALOGUE_MAX &&
	       m->next_gen >= GENERATION_FIRST &&
	       m->next_gen <= GENERATION_END && m->next_cursor <= COUNTER_MAX &&
	       (!m->has_root_attr || m->root_attr.mode <= 07777);
}

/* What no two may have: aliases have the first two only. */
enum key { KEY_NAME, KEY_CURSOR, KEY_NO, KEY_GEN, KEY_UUID, KEYS };

static struct vg_id coll_key(const struct manifest_collection *c, enum key key)
{
	switch (key) {
	case KEY_NAME:
		return (struct vg_id){c->name, c->name_len};
	case KEY_CURSOR:
		return (struct vg_id){(const char *)&c->cursor, 8};
	case KEY_NO:
		return (struct vg_id){(const char *)&c->no, 4};
	case KEY_GEN:
		return (struct vg_id){(const char *)&c->gen, 4};
	default:
		assert(key == KEY_UUID);
		return (struct vg_id){(const char *)c->uuid, 16};
	}
}

static struct vg_id alias_key(const struct manifest_alias *a, enum key key)
{
	assert(key == KEY_NAME || key == KEY_CURSOR);
	if (key == KEY_NAME)
		return (struct vg_id){a->name, a->name_len};
	return (struct vg_id){(const char *)&a->cursor, 8};
}

static int key_compare(const void *left, const void *right)
{
	const struct vg_id *a = left, *b = right;
	int order = memcmp(a->bytes, b->bytes, VG_MIN(a->len, b->len));

	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* No two have the same key; by sorting, in memory of the caller. */
static bool key_is_unique(const struct manifest *m, enum key key,
	struct vg_id *keys)
{
	size_t n = 0;

	for (uint32_t i = 0; i < m->n_colls; i++)
		keys[n++] = coll_key(&m->coll[i], key);
	if (key <= KEY_CURSOR)
		for (uint32_t i = 0; i < m->n_aliases; i++)
			keys[n++] = alias_key(&m->alias[i], key);
	if (n > 1)
		qsort(keys, n, sizeof(*keys), key_compare);
	for (size_t i = 1; i < n; i++)
		if (key_compare(&keys[i - 1], &keys[i]) == 0)
			return false;
	return true;
}

static int keys_check(const struct manifest *m)
{
	size_t n = (size_t)m->n_colls + m->n_aliases;
	struct vg_id *keys = calloc(n + 1, sizeof(*keys));
	bool unique = true;

	if (!keys)
		return -ENOMEM;
	for (int key = 0; key < KEYS; key++)
		unique = unique && key_is_unique(m, (enum key)key, keys);
	free(keys);
	return unique ? 0 : -VG_ECORRUPT;
}

int manifest_check(const struct manifest *m)
{
	assert(m->coll || m->n_colls == 0);
	assert(m->alias || m->n_aliases == 0);
	if (!head_is_valid(m))
		return -VG_ECORRUPT;
	for (uint32_t i = 0; i < m->n_colls; i++) {
		int rc = coll_check(m, &m->coll[i]);

		if (rc < 0)
			return rc;
	}
	for (uint32_t i = 0; i < m->n_aliases; i++)
		if (!alias_is_valid(m, &m->alias[i]))
			return -VG_ECORRUPT;
	if (m->n_origins > ORIGINS_MAX)
		return -VG_ECORRUPT;
	for (uint32_t i = 0; i < m->n_origins; i++)
		if (m->origin[i].session == 0)
			return -VG_ECORRUPT;
	return keys_check(m);
}
