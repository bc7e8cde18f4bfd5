/* SPDX-License-Identifier: Apache-2.0 */
/* stage.c: see stage.h. */
#include "fs/stage.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/clock.h"

static_assert(STAGE_MISSES_OFF + sizeof(struct stage_misses) <=
		      ARENA_SMALL_LEN,
	"the misses have their place in the arena");

int stages_init(struct stages *ss, struct arena *arena)
{
	void *small;
	int rc = arena_get_region(arena, ARENA_SMALL, 0, &small);

	if (rc < 0)
		return rc;
	*ss = (struct stages){.arena = arena};
	ss->misses = (void *)((char *)small + STAGE_MISSES_OFF);
	for (uint32_t i = 0; i < STAGE_MISSES; i++)
		ss->miss_ns = VG_MAX(
			ss->miss_ns, ss->misses->miss[i].at_ns);
	pthread_mutex_init(&ss->lock, NULL);
	return 0;
}

static void stage_forget(struct stage *st)
{
	collection_unref(st->coll);
	pthread_mutex_destroy(&st->lock);
	free(st);
}

static void stage_free(struct stages *ss, struct stage *st)
{
	arena_file_del(ss->arena, st->file);
	stage_forget(st);
}

void stages_fini(struct stages *ss)
{
	while (ss->list) {
		struct stage *next = ss->list->next;

		stage_forget(ss->list);
		ss->list = next;
	}
	pthread_mutex_destroy(&ss->lock);
	*ss = (struct stages){0};
}

/* The rest of an open follows the offer at once. This is longer than any disk,
 * machine or restart keeps it waiting: then it would fail. */
#define OFFER_NS (300 * 1000000000LL)

/* Callers of pid namespaces that are not ours all have the pid 0. */
#define PID_FOREIGN (-1)

static int caller_of(int pid)
{
	return pid ? pid : PID_FOREIGN;
}

static bool is_place(const struct stage *st, const struct stage_place *p)
{
	return st->coll == p->coll && st->area == p->area &&
	       st->key == p->key &&
	       (p->area != STAGE_AS || st->form == p->form) &&
	       st->name_len == p->name.len &&
	       memcmp(st->name, p->name.bytes, p->name.len) == 0;
}

/* Few files are being written at a time, so a list will do. */
static struct stage *find_locked(
	struct stages *ss, const struct stage_place *place)
{
	struct stage *st = ss->list;

	while (st && !(st->is_named && is_place(st, place)))
		st = st->next;
	return st;
}

/* Somebody has it in hand: its time of day is told, but not reckoned with. */
void stage_touch_locked(struct stage *st)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	st->touched_ns = ts.tv_sec * 1000000000LL + ts.tv_nsec;
	st->used_ns = clock_now_ns();
}

/* The flags of a stage as they are in the arena; its form is above them. */
enum {
	KEPT_NAMED_NOW = 1 << 0,
	KEPT_NEW = 1 << 1,
	KEPT_EXCL = 1 << 2,
	KEPT_DIRTY = 1 << 3, /* also while a commit is under way */
	KEPT_FAILED = 1 << 4,
	KEPT_REFUSED = 1 << 5,
	KEPT_UNLINKED = 1 << 6,
	KEPT_COMMITTED = 1 << 7,
	KEPT_OF_RECORD = 1 << 8,
	KEPT_HAS_MTIME = 1 << 9,
	KEPT_META_SET = 1 << 10,
	KEPT_FORM_SHIFT = 16,
};

static uint32_t flags_locked(const struct stage *st)
{
	uint32_t flags = (uint32_t)st->form << KEPT_FORM_SHIFT;

	flags |= st->is_named ? KEPT_NAMED_NOW : 0;
	flags |= st->is_new ? KEPT_NEW : 0;
	flags |= st->is_excl ? KEPT_EXCL : 0;
	flags |= st->is_dirty || st->n_in_flight ? KEPT_DIRTY : 0;
	flags |= st->is_failed ? KEPT_FAILED : 0;
	flags |= st->is_refused ? KEPT_REFUSED : 0;
	flags |= st->is_unlinked ? KEPT_UNLINKED : 0;
	flags |= st->is_committed ? KEPT_COMMITTED : 0;
	flags |= st->is_of_record ? KEPT_OF_RECORD : 0;
	flags |= st->has_mtime ? KEPT_HAS_MTIME : 0;
	flags |= st->is_meta_set ? KEPT_META_SET : 0;
	return flags;
}

