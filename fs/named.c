/* SPDX-License-Identifier: Apache-2.0 */
/* named.c: see named.h. */
#include "fs/named.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void named_init(struct named *nd)
{
	*nd = (struct named){0};
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
	pthread_mutex_lock(&nd->lock);
	link = find_link(nd, key);
	if (*link)
		take_locked(nd, link);
	make_room_locked(nd, bytes_of(r));
	r->number = ++nd->last_number;
	r->next = nd->list;
	nd->list = r;
	nd->bytes += bytes_of(r);
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
