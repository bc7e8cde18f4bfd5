/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_check.c: walks the invariants that ivf.h states. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/dist.h"
#include "index/ivf_int.h"

struct check {
	const struct ivf *v;
	const struct ivf_core *core;
	struct ivf_scratch *s;
	uint64_t *seen; /* bits of slots, up to bound */
	uint32_t bound;
	uint32_t n; /* slots that were met */
	const char *why;
};

static int say(struct check *c, const char *why)
{
	c->why = why;
	return -VG_ECORRUPT;
}

/* How far terms may be apart that processors with unlike kernels sum. */
static float term_error(const struct check *c, uint32_t no)
{
	const struct dist_kernels *kernels = dist_kernels_get();
	const float *centroid = c->core->centroids + (size_t)no * c->core->dim;
	uint32_t dim = c->core->dim;
	float cc = kernels->dot(centroid, centroid, dim);
	float rr = kernels->dot(c->s->rest, c->s->rest, dim);

	return (float)(4 * dist_fast_error(dim)) * (rr + 2 * sqrtf(cc * rr));
}

/* I2 of one record. */
static int check_record(struct check *c, uint32_t no,
	const struct ivf_block *block, uint32_t at)
{
	const struct ivf_core *core = c->core;
	const float *row = rows_get(c->v->rows, block->slot[at]);
	bool has_code = core->n_lists > 0 && ivf_prepare(c->v, row, c->s->vec);
	struct ivf_record record;

	assert(no <= core->n_lists && at < IVF_BLOCK);
	if (has_code != (no < core->n_lists))
		return say(c, "I2: a row is in the last list, or not, wrongly");
	if (!has_code)
		return 0;
	record = ivf_code(c->v, core, c->s->vec, no, c->s);
	if (memcmp(record.code, block->code + (size_t)at * core->pq.m,
		    core->pq.m) != 0)
		return say(c, "I2: a code is not its row's");
	if (!(fabsf(record.term - block->term[at]) <= term_error(c, no)))
		return say(c, "I2: a term is not its row's");
	return 0;
}

/* I1 of one slot. */
static int check_slot(struct check *c, uint32_t slot)
{
	uint64_t bit = 1ull << slot % 64;

	assert(c->bound % 64 == 0);
	if (slot >= c->bound || !ivf_core_has(c->core, slot))
		return say(c, "I1: a list has a slot that is not in");
	if (c->seen[slot / 64] & bit)
		return say(c, "I1: a slot is in two lists");
	c->seen[slot / 64] |= bit;
	c->n++;
	return 0;
}

static int check_list(struct check *c, uint32_t no)
{
	const struct ivf_list *list = &c->core->list[no];
	uint32_t n = atomic_load_explicit(&list->n, memory_order_acquire);
	const struct ivf_block *block = list->first;
	int rc = 0;

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint32_t at = i % IVF_BLOCK;

		if (i > 0 && at == 0)
			block = block->next;
		if (!block)
			return say(c, "I1: a list is shorter than it says");
		rc = check_slot(c, block->slot[at]);
		if (rc == 0)
			rc = check_record(c, no, block, at);
	}
	return rc;
}

/* Above every slot that is in, and how many are. */
static uint32_t count_bits(const struct ivf_core *core, uint32_t *bound)
{
	uint32_t n = 0;

	*bound = 0;
	for (uint32_t i = 0; i < BITS_CHUNKS; i++) {
		uint32_t from = i << BITS_SHIFT,
			 end = from + (1u << BITS_SHIFT);

		if (!ivf_core_bits(core, from))
			continue;
		for (uint32_t slot = from; slot < end; slot += 64)
			n += (uint32_t)__builtin_popcountll(
				atomic_load_explicit(ivf_core_bits(core, slot),
					memory_order_acquire));
		*bound = end;
	}
	return n;
}

int ivf_check(struct ivf *v, const char **why)
{
	struct ivf_core *core = ivf_core_get(v);
	struct check c = {.v = v, .core = core, .why = NULL};
	uint32_t n = count_bits(core, &c.bound);
	int rc;

	c.seen = calloc((size_t)c.bound / 64 + 1, sizeof(*c.seen));
	rc = c.seen ? ivf_scratch_new(&c.s) : -ENOMEM;
	if (rc == 0)
		rc = ivf_scratch_reserve(c.s, core, 1);
	for (uint32_t i = 0; i <= core->n_lists && rc == 0; i++)
		rc = check_list(&c, i);
	if (rc == 0 && (c.n != n || c.n != atomic_load(&core->n)))
		rc = say(&c, "I1: a slot that is in is in no list");
	if (rc == -VG_ECORRUPT)
		*why = c.why;
	ivf_scratch_free(c.s);
	free(c.seen);
	ivf_core_put(v, core);
	return rc;
}
