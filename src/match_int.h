/* SPDX-License-Identifier: Apache-2.0 */
/* match_int.h: what match.c and match_kept.c share. */
#ifndef VG_MATCH_INT_H
#define VG_MATCH_INT_H

#include "src/match.h"

struct match {
	_Atomic uint32_t refs;	   /* acq_rel: the last one frees */
	const struct look *look;   /* of */
	struct look of;		   /* gen, borrowed; cell; and moment: */
	struct moment moment;	   /* a copy: no one's reference */
	struct roaring_bitmap_s *set;
	pthread_mutex_t lock; /* of the next five */
	bool has_slots;
	uint32_t *slots;
	uint32_t n_slots;
	uint64_t *bits; /* of slots, n_bits; NULL: not made */
	uint32_t n_bits;
	_Atomic uint32_t n_asked; /* relaxed: searches */
	_Atomic uint32_t seen; /* relaxed: match_count, and 1; 0: not counted */
};

/* What filter means is found, for nobody else. Errors of match_new. */
int match_make(const struct look *look, const struct filter *filter,
	struct match **out);

/* Bytes of memory that it may take once its slots are listed and have bits. */
size_t match_bytes(const struct match *m);

#endif
