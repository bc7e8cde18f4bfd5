/* SPDX-License-Identifier: Apache-2.0 */
/* catalogue.c: see catalogue.h. */
#include "src/catalogue.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "src/manifest.h"

int catalogue_init(struct catalogue *cat)
{
	*cat = (struct catalogue){.next_gen = GENERATION_FIRST};
	pthread_rwlock_init(&cat->lock, NULL);
	return 0;
}

static void entry_free(struct entry *e)
{
	collection_unref(e->coll);
	free(e->alias);
	free(e);
}

/* Snapshots first: they refer to what they are of. */
static void drop_snaps(struct catalogue *cat)
{
	for (uint32_t no = 0; no < cat->n; no++) {
		struct collection *c = cat->by_no[no];

		if (!c || !c->of)
			continue;
		cat->by_no[no] = NULL;
		collection_del_snap(c->of, c);
		collection_unref(c);
	}
}

void catalogue_fini(struct catalogue *cat)
{
	drop_snaps(cat);
	for (uint32_t b = 0; b < CATALOGUE_BUCKETS; b++) {
		while (cat->bucket[b]) {
			struct entry *next = cat->bucket[b]->next;

			entry_free(cat->bucket[b]);
			cat->bucket[b] = next;
		}
	}
	free(cat->by_no);
	free(cat->gens);
	pthread_rwlock_destroy(&cat->lock);
	*cat = (struct catalogue){0};
}

/* The link that points to name's entry, or to NULL at its bucket's end. */
static struct entry **find_link(struct catalogue *cat, struct vg_id name)
{
	uint64_t hash = XXH3_64bits(name.bytes, name.len);
	struct entry **link = &cat->bucket[hash % CATALOGUE_BUCKETS];

	assert(name.len <= VG_ID_MAX);
	while (*link && ((*link)->name_len != name.len ||
				memcmp((*link)->name, name.bytes, name.len)))
		link = &(*link)->next;
	return link;
}

static void copy_info(const struct entry *e, struct entry_info *out)
{
	assert(!e->coll != !e->alias);
	assert(!e->alias || e->alias->target.len < sizeof(out->target));
	out->cursor = e->cursor;
	out->coll = e->coll ? collection_ref(e->coll) : NULL;
	out->name_len = e->name_len;
	memcpy(out->name, e->name, sizeof(out->name));
	out->target_len = 0;
	out->mtime_ns = 0;
	if (e->alias) {
		out->target_len = e->alias->target.len;
		out->mtime_ns = e->alias->mtime_ns;
		memcpy(out->target, e->alias->target.bytes, out->target_len);
	}
}

int catalogue_get(struct catalogue *cat, struct vg_id name,
	struct entry_info *out)
{
	const struct entry *e;

	pthread_rwlock_rdlock(&cat->lock);
	e = *find_link(cat, name);
	if (e)
		copy_info(e, out);
	pthread_rwlock_unlock(&cat->lock);
	return e ? 0 : -ENOENT;
}

int catalogue_next(struct catalogue *cat, uint64_t from,
	struct entry_info *out)
{
	const struct entry *best = NULL;

	pthread_rwlock_rdlock(&cat->lock);
	for (uint32_t b = 0; b < CATALOGUE_BUCKETS; b++)
		for (const struct entry *e = cat->bucket[b]; e; e = e->next)
			if (e->cursor >= from &&
				(!best || e->cursor < best->cursor))
				best = e;
	if (best)
		copy_info(best, out);
	pthread_rwlock_unlock(&cat->lock);
	return best ? 0 : -ENOENT;
}

struct collection *catalogue_find_no(struct catalogue *cat, uint32_t no)
{
	struct collection *c = NULL;

	pthread_rwlock_rdlock(&cat->lock);
	if (no < cat->n && cat->by_no[no])
		c = collection_ref(cat->by_no[no]);
	pthread_rwlock_unlock(&cat->lock);
	return c;
}

struct collection *catalogue_next_no(struct catalogue *cat, uint32_t *no)
{
	struct collection *c = NULL;

	pthread_rwlock_rdlock(&cat->lock);
	while (*no < cat->n && (!cat->by_no[*no] || cat->by_no[*no]->of))
		++*no;
	if (*no < cat->n)
		c = collection_ref(cat->by_no[*no]);
	pthread_rwlock_unlock(&cat->lock);
	return c;
}

struct generation *catalogue_find_gen(struct catalogue *cat, uint32_t no)
{
	struct collection *c = NULL;
	struct generation *g = NULL;

