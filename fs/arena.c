/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.c: see arena.h.
 *
 * The memory file:
 *
 *   0         head      magic, version, limits, session, n_high
 *   4 KiB     small     32 KiB of the caller's
 *   64 KiB    table     65,536 records of 1 KiB; those below n_high were used
 *   + 64 MiB  -
 *   128 MiB   large     64 * 2 MiB of the caller's
 *   256 MiB   space     blocks of 4 KiB << order, order 0..16, buddy.h
 *
 * No pointers: a block is named by its place in the space. Numbers are the
 * machine's own, for an arena never leaves the machine that made it.
 *
 * What a daemon that was killed leaves. A killed thread has executed all stores
 * before one place of its program and none behind it, so it is enough that each
 * change becomes valid by one store of one word, and that the compiler keeps
 * the order (release stores). These words are:
 *
 *   I1 record.state   ARENA_LIVE after all else of the record was written; a
 *                     record in any other state has no meaning at all.
 *   I2 record.cur     which of the two attribute copies holds; the other one
 *                     is written before cur turns to it.
 *   I3 part.block     0, or place and order of the part's block: turns to a
 *                     new block after `size` bytes were copied there.
 *   I4 part.size      grows after the bytes below it were written; so bytes at
 *                     size and above are garbage, and are zeroed when the part
 *                     grows over a gap.
 *   I5 head.n_high    only grows, and before the record below it is used.
 *
 * Free space is written down nowhere: it is what no live record has. A block
 * taken for a part that did not yet name it is free again after a restart.
 *
 * Memory. Pages are the kernel's to give when they are first touched, and a
 * store into the map that finds no memory ends in SIGBUS. So we never touch a
 * page first through the map: blocks of 64 KiB and more are written by
 * pwrite(2), which can fail; smaller blocks are cut from chunks of 64 KiB that
 * fallocate(2) has filled before; so is the table. A free chunk of 64 KiB that
 * has all its pages keeps them (a "spare"), whether it was of small blocks or
 * the whole of it was written as a part of a large one, until there are too many
 * spares: then all give them back. So the common small file costs no system
 * call, and one of some MB no new pages. Spares behind the bytes that a large
 * block is taken for go at once: `used` would not count them.
 */
#include "fs/arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/buddy.h"

#define MAGIC 0x616e657261677661ull /* "avgarena" */
#define ARENA_VERSION 2
#define PAGE 4096u
#define CHUNK (64u << 10)
#define CHUNK_ORDER 4 /* PAGE << CHUNK_ORDER == CHUNK */
#define TABLE_OFF CHUNK
#define RECORD 1024u
#define LARGE_OFF (128ull << 20)
#define LARGE_STEP (2u << 20)
#define SPACE_OFF (256ull << 20)
#define TOP_BLOCK ((uint64_t)PAGE << BUDDY_TOP) /* 256 MiB */
#define SPARES_MAX 256 /* chunks: 16 MiB of memory kept for the next files */
#define ZEROS (64u << 10)

struct head {
	uint64_t magic;
	uint32_t version;
	uint32_t record_len;
	uint64_t limit;
	uint64_t space_len;
	uint64_t session;
	_Atomic uint32_t n_high; /* I5 */
	uint32_t pad;
	_Atomic uint64_t last_number; /* only grows */
};

struct part {
	_Atomic uint64_t block; /* I3: byte offset in the space | order + 1 */
	_Atomic uint64_t size;	/* I4 */
};

enum state { ARENA_FREE = 0, ARENA_LIVE = 1 };

struct record {
	_Atomic uint32_t state; /* I1 */
	_Atomic uint32_t cur;	/* I2 */
	struct part part[2];	/* by enum arena_part */
	struct arena_attr attr[2];
};

static_assert(sizeof(struct head) <= PAGE, "the head has its place");
static_assert(sizeof(struct arena_attr) == 376, "an arena's format");
static_assert(sizeof(struct record) <= RECORD, "a record has its place");
static_assert(PAGE + ARENA_SMALL_LEN <= TABLE_OFF &&
		      TABLE_OFF + (uint64_t)ARENA_FILES_MAX * RECORD <=
			      LARGE_OFF &&
		      ARENA_LARGE_LEN <= LARGE_STEP &&
		      LARGE_OFF + (uint64_t)ARENA_LARGE_MAX * LARGE_STEP <=
			      SPACE_OFF,
	"the table and the caller's memory have their places");
