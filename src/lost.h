/* SPDX-License-Identifier: Apache-2.0 */
/* lost.h: pages of mapped files that the disk does not give any more. */
#ifndef VG_LOST_H
#define VG_LOST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Touching a page of a mapped file that cannot be read, or that lies behind
 * the end of a file that somebody cut, is SIGBUS. A range that was made known
 * here survives that: a page of NaN (each bit is set) takes the place of the one
 * that was touched, for good, the page is remembered as lost, and who touched
 * it goes on; a search walks past NaN as if it was not there. So whoever hands
 * out what he read, or what he made of it, asks behind the read whether it was
 * lost (lost_check).
 *
 * The first range takes SIGBUS over for the process. One that is not of a
 * range (the arena, a program's fault, broken memory) is what it was before:
 * the former action is put back, and the same instruction raises it again.
 *
 * The handler takes no lock and allocates nothing. It is counted while it
 * looks at the list of ranges, and a range is freed when none is inside that
 * may have seen it.
 */
struct lost;

/*
 * A range of memory that is to be mapped, read only: begin and len are
 * multiples of 4,096. n, borrowed, counts its lost pages, together with those
 * of all ranges that share it; release, behind what lost_check finds. *out is
 * owned by the caller; free it when nobody reads, before the range is unmapped.
 * -ENOMEM; errno of memfd_create(2), for the first. Any thread.
 */
int lost_new(void *begin, size_t len, _Atomic uint32_t *n, struct lost **out);
void lost_free(struct lost *lost); /* NULL is allowed */

/* What was read before is read before what follows asks whether it was lost.
 * (The thread sanitizer has no fences, nor needs one here.) */
static inline void lost_order(void)
{
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_acquire);
#endif
}

/* 0, or -EIO: a page of these bytes, which are of the range, was lost. Any
 * thread; true of what was read before. */
int lost_check(const struct lost *lost, const void *at, size_t len);

#endif
