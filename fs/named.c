/* SPDX-License-Identifier: Apache-2.0 */
/* named.c: see named.h. */
#include "fs/named.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/kept.h"

/* What the arena is told; the vectors are the file's body. */
struct named_kept {
	int64_t mtime_ns;
	uint32_t uid, n, dim;
	char name[72];
	uint32_t dtype; /* 0, of old: f32 */
};

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void named_init(struct named *nd, struct arena *arena)
{
	*nd = (struct named){.arena = arena};
	pthread_mutex_init(&nd->lock, NULL);
}

void named_fini(struct named *nd)
{
	while (nd->list) {
		struct named_request *next = nd->list->next;

		named_unref(nd->list);
		nd->list = next;
	}
	pthread_mutex_destroy(&nd->lock);
	*nd = (struct named){0};
}

void named_unref(struct named_request *r)
{
	if (!r || atomic_fetch_sub_explicit(
			  &r->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (r->is_gone && r->file != KEPT_NONE)
		arena_file_del(r->arena, r->file);
	free(r->own);
	free(r);
}

static size_t vecs_len(const struct named_request *r)
{
	return vg_row_len(r->dtype, (size_t)r->n * r->dim);
}

static uint64_t bytes_of(const struct named_request *r)
{
	return sizeof(*r) + vecs_len(r);
}

static struct named_request **find_link(
	struct named *nd, const struct named_key *key)
{
	struct named_request **link = &nd->list;

	while (*link && ((*link)->coll_no != key->coll->no ||
				(*link)->uid != key->uid ||
				strlen((*link)->name) != key->name.len ||
				memcmp((*link)->name, key->name.bytes,
					key->name.len)))
		link = &(*link)->next;
	return link;
}

static void take_locked(struct named *nd, struct named_request **link)
{
	struct named_request *r = *link;

	*link = r->next;
	nd->bytes -= bytes_of(r);
	r->is_gone = true;
	named_unref(r);
}

/* Lets the longest unused go until `more` bytes fit. */
static void make_room_locked(struct named *nd, uint64_t more)
{
	while (nd->list && nd->bytes + more > NAMED_BYTES_MAX) {
		struct named_request **oldest = &nd->list, **link = &nd->list;

		for (; *link; link = &(*link)->next)
			if ((*link)->used_ns < (*oldest)->used_ns)
				oldest = link;
		take_locked(nd, oldest);
	}
}

/* Rows that the arena has; false: it has no room, or is none. */
static bool keep(struct named *nd, const struct named_key *key,
	struct named_request *r, const void *vecs)
{
	struct arena_attr attr = {.area = KEPT_NAMED};
	struct named_kept kept = {.mtime_ns = r->mtime_ns,
		.uid = r->uid,
		.n = r->n,
		.dim = r->dim,
		.dtype = r->dtype};
	size_t len = vecs_len(r);

	if (!nd->arena)
		return false;
	attr.serial = r->serial = arena_number(nd->arena);
	memcpy(attr.uuid, key->coll->uuid, sizeof(attr.uuid));
	memcpy(kept.name, r->name, sizeof(kept.name));
	kept_put(&attr, &kept, sizeof(kept));
	if (arena_file_new(nd->arena, &attr, &r->file) < 0)
		goto no_file;
	if (arena_pwrite(nd->arena, r->file, ARENA_BODY, 0, vecs, len) < 0)
		goto del_file;
	r->vecs = arena_bytes(nd->arena, r->file, ARENA_BODY, &len);
	return true;
del_file:
	arena_file_del(nd->arena, r->file);
no_file:
	r->file = KEPT_NONE;
	return false;
}

/* Rows of our own, which a crash takes. */
static int copy(struct named_request *r, const void *vecs)
{
	r->own = malloc(vecs_len(r));
	if (!r->own)
		return -ENOMEM;
	memcpy(r->own, vecs, vecs_len(r));
	r->vecs = r->own;
	return 0;
}

static void put_locked(struct named *nd, struct named_request *r)
{
	r->number = ++nd->last_number;
	r->next = nd->list;
	nd->list = r;
	nd->bytes += bytes_of(r);
}

struct named_loading {
	struct named *nd;
	struct catalogue *cat;
};

/* Whether it says what len bytes are. */
static bool is_whole(const struct named_kept *kept, size_t len)
{
	enum vg_dtype dtype = (enum vg_dtype)kept->dtype;

	return kept->dtype <= VG_B1 && len > 0 && kept->dim <= VG_DIM_MAX &&
	       len == vg_row_len(dtype ? dtype : VG_F32,
			      (size_t)kept->n * kept->dim);
}

/* Of two of one name the later holds: somebody still asked the other one when
 * the daemon ended. */
static void put_loaded(struct named *nd, struct named_request *r,
	const struct collection *c)
{
	struct named_key key = {c, r->uid, {r->name, (uint32_t)strlen(r->name)}};
	struct named_request **other = find_link(nd, &key);

	if (*other && (*other)->serial > r->serial) {
		r->is_gone = true;
		named_unref(r);
		return;
	}
	if (*other)
		take_locked(nd, other);
	put_locked(nd, r);
}

/* One that was not written to its end was not answered: it comes again. */
static int load(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	struct named_loading *l = ctx;
	struct named_kept kept;
	struct named_request *r;
	struct collection *c;
	const void *vecs;
	size_t len;

	if (attr->area != KEPT_NAMED)
		return 0;
	c = catalogue_find_uuid(l->cat, attr->uuid);
	vecs = arena_bytes(l->nd->arena, idx, ARENA_BODY, &len);
	if (!c || !kept_get(attr, &kept, sizeof(kept)) ||
		!is_whole(&kept, len)) {
		collection_unref(c);
		arena_file_del(l->nd->arena, idx);
		return 0;
	}
	r = malloc(sizeof(*r));
	if (r) {
		*r = (struct named_request){.coll_no = c->no,
			.uid = kept.uid,
			.n = kept.n,
			.dim = kept.dim,
			.dtype = kept.dtype ? (enum vg_dtype)kept.dtype : VG_F32,
			.arena = l->nd->arena,
			.file = idx,
			.serial = attr->serial,
			.used_ns = now(CLOCK_MONOTONIC),
			.mtime_ns = kept.mtime_ns,
			.vecs = vecs};
		atomic_init(&r->refs, 1);
		memcpy(r->name, kept.name, sizeof(r->name));
		put_loaded(l->nd, r, c);
	}
	collection_unref(c);
	return r ? 0 : -ENOMEM;
}

int named_load(struct named *nd, struct catalogue *cat)
{
	struct named_loading l = {nd, cat};

	return arena_each(nd->arena, load, &l);
}

int named_put(struct named *nd, const struct named_key *key,
	const struct record_batch *batch)
{
	struct named_request *r = malloc(sizeof(*r));
	struct named_request **link;

	assert(key->name.len < sizeof(r->name));
	if (!r)
		return -ENOMEM;
	*r = (struct named_request){
		.coll_no = key->coll->no,
		.uid = key->uid,
		.n = batch->n,
		.dim = batch->dim,
		.dtype = batch->dtype,
		.used_ns = now(CLOCK_MONOTONIC),
		.mtime_ns = now(CLOCK_REALTIME),
		.arena = nd->arena,
		.file = KEPT_NONE,
	};
	atomic_init(&r->refs, 1);
	memcpy(r->name, key->name.bytes, key->name.len);
	if (!keep(nd, key, r, batch->vecs) && copy(r, batch->vecs) < 0) {
		free(r);
		return -ENOMEM;
	}
	pthread_mutex_lock(&nd->lock);
	link = find_link(nd, key);
	if (*link)
		take_locked(nd, link);
	make_room_locked(nd, bytes_of(r));
	put_locked(nd, r);
	pthread_mutex_unlock(&nd->lock);
	return 0;
}

struct named_request *named_get(struct named *nd, const struct named_key *key)
{
	struct named_request *r;

	pthread_mutex_lock(&nd->lock);
	r = *find_link(nd, key);
	if (r) {
		r->used_ns = now(CLOCK_MONOTONIC);
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&nd->lock);
	return r;
}

int named_del(struct named *nd, const struct named_key *key)
{
	struct named_request **link;
	int rc = -ENOENT;

	pthread_mutex_lock(&nd->lock);
	link = find_link(nd, key);
	if (*link) {
		take_locked(nd, link);
		rc = 0;
	}
	pthread_mutex_unlock(&nd->lock);
	return rc;
}

void named_expire(struct named *nd)
{
	int64_t before = now(CLOCK_MONOTONIC) - NAMED_KEPT_NS;
	struct named_request **link = &nd->list;

	pthread_mutex_lock(&nd->lock);
	while (*link) {
		if ((*link)->used_ns < before)
			take_locked(nd, link);
		else
			link = &(*link)->next;
	}
	pthread_mutex_unlock(&nd->lock);
}
