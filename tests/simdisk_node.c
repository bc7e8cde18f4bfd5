/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk_node.c: files and directories with two faces, and what is between. */
#include "tests/simdisk_int.h"

#include <assert.h>
#include <string.h>

#include "tests/tap.h"

/* ---- memory ---- */

/* Tests wrap malloc, calloc, realloc and mmap to make the program's fail. */
static void *raw_alloc(size_t len)
{
	void *p = aligned_alloc(16, VG_ALIGN_UP(len + (len == 0), 16));

	must(p);
	return p;
}

void *sim_alloc(size_t len)
{
	return memset(raw_alloc(len), 0, len);
}

void *sim_grow(void *old, size_t old_len, size_t len)
{
	char *p = raw_alloc(len);

	assert(len >= old_len);
	if (old_len > 0)
		memcpy(p, old, old_len);
	memset(p + old_len, 0, len - old_len);
	free(old);
	return p;
}

uint64_t sim_draw(uint64_t *random, uint64_t below)
{
	assert(*random != 0 && below > 0);
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (*random * 0x2545f4914f6cdd1dull >> 20) % below;
}

/* A shared thing is freed by who lets go of it last, and sees what the others
 * did to it before: release, then acquire. */
static bool is_last(_Atomic uint32_t *refs)
{
	if (atomic_fetch_sub_explicit(refs, 1, memory_order_release) != 1)
		return false;
	atomic_thread_fence(memory_order_acquire);
	return true;
}

