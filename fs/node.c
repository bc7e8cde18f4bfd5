/* SPDX-License-Identifier: Apache-2.0 */
/* node.c: see node.h. */
#include "fs/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/kept.h"
#include "fs/rowfile.h"

#define LOW_60 ((1ull << 56) - 1)

uint64_t node_encode(struct node_ref ref)
{
	uint64_t kind = (uint64_t)ref.kind << 60;

	assert(ref.kind < 16 && ref.sub < 16);
	switch (ref.kind) {
	case NODE_ROOT:
		return 1;
	case NODE_STAGE:
	case NODE_ALIAS:
	case NODE_QUERY:
		return kind | (ref.low & LOW_60);
	default:
		assert(ref.coll < 1u << 24);
		return kind | (uint64_t)ref.sub << 56 |
		       (uint64_t)ref.coll << 32 | (uint32_t)ref.low;
	}
}

struct node_ref node_decode(uint64_t nodeid)
{
	enum node_kind kind = (enum node_kind)(nodeid >> 60);

	if (nodeid == 1)
		return (struct node_ref){.kind = NODE_ROOT};
	if (kind == NODE_STAGE || kind == NODE_ALIAS || kind == NODE_QUERY)
		return (struct node_ref){.kind = kind, .low = nodeid & LOW_60};
	return (struct node_ref){
		.kind = kind,
		.sub = nodeid >> 56 & 15,
		.coll = nodeid >> 32 & 0xffffff,
		.low = (uint32_t)nodeid,
	};
}