static_assert(VG_BODY_MAX <= TOP_BLOCK, "a body fits the largest block");
static_assert(PAGE << CHUNK_ORDER == CHUNK, "a chunk is a block");

struct arena {
	int fd; /* borrowed */
	char *map;
	size_t map_len;
	struct head *head;
	pthread_mutex_t lock;
	/* All below: lock. */
	struct buddy buddy;
	uint64_t *spare;	 /* a bit per chunk: free and has its pages */
	uint32_t n_spares;
	uint64_t used;		 /* bytes of all parts, in pages */
	uint64_t *is_used;	 /* a bit per record */
	uint32_t lowest;	 /* no word of is_used below has a 0 bit */
	uint32_t n_files;
	uint32_t n_backed;	 /* records whose pages are there */
};

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

static void store(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static struct record *record_of(const struct arena *a, uint32_t idx)
{
	assert(idx < ARENA_FILES_MAX);
	return (struct record *)(void *)(a->map + TABLE_OFF +
		(size_t)idx * RECORD);
}

/* The record of a file that is there. */
static struct record *live(const struct arena *a, uint32_t idx)
{
	struct record *r = record_of(a, idx);

	assert(atomic_load(&r->state) == ARENA_LIVE);
	return r;
}

static struct part *part_of(const struct arena *a, uint32_t idx,
	enum arena_part part)
{
	assert(part == ARENA_BODY || part == ARENA_META);
	return &live(a, idx)->part[part];
}

static uint64_t block_make(uint32_t unit, unsigned order)
{
	return (uint64_t)unit * PAGE | (order + 1);
}

static uint32_t block_unit(uint64_t block)
{
	return (uint32_t)(block / PAGE);
}

static unsigned block_order(uint64_t block)
{
	assert(block % PAGE >= 1 && block % PAGE <= BUDDY_ORDERS);
	return (unsigned)(block % PAGE) - 1;
}

static uint64_t block_cap(uint64_t block)
{
	return block ? (uint64_t)PAGE << block_order(block) : 0;
}

/* Where a block begins in the memory file. */
static uint64_t block_off(uint64_t block)
{
	return SPACE_OFF + (uint64_t)block_unit(block) * PAGE;
}

static unsigned order_for(uint64_t len)
{
	unsigned order = 0;

	while ((uint64_t)PAGE << order < len)
		order++;
	assert(order < BUDDY_ORDERS);
	return order;
}

static uint64_t in_pages(uint64_t len)
{
	return VG_ALIGN_UP(len, PAGE);
}

/* Gives the pages of a range back. It can only fail on a wrong range. */
static void punch(const struct arena *a, uint64_t off, uint64_t len)
{
	int rc = fallocate(a->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)off, (off_t)len);

	assert(rc == 0 || errno == EINTR || errno == ENOMEM);
	(void)rc;
}

