/* SPDX-License-Identifier: Apache-2.0 */
/* collapse.c: see collapse.h. */
#include "src/collapse.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/sortkey.h"

/* Records between two looks at cancel: some milliseconds. */
#define CANCEL_ROWS 4096u

struct collapse {
	const struct look *look;
	struct match *match;
	pthread_mutex_t lock; /* is_made, begin, slot, n */
	bool is_made;
	uint32_t *begin, *slot;
	uint32_t n;
	uint32_t field_len;
	char field[];
};

int collapse_new(const struct look *look, struct match *match,
	struct vg_id field, struct collapse **out)
{
	struct collapse *c = calloc(1, sizeof(*c) + field.len);

	assert(field.len > 0);
	if (!c)
		return -ENOMEM;
	c->look = look;
	c->match = match;
	c->field_len = field.len;
	memcpy(c->field, field.bytes, field.len);
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void collapse_free(struct collapse *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c->begin);
	free(c->slot);
	free(c);
}

static struct distinct values_of(const struct collapse *c)
{
	return (struct distinct){.field = {c->field, c->field_len}};
}

int collapse_hits(const struct collapse *c, struct search_hit *hits,
	uint32_t *n)
{
	struct distinct values = values_of(c);
	uint32_t kept = 0, no;
	int rc = 0;

	for (uint32_t i = 0; i < *n && rc >= 0; i++) {
		rc = distinct_put(&values, version_meta(hits[i].version), &no);
		if (rc > 0)
			hits[kept++] = hits[i];
	}
	assert(kept <= *n);
	distinct_fini(&values);
	if (rc < 0)
		return rc;
	*n = kept;
	return 0;
}

/* Slots that may be in a group, before it is known which the look shows. */
struct candidates {
	const uint32_t *slot; /* NULL: 0, 1, 2, ... */
	uint32_t n;
};

static int get_candidates(const struct collapse *c, struct candidates *out)
{
	struct cell *cell = c->look->cell;

	*out = (struct candidates){0};
	if (!cell)
		return 0;
	if (c->match)
		return match_slots(c->match, &out->slot, &out->n);
	out->n = atomic_load_explicit(&cell->n_slots, memory_order_acquire);
	return 0;
}

/* Slots that the look shows, and the group of each. */
struct members {
	uint32_t *slot, *group;
	uint32_t n, n_groups;
};

static int find_members(const struct collapse *c,
	const struct candidates *from, const _Atomic bool *cancel,
	struct members *m)
{
	struct distinct values = values_of(c);
	int rc = 0;

	for (uint32_t i = 0; i < from->n && rc >= 0; i++) {
		uint32_t slot = from->slot ? from->slot[i] : i;
		uint32_t no = cell_find(c->look->cell, slot, c->look->moment);

		if (i % CANCEL_ROWS == 0 && cancel &&
			atomic_load_explicit(cancel, memory_order_relaxed))
			rc = -EINTR;
		if (no == VERSION_NONE || rc < 0)
			continue;
		rc = distinct_put(&values,
			version_meta(generation_version(c->look->gen, no)),
			&m->group[m->n]);
		if (rc >= 0)
			m->slot[m->n++] = slot;
	}
	m->n_groups = values.keys.n;
	distinct_fini(&values);
	return rc < 0 ? rc : 0;
}

/* Sorts members by their groups, in their order: counts, then puts each where
 * those before it end. */
static int sort_members_locked(struct collapse *c, const struct members *m)
{
	c->begin = calloc((size_t)m->n_groups + 2, sizeof(*c->begin));
	c->slot = malloc(((size_t)m->n + 1) * sizeof(*c->slot));
	if (!c->begin || !c->slot) {
		free(c->begin);
		free(c->slot);
		c->begin = c->slot = NULL;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < m->n; i++)
		c->begin[m->group[i] + 2]++;
	for (uint32_t g = 2; g < m->n_groups + 2; g++)
		c->begin[g] += c->begin[g - 1];
	for (uint32_t i = 0; i < m->n; i++)
		c->slot[c->begin[m->group[i] + 1]++] = m->slot[i];
	assert(c->begin[m->n_groups] == m->n);
	c->n = m->n_groups;
	c->is_made = true;
	return 0;
}

static int make_locked(struct collapse *c, const _Atomic bool *cancel)
{
	struct candidates from;
	struct members m = {0};
	int rc = get_candidates(c, &from);

	assert(!c->is_made);
	if (rc < 0)
		return rc;
	m.slot = malloc(((size_t)from.n + 1) * sizeof(*m.slot));
	m.group = malloc(((size_t)from.n + 1) * sizeof(*m.group));
	rc = m.slot && m.group ? find_members(c, &from, cancel, &m) : -ENOMEM;
	if (rc == 0)
		rc = sort_members_locked(c, &m);
	free(m.slot);
	free(m.group);
	return rc;
}

int collapse_get(struct collapse *c, const _Atomic bool *cancel,
	struct collapse_groups *out)
{
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (!c->is_made)
		rc = make_locked(c, cancel);
	*out = (struct collapse_groups){c->n, c->begin, c->slot};
	pthread_mutex_unlock(&c->lock);
	return rc;
}
