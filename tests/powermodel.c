/* SPDX-License-Identifier: Apache-2.0 */
/* powermodel.c: see powermodel.h. */
#include "tests/powermodel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/storekit.h"
#include "tests/tap.h"

static const uint32_t dims[] = {3, 4, 9};
static const char *const metrics[] = {"l2", "cosine", "ip"};
static const char *const indexes[] = {"hnsw", "flat", "auto"};

uint32_t pm_roll(uint64_t *dice, uint32_t below)
{
	*dice = *dice * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((*dice >> 33) % below);
}

const float *pm_vec(uint32_t n, uint32_t dim, float out[PM_DIM_MAX])
{
	uint64_t x = n * 0x9e3779b97f4a7c15ull + 1;

	must(dim <= PM_DIM_MAX && n > 0 && n < 1u << 23);
	out[0] = (float)n;
	for (uint32_t i = 1; i < dim; i++)
		out[i] = (float)pm_roll(&x, 20000) - 10000.0f;
	return out;
}

void pm_init(struct pm_state *st)
{
	memset(st, 0, sizeof(*st));
}

/* ---- what a change does ---- */

static int apply_put(struct pm_entry *e, const struct pm_change *ch)
{
	struct pm_record *r = &e->of[ch->id];
	bool can_infer = e->dim == 0 || (e->is_inferred && e->n_live == 0);

	if (r->n && ch->is_excl)
		return -EEXIST;
	if (ch->dim != e->dim && !can_infer)
		return -EINVAL;
	if (e->dim == 0 || e->is_inferred) {
		e->dim = ch->dim;
		e->is_inferred = 1;
	}
	e->n_live += r->n == 0;
	r->n = ch->n;
	r->dim = ch->dim;
	r->mtime_ns = ch->time_ns;
	return 0;
}

static int apply_rename(struct pm_entry *e, const struct pm_change *ch)
{
	struct pm_record *from = &e->of[ch->id], *to = &e->of[ch->id2];

	if (from->n == 0)
		return -ENOENT;
	if (from == to)
		return 0;
	e->n_live -= to->n > 0;
	*to = *from;
	memset(from, 0, sizeof(*from));
	return 0;
}

static int apply_record(struct pm_entry *e, const struct pm_change *ch)
{
	struct pm_record *r = &e->of[ch->id];

	switch (ch->type) {
	case OP_PUT:
		return apply_put(e, ch);
	case OP_RENAME:
		return apply_rename(e, ch);
	case OP_CLEAR:
		for (uint32_t i = 0; i < PM_IDS; i++)
			if (e->of[i].n && e->of[i].y >= ch->y) {
				memset(&e->of[i], 0, sizeof(e->of[i]));
				e->n_live--;
			}
		return 0;
	default:
		break;
	}
	if (r->n == 0)
		return -ENOENT;
	if (ch->type == OP_SET) {
		r->y = ch->y;
		r->mtime_ns = ch->time_ns;
		return 0;
	}
	must(ch->type == OP_DEL);
	memset(r, 0, sizeof(*r));
	e->n_live--;
	return 0;
}

static int apply_config(struct pm_entry *e, const struct pm_change *ch)
{
	uint32_t *const item[PM_ITEMS] = {
		&e->ef_search, &e->metric, &e->index, &e->m};

	*item[ch->item] = ch->value;
	return 0;
}

static bool has_snaps(const struct pm_entry *e)
{
	for (uint32_t i = 0; i < PM_SNAPS; i++)
		if (e->snap[i].exists)
			return true;
	return false;
}

static int apply_snap(struct pm_entry *e, const struct pm_change *ch)
{
	struct pm_snap *snap = &e->snap[ch->to];

	if (ch->type == OP_SNAP && snap->exists)
		return -EEXIST;
	if (ch->type == OP_UNSNAP && !snap->exists)
		return -ENOENT;
	memset(snap, 0, sizeof(*snap));
	if (ch->type == OP_UNSNAP)
		return 0;
	snap->exists = 1;
	snap->dim = e->dim;
	snap->n_live = e->n_live;
	memcpy(snap->of, e->of, sizeof(snap->of));
	return 0;
}

static int apply_move(struct pm_state *st, const struct pm_change *ch)
{
	struct pm_entry *from = &st->of[ch->name], *to = &st->of[ch->to];

	if (to->kind == PM_ALIAS)
		return -ENOTDIR;
	if (to == from)
		return 0;
	if (to->kind == PM_COLLECTION && (to->n_live || has_snaps(to)))
		return -ENOTEMPTY;
	*to = *from;
	memset(from, 0, sizeof(*from));
	return 0;
}