static void set_flags(struct stage *st, uint32_t flags)
{
	st->form = (enum record_form)(flags >> KEPT_FORM_SHIFT);
	st->is_named = flags & KEPT_NAMED_NOW;
	st->is_new = flags & KEPT_NEW;
	st->is_excl = flags & KEPT_EXCL;
	st->is_dirty = flags & KEPT_DIRTY;
	st->is_failed = flags & KEPT_FAILED;
	st->is_refused = flags & KEPT_REFUSED;
	st->is_unlinked = flags & KEPT_UNLINKED;
	st->is_committed = flags & KEPT_COMMITTED;
	st->is_of_record = flags & KEPT_OF_RECORD;
	st->has_mtime = flags & KEPT_HAS_MTIME;
	st->is_meta_set = flags & KEPT_META_SET;
}

/* What the arena is told of a stage: enough for another daemon to go on. Under
 * ss->lock. */
static int save_attr(struct stages *ss, struct stage *st, bool is_made,
	uint32_t *file)
{
	struct arena_attr attr = {
		.serial = st->serial,
		.uid = st->uid,
		.area = (uint8_t)st->area,
		.name_len = (uint8_t)st->name_len,
		.extra = {0, (uint64_t)(uint32_t)st->offered_pid,
			(uint64_t)st->offered_ns},
	};
	int rc;

	memcpy(attr.uuid, st->coll->uuid, sizeof(attr.uuid));
	memcpy(attr.name, st->name, st->name_len);
	pthread_mutex_lock(&st->lock);
	attr.ctime_ns = st->touched_ns;
	attr.mtime_ns = st->mtime_ns;
	attr.flags = flags_locked(st);
	attr.extra[0] = st->original;
	attr.extra[3] = (uint64_t)st->meta_off << 32 | st->meta_len;
	attr.extra[4] = st->key;
	attr.extra[5] = st->if_begin;
	attr.extra[6] = st->raw_len;
	rc = is_made ? arena_file_put(ss->arena, st->file, &attr)
		     : arena_file_new(ss->arena, &attr, file);
	pthread_mutex_unlock(&st->lock);
	return rc;
}

struct meta stages_get_meta(struct stages *ss, const struct stage *st)
{
	const char *bytes;
	size_t len;

	bytes = arena_bytes(ss->arena, st->file, ARENA_META, &len);
	assert((uint64_t)st->meta_off + st->meta_len <= len);
	return (struct meta){
		st->meta_len ? bytes + st->meta_off : NULL, st->meta_len};
}

/* Beside what is there: before it if that fits, else behind. */
int stages_put_meta(struct stages *ss, struct stage *st, struct meta meta)
{
	uint32_t off = meta.len <= st->meta_off ? 0
						: st->meta_off + st->meta_len;
	int rc = meta.len ? arena_pwrite(ss->arena, st->file, ARENA_META, off,
				    meta.json, meta.len)
			  : 0;

	if (rc < 0)
		return rc;
	st->meta_off = off;
	st->meta_len = meta.len;
	return 0;
}

void stages_save(struct stages *ss, struct stage *st)
{
	pthread_mutex_lock(&ss->lock);
	save_attr(ss, st, true, NULL);
	pthread_mutex_unlock(&ss->lock);
}

static struct stage *stage_new(
	const struct stage_place *place, bool is_named, uint32_t uid)
{
	struct stage *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->coll = collection_ref(place->coll);
	st->area = place->area;
	st->form = place->form;
	st->key = place->key;
	st->is_named = is_named;
	st->uid = uid;
	st->n_refs = 1;
	st->name_len = place->name.len;
	memcpy(st->name, place->name.bytes, place->name.len);
	stage_touch_locked(st);
	pthread_mutex_init(&st->lock, NULL);
	return st;
}