struct answer_bytes *answer_ref(struct answer_bytes *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

void answer_unref(struct answer_bytes *a)
{
	if (!a || atomic_fetch_sub_explicit(
			  &a->refs, 1, memory_order_acq_rel) != 1)
		return;
	rowfile_close(a->rows);
	free(a->bytes);
	free(a);
}

void nodes_init(struct nodes *ns, uint64_t seed, struct arena *arena)
{
	memset(ns, 0, sizeof(*ns));
	ns->arena = arena;
	pthread_mutex_init(&ns->lock, NULL);
	pthread_cond_init(&ns->prune_cond, NULL);
	ns->seed = seed;
}

static void qnode_free(struct qnode *node)
{
	assert(!node->opens);
	answer_unref(node->kept);
	query_fini(&node->query);
	collection_unref(node->coll);
	pthread_mutex_destroy(&node->lock);
	free(node);
}

void nodes_fini(struct nodes *ns)
{
	while (ns->oldest) {
		struct qnode *newer = ns->oldest->newer;

		/* Handles that the kernel did not release before it ended. */
		while (ns->oldest->opens) {
			struct query_open *open = ns->oldest->opens;

			ns->oldest->opens = open->next;
			answer_unref(open->answer);
			free(open);
		}
		qnode_free(ns->oldest);
		ns->oldest = newer;
	}
	pthread_cond_destroy(&ns->prune_cond);
	pthread_mutex_destroy(&ns->lock);
	memset(ns, 0, sizeof(*ns));
}

static struct qnode **bucket_of(struct nodes *ns, uint64_t nodeid)
{
	return &ns->bucket[nodeid % NODES_BUCKETS];
}

static struct qnode *find_locked(struct nodes *ns, uint64_t nodeid)
{
	struct qnode *node = *bucket_of(ns, nodeid);

	while (node && node->nodeid != nodeid)
		node = node->next;
	return node;
}

static bool is_path(const struct qnode *node, const struct qnode_path *p)
{
	return node->coll == p->coll && node->uid == p->uid &&
	       node->kind == p->kind &&
	       node->path_len == p->path.len &&
	       memcmp(node->path, p->path.bytes, p->path.len) == 0;
}

static void link_locked(struct nodes *ns, struct qnode *node)
{
	struct qnode **bucket = bucket_of(ns, node->nodeid);

	node->next = *bucket;
	*bucket = node;
	node->older = ns->newest;
	if (ns->newest)
		ns->newest->newer = node;
	else
		ns->oldest = node;
	ns->newest = node;
	if (++ns->n > NODES_KEPT + NODES_PRUNE)
		pthread_cond_signal(&ns->prune_cond);
}

static void unlink_locked(struct nodes *ns, struct qnode *node)
{
	struct qnode **link = bucket_of(ns, node->nodeid);

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	*(node->newer ? &node->newer->older : &ns->newest) = node->older;
	*(node->older ? &node->older->newer : &ns->oldest) = node->newer;
	ns->n--;
}

static struct qnode *qnode_new(const struct qnode_path *p, struct query *query)
{
	struct qnode *node = calloc(1, sizeof(*node) + p->path.len);

	if (!node)
		return NULL;
	node->coll = collection_ref(p->coll);
	node->parent = p->parent;
	node->kind = p->kind;
	node->uid = p->uid;
	node->query = *query;
	node->file = KEPT_NONE;
	query_init(query);
	pthread_mutex_init(&node->lock, NULL);
	node->path_len = p->path.len;
	memcpy(node->path, p->path.bytes, p->path.len);
	return node;
}

int nodes_add(struct nodes *ns, const struct qnode_path *path,
	struct query *query, struct qnode **out)
{
	uint64_t hash = query_hash(ns->seed, path->coll->no, path->path,
		(struct vg_id){(const char *)&path->uid, sizeof(path->uid)});
	struct qnode *made = NULL, *node;
	uint64_t nodeid;

	pthread_mutex_lock(&ns->lock);
	/* Ends: a free number comes after at most ns->n others. */
	for (;; hash++) {
		nodeid = node_encode(
			(struct node_ref){.kind = NODE_QUERY, .low = hash});
		node = find_locked(ns, nodeid);
		if (!node || is_path(node, path))
			break;
	}
	if (!node) {
		node = made = qnode_new(path, query);
		if (made) {
			made->nodeid = nodeid;
			link_locked(ns, made);
		}
	}
	if (node) {
		node->n_lookup++;
		node->n_refs++;
		node->is_asked_back = false;
	}
	pthread_mutex_unlock(&ns->lock);
	query_fini(query);
	if (!node)
		return -ENOMEM;
	*out = node;
	return 0;
}

/* A short path lies behind struct qnode_kept, where names of stages are. */
#define SHORT_PATH (KEPT_LEN_MAX - sizeof(struct qnode_kept))

static int keep_locked(struct nodes *ns, struct qnode *node)
{
	struct arena_attr attr = {.serial = node->nodeid, .area = KEPT_QNODE};
	struct qnode_kept kept = {.parent = node->parent,
		.uid = node->uid,
		.kind = (uint8_t)node->kind};
	bool is_short = node->path_len <= SHORT_PATH;
	uint32_t file;
	int rc;

	assert(node->path_len > 0);
	kept.path_len = is_short ? (uint8_t)node->path_len : 0;
	memcpy(attr.uuid, node->coll->uuid, sizeof(attr.uuid));
	kept_put(&attr, &kept, sizeof(kept));
	memcpy(attr.name + sizeof(kept), node->path, kept.path_len);
	rc = arena_file_new(ns->arena, &attr, &file);
	if (rc < 0)
		return rc;
	if (!is_short)
		rc = arena_pwrite(ns->arena, file, ARENA_BODY, 0, node->path,
			node->path_len);
	if (rc < 0)
		arena_file_del(ns->arena, file);
	else
		node->file = file;
	return rc;
}

int nodes_keep(struct nodes *ns, struct qnode *node)
{
	int rc = 0;

	pthread_mutex_lock(&ns->lock);
	if (ns->arena && node->file == KEPT_NONE)
		rc = keep_locked(ns, node);
	pthread_mutex_unlock(&ns->lock);
	return rc;
}

bool nodes_get_kept(struct nodes *ns, uint32_t file, struct qnode_kept *kept,
	struct vg_id *path)
{
	const struct arena_attr *attr = arena_file_get(ns->arena, file);
	size_t len;

	if (attr->area != KEPT_QNODE || !kept_get(attr, kept, sizeof(*kept)))
		return false;
	path->bytes = arena_bytes(ns->arena, file, ARENA_BODY, &len);
	path->len = (uint32_t)len;
	if (kept->path_len)
		*path = (struct vg_id){
			attr->name + sizeof(*kept), kept->path_len};
	return path->len > 0;
}

int nodes_load(struct nodes *ns, const struct qnode_path *path,
	struct query *query, uint64_t nodeid, uint32_t file)
{
	struct qnode *node = qnode_new(path, query);

	query_fini(query);
	if (!node)
		return -ENOMEM;
	node->nodeid = nodeid;
	node->n_lookup = 1;
	node->file = file;
	pthread_mutex_lock(&ns->lock);
	link_locked(ns, node);
	pthread_mutex_unlock(&ns->lock);
	return 0;
}

struct qnode *nodes_get(struct nodes *ns, uint64_t nodeid)
{
	struct qnode *node;

	pthread_mutex_lock(&ns->lock);
	node = find_locked(ns, nodeid);
	if (node)
		node->n_refs++;
	pthread_mutex_unlock(&ns->lock);
	return node;
}

/* Whether node has gone from the table; the caller frees it then. */
static bool leave_locked(struct nodes *ns, struct qnode *node)
{
	if (node->n_refs || node->n_lookup)
		return false;
	unlink_locked(ns, node);
	if (node->file != KEPT_NONE)
		arena_file_del(ns->arena, node->file);
	return true;
}

void nodes_unref(struct nodes *ns, struct qnode *node)
{
	bool is_gone;

	pthread_mutex_lock(&ns->lock);
	assert(node->n_refs > 0);
	node->n_refs--;
	is_gone = leave_locked(ns, node);
	pthread_mutex_unlock(&ns->lock);
	if (is_gone)
		qnode_free(node);
}

void nodes_forget(struct nodes *ns, uint64_t nodeid, uint64_t n)
{
	struct qnode *node;
	bool is_gone = false;

	pthread_mutex_lock(&ns->lock);
	node = find_locked(ns, nodeid);
	if (node) {
		node->n_lookup -= VG_MIN(n, node->n_lookup);
		is_gone = leave_locked(ns, node);
	}
	pthread_mutex_unlock(&ns->lock);
	if (is_gone)
		qnode_free(node);
}

size_t nodes_wait_prune(struct nodes *ns, uint64_t *nodeid, size_t n)
{
	size_t found = 0;

	pthread_mutex_lock(&ns->lock);
	while (!ns->is_stopping && found == 0) {
		for (struct qnode *node = ns->oldest;
			node && found < n && ns->n > NODES_KEPT + n;
			node = node->newer) {
			if (node->n_refs || node->is_asked_back)
				continue;
			node->is_asked_back = true;
			nodeid[found++] = node->nodeid;
		}
		/* Enough for one call: little calls cost as much. */
		if (found == 0)
			pthread_cond_wait(&ns->prune_cond, &ns->lock);
	}
	if (ns->is_stopping)
		found = 0;
	pthread_mutex_unlock(&ns->lock);
	return found;
}

void nodes_stop(struct nodes *ns)
{
	pthread_mutex_lock(&ns->lock);
	ns->is_stopping = true;
	pthread_cond_broadcast(&ns->prune_cond);
	pthread_mutex_unlock(&ns->lock);
}
