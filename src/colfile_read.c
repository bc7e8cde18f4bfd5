/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile_read.c: reading, mapping and checking rows, from any thread.
 *
 * Under a view of a part every block below its end has one sum: in `sums` if
 * it was whole, or tail_hash if not, though the writer may long have made it
 * whole; the bytes that the view has of it are the same.
 *
 * Long runs of blocks are read into the caller's memory and checked there,
 * while they are in the cache; few blocks, and those of which the caller wants
 * a part only, go through a buffer on the stack.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "src/colfile_int.h"
#include "src/wire.h"

#define RUN 32u	  /* blocks read at once: 128 KiB, so that L2 has them */
#define BOUNCE 8u /* blocks of the buffer on the stack */

/* Rows being read, and those of them that cannot be. */
struct reading {
	struct colfile_view v;
	uint32_t first, n; /* the rows wanted of this part */
	colfile_damaged_fn *damaged;
	void *ctx;
	uint32_t bad_from, bad_to; /* not told yet; equal: none */
	int rc;			   /* of the first damage */
};

static void bad_tell(struct reading *r)
{
	if (r->bad_to > r->bad_from && r->damaged)
		r->damaged(r->ctx, r->bad_from, r->bad_to - r->bad_from);
	r->bad_from = r->bad_to = 0;
}

/* Rows from..to cannot be read; blocks come in order, but may share a row. */
static void bad_add(struct reading *r, uint64_t from, uint64_t to, int rc)
{
	uint32_t a = (uint32_t)VG_MAX(from, r->first);
	uint32_t b = (uint32_t)VG_MIN(to, (uint64_t)r->first + r->n);

	assert(rc < 0 && a < b);
	if (r->rc == 0)
		r->rc = rc;
	if (r->bad_to > r->bad_from && a <= r->bad_to) {
		r->bad_to = b;
		return;
	}
	bad_tell(r);
	r->bad_from = a;
	r->bad_to = b;
}

/* Bytes that the view has of block k. */
static size_t block_len(const struct colfile_view *v, uint64_t k)
{
	uint64_t len = colfile_len(v->cf, &v->part);

	assert(k * COLFILE_BLOCK < len);
	return VG_MIN(len - k * COLFILE_BLOCK, (uint64_t)COLFILE_BLOCK);
}

static int block_check(const struct colfile_view *v, uint64_t k, const uint8_t *bytes)
{
	size_t len = block_len(v, k);
	uint64_t hash = wire_hash(bytes, len);
	uint64_t want = len < COLFILE_BLOCK ? v->part.tail_hash :
					      le64toh(v->piece->sums[k]);

	return hash == want ? 0 : -VG_ECORRUPT;
}

/* Block k cannot be used: its rows are told, its bytes are zeros. */
static void block_refuse(struct reading *r, uint64_t k, uint8_t *bytes, int rc)
{
	uint64_t from = k * COLFILE_BLOCK, to = from + block_len(&r->v, k);
	uint32_t stride = r->v.cf->cfg.stride;

	memset(bytes, 0, to - from);
	bad_add(r, r->v.part.first + from / stride,
		r->v.part.first + (to + stride - 1) / stride, rc);
}

/* Reads blocks k..k + n to bytes and checks each. */
static void run_read(struct reading *r, uint64_t k, uint32_t n, uint8_t *bytes)
{
	struct io *io = r->v.cf->cfg.io;
	size_t len = (n - 1) * COLFILE_BLOCK + block_len(&r->v, k + n - 1);
	ssize_t got = io->read(io, r->v.fd, bytes, len,
		COLFILE_HEADER + k * COLFILE_BLOCK);
	bool is_whole = got >= 0;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = bytes + (size_t)i * COLFILE_BLOCK;
		size_t want = block_len(&r->v, k + i);
		size_t begin = (size_t)i * COLFILE_BLOCK;

		/* Which of them is it that cannot be read? */
		if (!is_whole && n > 1)
			got = io->read(io, r->v.fd, at, want,
				COLFILE_HEADER + (k + i) * COLFILE_BLOCK);
		if (!is_whole)
			begin = 0;

		int rc = got < 0 ? (int)got : 0;

		if (rc == 0)
			rc = (size_t)got < begin + want ?
				     -VG_ECORRUPT : /* the file was cut */
				     block_check(&r->v, k + i, at);
		if (rc < 0)
			block_refuse(r, k + i, at, rc);
	}
}