/* Takes the pages of a range, so that stores into the map find them. */
static int back(const struct arena *a, uint64_t off, uint64_t len)
{
	int rc;

	do {
		rc = fallocate(a->fd, 0, (off_t)off, (off_t)len);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -ENOSPC : 0;
}

static bool is_spare(const struct arena *a, uint32_t chunk)
{
	return a->spare[chunk / 64] >> chunk % 64 & 1;
}

static void spare_del(struct arena *a, uint32_t chunk)
{
	if (!is_spare(a, chunk))
		return;
	a->spare[chunk / 64] &= ~(1ull << chunk % 64);
	a->n_spares--;
}

/* Gives back the pages of all spares when there are too many. */
static void spare_add(struct arena *a, uint32_t chunk)
{
	uint64_t n = a->head->space_len / CHUNK;

	assert(!is_spare(a, chunk));
	a->spare[chunk / 64] |= 1ull << chunk % 64;
	if (++a->n_spares <= SPARES_MAX)
		return;
	for (uint32_t i = 0; i < n && a->n_spares; i++) {
		if (!a->spare[i / 64])
			i |= 63;
		if (!is_spare(a, i))
			continue;
		punch(a, SPACE_OFF + (uint64_t)i * CHUNK, CHUNK);
		spare_del(a, i);
	}
}

/* A large block for len bytes was taken: the spares in it are none any more. */
static void adopt_spares_locked(
	struct arena *a, uint32_t unit, unsigned order, uint64_t len)
{
	uint32_t first = unit >> CHUNK_ORDER, n = 1u << (order - CHUNK_ORDER);

	assert(order >= CHUNK_ORDER);
	for (uint32_t i = 0; i < n && a->n_spares; i++) {
		if (!is_spare(a, first + i))
			continue;
		spare_del(a, first + i);
		if ((uint64_t)i * CHUNK >= len)
			punch(a, SPACE_OFF + (uint64_t)(first + i) * CHUNK,
				CHUNK);
	}
}

/* A small block was taken: its chunk has pages. */
static int adopt_chunk_locked(struct arena *a, uint32_t unit, unsigned from)
{
	uint32_t chunk = unit >> CHUNK_ORDER;
	int rc;

	if (from < CHUNK_ORDER)
		return 0; /* a neighbour of ours had it backed */
	rc = is_spare(a, chunk) ?
		0 :
		back(a, SPACE_OFF + (uint64_t)chunk * CHUNK, CHUNK);
	spare_del(a, chunk);
	return rc;
}

/* A block for len bytes. */
static int block_new(struct arena *a, uint64_t len, uint64_t *block)
{
	unsigned order = order_for(len), from;
	uint32_t unit;
	int rc;

	pthread_mutex_lock(&a->lock);
	rc = buddy_new(&a->buddy, order, &unit, &from);
	if (!rc && order < CHUNK_ORDER) {
		rc = adopt_chunk_locked(a, unit, from);
		if (rc)
			buddy_free(&a->buddy, unit, order);
	} else if (!rc) {
		adopt_spares_locked(a, unit, order, len);
	}
	pthread_mutex_unlock(&a->lock);
	if (!rc)
		*block = block_make(unit, order);
	return rc;
}

/* No record may name the block any more, whose first len bytes were written. */
static void block_free(struct arena *a, uint64_t block, uint64_t len)
{
	uint64_t n_whole = in_pages(len) / CHUNK;
	unsigned order, merged;

	if (!block)
		return;
	order = block_order(block);
	if (order < CHUNK_ORDER || n_whole >= SPARES_MAX)
		n_whole = 0;
	if (order >= CHUNK_ORDER && n_whole * CHUNK < block_cap(block))
		punch(a, block_off(block) + n_whole * CHUNK,
			block_cap(block) - n_whole * CHUNK);
	pthread_mutex_lock(&a->lock);
	merged = buddy_free(&a->buddy, block_unit(block), order);
	if (order < CHUNK_ORDER && merged >= CHUNK_ORDER)
		n_whole = 1; /* its chunk */
	for (uint32_t i = 0; i < n_whole; i++)
		spare_add(a, (block_unit(block) >> CHUNK_ORDER) + i);
	pthread_mutex_unlock(&a->lock);
}

/* The same block in the order for len bytes, if what stands behind it is free. */
static bool block_extend(struct arena *a, uint64_t *block, uint64_t len)
{
	uint32_t unit = block_unit(*block);
	unsigned order = block_order(*block), to = order_for(len);
	bool is_extended;

	pthread_mutex_lock(&a->lock);
	is_extended = buddy_extend(&a->buddy, unit, order, to);
	if (is_extended && to >= CHUNK_ORDER)
		adopt_spares_locked(a, unit, to, len);
	pthread_mutex_unlock(&a->lock);
	if (is_extended)
		*block = block_make(unit, to);
	return is_extended;
}

/* Accounts for a part's change of size; over the limit nothing changes. */
static int use(struct arena *a, uint64_t old_len, uint64_t new_len)
{
	uint64_t was = in_pages(old_len), is = in_pages(new_len);
	int rc = 0;

	if (was == is)
		return 0;
	pthread_mutex_lock(&a->lock);
	assert(a->used >= was);
	if (is > was && is - was > a->head->limit - a->used)
		rc = -ENOSPC;
	else
		a->used = a->used - was + is;
	pthread_mutex_unlock(&a->lock);
	return rc;
}

/* Writes into a block that the caller owns; -ENOSPC: no memory for its pages. */
static int fill(struct arena *a, uint64_t block, uint64_t off,
	const void *bytes, size_t len)
{
	const char *from = bytes;
	uint64_t at = block_off(block) + off;

	assert(off + len <= block_cap(block));
	if (block_order(block) < CHUNK_ORDER) {
		if (len)
			memcpy(a->map + at, bytes, len);
		return 0;
	}
	while (len > 0) {
		ssize_t n = pwrite(a->fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -ENOSPC;
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int fill_zeros(struct arena *a, uint64_t block, uint64_t from,
	uint64_t to)
{
	static const char zeros[ZEROS];
	int rc = 0;

	while (from < to && !rc) {
		size_t n = (size_t)VG_MIN(to - from, (uint64_t)ZEROS);

		rc = fill(a, block, from, zeros, n);
		from += n;
	}
	return rc;
}

/*
 * Makes room for `need` bytes in a part that has `size`. *block is the part's
 * block from then on, whether it is the old one, the old one extended or
 * another with the bytes copied.
 */
static int reserve(struct arena *a, struct part *p, uint64_t size,
	uint64_t need, uint64_t *block)
{
	uint64_t old = load(&p->block), now = old;
	int rc;

	if (need > block_cap(old)) {
		if (!old || !block_extend(a, &now, need)) {
			rc = block_new(a, need, &now);
			if (rc)
				return rc;
			rc = old ? fill(a, now, 0, a->map + block_off(old),
					   size) :
				   0;
			if (rc) {
				block_free(a, now, 0);
				return rc;
			}
		}
		store(&p->block, now); /* I3 */
		if (old && block_unit(old) != block_unit(now))
			block_free(a, old, size);
	}
	*block = now;
	return 0;
}

int arena_pwrite(struct arena *a, uint32_t idx, enum arena_part part,
	uint64_t off, const void *bytes, size_t len)
{
	struct part *p = part_of(a, idx, part);
	uint64_t size = load(&p->size), block, end, after;
	int rc;

	if (len > VG_BODY_MAX || off > VG_BODY_MAX - len)
		return -EFBIG;
	if (!len)
		return 0;
	end = off + len;
	after = VG_MAX(end, size);
	rc = use(a, size, after);
	if (rc)
		return rc;
	rc = reserve(a, p, size, after, &block);
	if (rc)
		goto unuse;
	if (off > size)
		rc = fill_zeros(a, block, size, off);
	if (!rc)
		rc = fill(a, block, off, bytes, len);
	if (rc)
		goto unuse;
	store(&p->size, after); /* I4 */
	return 0;
unuse:
	use(a, after, size);
	return rc;
}

/* Drops what stands behind len; pages go back with it where they are many. */
static void shrink(struct arena *a, struct part *p, uint64_t size, uint64_t len)
{
	uint64_t block = load(&p->block);

	store(&p->size, len); /* I4: first, so that nothing reads the rest */
	if (!len) {
		store(&p->block, 0);
		block_free(a, block, size);
	} else if (block_order(block) >= CHUNK_ORDER &&
		in_pages(len) < in_pages(size)) {
		punch(a, block_off(block) + in_pages(len),
			in_pages(size) - in_pages(len));
	}
	use(a, size, len);
}

int arena_truncate(struct arena *a, uint32_t idx, enum arena_part part,
	uint64_t len)
{
	struct part *p = part_of(a, idx, part);
	uint64_t size = load(&p->size), block;
	int rc;

	if (len > VG_BODY_MAX)
		return -EFBIG;
	if (len < size)
		shrink(a, p, size, len);
	if (len <= size)
		return 0;
	rc = use(a, size, len);
	if (rc)
		return rc;
	rc = reserve(a, p, size, len, &block);
	if (!rc)
		rc = fill_zeros(a, block, size, len);
	if (rc)
		use(a, len, size);
	else
		store(&p->size, len); /* I4 */
	return rc;
}

const void *arena_bytes(const struct arena *a, uint32_t idx,
	enum arena_part part, size_t *len)
{
	const struct part *p = part_of(a, idx, part);
	uint64_t block = load(&p->block);

	*len = (size_t)load(&p->size);
	return block ? a->map + block_off(block) : "";
}

/* The lowest free record, with its pages there, or -ENOSPC. */
static int take_record_locked(struct arena *a, uint32_t *idx)
{
	uint32_t w = a->lowest, i;
	int rc;

	while (w < ARENA_FILES_MAX / 64 && a->is_used[w] == UINT64_MAX)
		w++;
	a->lowest = w;
	if (w == ARENA_FILES_MAX / 64)
		return -ENOSPC;
	i = w * 64 + (uint32_t)__builtin_ctzll(~a->is_used[w]);
	if (i >= a->n_backed) {
		rc = back(a, TABLE_OFF + (uint64_t)a->n_backed * RECORD, CHUNK);
		if (rc)
			return rc;
		a->n_backed += CHUNK / RECORD;
		assert(i < a->n_backed);
	}
	if (i >= atomic_load(&a->head->n_high))
		atomic_store(&a->head->n_high, i + 1); /* I5 */
	a->is_used[w] |= 1ull << i % 64;
	a->n_files++;
	*idx = i;
	return 0;
}

int arena_file_new(struct arena *a, const struct arena_attr *attr,
	uint32_t *idx)
{
	struct record *r;
	uint32_t i;
	int rc;

	if (!attr->name_len)
		return -EINVAL;
	pthread_mutex_lock(&a->lock);
	rc = take_record_locked(a, &i);
	pthread_mutex_unlock(&a->lock);
	if (rc)
		return rc;
	r = record_of(a, i);
	assert(atomic_load(&r->state) == ARENA_FREE);
	for (unsigned k = 0; k < 2; k++) {
		store(&r->part[k].block, 0);
		store(&r->part[k].size, 0);
	}
	r->attr[0] = *attr;
	atomic_store(&r->cur, 0);
	atomic_store(&r->state, ARENA_LIVE); /* I1 */
	*idx = i;
	return 0;
}

void arena_file_del(struct arena *a, uint32_t idx)
{
	struct record *r = live(a, idx);

	atomic_store(&r->state, ARENA_FREE); /* I1 */
	for (unsigned k = 0; k < 2; k++) {
		uint64_t size = load(&r->part[k].size);

		block_free(a, load(&r->part[k].block), size);
		use(a, size, 0);
	}
	pthread_mutex_lock(&a->lock);
	assert(a->n_files > 0);
	a->is_used[idx / 64] &= ~(1ull << idx % 64);
	a->lowest = VG_MIN(a->lowest, idx / 64);
	a->n_files--;
	pthread_mutex_unlock(&a->lock);
}

const struct arena_attr *arena_file_get(const struct arena *a, uint32_t idx)
{
	const struct record *r = live(a, idx);

	return &r->attr[atomic_load(&r->cur)];
}

int arena_file_put(struct arena *a, uint32_t idx,
	const struct arena_attr *attr)
{
	struct record *r = live(a, idx);
	uint32_t other = !atomic_load(&r->cur);

	if (!attr->name_len)
		return -EINVAL;
	r->attr[other] = *attr;
	atomic_store(&r->cur, other); /* I2 */
	return 0;
}

int arena_each(struct arena *a, arena_each_fn *each, void *ctx)
{
	uint32_t n = atomic_load(&a->head->n_high);
	int rc = 0;

	for (uint32_t i = 0; i < n && !rc; i++) {
		if (atomic_load(&record_of(a, i)->state) == ARENA_LIVE)
			rc = each(ctx, i, arena_file_get(a, i));
	}
	return rc;
}

uint64_t arena_session(const struct arena *a)
{
	return a->head->session;
}

uint64_t arena_number(struct arena *a)
{
	return atomic_fetch_add(&a->head->last_number, 1) + 1;
}

int arena_get_region(struct arena *a, enum arena_region region, unsigned idx,
	void **out)
{
	bool is_large = region == ARENA_LARGE;
	uint64_t off = is_large ? LARGE_OFF + (uint64_t)idx * LARGE_STEP : PAGE;
	size_t len = is_large ? ARENA_LARGE_LEN : ARENA_SMALL_LEN;
	int rc = back(a, off, len);

	assert(idx < (is_large ? ARENA_LARGE_MAX : 1u));
	if (rc < 0)
		return rc;
	for (size_t at = 0; at < len; at += PAGE)
		atomic_fetch_or_explicit(
			(_Atomic char *)(void *)(a->map + off + at), 0,
			memory_order_relaxed);
	*out = a->map + off;
	return 0;
}

void arena_stat(struct arena *a, struct arena_stat *out)
{
	pthread_mutex_lock(&a->lock);
	out->limit = a->head->limit;
	out->used = a->used;
	out->n_files = a->n_files;
	pthread_mutex_unlock(&a->lock);
}

/*
 * Blocks are up to twice as long as what they hold, and leave gaps between
 * each other; only what is touched costs memory. So the space is wide.
 */
static uint64_t space_for(uint64_t limit)
{
	return VG_MAX(VG_ALIGN_UP(limit * 4, TOP_BLOCK), 4 * TOP_BLOCK);
}

int arena_create(uint64_t limit)
{
	struct head head = {
		.magic = MAGIC,
		.version = ARENA_VERSION,
		.record_len = RECORD,
		.limit = limit,
	};
	int fd, rc;

	if (limit < ARENA_LIMIT_MIN || limit > ARENA_LIMIT_MAX)
		return -EINVAL;
	head.space_len = space_for(limit);
	if (getrandom(&head.session, sizeof(head.session), 0) !=
		(ssize_t)sizeof(head.session))
		return -EIO;
	head.session |= 1; /* 0 means nobody */
	fd = memfd_create("vecgridfs-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(SPACE_OFF + head.space_len)) < 0 ||
		pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
		rc = errno ? -errno : -EIO;
		close(fd);
		return rc;
	}
	return fd;
}

/* Reads and judges the head of what should be an arena. */
static int check_head(int fd, struct head *head)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (pread(fd, head, sizeof(*head), 0) != (ssize_t)sizeof(*head) ||
		head->magic != MAGIC)
		return -VG_ECORRUPT;
	if (head->version != ARENA_VERSION || head->record_len != RECORD)
		return -VG_EFORMAT;
	if (head->limit < ARENA_LIMIT_MIN || head->limit > ARENA_LIMIT_MAX ||
		head->space_len != space_for(head->limit) ||
		(uint64_t)st.st_size != SPACE_OFF + head->space_len ||
		head->n_high > ARENA_FILES_MAX || !head->session)
		return -VG_ECORRUPT;
	return 0;
}

/* Takes what one part of a live record says it has out of the free space. */
static int recover_part(struct arena *a, const struct part *p)
{
	uint64_t block = load(&p->block), size = load(&p->size);

	if (block % PAGE > BUDDY_ORDERS || (block && !(block % PAGE)) ||
		size > VG_BODY_MAX || size > block_cap(block) ||
		block / PAGE >= a->head->space_len / PAGE)
		return -VG_ECORRUPT;
	a->used += in_pages(size);
	if (block && buddy_put(&a->buddy, block_unit(block),
			     block_order(block)) < 0)
		return -VG_ECORRUPT;
	return 0;
}

static int recover_record(struct arena *a, uint32_t idx)
{
	struct record *r = record_of(a, idx);
	uint32_t state = atomic_load(&r->state), cur = atomic_load(&r->cur);
	int rc;

	if (state == ARENA_FREE)
		return 0;
	if (state != ARENA_LIVE || cur > 1 || !r->attr[cur].name_len)
		return -VG_ECORRUPT;
	rc = recover_part(a, &r->part[ARENA_BODY]);
	if (!rc)
		rc = recover_part(a, &r->part[ARENA_META]);
	a->is_used[idx / 64] |= 1ull << idx % 64;
	a->n_files++;
	return rc;
}

/* The memory of what was free when the daemon was killed. */
static void punch_free(void *ctx, uint32_t unit, unsigned order)
{
	if (order >= CHUNK_ORDER)
		punch(ctx, SPACE_OFF + (uint64_t)unit * PAGE,
			(uint64_t)PAGE << order);
}

static int recover(struct arena *a)
{
	uint32_t n = atomic_load(&a->head->n_high);
	int rc = 0;

	for (uint32_t i = 0; i < n && !rc; i++)
		rc = recover_record(a, i);
	if (rc)
		return rc;
	/* A kill may have come before the pages of the last record. */
	a->n_backed = VG_ALIGN_UP(n, CHUNK / RECORD);
	if (n)
		rc = back(a, TABLE_OFF, (uint64_t)a->n_backed * RECORD);
	buddy_each(&a->buddy, punch_free, a);
	return rc;
}

int arena_open(int fd, struct arena **out)
{
	struct head head;
	struct arena *a;
	int rc = check_head(fd, &head);

	if (rc)
		return rc;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->fd = fd;
	pthread_mutex_init(&a->lock, NULL);
	a->map_len = SPACE_OFF + head.space_len;
	a->map = mmap(NULL, a->map_len, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (a->map == MAP_FAILED) {
		a->map = NULL;
		rc = -ENOMEM;
		goto close_arena;
	}
	madvise(a->map, a->map_len, MADV_DONTDUMP);
	a->head = (struct head *)(void *)a->map;
	a->spare = calloc(head.space_len / CHUNK / 64, sizeof(uint64_t));
	a->is_used = calloc(ARENA_FILES_MAX / 64, sizeof(uint64_t));
	rc = buddy_init(&a->buddy, (uint32_t)(head.space_len / TOP_BLOCK));
	if (!rc && (!a->spare || !a->is_used))
		rc = -ENOMEM;
	if (!rc)
		rc = recover(a);
	if (rc)
		goto close_arena;
	*out = a;
	return 0;
close_arena:
	arena_close(a);
	return rc;
}

void arena_close(struct arena *a)
{
	if (!a)
		return;
	if (a->map)
		munmap(a->map, a->map_len);
	buddy_fini(&a->buddy);
	free(a->spare);
	free(a->is_used);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* A second recovery beside the first must come to the same free space. */
static bool check_twin(const struct arena *a, const struct arena *twin,
	const char **why)
{
	*why = "the bytes in use are miscounted";
	if (a->used != twin->used)
		return false;
	*why = "the files are miscounted";
	if (a->n_files != twin->n_files ||
		memcmp(a->is_used, twin->is_used, ARENA_FILES_MAX / 8) != 0)
		return false;
	*why = "a block is taken that no file has";
	return buddy_stat(&a->buddy) == buddy_stat(&twin->buddy);
}

/* A spare chunk is free in the twin, too; there are as many as were counted. */
static bool check_spares(const struct arena *a, struct arena *twin,
	const char **why)
{
	uint32_t n = 0;

	*why = "a spare chunk is in use";
	for (uint32_t i = 0; i < a->head->space_len / CHUNK; i++) {
		if (!is_spare(a, i))
			continue;
		n++;
		if (buddy_put(&twin->buddy, i << CHUNK_ORDER, CHUNK_ORDER))
			return false;
	}
	*why = "spare chunks are miscounted";
	return n == a->n_spares;
}

bool arena_check(struct arena *a, const char **why)
{
	struct arena twin = {.fd = a->fd, .map = a->map, .head = a->head};
	uint32_t n = atomic_load(&a->head->n_high);
	bool is_good = false;
	int rc = 0;

	*why = "out of memory";
	twin.is_used = calloc(ARENA_FILES_MAX / 64, sizeof(uint64_t));
	if (!twin.is_used)
		return false;
	if (buddy_init(&twin.buddy, a->buddy.n_top))
		goto free_twin;
	*why = "a record is damaged, or two have the same block";
	for (uint32_t i = 0; i < n && !rc; i++)
		rc = recover_record(&twin, i);
	is_good = !rc && check_twin(a, &twin, why) && check_spares(a, &twin, why) &&
		buddy_check(&a->buddy, why);
	buddy_fini(&twin.buddy);
free_twin:
	free(twin.is_used);
	return is_good;
}
