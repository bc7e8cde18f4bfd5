/* SPDX-License-Identifier: Apache-2.0 */
/* origins.c: see origins.h. */
#include "src/origins.h"

#include <assert.h>
#include <string.h>

static_assert((ORIGINS_KEPT & (ORIGINS_KEPT - 1)) == 0 &&
		      (ORIGINS_STREAM & (ORIGINS_STREAM - 1)) == 0,
	"a ring's place is its number's low bits");

void origins_clear(struct origins *o)
{
	memset(o, 0, sizeof(*o));
}

static bool is_row(const struct op_origin *origin)
{
	return origin->request & ORIGIN_IS_ROW;
}

void origins_add(struct origins *o, const struct op_origin *origin)
{
	if (origin->session == 0)
		return;
	if (is_row(origin))
		o->stream[o->n_stream++ % ORIGINS_STREAM] = *origin;
	else
		o->kept[o->n_kept++ % ORIGINS_KEPT] = *origin;
	assert(o->n_kept + o->n_stream > 0);
}

/* Only requests that come a second time are looked up: there are few. */
bool origins_find(const struct origins *o, const struct op_origin *key,
	int32_t *result)
{
	const struct op_origin *ring = is_row(key) ? o->stream : o->kept;
	uint32_t n = is_row(key) ? ORIGINS_STREAM : ORIGINS_KEPT;

	assert(key->session != 0);
	for (uint32_t i = 0; i < n; i++) {
		if (ring[i].session != key->session ||
			ring[i].request != key->request)
			continue;
		*result = ring[i].result;
		return true;
	}
	return false;
}

static uint32_t list(const struct op_origin *ring, uint32_t cap, uint64_t n,
	struct op_origin *out)
{
	uint64_t first = n > cap ? n - cap : 0;

	assert(n - first <= cap);
	for (uint64_t i = first; i < n; i++)
		out[i - first] = ring[i % cap];
	return (uint32_t)(n - first);
}

uint32_t origins_list(const struct origins *o, struct op_origin *out)
{
	uint32_t n = list(o->kept, ORIGINS_KEPT, o->n_kept, out);

	n += list(o->stream, ORIGINS_STREAM, o->n_stream, out + n);
	assert(n <= ORIGINS_MAX);
	return n;
}