/* Copies what the caller wants of the blocks from `at` on, len bytes. */
static void bounce_copy(uint8_t *out, uint64_t from, uint64_t to,
	const uint8_t *bounce, uint64_t at)
{
	uint64_t begin = VG_MAX(from, at);

	if (begin < to)
		memcpy(out + (begin - from), bounce + (begin - at), to - begin);
}

/* Reads the rows to out; NULL: they are only checked. */
static void rows_read(struct reading *r, uint8_t *out)
{
	uint64_t stride = r->v.cf->cfg.stride;
	uint64_t from = (r->first - r->v.part.first) * stride;
	uint64_t to = from + r->n * stride;
	uint64_t end = (to - 1) / COLFILE_BLOCK + 1; /* of the blocks */
	uint64_t len = colfile_len(r->v.cf, &r->v.part);
	uint64_t inside = to == len ? end : to / COLFILE_BLOCK;
	uint8_t bounce[BOUNCE * COLFILE_BLOCK];
	uint32_t n;

	assert(from < to && to <= len);
	for (uint64_t k = from / COLFILE_BLOCK; k < end; k += n) {
		uint64_t at = k * COLFILE_BLOCK;

		if (out && at >= from && k + BOUNCE < inside) {
			n = (uint32_t)VG_MIN(inside - k, RUN);
			run_read(r, k, n, out + (at - from));
			continue;
		}
		n = (uint32_t)VG_MIN(end - k, BOUNCE);
		run_read(r, k, n, bounce);
		if (out)
			bounce_copy(out, from,
				VG_MIN(to, at + (uint64_t)n * COLFILE_BLOCK),
				bounce, at);
	}
	bad_tell(r);
}

int colfile_read(struct colfile *cf, uint32_t first, uint32_t n, void *out,
	colfile_damaged_fn *damaged, void *ctx)
{
	uint8_t *at = out;
	int rc = 0;

	while (n > 0) { /* ends: each turn reads a row or more */
		struct reading r = {
			.first = first, .damaged = damaged, .ctx = ctx};
		int open_rc = colfile_view_get(cf, first, &r.v);
		uint32_t here = r.v.part.n - (first - r.v.part.first);

		r.n = VG_MIN(n, here);
		if (open_rc == 0) {
			rows_read(&r, at);
			colfile_view_put(&r.v);
		} else {
			bad_add(&r, first, (uint64_t)first + r.n, open_rc);
			bad_tell(&r);
		}
		if (rc == 0)
			rc = r.rc;
		at += (size_t)r.n * cf->cfg.stride;
		first += r.n;
		n -= r.n;
	}
	return rc;
}

int colfile_check(struct colfile *cf, uint32_t row)
{
	struct reading r = {.first = row, .n = 1};
	int rc = colfile_view_get(cf, row, &r.v);

	if (rc < 0)
		return rc;
	rows_read(&r, NULL);
	colfile_view_put(&r.v);
	return r.rc;
}

int colfile_map(struct colfile *cf, uint32_t first, uint32_t n, void *at)
{
	uint64_t len = (uint64_t)n * cf->cfg.stride;
	struct io *io = cf->cfg.io;
	struct colfile_view v;
	int rc = colfile_view_get(cf, first, &v);

	assert(n > 0 && len % 4096 == 0);
	if (rc < 0)
		return rc;
	uint64_t before = first - v.part.first;
	uint64_t offset = COLFILE_HEADER + before * cf->cfg.stride;

	if (offset % 4096 != 0 || n > v.part.n - before)
		rc = -EOPNOTSUPP;
	else
		rc = io->map(io, v.fd, offset, len, at);
	colfile_view_put(&v);
	return rc;
}
