/* SPDX-License-Identifier: Apache-2.0 */
/* column.c: see column.h. */
#include "src/column.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

/*
 * A chunk holds at least 4 MiB of items, so that all but the first 2 MiB of a
 * column can be huge pages, and at most 2^20 items: then the table of 2^32
 * items is 32 KiB to 2 MiB of address space, of which only what is used is
 * ever touched.
 */
#define CHUNK_MIN (4u << 20)
#define SHIFT_MAX 20
#define HUGE_PAGE (2u << 20)

/* Bytes of a table of chunks, of pointers. */
static size_t table_len(const struct column *c)
{
	return ((size_t)1 << (32 - c->rows.shift)) * sizeof(*c->rows.chunk);
}

static void *map_anonymous(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int column_init(struct column *c, uint32_t stride)
{
	uint32_t shift = 12;

	assert(stride > 0);
	while (shift < SHIFT_MAX && ((size_t)stride << shift) < CHUNK_MIN)
		shift++;
	*c = (struct column){
		.rows = {.shift = shift, .stride = stride},
		.chunk_len = VG_ALIGN_UP((size_t)stride << shift, HUGE_PAGE),
	};
	c->rows.chunk = map_anonymous(table_len(c));
	return c->rows.chunk ? 0 : -ENOMEM;
}

void column_fini(struct column *c)
{
	if (!c->rows.chunk)
		return;
	for (uint32_t i = 0; i < c->n_chunks; i++) {
		/* First: what is mapped there next is no range of ours. */
		if (c->map)
			lost_free(atomic_load_explicit(
				&c->map[i], memory_order_relaxed));
		munmap(atomic_load_explicit(
			       &c->rows.chunk[i], memory_order_relaxed),
			c->chunk_len);
	}
	if (c->map)
		munmap((void *)c->map, table_len(c));
	munmap((void *)c->rows.chunk, table_len(c));
	*c = (struct column){0};
}

static int add_chunk(struct column *c)
{
	/* One huge page more, so that the chunk can begin on one. */
	size_t len = c->chunk_len + HUGE_PAGE;
	char *raw = map_anonymous(len), *chunk;
	size_t head;

	if (!raw)
		return -ENOMEM;
	chunk = (char *)VG_ALIGN_UP((uintptr_t)raw, (uintptr_t)HUGE_PAGE);
	head = (size_t)(chunk - raw);
	if (head)
		munmap(raw, head);
	munmap(chunk + c->chunk_len, HUGE_PAGE - head);
	if (c->n_chunks)
		madvise(chunk, c->chunk_len, MADV_HUGEPAGE);
	else if (c->chunk_len > HUGE_PAGE)
		madvise(chunk + HUGE_PAGE, c->chunk_len - HUGE_PAGE,
			MADV_HUGEPAGE);
	atomic_store_explicit(
		&c->rows.chunk[c->n_chunks++], chunk, memory_order_release);
	return 0;
}

int column_reserve(struct column *c, uint32_t n)
{
	uint32_t need = n ? ((n - 1) >> c->rows.shift) + 1 : 0;

	assert(c->rows.chunk);
	while (c->n_chunks < need) {
		int rc = add_chunk(c);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int column_add_map(struct column *c, uint32_t i)
{
	uint32_t chunk = i >> c->rows.shift;
	struct lost *lost;
	int rc;

	assert(chunk < c->n_chunks && i == chunk << c->rows.shift);
	if (!c->map)
		c->map = map_anonymous(table_len(c));
	if (!c->map)
		return -ENOMEM;
	if (atomic_load_explicit(&c->map[chunk], memory_order_relaxed))
		return 0;
	rc = lost_new(column_at(c, i), (size_t)c->rows.stride << c->rows.shift,
		&c->n_lost, &lost);
	if (rc == 0)
		atomic_store_explicit(
			&c->map[chunk], lost, memory_order_release);
	return rc;
}

int column_check_lost(const struct column *c, uint32_t i)
{
	struct lost *lost = atomic_load_explicit(
		&c->map[i >> c->rows.shift], memory_order_acquire);

	assert(c->map && i >> c->rows.shift < c->n_chunks);
	return lost ? lost_check(lost, column_at(c, i), c->rows.stride) : 0;
}