static int apply_name(struct pm_state *st, const struct pm_change *ch)
{
	struct pm_entry *e = &st->of[ch->name];

	switch (ch->type) {
	case OP_CREATE:
		if (e->kind != PM_NONE)
			return -EEXIST;
		*e = (struct pm_entry){.kind = PM_COLLECTION,
			.mode = ch->value,
			.m = 16,
			.metric = VG_COSINE,
			.index = VG_INDEX_AUTO};
		return 0;
	case OP_DROP:
		if (e->n_live || has_snaps(e))
			return -ENOTEMPTY;
		memset(e, 0, sizeof(*e));
		return 0;
	case OP_ALIAS:
		if (e->kind == PM_COLLECTION)
			return -EISDIR;
		*e = (struct pm_entry){.kind = PM_ALIAS, .target = ch->to};
		return 0;
	default:
		break;
	}
	must(ch->type == OP_UNALIAS);
	if (e->kind == PM_NONE)
		return -ENOENT;
	if (e->kind == PM_COLLECTION)
		return -EISDIR;
	memset(e, 0, sizeof(*e));
	return 0;
}

int pm_apply(struct pm_state *st, const struct pm_change *ch)
{
	struct pm_entry *e = &st->of[ch->name];

	if (ch->type <= OP_CLEAR)
		return apply_record(e, ch);
	if (ch->type == OP_CONFIG)
		return apply_config(e, ch);
	if (ch->type == OP_MOVE)
		return apply_move(st, ch);
	if (ch->type == OP_SNAP || ch->type == OP_UNSNAP)
		return apply_snap(e, ch);
	if (ch->type != OP_ATTR)
		return apply_name(st, ch);
	*(ch->is_root ? &st->root_mode : &e->mode) = ch->value;
	return 0;
}

/* ---- dice ---- */

static const struct {
	enum op_type type;
	uint32_t weight;
	bool is_record;
} kinds[] = {
	{OP_PUT, 40, true}, {OP_SET, 10, true}, {OP_DEL, 8, true},
	{OP_RENAME, 10, true}, {OP_CLEAR, 2, true}, {OP_CONFIG, 5, true},
	{OP_ATTR, 4, true}, {OP_CREATE, 7, false}, {OP_DROP, 4, false},
	{OP_MOVE, 4, false}, {OP_ALIAS, 4, false}, {OP_UNALIAS, 2, false},
	{OP_SNAP, 5, false}, {OP_UNSNAP, 3, false},
};

static enum op_type draw_type(bool records, uint64_t *dice)
{
	uint32_t sum = 0, at;

	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++)
		if (!records || kinds[i].is_record)
			sum += kinds[i].weight;
	at = pm_roll(dice, sum);
	for (size_t i = 0; i < VG_ARRAY_LEN(kinds); i++) {
		if (records && !kinds[i].is_record)
			continue;
		if (at < kinds[i].weight)
			return kinds[i].type;
		at -= kinds[i].weight;
	}
	must(false);
	return OP_PUT;
}

/* A collection's name, if there is one at all. */
static bool draw_collection(
	const struct pm_state *st, uint64_t *dice, uint32_t *name)
{
	uint32_t from = pm_roll(dice, PM_NAMES);

	for (uint32_t i = 0; i < PM_NAMES; i++) {
		*name = (from + i) % PM_NAMES;
		if (st->of[*name].kind == PM_COLLECTION)
			return true;
	}
	return false;
}

static uint32_t draw_value(uint32_t item, uint64_t *dice)
{
	switch (item) {
	case PM_METRIC:
		return VG_L2 + pm_roll(dice, 3);
	case PM_INDEX:
		return VG_HNSW + pm_roll(dice, 3);
	case PM_M:
		return 2 + pm_roll(dice, 6);
	default:
		return 50 + pm_roll(dice, 100);
	}
}

static void draw_put(
	const struct pm_entry *e, uint64_t *dice, struct pm_change *ch)
{
	bool is_other = e->dim == 0 || pm_roll(dice, 16) == 0 ||
			(e->n_live == 0 && pm_roll(dice, 3) == 0);

	ch->dim = is_other ? dims[pm_roll(dice, 3)] : e->dim;
	ch->is_excl = pm_roll(dice, 8) == 0;
}