static void ref(_Atomic uint32_t *refs)
{
	atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

static bool is_alone(_Atomic uint32_t *refs)
{
	return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

/* ---- pages ---- */

void sim_chunk_unref(struct sim_chunk *chunk)
{
	if (chunk && is_last(&chunk->refs))
		free(chunk);
}

static struct sim_chunk *chunk_ref(struct sim_chunk *chunk)
{
	if (chunk)
		ref(&chunk->refs);
	return chunk;
}

static void pages_reach(struct sim_node *node, size_t n)
{
	if (n > node->cap_pages) {
		size_t cap = VG_MAX(n, 2 * node->cap_pages);

		node->page = sim_grow(node->page,
			node->cap_pages * sizeof(node->page[0]),
			cap * sizeof(node->page[0]));
		node->cap_pages = cap;
	}
	node->n_pages = VG_MAX(node->n_pages, n);
}

static void set_dirty(struct sim_node *node, size_t i)
{
	if (node->dirty_from == node->dirty_to)
		node->dirty_from = node->dirty_to = i;
	node->dirty_from = VG_MIN(node->dirty_from, i);
	node->dirty_to = VG_MAX(node->dirty_to, i + 1);
	node->page[i].is_dirty = true;
}

uint8_t *sim_page_own(struct sim_node *node, size_t i, bool whole)
{
	pages_reach(node, i + 1);

	struct sim_page *page = &node->page[i];

	if (page->now && is_alone(&page->now->refs))
		return page->now->bytes;

	struct sim_chunk *chunk = raw_alloc(sizeof(*chunk));

	atomic_init(&chunk->refs, 1);
	if (!page->now && !whole)
		memset(chunk->bytes, 0, SIM_PAGE);
	else if (!whole)
		memcpy(chunk->bytes, page->now->bytes, SIM_PAGE);
	sim_chunk_unref(page->now);
	page->now = chunk;
	return chunk->bytes;
}

void sim_bytes_put(struct sim_node *node, uint64_t offset, const uint8_t *bytes,
	size_t len)
{
	while (len > 0) { /* ends: each turn does at least a byte */
		size_t at = offset % SIM_PAGE;
		size_t n = VG_MIN(len, SIM_PAGE - at);
		uint8_t *to =
			sim_page_own(node, offset / SIM_PAGE, n == SIM_PAGE);

		memcpy(to + at, bytes, n);
		offset += n;
		bytes += n;
		len -= n;
	}
}

void sim_tail_clear(struct sim_node *node, uint64_t offset)
{
	size_t i = offset / SIM_PAGE, at = offset % SIM_PAGE;

	if (at > 0 && i < node->n_pages && node->page[i].now)
		memset(sim_page_own(node, i, false) + at, 0, SIM_PAGE - at);
}

void sim_pages_cut(struct sim_node *node, size_t first)
{
	for (size_t i = first; i < node->n_pages; i++) {
		sim_chunk_unref(node->page[i].now);
		node->page[i].now = NULL;
	}
}

void sim_bytes_get(const struct sim_node *node, uint64_t offset, uint8_t *out,
	size_t len)
{
	while (len > 0) { /* ends: each turn does at least a byte */
		size_t i = offset / SIM_PAGE, at = offset % SIM_PAGE;
		size_t n = VG_MIN(len, SIM_PAGE - at);

		if (i < node->n_pages && node->page[i].now)
			memcpy(out, node->page[i].now->bytes + at, n);
		else
			memset(out, 0, n);
		offset += n;
		out += n;
		len -= n;
	}
}

/* ---- space ---- */

bool sim_taken_get(const struct sim_taken *taken, size_t page)
{
	return page / 64 < taken->n && taken->word[page / 64] >> page % 64 & 1;
}

/* The bits of word w that lie in from..to. */
static uint64_t taken_mask(size_t w, size_t from, size_t to)
{
	uint64_t mask = UINT64_MAX;

	assert(from < to && w * 64 < to && w * 64 + 64 > from);
	if (from > w * 64)
		mask &= UINT64_MAX << (from - w * 64);
	if (to < w * 64 + 64)
		mask &= UINT64_MAX >> (w * 64 + 64 - to);
	return mask;
}

static uint64_t bits_count(uint64_t word)
{
	return (uint64_t)__builtin_popcountll(word);
}

uint64_t sim_taken_put(struct sim_taken *taken, size_t from, size_t to)
{
	uint64_t new = 0;

	if (from >= to)
		return 0;
	if (to > taken->n * 64) {
		taken->word = sim_grow(taken->word, taken->n * 8,
			VG_ALIGN_UP(to, 64) / 8);
		taken->n = VG_ALIGN_UP(to, 64) / 64;
	}
	for (size_t w = from / 64; w * 64 < to; w++) {
		uint64_t mask = taken_mask(w, from, to);

		new += bits_count(mask & ~taken->word[w]);
		taken->word[w] |= mask;
	}
	return new;
}

uint64_t sim_taken_cut(struct sim_taken *taken, size_t from)
{
	uint64_t old = 0;

	for (size_t w = from / 64; w < taken->n; w++) {
		uint64_t mask = taken_mask(w, from, taken->n * 64);

		old += bits_count(mask & taken->word[w]);
		taken->word[w] &= ~mask;
	}
	taken->n = VG_MIN(taken->n, VG_ALIGN_UP(from, 64) / 64);
	return old;
}

uint64_t sim_taken_count(const struct sim_taken *taken)
{
	uint64_t n = 0;

	for (size_t w = 0; w < taken->n; w++)
		n += bits_count(taken->word[w]);
	return n;
}

void sim_taken_copy(struct sim_taken *to, const struct sim_taken *from)
{
	free(to->word);
	*to = (struct sim_taken){0};
	if (from->n > 0) {
		to->word = raw_alloc(from->n * 8);
		memcpy(to->word, from->word, from->n * 8);
		to->n = from->n;
	}
}

static bool is_taken_safe(const struct sim_node *node)
{
	return node->taken.n == node->safe_taken.n &&
	       (node->taken.n == 0 ||
		       memcmp(node->taken.word, node->safe_taken.word,
			       node->taken.n * 8) == 0);
}

/* ---- names ---- */

static struct sim_entry *names_get(const struct sim_names *names,
	const char *name)
{
	for (uint32_t i = 0; i < names->n; i++)
		if (strcmp(names->entry[i].name, name) == 0)
			return &names->entry[i];
	return NULL;
}

uint32_t sim_names_find(const struct sim_names *names, const char *name)
{
	struct sim_entry *entry = names_get(names, name);

	return entry ? entry->ino : 0;
}

void sim_names_put(struct sim_names *names, const struct sim_entry *entry)
{
	struct sim_entry *old = names_get(names, entry->name);

	if (old && entry->ino > 0)
		old->ino = entry->ino;
	else if (old)
		*old = names->entry[--names->n];
	if (old || entry->ino == 0)
		return;
	if (names->n == names->cap) {
		uint32_t cap = VG_MAX(8u, 2 * names->cap);

		names->entry = sim_grow(names->entry,
			names->cap * sizeof(names->entry[0]),
			cap * sizeof(names->entry[0]));
		names->cap = cap;
	}
	names->entry[names->n++] = *entry;
}

static void names_copy(struct sim_names *to, const struct sim_names *from)
{
	*to = (struct sim_names){.n = from->n, .cap = from->n};
	if (from->n > 0) {
		to->entry = raw_alloc(from->n * sizeof(to->entry[0]));
		memcpy(to->entry, from->entry, from->n * sizeof(to->entry[0]));
	}
}

/* ---- what is pending ---- */

static void pending_unref(struct sim_pending *p)
{
	while (p && is_last(&p->refs)) { /* ends: the chain does */
		struct sim_pending *older = p->older;

		free(p);
		p = older;
	}
}

/* Adds one that the caller fills in: its bytes are of length len. */
static struct sim_pending *pending_add(struct sim *sim, struct sim_node *node,
	enum sim_pending_kind kind, size_t len)
{
	struct sim_pending *p = raw_alloc(sizeof(*p) + len);

	*p = (struct sim_pending){.kind = kind,
		.older = node->last,
		.order = ++sim->order,
		.len = len};
	atomic_init(&p->refs, 1);
	node->last = p;
	return p;
}

/* ---- nodes ---- */

struct sim_node *sim_node_new(bool is_dir)
{
	struct sim_node *node = sim_alloc(sizeof(*node));

	atomic_init(&node->refs, 1);
	node->is_dir = is_dir;
	return node;
}

struct sim_node *sim_node_ref(struct sim_node *node)
{
	ref(&node->refs);
	return node;
}

void sim_node_unref(struct sim_node *node)
{
	if (!node || !is_last(&node->refs))
		return;
	for (size_t i = 0; i < node->n_pages; i++) {
		sim_chunk_unref(node->page[i].now);
		sim_chunk_unref(node->page[i].safe);
	}
	pending_unref(node->last);
	free(node->page);
	free(node->taken.word);
	free(node->safe_taken.word);
	free(node->now.entry);
	free(node->safe.entry);
	free(node);
}

bool sim_node_is_clean(const struct sim_node *node)
{
	return !node->last && !node->is_diverged &&
	       node->dirty_from == node->dirty_to && is_taken_safe(node);
}

static struct sim_node *node_copy(const struct sim_node *from)
{
	struct sim_node *node = raw_alloc(sizeof(*node));

	/* All but refs, which others may change meanwhile. */
	memcpy((char *)node + offsetof(struct sim_node, is_dir),
		(const char *)from + offsetof(struct sim_node, is_dir),
		sizeof(*node) - offsetof(struct sim_node, is_dir));
	atomic_init(&node->refs, 1);
	if (node->last)
		ref(&node->last->refs);
	node->cap_pages = from->n_pages;
	node->page = NULL;
	if (from->n_pages > 0) {
		node->page = raw_alloc(from->n_pages * sizeof(node->page[0]));
		memcpy(node->page, from->page,
			from->n_pages * sizeof(node->page[0]));
	}
	for (size_t i = 0; i < node->n_pages; i++) {
		chunk_ref(node->page[i].now);
		chunk_ref(node->page[i].safe);
	}
	node->taken = node->safe_taken = (struct sim_taken){0};
	sim_taken_copy(&node->taken, &from->taken);
	sim_taken_copy(&node->safe_taken, &from->safe_taken);
	names_copy(&node->now, &from->now);
	names_copy(&node->safe, &from->safe);
	return node;
}

struct sim_node *sim_own(struct sim *sim, uint32_t ino)
{
	struct sim_inode *inode = &sim->inode[ino];

	assert(ino > 0 && ino < sim->n_inodes && inode->node);
	if (!is_alone(&inode->node->refs)) {
		struct sim_node *node = node_copy(inode->node);

		sim_node_unref(inode->node);
		inode->node = node;
	}
	return inode->node;
}

/* ---- changes of files ---- */

/* A page that a failed sync forgot is about to be written to: all of it goes
 * to the disk with the next sync, and may do so before. */
static void page_remember(struct sim *sim, struct sim_node *node, size_t i)
{
	if (i >= node->n_pages || !node->page[i].is_lost)
		return;

	uint64_t offset = (uint64_t)i * SIM_PAGE;
	uint64_t left = node->size > offset ? node->size - offset : 0;
	size_t len = (size_t)VG_MIN(left, (uint64_t)SIM_PAGE);
	struct sim_pending *p = pending_add(sim, node, SIM_DATA, len);

	p->size = node->size;
	p->offset = offset;
	sim_bytes_get(node, offset, p->bytes, len);
	node->page[i].is_lost = false;
	set_dirty(node, i);
}

void sim_file_write(struct sim *sim, struct sim_node *node, uint64_t offset,
	const void *bytes, size_t len)
{
	if (len == 0)
		return;
	for (size_t i = offset / SIM_PAGE; i * SIM_PAGE < offset + len; i++)
		page_remember(sim, node, i);

	struct sim_pending *p = pending_add(sim, node, SIM_DATA, len);

	node->size = VG_MAX(node->size, offset + len);
	p->size = node->size;
	p->offset = offset;
	memcpy(p->bytes, bytes, len);
	sim_bytes_put(node, offset, bytes, len);
	for (size_t i = offset / SIM_PAGE; i * SIM_PAGE < offset + len; i++)
		set_dirty(node, i);
}

void sim_file_truncate(struct sim *sim, struct sim_node *node, uint64_t size)
{
	size_t first = (size_t)VG_ALIGN_UP(size, SIM_PAGE) / SIM_PAGE;

	if (size == node->size)
		return;
	if (size < node->size && size % SIM_PAGE > 0)
		page_remember(sim, node, first - 1);

	struct sim_pending *p = pending_add(sim, node,
		size < node->size ? SIM_CUT : SIM_SIZE, 0);

	if (size < node->size) {
		sim_tail_clear(node, size);
		sim_pages_cut(node, first);
		if (size % SIM_PAGE > 0 && first <= node->n_pages)
			set_dirty(node, first - 1);
		for (size_t i = first; i < node->n_pages; i++) {
			node->page[i].is_lost = false;
			set_dirty(node, i);
		}
	}
	node->size = size;
	p->size = size;
}

void sim_dir_set(struct sim *sim, struct sim_node *node,
	const struct sim_entry *entry, uint32_t n)
{
	struct sim_pending *p =
		pending_add(sim, node, SIM_SET, n * sizeof(*entry));

	assert(node->is_dir && (n == 1 || n == 2));
	p->n_names = n;
	memcpy(p->bytes, entry, n * sizeof(*entry));
	for (uint32_t i = 0; i < n; i++)
		sim_names_put(&node->now, &entry[i]);
}

/* ---- syncs ---- */

/* Oldest first: the chain turned round. It is owned, so it may be. */
static void names_sync(struct sim_node *node)
{
	size_t n = 0;

	for (struct sim_pending *p = node->last; p; p = p->older)
		n++;

	struct sim_pending **all = raw_alloc(n * sizeof(all[0]));

	for (struct sim_pending *p = node->last; p; p = p->older)
		all[--n] = p;
	for (struct sim_pending *p = NULL; p != node->last; n++) {
		const struct sim_entry *entry;

		p = all[n];
		entry = (const struct sim_entry *)p->bytes;
		for (uint32_t i = 0; i < p->n_names; i++)
			sim_names_put(&node->safe, &entry[i]);
	}
	free(all);
}

static void page_sync(struct sim_page *page)
{
	if (page->is_dirty && page->safe != page->now) {
		sim_chunk_unref(page->safe);
		page->safe = chunk_ref(page->now);
	}
	page->is_dirty = false;
}

void sim_node_sync(struct sim_node *node)
{
	if (node->is_dir)
		names_sync(node);
	for (size_t i = node->dirty_from; i < node->dirty_to; i++)
		page_sync(&node->page[i]);
	node->dirty_from = node->dirty_to = 0;
	while (node->n_pages > 0 && !node->page[node->n_pages - 1].now &&
		!node->page[node->n_pages - 1].safe)
		node->n_pages--;
	node->safe_size = node->size;
	if (!is_taken_safe(node))
		sim_taken_copy(&node->safe_taken, &node->taken);
	pending_unref(node->last);
	node->last = NULL;
}

/* The sizes are metadata, which a failed sync of data does not lose; they are
 * pending as before, without the bytes. */
static void sizes_keep(struct sim_node *node)
{
	struct sim_pending *all = NULL, **end = &all;

	for (struct sim_pending *p = node->last; p; p = p->older) {
		struct sim_pending *kept = raw_alloc(sizeof(*kept));

		*kept = (struct sim_pending){.kind = p->kind == SIM_DATA ?
							     SIM_SIZE :
							     p->kind,
			.order = p->order,
			.size = p->size};
		atomic_init(&kept->refs, 1);
		*end = kept;
		end = &kept->older;
	}
	assert(!all || all->size == node->size);
	pending_unref(node->last);
	node->last = all;
}

void sim_node_lose(struct sim_node *node, uint64_t *random)
{
	size_t from = node->dirty_from, to = node->dirty_to;

	node->is_diverged = true;
	if (node->is_dir) {
		pending_unref(node->last);
		node->last = NULL;
		return;
	}
	node->dirty_from = node->dirty_to = 0;
	for (size_t i = from; i < to; i++) {
		struct sim_page *page = &node->page[i];

		if (page->is_dirty && !page->now) {
			set_dirty(node, i); /* cut: that is the size's */
		} else if (page->is_dirty) {
			if (random && sim_draw(random, 2))
				page_sync(page);
			page->is_dirty = false;
			page->is_lost = page->now != page->safe;
		}
	}
	sizes_keep(node);
}