int stages_add(struct stages *ss, const struct stage_place *place,
	bool is_named, uint32_t uid, struct stage **out)
{
	struct stage *st = stage_new(place, is_named, uid);
	int rc;

	assert(place->name.len > 0 && place->name.len <= NAME_LEN_MAX);
	if (!st)
		return -ENOMEM;
	pthread_mutex_lock(&ss->lock);
	st->serial = arena_number(ss->arena);
	rc = is_named && find_locked(ss, place)
		     ? -EEXIST
		     : save_attr(ss, st, false, &st->file);
	if (rc == 0) {
		st->next = ss->list;
		ss->list = st;
	}
	pthread_mutex_unlock(&ss->lock);
	if (rc < 0) {
		collection_unref(st->coll);
		pthread_mutex_destroy(&st->lock);
		free(st);
		return rc;
	}
	*out = st;
	return 0;
}

struct stage *stages_get_name(
	struct stages *ss, const struct stage_place *place)
{
	struct stage *st;

	pthread_mutex_lock(&ss->lock);
	st = find_locked(ss, place);
	if (st)
		st->n_refs++;
	pthread_mutex_unlock(&ss->lock);
	return st;
}

struct stage *stages_get(struct stages *ss, uint64_t serial)
{
	struct stage *st;

	pthread_mutex_lock(&ss->lock);
	st = ss->list;
	while (st && st->serial != serial)
		st = st->next;
	if (st)
		st->n_refs++;
	pthread_mutex_unlock(&ss->lock);
	return st;
}

struct loading {
	struct stages *ss;
	struct catalogue *cat;
};

static int load_stage(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	struct loading *l = ctx;
	struct stage_place place = {.area = (enum stage_area)attr->area,
		.name = {attr->name, attr->name_len},
		.key = attr->extra[4]};
	struct stage *st;

	if (attr->area < STAGE_RECORD || attr->area > STAGE_TX_DIR)
		return 0;
	place.coll = catalogue_find_uuid(l->cat, attr->uuid);
	if (!place.coll) {
		arena_file_del(l->ss->arena, idx);
		return 0;
	}
	st = stage_new(&place, false, attr->uid);
	collection_unref(place.coll);
	if (!st)
		return -ENOMEM;
	st->n_refs = 0;
	st->file = idx;
	st->serial = attr->serial;
	st->mtime_ns = attr->mtime_ns;
	st->touched_ns = attr->ctime_ns;
	st->original = attr->extra[0];
	st->meta_off = (uint32_t)(attr->extra[3] >> 32);
	st->meta_len = (uint32_t)attr->extra[3];
	st->if_begin = attr->extra[5];
	st->raw_len = (uint32_t)attr->extra[6];
	st->offered_pid = (int)attr->extra[1];
	st->offered_ns = (int64_t)attr->extra[2];
	set_flags(st, attr->flags);
	st->next = l->ss->list;
	l->ss->list = st;
	return 0;
}

int stages_load(struct stages *ss, struct catalogue *cat)
{
	struct loading l = {ss, cat};

	return arena_each(ss->arena, load_stage, &l);
}

/* Takes st out of the list if nobody has it and no name keeps it. */
static bool leave_locked(struct stages *ss, struct stage *st)
{
	struct stage **link = &ss->list;

	if (st->n_refs || st->is_named || st->offered_pid)
		return false;
	while (*link != st)
		link = &(*link)->next;
	*link = st->next;
	return true;
}

/* What that caller was offered; place: NULL is any. */
static struct stage *find_offer_locked(
	struct stages *ss, int pid, const struct stage_place *place)
{
	struct stage *st = ss->list;

	while (st && (st->offered_pid != pid || (place && !is_place(st, place))))
		st = st->next;
	return st;
}

/* An offer that is not taken. Returns it if it is to be freed. */
static struct stage *withdraw_locked(struct stages *ss, struct stage *st)
{
	if (!st)
		return NULL;
	st->offered_pid = 0;
	if (leave_locked(ss, st))
		return st;
	save_attr(ss, st, true, NULL);
	return NULL;
}

int stages_offer(struct stages *ss, const struct stage_place *place,
	uint32_t uid, int pid, struct stage **out)
{
	struct stage *st, *gone;
	int rc = stages_add(ss, place, false, uid, &st);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&ss->lock);
	/* A thread opens one file at a time. */
	gone = pid ? withdraw_locked(ss, find_offer_locked(ss, pid, NULL))
		   : NULL;
	st->offered_pid = caller_of(pid);
	st->offered_ns = st->used_ns;
	save_attr(ss, st, true, NULL);
	pthread_mutex_unlock(&ss->lock);
	if (gone)
		stage_free(ss, gone);
	*out = st;
	return 0;
}