void pm_draw(const struct pm_state *st, enum pm_only only, uint32_t *next_n,
	uint64_t *dice, struct pm_change *out)
{
	*out = (struct pm_change){.type = draw_type(only == PM_RECORDS, dice),
		.name = pm_roll(dice, PM_NAMES),
		.to = pm_roll(dice, PM_NAMES),
		.id = pm_roll(dice, PM_IDS),
		.id2 = pm_roll(dice, PM_IDS),
		.n = ++*next_n,
		.y = pm_roll(dice, 4) ? 1 + pm_roll(dice, 1000) : 0,
		.item = pm_roll(dice, PM_ITEMS),
		.value = 0700 | pm_roll(dice, 0100)};
	bool needs_one = out->type < OP_CREATE || out->type == OP_DROP ||
			 out->type == OP_MOVE || out->type == OP_CONFIG ||
			 out->type == OP_ATTR || out->type >= OP_SNAP;

	if (out->type >= OP_SNAP)
		out->to %= PM_SNAPS;
	out->time_ns = 1000000000ll * *next_n + 7;
	if (only == PM_SAME) {
		out->type = OP_ATTR;
		out->is_root = true;
		return;
	}
	if (out->type == OP_ATTR)
		out->is_root = pm_roll(dice, 3) == 0;
	if (needs_one && !draw_collection(st, dice, &out->name))
		out->type = OP_CREATE;
	if (out->type == OP_PUT)
		draw_put(&st->of[out->name], dice, out);
	if (out->type == OP_CONFIG)
		out->value = draw_value(out->item, dice);
}

uint32_t pm_draw_atomic(const struct pm_state *st, uint32_t n,
	uint32_t *next_n, uint64_t *dice, struct pm_change *out)
{
	uint32_t name, id = pm_roll(dice, PM_IDS), dim;
	const struct pm_entry *e;

	must(n <= PM_IDS);
	if (!draw_collection(st, dice, &name))
		return 0;
	e = &st->of[name];
	dim = e->dim && !(e->is_inferred && e->n_live == 0)
		      ? e->dim
		      : dims[pm_roll(dice, 3)];
	for (uint32_t i = 0; i < n; i++, id = (id + 1) % PM_IDS) {
		uint32_t what = pm_roll(dice, 4);

		pm_draw(st, PM_RECORDS, next_n, dice, &out[i]);
		out[i].name = name;
		out[i].id = id;
		out[i].dim = dim;
		out[i].is_excl = out[i].is_root = false;
		out[i].type = e->of[id].n == 0 || what < 2 ? OP_PUT
			      : what == 2		   ? OP_SET
							   : OP_DEL;
	}
	return n;
}

/* ---- to the store ---- */

static void name_format(char letter, uint32_t number, char out[4])
{
	snprintf(out, 4, "%c%u", letter, number % 100);
}

static void ask_config(const struct pm_change *ch, struct pm_asked *out)
{
	static const char *const items[PM_ITEMS] = {
		"ef_search", "metric", "index", "m"};
	const char *word = NULL;

	if (ch->item == PM_METRIC)
		word = metrics[ch->value - VG_L2];
	else if (ch->item == PM_INDEX)
		word = indexes[ch->value - VG_HNSW];
	if (word)
		snprintf(out->text, sizeof(out->text), "%s", word);
	else
		snprintf(out->text, sizeof(out->text), "%u", ch->value);
	out->change.id = sk_id(items[ch->item]);
	out->change.meta = (struct meta){
		out->text, (uint32_t)strlen(out->text)};
}

static void ask_meta(const struct pm_change *ch, struct pm_asked *out)
{
	if (ch->y)
		snprintf(out->text, sizeof(out->text), "{\"y\":%u}", ch->y);
	else
		snprintf(out->text, sizeof(out->text), "{\"y\":null}");
	out->change.meta_mode = CHANGE_META_MERGE;
	out->change.meta = (struct meta){
		out->text, (uint32_t)strlen(out->text)};
}

