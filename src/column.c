/* SPDX-License-Identifier: Apache-2.0 */
/* column.c: see column.h. */
#include "src/column.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

/*
 * A chunk holds at least 4 MiB of items, so that all but the first 2 MiB of a
 * column can be huge pages, and at most 2^20 items: then the table of 2^32
 * items is 32 KiB to 2 MiB of address space, of which only what is used is
 * ever touched.
 */
#define CHUNK_MIN (4u << 20)
#define SHIFT_MAX 20
#define HUGE_PAGE (2u << 20)

/*
 * What is in memory is asked of the kernel, some .7 us a row of 3 KB: too much
 * for each row of each search. So every LOOK_EVERY-th fetch asks of one row. As
 * soon as one is missing, and when rows have just been mapped, each row is asked
 * of until WARY fetches in a row have found all. Where a share of the rows is
 * missing, one fetch in LOOK_EVERY over that share goes without.
 */
#define LOOK_EVERY 4u
#define WARY 64u
#define AHEAD_BYTES (2u << 20)
#define PAGE 4096u
#define PAGES_MAX 72u /* of an item, or of what it is looked at with */

/* Bytes of a table of chunks, of pointers. */
static size_t table_len(const struct column *c)
{
	return ((size_t)1 << (32 - c->rows.shift)) * sizeof(*c->rows.chunk);
}

/* Of one of flags. */
static size_t flags_len(const struct column *c)
{
	return ((size_t)1 << (32 - c->rows.shift)) * sizeof(*c->is_random);
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
	if (c->is_random)
		munmap((void *)c->is_random, flags_len(c));
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
	if (!c->is_random)
		c->is_random = map_anonymous(flags_len(c));
	if (!c->map || !c->is_random)
		return -ENOMEM;
	if (atomic_load_explicit(&c->map[chunk], memory_order_relaxed))
		return 0;
	rc = lost_new(column_at(c, i), (size_t)c->rows.stride << c->rows.shift,
		&c->n_lost, &lost);
	if (rc < 0)
		return rc;
	atomic_store_explicit(&c->map[chunk], lost, memory_order_release);
	atomic_store_explicit(&c->n_wary, WARY, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->n_maps, 1, memory_order_release);
	return 0;
}

int column_check_lost(const struct column *c, uint32_t i)
{
	struct lost *lost = atomic_load_explicit(
		&c->map[i >> c->rows.shift], memory_order_acquire);

	assert(c->map && i >> c->rows.shift < c->n_chunks);
	return lost ? lost_check(lost, column_at(c, i), c->rows.stride) : 0;
}

/* ---- what is on the disk ---- */

/* The pages of item i and of those it is looked at with; none if its chunk is
 * not of a file. */
static struct iovec pages_of(const struct column *c, uint32_t i)
{
	const struct rows *r = &c->rows;
	uint32_t n = rows_is_sure(r, i) ? 1 : 1u << r->group;
	uint32_t first = i & ~(n - 1), mask = (1u << r->shift) - 1;
	uintptr_t from, to;

	if (!atomic_load_explicit(&c->map[i >> r->shift], memory_order_acquire))
		return (struct iovec){0};
	assert((first & mask) + n <= mask + 1);
	from = (uintptr_t)atomic_load_explicit(
		       &r->chunk[i >> r->shift], memory_order_acquire) +
	       (size_t)(first & mask) * r->stride;
	to = VG_ALIGN_UP(from + (size_t)n * r->stride, (uintptr_t)PAGE);
	from &= ~(uintptr_t)(PAGE - 1);
	return (struct iovec){(void *)from, to - from};
}

/* Whether a page of an item is not in memory, as far as the kernel tells. */
static bool is_missing(struct iovec pages)
{
	unsigned char in[PAGES_MAX];
	size_t n = pages.iov_len / PAGE;

	assert(n <= PAGES_MAX);
	if (n == 0 || mincore(pages.iov_base, pages.iov_len, in) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!(in[i] & 1))
			return true;
	return false;
}

/* Whether each of n items is to be looked at. */
static bool is_wary(struct column *c, const uint32_t *item, uint32_t n)
{
	uint32_t nth;

	if (atomic_load_explicit(&c->n_wary, memory_order_relaxed) > 0)
		return true;
	nth = atomic_fetch_add_explicit(&c->n_fetches, 1, memory_order_relaxed);
	return nth % LOOK_EVERY == 0 &&
	       is_missing(pages_of(c, item[nth / LOOK_EVERY % n]));
}

void column_make_random(struct column *c, uint32_t i)
{
	uint32_t chunk = i >> c->rows.shift;

	if (atomic_exchange_explicit(
		    &c->is_random[chunk], true, memory_order_relaxed))
		return;
	madvise(atomic_load_explicit(
			&c->rows.chunk[chunk], memory_order_acquire),
		(size_t)c->rows.stride << c->rows.shift, MADV_RANDOM);
}

void column_fetch(struct column *c, const uint32_t *item, uint32_t n)
{
	uint32_t n_missing = 0, wary;

	if (n == 0 ||
		atomic_load_explicit(&c->n_maps, memory_order_acquire) == 0 ||
		!is_wary(c, item, n))
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct iovec pages = pages_of(c, item[i]);

		if (!is_missing(pages))
			continue;
		column_make_random(c, item[i]);
		madvise(pages.iov_base, pages.iov_len, MADV_WILLNEED);
		n_missing++;
	}
	/* Not in one step: a count that another one spoils is as good. */
	wary = atomic_load_explicit(&c->n_wary, memory_order_relaxed);
	atomic_store_explicit(&c->n_wary,
		n_missing > 0 ? WARY : wary - (wary > 0), memory_order_relaxed);
}

/* A look at the last page stands for all: items come and go in their order. */
void column_fetch_range(struct column *c, uint32_t from, uint32_t to)
{
	uint32_t per = 1u << c->rows.shift;

	if (atomic_load_explicit(&c->n_maps, memory_order_acquire) == 0)
		return;
	while (from < to) {
		uint32_t end = VG_MIN(to, (from | (per - 1)) + 1);
		struct iovec first = pages_of(c, from),
			     last = pages_of(c, end - 1);

		if (first.iov_len > 0 &&
			atomic_load_explicit(
				&c->is_random[from >> c->rows.shift],
				memory_order_relaxed) &&
			is_missing(last))
			madvise(first.iov_base,
				(size_t)((char *)last.iov_base + last.iov_len -
					 (char *)first.iov_base),
				MADV_WILLNEED);
		from = end;
	}
}

void column_fetch_ahead(struct column *c, uint32_t i, uint32_t *at)
{
	uint32_t step = AHEAD_BYTES / c->rows.stride;

	if (*at > i && *at - i <= step)
		return;
	*at = i + VG_MIN(step, UINT32_MAX - i);
	column_fetch_range(c, i, i + VG_MIN(2 * step, UINT32_MAX - i));
}