struct stage *stages_get_offer(
	struct stages *ss, const struct stage_place *place, int pid)
{
	struct stage *st;

	pthread_mutex_lock(&ss->lock);
	st = find_offer_locked(ss, caller_of(pid), place);
	if (st && clock_now_ns() - st->offered_ns > OFFER_NS)
		st = NULL;
	if (st)
		st->n_refs++;
	pthread_mutex_unlock(&ss->lock);
	return st;
}

void stages_put_miss(struct stages *ss, int pid, bool is_trunc)
{
	int64_t at = clock_now_ns();

	pthread_mutex_lock(&ss->lock);
	ss->misses->miss[ss->misses->n++ % STAGE_MISSES] =
		(struct stage_miss){caller_of(pid), is_trunc, at};
	atomic_store_explicit(&ss->miss_ns, at, memory_order_relaxed);
	pthread_mutex_unlock(&ss->lock);
}

bool stages_take_miss(struct stages *ss, int pid, bool *is_trunc)
{
	int64_t last = atomic_load_explicit(&ss->miss_ns, memory_order_relaxed);
	int64_t now = last ? clock_now_ns() : 0, left = 0;
	bool is_found = false;

	if (!last || now - last > OFFER_NS)
		return false;
	pthread_mutex_lock(&ss->lock);
	for (uint32_t i = 0; i < STAGE_MISSES; i++) {
		struct stage_miss *miss = &ss->misses->miss[i];

		if (!miss->pid || now - miss->at_ns > OFFER_NS)
			continue;
		if (is_found || miss->pid != caller_of(pid)) {
			left = VG_MAX(left, miss->at_ns);
			continue;
		}
		*is_trunc = miss->is_trunc;
		miss->pid = 0;
		is_found = true;
	}
	atomic_store_explicit(&ss->miss_ns, left, memory_order_relaxed);
	pthread_mutex_unlock(&ss->lock);
	return is_found;
}

bool stages_withdraw(struct stages *ss, struct stage *st)
{
	bool is;

	pthread_mutex_lock(&ss->lock);
	is = st->offered_pid != 0;
	if (is)
		withdraw_locked(ss, st); /* the caller's reference keeps it */
	pthread_mutex_unlock(&ss->lock);
	return is;
}

void stages_accept(struct stages *ss, struct stage *st)
{
	pthread_mutex_lock(&ss->lock);
	st->offered_pid = 0;
	save_attr(ss, st, true, NULL);
	pthread_mutex_unlock(&ss->lock);
}

void stages_unref(struct stages *ss, struct stage *st)
{
	bool is_last;

	pthread_mutex_lock(&ss->lock);
	assert(st->n_refs > 0);
	st->n_refs--;
	is_last = leave_locked(ss, st);
	pthread_mutex_unlock(&ss->lock);
	if (is_last)
		stage_free(ss, st);
}

bool stages_has_name(struct stages *ss, const struct stage *st)
{
	bool has;

	pthread_mutex_lock(&ss->lock);
	has = st->is_named;
	pthread_mutex_unlock(&ss->lock);
	return has;
}

int stages_put_name(struct stages *ss, struct stage *st)
{
	struct stage_place place = stage_place_of(st);
	int rc = 0;

	pthread_mutex_lock(&ss->lock);
	assert(st->n_refs > 0 && !st->is_named);
	if (find_locked(ss, &place))
		rc = -EEXIST;
	if (rc == 0) {
		st->is_named = true;
		save_attr(ss, st, true, NULL);
	}
	pthread_mutex_unlock(&ss->lock);
	return rc;
}

void stages_del_name(struct stages *ss, struct stage *st)
{
	pthread_mutex_lock(&ss->lock);
	assert(st->n_refs > 0);
	st->is_named = false;
	save_attr(ss, st, true, NULL);
	pthread_mutex_unlock(&ss->lock);
}

