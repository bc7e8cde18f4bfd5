/* SPDX-License-Identifier: Apache-2.0 */
/* handle.c: see handle.h. */
#include "fs/handle.h"

#include <stdlib.h>

#include "fs/import.h"

struct handle *handle_new(
	struct fs *fs, enum handle_kind kind, struct collection *coll)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->kind = kind;
	h->coll = coll ? collection_ref(coll) : NULL;
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_lock(&fs->handles_lock);
	h->next = fs->handles;
	h->link = &fs->handles;
	if (h->next)
		h->next->link = &h->next;
	fs->handles = h;
	pthread_mutex_unlock(&fs->handles_lock);
	return h;
}

/* Takes the handle off its leaf's list of open answers. */
static void leave_node(struct handle *h)
{
	struct query_open **link = &h->node->opens;

	pthread_mutex_lock(&h->node->lock);
	while (*link != h->opened)
		link = &(*link)->next;
	*link = h->opened->next;
	pthread_mutex_unlock(&h->node->lock);
	answer_unref(h->opened->answer);
	free(h->opened);
}

void handle_free(struct fs *fs, struct handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&fs->handles_lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	pthread_mutex_unlock(&fs->handles_lock);
	if (h->opened)
		leave_node(h);
	if (h->node)
		nodes_unref(&fs->nodes, h->node);
	if (h->stage && h->is_writer)
		atomic_fetch_sub_explicit(
			&h->stage->n_open, 1, memory_order_relaxed);
	if (h->stage)
		stages_unref(&fs->stages, h->stage);
	answer_unref(h->answer);
	answer_unref(h->run.answer);
	free(h->run.request);
	import_free(h->import);
	look_fini(&h->look);
	generation_unref(h->gen);
	collection_unref(h->coll);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handle_keep_version(struct fs *fs, struct handle *h,
	struct generation *gen, const struct version *version)
{
	pthread_mutex_lock(&fs->handles_lock);
	h->gen = generation_ref(gen);
	h->version = version;
	pthread_mutex_unlock(&fs->handles_lock);
}

struct generation *handle_find_gen(struct fs *fs, uint32_t no)
{
	struct generation *g = NULL;

	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !g; h = h->next)
		if (h->gen && h->gen->no == no)
			g = generation_ref(h->gen);
	pthread_mutex_unlock(&fs->handles_lock);
	return g;
}
