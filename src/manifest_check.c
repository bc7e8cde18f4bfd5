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
 *       files grow from the graph's on; indexes of fields need versions
 *   R7  no two have the same name or cursor; no two collections or snapshots
 *       the same number or uuid, no two snapshots of one the same name, no two
 *       generations the same number
 *   R8  origins are of a session, and no more than a store remembers
 *   R9  a generation that is not its collection's newest stands behind that;
 *       a snapshot shows nothing that is to come
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
	if (c->graph.number == 0 ? c->n_deltas > 0 : c->index == VG_FLAT)
		return false;
	for (uint32_t i = 0; i < c->n_deltas; i++) {
		if (c->delta[i].number <= last || !file_is_valid(&c->delta[i]))
			return false;
		last = c->delta[i].number;
	}
	return true;
}

static bool fields_is_valid(const struct manifest_collection *c)
{
	return file_is_valid(&c->fields) &&
	       (c->fields.number == 0 || c->version.n_parts > 0);
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
				       c->n_deltas == 0 &&
				       c->fields.number == 0 ?
			       0 :
			       -VG_ECORRUPT;
	/* What the rows were made with has the limits of what they are made
	 * with from now on. */
	config.dim = c->dim;
	config.dtype = c->dtype;
	config.metric = c->metric;
	config.index = c->index;
	config.quant = c->quant;
	config.m = c->m;
	config.ef_construction = c->ef_construction;
	rc = c->ef_construction == 0 || c->index == VG_INDEX_AUTO
		     ? -VG_ECORRUPT
		     : op_config_check(&config);
	if (rc < 0)
		return rc;
	return column_is_valid(&c->vec) && column_is_valid(&c->version) &&
			       column_is_valid(&c->meta) &&
			       column_is_valid(&c->end) && graph_is_valid(c) &&
			       fields_is_valid(c) ?
		       0 :
		       -VG_ECORRUPT;
}

static int snap_check(const struct manifest *m, const struct manifest_snap *s)
{
	for (uint32_t i = 0; i < VG_SEQS; i++)
		if (s->seq[i] > m->seq[i])
			return -VG_ECORRUPT;
	if (s->no >= m->next_no || s->attr.mode > 07777 ||
		!name_is_valid(s->name, s->name_len) ||
		s->n_live > UINT32_MAX || s->meta_bytes > COUNTER_MAX)
		return -VG_ECORRUPT;
	return op_config_check(&s->config);
}

/* The name of a collection; or, of an older generation, what stands before. */
static bool is_in_place(const struct manifest *m,
	const struct manifest_collection *c)
{
	if (!manifest_is_past(c))
		return c->cursor > 0 && c->cursor <= m->next_cursor &&
		       name_is_valid(c->name, c->name_len);
	return c > m->coll && c[-1].no == c->no &&
	       memcmp(c[-1].uuid, c->uuid, sizeof(c->uuid)) == 0 &&
	       c->cursor == 0;
}

static int coll_check(const struct manifest *m,
	const struct manifest_collection *c)
{
	int rc;

	if (c->no >= m->next_no || !is_in_place(m, c) ||
		(c->gen != c->no && (c->gen < GENERATION_FIRST ||
					    c->gen >= m->next_gen)) ||
		c->attr.mode > 07777)
		return -VG_ECORRUPT;
	rc = op_config_check(&c->config);
	if (rc == 0)
		rc = coll_rows_check(c);
	for (uint32_t i = 0; i < c->n_snaps && rc == 0; i++)
		rc = snap_check(m, &c->snap[i]);
	return rc;
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

/* What no two may have. */
enum key {
	KEY_NAME,   /* of collections and aliases... */
	KEY_CURSOR,
	KEY_GEN,    /* of generations... */
	KEY_NO,	    /* of collections and snapshots... */
	KEY_UUID,
	KEY_SNAP,   /* names of snapshots, behind their collection's number */
	KEYS,
};

struct key_set {
	struct key_one {
		uint32_t no; /* KEY_SNAP: the collection's; else 0 */
		struct vg_id id;
	} *key;
	size_t n;
};

static void add_key(struct key_set *set, uint32_t no, const void *bytes,
	size_t len)
{
	set->key[set->n++] =
		(struct key_one){no, {bytes, (uint32_t)len}};
}

static void add_snap_keys(struct key_set *set, enum key key,
	const struct manifest_collection *c)
{
	for (uint32_t i = 0; i < c->n_snaps; i++) {
		const struct manifest_snap *s = &c->snap[i];

		if (key == KEY_NO)
			add_key(set, 0, &s->no, sizeof(s->no));
		else if (key == KEY_UUID)
			add_key(set, 0, s->uuid, sizeof(s->uuid));
		else if (key == KEY_SNAP)
			add_key(set, c->no, s->name, s->name_len);
	}
}

static void add_coll_key(struct key_set *set, enum key key,
	const struct manifest_collection *c)
{
	if (key == KEY_GEN)
		add_key(set, 0, &c->gen, sizeof(c->gen));
	if (manifest_is_past(c))
		return;
	if (key == KEY_NAME)
		add_key(set, 0, c->name, c->name_len);
	else if (key == KEY_CURSOR)
		add_key(set, 0, &c->cursor, sizeof(c->cursor));
	else if (key == KEY_NO)
		add_key(set, 0, &c->no, sizeof(c->no));
	else if (key == KEY_UUID)
		add_key(set, 0, c->uuid, sizeof(c->uuid));
}

static void add_alias_key(
	struct key_set *set, enum key key, const struct manifest_alias *a)
{
	if (key == KEY_NAME)
		add_key(set, 0, a->name, a->name_len);
	else if (key == KEY_CURSOR)
		add_key(set, 0, &a->cursor, sizeof(a->cursor));
}

static int key_compare(const void *left, const void *right)
{
	const struct key_one *a = left, *b = right;
	int order = (a->no > b->no) - (a->no < b->no);

	if (order == 0)
		order = memcmp(a->id.bytes, b->id.bytes,
			VG_MIN(a->id.len, b->id.len));
	return order ? order
		     : (a->id.len > b->id.len) - (a->id.len < b->id.len);
}

/* No two have the same key; by sorting. */
static bool key_is_unique(
	const struct manifest *m, enum key key, struct key_set *set)
{
	set->n = 0;
	for (uint32_t i = 0; i < m->n_colls; i++) {
		add_coll_key(set, key, &m->coll[i]);
		add_snap_keys(set, key, &m->coll[i]);
	}
	for (uint32_t i = 0; i < m->n_aliases; i++)
		add_alias_key(set, key, &m->alias[i]);
	if (set->n > 1)
		qsort(set->key, set->n, sizeof(*set->key), key_compare);
	for (size_t i = 1; i < set->n; i++)
		if (key_compare(&set->key[i - 1], &set->key[i]) == 0)
			return false;
	return true;
}

static int keys_check(const struct manifest *m)
{
	size_t n = (size_t)m->n_colls + m->n_aliases + 1;
	struct key_set set = {0};
	bool unique = true;

	for (uint32_t i = 0; i < m->n_colls; i++)
		n += m->coll[i].n_snaps;
	set.key = calloc(n, sizeof(*set.key));
	if (!set.key)
		return -ENOMEM;
	for (int key = 0; key < KEYS; key++)
		unique = unique && key_is_unique(m, (enum key)key, &set);
	free(set.key);
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
