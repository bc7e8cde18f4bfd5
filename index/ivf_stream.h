/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_stream.h: the bytes of a saved inverted file: ivf_save.c and ivf_load.c. */
#ifndef INDEX_IVF_STREAM_H
#define INDEX_IVF_STREAM_H

#include "index/ivf_int.h"

/*
 * STREAM. Little-endian, without gaps; format version 1:
 *
 *	base	header | learnt | lists
 *	delta	header | lists
 *
 *	header	0   8 bytes  magic, "vgivf\r\n\x1a"
 *		8   u32      version: 1
 *		12  u32      kind: 1 base, 2 delta
 *		16  u32 x 2  dim, metric
 *		24  u32      L, lists with centroids; 0: none was learnt yet
 *		28  u32      m, bytes of a code; 0 if L is
 *		32  u32      rows there were when they were learnt
 *		36  u32      rows before this stream; base: 0
 *		40  u32      rows in this stream
 *		44  u32      G, groups of centroids: floor(sqrt(L)), of L up to
 *			     512 0
 *
 *	learnt	if L is not 0:
 *		    u32 x (G + 1)    where groups begin; not if G is 0
 *		    f32 x L dim      centroids
 *		    f32 x 256 dim    points of the parts, one part behind the
 *				     other, by element (kmeans.h): element d
 *				     of point c at d * 256 + c
 *		    f32 x 256 m      half of their squared lengths, by part
 *
 *	lists	u32 x (L + 1)  records of each list, the last without codes
 *		for each of the first L lists its records:
 *		    0   u32      slot
 *		    4   f32      term
 *		    8   m bytes  code
 *		of the last list the slots, u32
 *		8 bytes  end, "vgend\r\n\x1a"
 *
 * Lists grow at their ends only, so a delta has what stands behind what was
 * saved before. What is in a stream has no sum: who keeps it has one over the
 * whole file.
 */
#define IVF_MAGIC "vgivf\r\n\x1a"
#define IVF_END "vgend\r\n\x1a"
#define IVF_STREAM_VERSION 1u
#define IVF_KIND_BASE 1u
#define IVF_KIND_DELTA 2u

struct ivf_header {
	char magic[8];
	uint32_t version, kind;
	uint32_t dim, metric;
	uint32_t n_lists, m;
	uint32_t trained;
	uint32_t n_before, n;
	uint32_t n_groups;
};

static_assert(sizeof(struct ivf_header) == 48, "as the table says");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"numbers go to the stream as they lie in memory");

#endif