	if (no < GENERATION_FIRST) {
		c = catalogue_find_no(cat, no);
	} else {
		pthread_rwlock_rdlock(&cat->lock);
		for (uint32_t i = cat->n_gens; i-- > 0 && !c;)
			if (cat->gens[i].no == no)
				c = collection_ref(cat->gens[i].coll);
		pthread_rwlock_unlock(&cat->lock);
	}
	if (c)
		g = collection_find_gen(c, no);
	collection_unref(c);
	return g;
}

/* Enters a number that the caller chose. The lock is held for writing. */
static int enter_gen_locked(
	struct catalogue *cat, struct collection *c, uint32_t no)
{
	uint32_t cap = cat->cap_gens ? 2 * cat->cap_gens : 16;
	struct generation_no *grown;

	if (cat->n_gens == cat->cap_gens) {
		grown = realloc(cat->gens, cap * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		cat->gens = grown;
		cat->cap_gens = cap;
	}
	cat->gens[cat->n_gens++] = (struct generation_no){no, c};
	return 0;
}

void catalogue_skip_gens(struct catalogue *cat, uint32_t next)
{
	pthread_rwlock_wrlock(&cat->lock);
	cat->next_gen = VG_MIN(VG_MAX(cat->next_gen, next), GENERATION_END);
	pthread_rwlock_unlock(&cat->lock);
}

int catalogue_add_gen(
	struct catalogue *cat, struct collection *c, uint32_t *no)
{
	int rc;

	pthread_rwlock_wrlock(&cat->lock);
	rc = cat->next_gen < GENERATION_END
		     ? enter_gen_locked(cat, c, cat->next_gen)
		     : -ENOSPC;
	if (rc == 0)
		*no = cat->next_gen++;
	pthread_rwlock_unlock(&cat->lock);
	return rc;
}

/* A collection that was dropped is not found by any number. */
static void forget_locked(struct catalogue *cat, const struct collection *c)
{
	uint32_t n = 0;

	cat->by_no[c->no] = NULL;
	for (uint32_t i = 0; i < cat->n_gens; i++)
		if (cat->gens[i].coll != c)
			cat->gens[n++] = cat->gens[i];
	cat->n_gens = n;
}

struct collection *catalogue_find_uuid(
	struct catalogue *cat, const uint8_t uuid[16])
{
	struct collection *c = NULL;

	pthread_rwlock_rdlock(&cat->lock);
	/* From the newest: a log's ops are mostly about the latest. */
	for (uint32_t no = cat->n; no-- > 0 && !c;)
		if (cat->by_no[no] &&
			memcmp(cat->by_no[no]->uuid, uuid, 16) == 0)
			c = collection_ref(cat->by_no[no]);
	pthread_rwlock_unlock(&cat->lock);
	return c;
}

/* The link to a collection's entry, or to NULL. */
static struct entry **find_coll_link(
	struct catalogue *cat, const struct collection *coll)
{
	struct entry **link = NULL;

	for (uint32_t b = 0; b < CATALOGUE_BUCKETS; b++)
		for (link = &cat->bucket[b]; *link; link = &(*link)->next)
			if ((*link)->coll == coll)
				return link;
	return link;
}

int catalogue_name(struct catalogue *cat, const struct collection *coll,
	char out[CATALOGUE_NAME_CAP])
{
	const struct entry *e;

	pthread_rwlock_rdlock(&cat->lock);
	e = *find_coll_link(cat, coll->of ? coll->of : coll);
	if (e)
		snprintf(out, CATALOGUE_NAME_CAP, "%s%s%s", e->name,
			coll->of ? "/.snap/" : "", coll->name);
	pthread_rwlock_unlock(&cat->lock);
	return e ? 0 : -ENOENT;
}

uint32_t catalogue_count(struct catalogue *cat)
{
	uint32_t n;

	pthread_rwlock_rdlock(&cat->lock);
	n = cat->n_entries;
	pthread_rwlock_unlock(&cat->lock);
	return n;
}

static int grow_by_no(struct catalogue *cat)
{
	uint32_t cap = cat->cap ? 2 * cat->cap : 16;
	struct collection **grown;

	assert(cat->n <= cat->cap);
	if (cat->n < cat->cap)
		return 0;
	pthread_rwlock_wrlock(&cat->lock);
	grown = realloc(cat->by_no, cap * sizeof(*grown));
	if (grown) {
		cat->by_no = grown;
		cat->cap = cap;
	}
	pthread_rwlock_unlock(&cat->lock);
	return grown ? 0 : -ENOMEM;
}

static struct entry *entry_new(struct vg_id name)
{
	struct entry *e = calloc(1, sizeof(*e));

