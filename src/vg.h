/* SPDX-License-Identifier: Apache-2.0 */
/* vg.h: the vocabulary of the program: limits, errors, types everyone shares. */
#ifndef VG_H
#define VG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Errors. A function that can fail returns int rc: 0, or a negative errno
 * value, or one of the two below, which no errno says. Out-parameters are
 * written only when rc is 0.
 */
#define VG_ECORRUPT 4001 /* bytes that were valid once are damaged: EIO */
#define VG_EFORMAT 4002  /* bytes of a version or kind we do not know: EINVAL */

/*
 * Limits. They bound what comes from outside before any arithmetic is done
 * with it; each is part of the user's contract and named in README.md.
 */
#define VG_ID_MAX 255		   /* bytes of an id, = NAME_MAX */
#define VG_DIM_MAX 65535	   /* dimensions of a vector */
#define VG_K_MAX 10000		   /* offset + k of a query */
#define VG_EF_MAX 100000	   /* candidates of a graph search */
#define VG_M_MAX 64		   /* links of a node: 2 * m on level 0 */
#define VG_META_MAX (1u << 20)	   /* bytes of a record's metadata */
#define VG_BODY_MAX (256u << 20)   /* bytes of one staged body */
#define VG_SLOT_NONE UINT32_MAX	   /* no slot */

/*
 * Ids hash onto VG_PARTITIONS partitions, for ever. The catalogue (names and
 * settings of collections) has a sequence of its own, numbered behind them.
 */
#define VG_PARTITIONS 271
#define VG_PARTITION_CATALOGUE 271
#define VG_SEQS 272

/* Distances, interface "Distances, defined once"; the values are on disk. */
enum vg_metric {
	VG_L2 = 1,     /* sqrt(sum((a-b)^2)) */
	VG_COSINE = 2, /* 1 - a.b / (|a||b|) */
	VG_IP = 3,     /* -(a.b) */
	VG_L1 = 4,     /* sum(|a-b|) */
	VG_HAMMING = 5, /* how many bits differ: of VG_B1, which has no other */
};

/* Element types; the values are on disk. */
enum vg_dtype {
	VG_F32 = 1,
	VG_F16 = 2, /* IEEE 754 binary16 */
	VG_I8 = 3,
	VG_B1 = 4, /* bits, the highest of a byte first; dim is whole bytes */
};

/* The bytes of n elements. */
static inline size_t vg_row_len(enum vg_dtype dtype, size_t n)
{
	switch (dtype) {
	case VG_F32:
		return 4 * n;
	case VG_F16:
		return 2 * n;
	case VG_B1:
		return (n + 7) / 8;
	default:
		return n;
	}
}

/* How many elements len bytes are; 0 if they are no vector's. */
static inline uint32_t vg_dim_of(enum vg_dtype dtype, uint64_t len)
{
	uint64_t dim = dtype == VG_B1 ? 8 * len : len;

	if (dtype == VG_F32 || dtype == VG_F16) {
		uint32_t width = dtype == VG_F32 ? 4 : 2;

		dim = len % width == 0 ? len / width : 0;
	}
	return dim <= VG_DIM_MAX ? (uint32_t)dim : 0;
}

/* Whether a dtype's vectors have that distance. */
static inline bool vg_has(enum vg_dtype dtype, enum vg_metric metric)
{
	return (dtype == VG_B1) == (metric == VG_HAMMING);
}

/* Whether they can have the index VG_IVF_PQ. */
static inline bool vg_has_lists(enum vg_dtype dtype, enum vg_metric metric)
{
	return dtype == VG_F32 && metric <= VG_IP;
}

/* Kinds of index; the values are on disk. */
enum vg_index {
	VG_HNSW = 1,
	VG_FLAT = 2,
	VG_INDEX_AUTO = 3, /* of a configuration, not of rows */
	VG_IVF_PQ = 4,
};

/* What stands for a row while a graph is walked; the values are on disk. */
enum vg_quant {
	VG_QUANT_AUTO = 0, /* codes while they serve */
	VG_QUANT_NONE = 1, /* the row itself */
	VG_QUANT_SQ8 = 2,  /* a byte an element: index/quant.h */
	VG_QUANT_QG = 3,   /* as auto, and signs of neighbours: index/signs.h */
};

/* The bytes of an id: not terminated, borrowed from whoever made it. */
struct vg_id {
	const char *bytes;
	uint32_t len; /* 1..VG_ID_MAX */
};

#define VG_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VG_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VG_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define VG_ALIGN_UP(n, to) (((n) + (to) - 1) / (to) * (to))
#define VG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