void pm_ask(struct store *s, const struct pm_change *ch, struct pm_asked *out)
{
	bool is_name = ch->type == OP_CREATE || ch->type == OP_ALIAS ||
		       ch->type == OP_UNALIAS;

	*out = (struct pm_asked){.change = {.type = ch->type}};
	name_format('n', ch->name, out->name);
	name_format('n', ch->to, out->to);
	name_format('i', ch->id, out->id);
	name_format('i', ch->id2, out->id2);
	if (!is_name && !ch->is_root)
		out->change.coll = sk_get(s, out->name);
	if (ch->type < OP_CREATE)
		out->change.id = sk_id(out->id);
	if (ch->type == OP_RENAME)
		out->change.id2 = sk_id(out->id2);
	out->change.name = sk_id(ch->type == OP_MOVE ? out->to : out->name);
	out->change.target = sk_id(out->to);
	if (ch->type >= OP_SNAP) {
		name_format('s', ch->to, out->to);
		out->change.name = sk_id(out->to);
	}
	if (ch->type == OP_PUT) {
		out->change.vec = pm_vec(ch->n, ch->dim, out->vec);
		out->change.dim = ch->dim;
		out->change.source = OP_SOURCE_RAW;
		out->change.body_len = ch->dim * 4;
		out->change.flags = ch->is_excl ? CHANGE_EXCL : 0;
	}
	if (ch->type == OP_PUT || ch->type == OP_SET) {
		out->change.flags |= CHANGE_TIME;
		out->change.time_ns = ch->time_ns;
	}
	if (ch->type == OP_SET)
		ask_meta(ch, out);
	if (ch->type == OP_CONFIG)
		ask_config(ch, out);
	if (ch->type == OP_CLEAR && ch->y) {
		snprintf(out->text, sizeof(out->text), "y.gte=%u", ch->y);
		out->change.meta = (struct meta){
			out->text, (uint32_t)strlen(out->text)};
	}
	if (ch->type == OP_ATTR)
		out->change.flags = ch->is_root
					    ? CHANGE_MODE | CHANGE_UID |
						      CHANGE_GID
					    : CHANGE_MODE;
	out->change.attr.mode = ch->value;
}

void pm_unask(struct pm_asked *asked)
{
	collection_unref(asked->change.coll);
	asked->change.coll = NULL;
}

/* ---- from the store ---- */

static _Thread_local char text[200]; /* judges may be in two threads */

static const char *VG_PRINTF(1, 2) say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return text;
}

/* The number in "i7" or "n3", or `most`. */
static uint32_t number_of(struct vg_id id, char letter, uint32_t most)
{
	char name[4], want[4];

	if (id.len < 2 || id.len > 3)
		return most;
	for (uint32_t i = 0; i < most; i++) {
		name_format(letter, i, want);
		snprintf(name, sizeof(name), "%.*s", (int)id.len, id.bytes);
		if (strcmp(name, want) == 0)
			return i;
	}
	return most;
}

static const char *dump_record(const struct version *v, uint32_t dim,
	struct pm_record of[PM_IDS], uint32_t *n_damaged)
{
	uint32_t id = number_of(version_id(v), 'i', PM_IDS);
	struct meta meta = version_meta(v);
	struct pm_record r = {.dim = v->cell->dim, .mtime_ns = v->mtime_ns};
	float vec[PM_DIM_MAX];
	const float *got;
	char json[40];

	if (id == PM_IDS || of[id].n)
		return say("an id that nobody wrote, or one twice");
	if (r.dim == 0 || r.dim > PM_DIM_MAX || r.dim != dim)
		return say("a record of %u dimensions", r.dim);
	if (meta.len >= sizeof(json))
		return say("metadata that nobody wrote");
	snprintf(json, sizeof(json), "%.*s", (int)meta.len,
		meta.json ? meta.json : "");
	if (meta.len && sscanf(json, "{\"y\":%u}", &r.y) != 1)
		return say("metadata that nobody wrote: %s", json);
	if (cell_check_row(v->cell, v->slot) < 0) {
		(*n_damaged)++;
		return NULL;
	}
	got = version_vec(v);
	if (!(got[0] >= 1 && got[0] < (float)(1u << 23)))
		return say("a vector that nobody wrote");
	r.n = (uint32_t)got[0];
	if (memcmp(pm_vec(r.n, r.dim, vec), got, r.dim * sizeof(float)) != 0)
		return say("not the vector that was written: number %u", r.n);
	of[id] = r;
	return NULL;
}

/* What c shows, a collection or a snapshot. */
static const char *dump_records(struct store *s, struct collection *c,
	struct pm_record of[PM_IDS], uint32_t *n_live, uint32_t *n_damaged)
{
	uint32_t dim = collection_config(c).dim, n = 0;
	const char *why = NULL;
	struct look look;

	look_init(&look, c, store_moments(s));
	for (uint32_t no = generation_next(look.gen, 0, look.moment);
		no != VERSION_NONE && !why;
		no = generation_next(look.gen, no + 1, look.moment), n++)
		why = dump_record(generation_version(look.gen, no), dim, of,
			n_damaged);
	*n_live = (uint32_t)atomic_load(&c->n_live);
	look_fini(&look);
	if (!why && n != *n_live)
		why = say("%u records are listed, %u counted", n, *n_live);
	return why;
}

