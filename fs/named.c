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
	char pad[4];
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
	if (r && atomic_fetch_sub_explicit(
			 &r->refs, 1, memory_order_acq_rel) == 1)
		free(r);
}

static uint64_t bytes_of(const struct named_request *r)
{
	return sizeof(*r) + (uint64_t)r->n * r->dim * sizeof(float);
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
	if (r->file != KEPT_NONE)
		arena_file_del(nd->arena, r->file);
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

/* Tells the arena; what does not fit there is lost in a crash. */
static void keep(struct named *nd, const struct named_key *key,
	struct named_request *r)
{
	struct arena_attr attr = {.area = KEPT_NAMED};
	struct named_kept kept = {.mtime_ns = r->mtime_ns,
		.uid = r->uid,
		.n = r->n,
		.dim = r->dim};
	size_t len = (size_t)r->n * r->dim * sizeof(float);
	uint32_t file;

	r->file = KEPT_NONE;
	if (!nd->arena)
		return;
	attr.serial = arena_number(nd->arena);
	memcpy(attr.uuid, key->coll->uuid, sizeof(attr.uuid));
	memcpy(kept.name, r->name, sizeof(kept.name));
	kept_put(&attr, &kept, sizeof(kept));
	if (arena_file_new(nd->arena, &attr, &file) < 0)
		return;
	if (arena_pwrite(nd->arena, file, ARENA_BODY, 0, r->vecs, len) < 0)
		arena_file_del(nd->arena, file);
	else
		r->file = file;
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
		len != (size_t)kept.n * kept.dim * sizeof(float) || !len) {
		collection_unref(c);
		arena_file_del(l->nd->arena, idx);
		return 0;
	}
	r = malloc(sizeof(*r) + len);
	if (r) {
		*r = (struct named_request){.coll_no = c->no,
			.uid = kept.uid,
			.n = kept.n,
			.dim = kept.dim,
			.file = idx,
			.used_ns = now(CLOCK_MONOTONIC),
			.mtime_ns = kept.mtime_ns};
		atomic_init(&r->refs, 1);
		memcpy(r->name, kept.name, sizeof(r->name));
		memcpy(r->vecs, vecs, len);
		put_locked(l->nd, r);
	}
	collection_unref(c);
	return r ? 0 : -ENOMEM;
}

int named_load(struct named *nd, struct catalogue *cat)
{
	struct named_loading l = {nd, cat};

	return arena_each(nd->arena, load, &l);
}

int named_put(struct named *nd, const struct named_key *key, const float *vecs,
	uint32_t n, uint32_t dim)
{
	size_t len = (size_t)n * dim * sizeof(float);
	struct named_request *r = malloc(sizeof(*r) + len);
	struct named_request **link;

	assert(key->name.len < sizeof(r->name));
	if (!r)
		return -ENOMEM;
	*r = (struct named_request){
		.coll_no = key->coll->no,
		.uid = key->uid,
		.n = n,
		.dim = dim,
		.used_ns = now(CLOCK_MONOTONIC),
		.mtime_ns = now(CLOCK_REALTIME),
	};
	atomic_init(&r->refs, 1);
	memcpy(r->name, key->name.bytes, key->name.len);
	memcpy(r->vecs, vecs, len);
	keep(nd, key, r);
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