	assert(name.len > 0 && name.len <= VG_ID_MAX);
	if (e) {
		e->name_len = name.len;
		memcpy(e->name, name.bytes, name.len);
	}
	return e;
}

static int reserve_alias(
	struct vg_id target, int64_t mtime_ns, struct entry *e)
{
	e->alias = malloc(sizeof(*e->alias) + target.len);
	if (!e->alias)
		return -ENOMEM;
	memcpy(e->alias + 1, target.bytes, target.len);
	e->alias->target = (struct vg_id){
		.bytes = (const char *)(e->alias + 1), .len = target.len};
	e->alias->mtime_ns = mtime_ns;
	return 0;
}

/* A number for a collection, or for a snapshot. */
static int reserve_no(struct catalogue *cat)
{
	return cat->n < CATALOGUE_MAX ? grow_by_no(cat) : -ENOSPC;
}

static int reserve_snap(struct catalogue *cat, const struct op *op,
	struct reservation *r)
{
	struct collection *c = catalogue_find_uuid(cat, op->uuid);
	int rc = reserve_no(cat);

	assert(c && !c->of);
	if (rc == 0)
		rc = collection_reserve_snap(c);
	if (rc == 0)
		rc = collection_new_snap(
			c, c->gen, cat->n, op->snap, op->name, &r->snap);
	collection_unref(c);
	if (rc < 0)
		return rc;
	r->snap->mtime_ns = op->time_ns;
	for (uint32_t i = 0; i < op->n_seen; i++)
		r->snap->moment->seq[op->more[i].partition] =
			op->more[i].seq;
	return 0;
}

int catalogue_reserve(struct catalogue *cat, const struct op *op,
	struct reservation *r)
{
	int rc = 0;

	*r = (struct reservation){.version = VERSION_NONE};
	if (op->type == OP_SNAP)
		return reserve_snap(cat, op, r);
	if (op->type != OP_CREATE && op->type != OP_ALIAS)
		return 0;
	r->entry = entry_new(op->name);
	if (!r->entry)
		return -ENOMEM;
	if (op->type == OP_ALIAS) {
		rc = reserve_alias(op->target, op->time_ns, r->entry);
	} else {
		rc = reserve_no(cat);
		if (rc == 0)
			rc = collection_new(cat->n, op->uuid, &op->config,
				&op->attr, &r->entry->coll);
	}
	if (rc < 0)
		catalogue_unreserve(cat, r);
	return rc;
}

void catalogue_unreserve(struct catalogue *cat, struct reservation *r)
{
	(void)cat;
	if (r->entry)
		entry_free(r->entry);
	r->entry = NULL;
	collection_unref(r->snap);
	r->snap = NULL;
}

static struct entry *take(struct catalogue *cat, struct entry **link)
{
	struct entry *e = *link;

	if (e) {
		*link = e->next;
		cat->n_entries--;
	}
	return e;
}

/* Adds e under its name; what had the name (an alias, or a collection that
 * was empty) goes. Returns what went, to be freed without the lock. */
static struct entry *add_entry(struct catalogue *cat, struct entry *e)
{
	struct vg_id name = {.bytes = e->name, .len = e->name_len};
	struct entry *gone = take(cat, find_link(cat, name));
	struct entry **link = find_link(cat, name);

	e->next = NULL;
	e->cursor = ++cat->cursor;
	*link = e;
	cat->n_entries++;
	return gone;
}

static struct entry *move_entry(struct catalogue *cat, const struct op *op,
	struct collection *coll)
{
	struct entry *e = take(cat, find_coll_link(cat, coll));

	assert(e);
	memset(e->name, 0, sizeof(e->name));
	memcpy(e->name, op->name.bytes, op->name.len);
	e->name_len = op->name.len;
	return add_entry(cat, e);
}

/* SNAP and UNSNAP; the root's directory is as it was. */
static void apply_snap(struct catalogue *cat, const struct op *op,
	struct reservation *r)
{
	struct collection *c = catalogue_find_uuid(cat, op->uuid);
	struct collection *gone = NULL;

	if (op->type == OP_UNSNAP)
		gone = collection_find_snap(c, op->name);
	pthread_rwlock_wrlock(&cat->lock);
	if (gone) {
		collection_del_snap(c, gone);
		forget_locked(cat, gone);
	} else {
		assert(r->snap && r->snap->no == cat->n);
		collection_add_snap(c, r->snap);
		cat->by_no[cat->n++] = r->snap;
		r->snap = NULL;
	}
	pthread_rwlock_unlock(&cat->lock);
	/* c's reference, and that of finding it. */
	collection_unref(gone);
	collection_unref(gone);
	collection_unref(c);
}

void catalogue_apply(struct catalogue *cat, const struct op *op,
	struct reservation *r)
{
	struct collection *coll = NULL;
	struct entry *gone = NULL;