void stages_rename(struct stages *ss, struct stage *st, struct vg_id name)
{
	struct stage_place place = stage_place_of(st);
	struct stage *other;
	bool is_last = false;

	assert(name.len > 0 && name.len <= NAME_LEN_MAX);
	place.name = name;
	pthread_mutex_lock(&ss->lock);
	other = find_locked(ss, &place);
	if (other && other != st) {
		other->is_named = false;
		is_last = leave_locked(ss, other);
	}
	memcpy(st->name, name.bytes, name.len);
	st->name[name.len] = '\0';
	st->name_len = name.len;
	save_attr(ss, st, true, NULL);
	pthread_mutex_unlock(&ss->lock);
	if (is_last)
		stage_free(ss, other);
}

void stages_follow(struct stages *ss, const struct collection *coll,
	struct vg_id from, struct vg_id to)
{
	assert(to.len > 0 && to.len <= NAME_LEN_MAX);
	pthread_mutex_lock(&ss->lock);
	for (struct stage *st = ss->list; st; st = st->next) {
		if (st->is_named || st->coll != coll ||
			st->area == STAGE_QUERY || st->area == STAGE_TX ||
			st->name_len != from.len ||
			memcmp(st->name, from.bytes, from.len) != 0)
			continue;
		memcpy(st->name, to.bytes, to.len);
		st->name[to.len] = '\0';
		st->name_len = to.len;
		save_attr(ss, st, true, NULL);
	}
	pthread_mutex_unlock(&ss->lock);
}

struct stage *stages_next(struct stages *ss, const struct collection *coll,
	uint64_t from)
{
	struct stage *best = NULL;

	pthread_mutex_lock(&ss->lock);
	for (struct stage *st = ss->list; st; st = st->next)
		if (st->is_named && st->coll == coll && st->serial > from &&
			(!best || st->serial < best->serial))
			best = st;
	if (best)
		best->n_refs++;
	pthread_mutex_unlock(&ss->lock);
	return best;
}

/* Whether st is listed under `of`, whose name does not matter. */
static bool is_in(const struct stage *st, const struct stage_place *of)
{
	return st->is_named && st->coll == of->coll && st->area == of->area &&
	       st->key == of->key;
}

int stages_list(struct stages *ss, const struct stage_place *of,
	struct stage ***out, uint32_t *n)
{
	struct stage **list;
	uint32_t count = 0;

	pthread_mutex_lock(&ss->lock);
	for (struct stage *st = ss->list; st; st = st->next)
		count += is_in(st, of);
	list = malloc((count + 1) * sizeof(struct stage *));
	*n = list ? count : 0;
	for (struct stage *st = ss->list; st && list; st = st->next)
		if (is_in(st, of)) {
			st->n_refs++;
			list[--count] = st; /* the newest comes first */
		}
	pthread_mutex_unlock(&ss->lock);
	assert(!list || count == 0);
	*out = list;
	return list ? 0 : -ENOMEM;
}

/* Whether the transaction is there that st is of. */
static bool has_tx_locked(const struct stages *ss, const struct stage *st)
{
	const struct stage *dir = ss->list;

	while (dir && (dir->serial != st->key || !dir->is_named))
		dir = dir->next;
	return dir != NULL;
}

/* Whether its name keeps it. */
static bool is_kept_locked(
	const struct stages *ss, const struct stage *st, int64_t now_ns)
{
	if (!st->is_named)
		return false;
	return st->area == STAGE_TX ? has_tx_locked(ss, st)
				    : now_ns - st->used_ns < STAGE_KEPT_NS;
}

void stages_expire(struct stages *ss, int64_t now_ns)
{
	struct stage **link = &ss->list, *gone = NULL;

	pthread_mutex_lock(&ss->lock);
	while (*link) {
		struct stage *st = *link;

		if (st->offered_pid && now_ns - st->offered_ns > OFFER_NS)
			st->offered_pid = 0;
		if (st->n_refs || st->offered_pid ||
			is_kept_locked(ss, st, now_ns)) {
			link = &st->next;
			continue;
		}
		*link = st->next;
		st->next = gone;
		gone = st;
	}
	pthread_mutex_unlock(&ss->lock);
	while (gone) {
		struct stage *next = gone->next;

		stage_free(ss, gone);
		gone = next;
	}
}
