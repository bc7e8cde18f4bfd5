/* SPDX-License-Identifier: Apache-2.0 */
/* arenakit.c: see arenakit.h. */
#include "tests/arenakit.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

const struct arena_attr ak_plain = {.name_len = 1, .name = "x"};

uint64_t ak_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct arena_attr ak_attr(uint64_t *state)
{
	struct arena_attr a = {
		.serial = ak_next(state),
		.mtime_ns = (int64_t)ak_next(state),
		.mode = (uint32_t)ak_next(state),
		.flags = (uint32_t)ak_next(state),
		.area = (uint8_t)ak_next(state),
		.name_len = (uint8_t)(1 + ak_next(state) % VG_ID_MAX),
	};

	memset(a.name, (int)('a' + ak_next(state) % 26), a.name_len);
	memset(a.uuid, (int)ak_next(state), sizeof(a.uuid));
	return a;
}

struct ak_change ak_change(const struct ak_model *m, uint64_t *state)
{
	/* Mostly vectors, some text, now and then a batch. */
	static const size_t bound[] = {2000, 2000, 2000, 30000, 100000};
	struct ak_change c = {.slot = (unsigned)(ak_next(state) % AK_SLOTS)};
	const struct ak_slot *s = &m->slot[c.slot];
	uint64_t dice = ak_next(state) % 100;
	size_t most = bound[ak_next(state) % VG_ARRAY_LEN(bound)];

	if (ak_next(state) % 32 == 0)
		most = AK_PART_MAX / 2;
	c.part = ak_next(state) % 4 ? ARENA_BODY : ARENA_META;
	c.kind = !s->is_there ? AK_NEW :
		 dice < 10    ? AK_DEL :
		 dice < 20    ? AK_PUT :
		 dice < 35    ? AK_TRUNCATE :
				AK_WRITE;
	c.attr = ak_attr(state);
	c.fill = (char)('A' + ak_next(state) % 26);
	c.len = (size_t)(ak_next(state) % most);
	c.off = ak_next(state) % 2 ? s->part[c.part].len :
				     ak_next(state) % most;
	if (c.off + c.len > AK_PART_MAX)
		c.off = 0;
	if (c.kind == AK_TRUNCATE && ak_next(state) % 4 == 0)
		c.len = 0;
	return c;
}

static void lengthen(struct ak_bytes *b, size_t len)
{
	if (len > b->cap) {
		b->cap = len * 2;
		b->at = realloc(b->at, b->cap);
		must(b->at);
	}
	if (len > b->len)
		memset(b->at + b->len, 0, len - b->len);
}

void ak_apply(struct ak_model *m, const struct ak_change *c)
{
	struct ak_slot *s = &m->slot[c->slot];
	struct ak_bytes *b = &s->part[c->part];

	switch (c->kind) {
	case AK_NEW:
		s->is_there = true;
		s->part[0].len = s->part[1].len = 0;
		s->attr = c->attr;
		break;
	case AK_DEL:
		s->is_there = false;
		break;
	case AK_PUT:
		s->attr = c->attr;
		break;
	case AK_WRITE:
		if (!c->len)
			break;
		lengthen(b, c->off + c->len);
		memset(b->at + c->off, c->fill, c->len);
		b->len = VG_MAX(b->len, c->off + c->len);
		break;
	case AK_TRUNCATE:
		lengthen(b, c->len);
		b->len = c->len;
	}
}

int ak_enact(struct arena *a, uint32_t *idx, const struct ak_change *c)
{
	static _Thread_local char text[AK_PART_MAX];

	switch (c->kind) {
	case AK_NEW:
		return arena_file_new(a, &c->attr, idx);
	case AK_DEL:
		arena_file_del(a, *idx);
		return 0;
	case AK_PUT:
		return arena_file_put(a, *idx, &c->attr);
	case AK_WRITE:
		memset(text, c->fill, c->len);
		return arena_pwrite(a, *idx, c->part, c->off, text, c->len);
	default:
		return arena_truncate(a, *idx, c->part, c->len);
	}
}

bool ak_same_part(const struct arena *a, const struct ak_slot *s,
	enum arena_part part)
{
	size_t len;
	const char *bytes = arena_bytes(a, s->idx, part, &len);

	return bytes && len == s->part[part].len &&
	       (!len || !memcmp(bytes, s->part[part].at, len));
}

bool ak_same_file(const struct arena *a, const struct ak_slot *s)
{
	return !memcmp(arena_file_get(a, s->idx), &s->attr, sizeof(s->attr)) &&
	       ak_same_part(a, s, ARENA_BODY) && ak_same_part(a, s, ARENA_META);
}

void ak_fini(struct ak_model *m)
{
	for (int i = 0; i < AK_SLOTS; i++) {
		free(m->slot[i].part[0].at);
		free(m->slot[i].part[1].at);
	}
	free(m);
}