static const char *dump_snap(struct store *s, struct collection *c,
	struct pm_entry *e, uint32_t *n_damaged)
{
	uint32_t i = number_of(
		(struct vg_id){c->name, c->name_len}, 's', PM_SNAPS);
	struct op_config config = collection_config(c);

	if (i == PM_SNAPS || e->snap[i].exists)
		return say("a snapshot that nobody took, or one twice");
	e->snap[i].exists = 1;
	e->snap[i].dim = config.dim;
	return dump_records(
		s, c, e->snap[i].of, &e->snap[i].n_live, n_damaged);
}

static const char *dump_collection(struct store *s, struct collection *c,
	struct pm_entry *e, uint32_t *n_damaged)
{
	struct op_config config = collection_config(c);
	struct collection *snap;
	const char *why;

	*e = (struct pm_entry){.kind = PM_COLLECTION,
		.mode = collection_attr(c).mode,
		.dim = config.dim,
		.m = config.m,
		.ef_search = config.ef_search,
		.metric = config.metric,
		.index = config.index,
		.is_inferred = config.dim_source != 0};
	why = dump_records(s, c, e->of, &e->n_live, n_damaged);
	for (uint32_t i = 0; !why && (snap = collection_get_snap(c, i)); i++) {
		why = dump_snap(s, snap, e, n_damaged);
		collection_unref(snap);
	}
	return why;
}

static const char *dump_entry(struct store *s, const struct entry_info *info,
	struct pm_state *out, uint32_t *n_damaged)
{
	struct vg_id name = {info->name, info->name_len};
	struct vg_id target = {info->target, info->target_len};
	uint32_t i = number_of(name, 'n', PM_NAMES);

	if (i == PM_NAMES || out->of[i].kind != PM_NONE)
		return say("a name that nobody made, or one twice");
	if (info->coll)
		return dump_collection(s, info->coll, &out->of[i], n_damaged);
	out->of[i].kind = PM_ALIAS;
	out->of[i].target = number_of(target, 'n', PM_NAMES);
	return out->of[i].target < PM_NAMES ? NULL : say("a link to nowhere");
}

const char *pm_dump(struct store *s, struct pm_state *out, uint32_t *n_damaged)
{
	struct catalogue *cat = store_catalogue(s);
	struct entry_info *info = malloc(sizeof(*info));
	const char *why = NULL;

	must(info);
	*n_damaged = 0;
	pm_init(out);
	pthread_rwlock_rdlock(&cat->lock);
	out->root_mode = cat->has_attr ? cat->attr.mode : 0;
	pthread_rwlock_unlock(&cat->lock);
	for (uint64_t at = 0; !why && catalogue_next(cat, at, info) == 0;) {
		at = info->cursor + 1;
		why = dump_entry(s, info, out, n_damaged);
		collection_unref(info->coll);
	}
	free(info);
	return why;
}

/* ---- what differs ---- */

const char *pm_diff(const struct pm_state *want, const struct pm_state *got)
{
	if (want->root_mode != got->root_mode)
		return say("the root's mode is %o, not %o", got->root_mode,
			want->root_mode);
	for (uint32_t i = 0; i < PM_NAMES; i++) {
		const struct pm_entry *a = &want->of[i], *b = &got->of[i];

		if (a->kind != b->kind || a->target != b->target)
			return say("n%u is of kind %u, not %u", i, b->kind,
				a->kind);
		if (memcmp(&a->mode, &b->mode,
			    offsetof(struct pm_entry, n_live) -
				    offsetof(struct pm_entry, mode)) != 0)
			return say("the settings of n%u differ", i);
		for (uint32_t j = 0; j < PM_IDS; j++)
			if (memcmp(&a->of[j], &b->of[j], sizeof(a->of[j])) != 0)
				return say("n%u/i%u: vector %u, y %u; not %u, "
					   "y %u",
					i, j, b->of[j].n, b->of[j].y,
					a->of[j].n, a->of[j].y);
		for (uint32_t j = 0; j < PM_SNAPS; j++)
			if (memcmp(&a->snap[j], &b->snap[j],
				    sizeof(a->snap[j])) != 0)
				return say("snapshot %u of n%u differs: %u "
					   "records, not %u",
					j, i, b->snap[j].n_live,
					a->snap[j].n_live);
		if (a->n_live != b->n_live)
			return say("n%u counts %u, not %u", i, b->n_live,
				a->n_live);
	}
	return say("nothing differs");
}