	if (op->type == OP_SNAP || op->type == OP_UNSNAP) {
		apply_snap(cat, op, r);
		return;
	}
	if (op->type == OP_DROP || op->type == OP_MOVE)
		coll = catalogue_find_uuid(cat, op->uuid);
	pthread_rwlock_wrlock(&cat->lock);
	switch (op->type) {
	case OP_CREATE:
		assert(cat->n < cat->cap && r->entry->coll->no == cat->n);
		cat->by_no[cat->n++] = r->entry->coll;
		gone = add_entry(cat, r->entry);
		break;
	case OP_ALIAS:
		gone = add_entry(cat, r->entry);
		break;
	case OP_UNALIAS:
		gone = take(cat, find_link(cat, op->name));
		break;
	case OP_DROP:
		gone = take(cat, find_coll_link(cat, coll));
		break;
	case OP_MOVE:
		gone = move_entry(cat, op, coll);
		break;
	case OP_ATTR:
		cat->attr = op->attr;
		cat->has_attr = true;
		break;
	default:
		assert(false && "an op of a record");
	}
	if (gone && gone->coll) {
		assert(atomic_load(&gone->coll->n_live) == 0);
		atomic_store(&gone->coll->is_dropped, true);
		forget_locked(cat, gone->coll);
	}
	cat->mtime_ns = op->type == OP_ATTR ? op->time_ns : op->commit_ns;
	pthread_rwlock_unlock(&cat->lock);
	r->entry = NULL;
	collection_unref(coll);
	if (gone)
		entry_free(gone);
}

/* ---- from a manifest ---- */

int catalogue_load(struct catalogue *cat, const struct manifest *m)
{
	uint32_t next_no = m->next_no;

	assert(cat->n == 0 && cat->n_entries == 0);
	if (next_no > CATALOGUE_MAX || m->next_gen < GENERATION_FIRST)
		return -VG_ECORRUPT;
	cat->next_gen = VG_MIN(m->next_gen, GENERATION_END);
	cat->by_no = calloc(VG_MAX(next_no, 1u), sizeof(struct collection *));
	if (!cat->by_no)
		return -ENOMEM;
	cat->cap = VG_MAX(next_no, 1u);
	cat->n = next_no;
	cat->cursor = m->next_cursor;
	cat->mtime_ns = m->root_mtime_ns;
	cat->has_attr = m->has_root_attr;
	cat->attr = m->root_attr;
	return 0;
}

/* Enters e, whose name is free, with the cursor it had. */
static int load_entry(struct catalogue *cat, struct entry *e, uint64_t cursor)
{
	struct vg_id name = {.bytes = e->name, .len = e->name_len};
	struct entry **link = find_link(cat, name);

	if (*link || cursor == 0 || cursor > cat->cursor) {
		entry_free(e);
		return -VG_ECORRUPT;
	}
	e->cursor = cursor;
	*link = e;
	cat->n_entries++;
	return 0;
}

int catalogue_load_gen(struct catalogue *cat, struct generation *g)
{
	return g->no >= GENERATION_FIRST
		       ? enter_gen_locked(cat, g->coll, g->no)
		       : 0;
}

int catalogue_load_collection(struct catalogue *cat, struct collection *c,
	struct vg_id name, uint64_t cursor)
{
	struct entry *e = entry_new(name);
	int rc;

	if (!e) {
		collection_unref(c);
		return -ENOMEM;
	}
	e->coll = c;
	if (c->no >= cat->n || cat->by_no[c->no]) {
		entry_free(e);
		return -VG_ECORRUPT;
	}
	if (catalogue_load_gen(cat, c->gen) < 0) {
		entry_free(e);
		return -ENOMEM;
	}
	rc = load_entry(cat, e, cursor);
	if (rc == 0)
		cat->by_no[c->no] = c;
	return rc;
}

int catalogue_load_snap(struct catalogue *cat, struct collection *snap)
{
	int rc = snap->no < cat->n && !cat->by_no[snap->no]
			 ? collection_reserve_snap(snap->of)
			 : -VG_ECORRUPT;

	if (rc < 0) {
		collection_unref(snap);
		return rc;
	}
	collection_add_snap(snap->of, snap);
	cat->by_no[snap->no] = snap;
	return 0;
}

int catalogue_load_alias(struct catalogue *cat, const struct alias *alias,
	struct vg_id name, uint64_t cursor)
{
	struct entry *e = entry_new(name);
	int rc = e ? reserve_alias(alias->target, alias->mtime_ns, e) : -ENOMEM;

	if (rc < 0) {
		free(e);
		return rc;
	}
	return load_entry(cat, e, cursor);
}
