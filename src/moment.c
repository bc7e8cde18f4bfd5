/* SPDX-License-Identifier: Apache-2.0 */
/* moment.c: see moment.h. */
#include "src/moment.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int moments_init(struct moments *ms)
{
	*ms = (struct moments){0};
	pthread_mutex_init(&ms->lock, NULL);
	ms->now = calloc(1, sizeof(*ms->now));
	if (!ms->now)
		return -ENOMEM;
	atomic_init(&ms->now->refs, 1);
	return 0;
}

void moments_fini(struct moments *ms)
{
	free(ms->now);
	while (ms->free) {
		struct moment *next = ms->free->next;

		free(ms->free);
		ms->free = next;
	}
	pthread_mutex_destroy(&ms->lock);
	*ms = (struct moments){0};
}

struct moment *moment_ref(struct moment *m)
{
	uint32_t were =
		atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);

	assert(were > 0); /* whoever refers to it holds it */
	(void)were;
	return m;
}

struct moment *moment_get(struct moments *ms)
{
	struct moment *m;

	pthread_mutex_lock(&ms->lock);
	assert(ms->now);
	m = moment_ref(ms->now);
	pthread_mutex_unlock(&ms->lock);
	return m;
}

void moment_unref(struct moments *ms, struct moment *m)
{
	if (!m)
		return;
	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&ms->lock);
	m->next = ms->free;
	ms->free = m;
	pthread_mutex_unlock(&ms->lock);
}

int moment_new(struct moments *ms, struct moment **out)
{
	struct moment *m, *now;

	pthread_mutex_lock(&ms->lock);
	m = ms->free;
	assert(m != ms->now);
	if (m)
		ms->free = m->next;
	now = moment_ref(ms->now);
	pthread_mutex_unlock(&ms->lock);
	if (!m)
		m = malloc(sizeof(*m));
	if (m) {
		atomic_init(&m->refs, 1);
		m->next = NULL;
		m->number = now->number + 1;
		memcpy(m->seq, now->seq, sizeof(m->seq));
	}
	moment_unref(ms, now);
	if (!m)
		return -ENOMEM;
	*out = m;
	return 0;
}

void moment_publish(struct moments *ms, struct moment *next)
{
	struct moment *last;

	pthread_mutex_lock(&ms->lock);
	last = ms->now;
	assert(next->number > last->number);
	ms->now = next;
	pthread_mutex_unlock(&ms->lock);
	moment_unref(ms, last);
}
