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
	ms->now->is_published = true;
	ms->oldest = ms->now;
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

/* Who has just let go of one has not taken it out yet: it is passed by. */
static bool try_ref(struct moment *m)
{
	uint32_t n = atomic_load_explicit(&m->refs, memory_order_relaxed);

	while (n > 0 && !atomic_compare_exchange_weak_explicit(&m->refs, &n,
				n + 1, memory_order_relaxed,
				memory_order_relaxed))
		;
	return n > 0;
}

struct moment *moment_oldest(struct moments *ms)
{
	struct moment *m;

	pthread_mutex_lock(&ms->lock);
	for (m = ms->oldest; !try_ref(m); m = m->next)
		assert(m != ms->now); /* which is held */
	pthread_mutex_unlock(&ms->lock);
	return m;
}

static void take_out_locked(struct moments *ms, struct moment *m)
{
	assert(m != ms->now);
	if (!m->is_published)
		return;
	if (m->before)
		m->before->next = m->next;
	else
		ms->oldest = m->next;
	m->next->before = m->before; /* the present is always behind it */
	m->is_published = false;
}

void moment_unref(struct moments *ms, struct moment *m)
{
	if (!m)
		return;
	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	pthread_mutex_lock(&ms->lock);
	take_out_locked(ms, m);
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
		m->next = m->before = NULL;
		m->is_published = false;
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
	next->is_published = true;
	next->before = last;
	last->next = next;
	ms->now = next;
	pthread_mutex_unlock(&ms->lock);
	moment_unref(ms, last);
}
