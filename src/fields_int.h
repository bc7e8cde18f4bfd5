/* SPDX-License-Identifier: Apache-2.0 */
/* fields_int.h: what fields_*.c share: keys, runs, bits, snapshots of a field. */
#ifndef VG_FIELDS_INT_H
#define VG_FIELDS_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "src/fields.h"
#include "src/filter_int.h"

/* ---- keys: fields_key.c ---- */

#define FIELDS_EXISTS 0 /* the key's only byte */
#define FIELDS_ELEMENT 8
#define FIELDS_KEY_MAX (1 + FIELDS_PAYLOAD_MAX + 8)

/* A whole payload, borrowed; what was not there as it stands is in made. */
struct fields_payload {
	uint8_t tag;
	const uint8_t *bytes;
	size_t len;
	uint8_t *made; /* owned: free, once for all */
	size_t cap;
};

/* The payload of a scalar, kept until p is used again. -ENOMEM. */
int fields_payload_of_hit(struct fields_payload *p,
	const struct filter_hit *hit);
int fields_payload_of_value(struct fields_payload *p,
	const struct filter_value *v, bool is_element);

/* The key, cut if it must be; returns its length. */
size_t fields_key(const struct fields_payload *p, uint8_t out[FIELDS_KEY_MAX]);

static inline bool fields_key_is_cut(size_t len)
{
	return len == FIELDS_KEY_MAX;
}

/* As keys are ordered. */
int fields_compare(const uint8_t *a, size_t a_len, const uint8_t *b,
	size_t b_len);

/* ---- bits: fields_bits.c ---- */

/* A set of versions below 64 * n_words; fini frees. */
struct fields_bits {
	uint64_t *words;
	size_t n_words;
};

/* Empty, for versions below n at least. -ENOMEM. */
int fields_bits_init(struct fields_bits *b, uint32_t n);
void fields_bits_fini(struct fields_bits *b);
void fields_bits_fill(struct fields_bits *b, uint32_t n); /* 0..n-1, no other */
void fields_bits_cut(struct fields_bits *b, uint32_t n);  /* below n stays */
void fields_bits_and(struct fields_bits *b, const struct fields_bits *with);
void fields_bits_or(struct fields_bits *b, const struct fields_bits *with);
void fields_bits_not(struct fields_bits *b);

/* b is what is in from, and was not in b. */
void fields_bits_take(struct fields_bits *b, const struct fields_bits *from);

/* The versions of among that are below n. -ENOMEM. */
int fields_bits_among(const struct fields_among *among, uint32_t n,
	struct fields_bits *b);

int fields_bits_export(const struct fields_bits *b,
	struct roaring_bitmap_s **out); /* -ENOMEM */

static inline bool fields_bits_has(const struct fields_bits *b, uint32_t v)
{
	return b->words[v / 64] >> v % 64 & 1;
}

static inline void fields_bits_set(struct fields_bits *b, uint32_t v)
{
	b->words[v / 64] |= 1ull << v % 64;
}

/* ---- runs: fields_run.c ---- */

/* A key whose versions are bits. */
struct fields_dense {
	uint32_t value; /* the key's number */
	uint32_t count;
};

/* The dictionary of versions begin..end-1, as fields.h draws it. */
struct fields_run {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	uint32_t begin, end;
	uint32_t n_values, n_list, n_dense;
	uint32_t keys_len;
	uint32_t *key_at;  /* n_values + 1 */
	uint8_t *keys;
	uint32_t *list_at; /* n_values + 1; of a dense one: no versions */
	uint32_t *list;
	struct fields_dense *dense; /* ascending */
	uint64_t *bits;		    /* n_dense * words */
	uint32_t cap_keys, cap_list, cap_at, cap_dense; /* while it grows */
	size_t bytes; /* of all that */
};

/* Bytes of keys, and versions of all keys: more is not put into one run. */
#define FIELDS_RUN_MAX (1u << 29)

static inline uint32_t fields_run_words(const struct fields_run *r)
{
	return (r->end - 1) / 64 - r->begin / 64 + 1;
}

static inline const uint8_t *fields_run_key(const struct fields_run *r,
	uint32_t value, size_t *len)
{
	*len = r->key_at[value + 1] - r->key_at[value];
	return r->keys + r->key_at[value];
}

/* An empty run; then versions of a key ascending, then the key itself, keys
 * ascending, then done, and it never changes again. -ENOMEM. */
int fields_run_new(uint32_t begin, uint32_t end, struct fields_run **out);
int fields_run_put(struct fields_run *r, uint32_t version);
int fields_run_end(struct fields_run *r, const uint8_t *key, size_t len);
void fields_run_done(struct fields_run *r);
struct fields_run *fields_run_ref(struct fields_run *r);
void fields_run_unref(struct fields_run *r); /* NULL is allowed */

/* The run of both, b behind a. -ENOMEM. */
int fields_run_merge(const struct fields_run *a, const struct fields_run *b,
	struct fields_run **out);
bool fields_run_can_merge(const struct fields_run *a,
	const struct fields_run *b);

/* The first key of a tag at least this. */
uint32_t fields_run_tag(const struct fields_run *r, uint8_t tag);

/*
 * The keys of the payload's tag that are it, or begin with it, are lo..hi-1. If
 * it is over FIELDS_PAYLOAD_MAX they are cut ones that may or may not.
 */
void fields_run_zone(const struct fields_run *r, const struct fields_payload *p,
	bool is_prefix, uint32_t *lo, uint32_t *hi);

/* Adds the versions of keys lo..hi-1. */
void fields_run_or(const struct fields_run *r, uint32_t lo, uint32_t hi,
	struct fields_bits *out);

/* The bits of a key, or NULL: it has a list. */
const uint64_t *fields_run_bits(const struct fields_run *r, uint32_t value,
	uint32_t *count);

/* The versions of one key, in order. */
struct fields_cursor {
	const struct fields_run *run;
	const uint32_t *at, *end; /* a list */
	const uint64_t *bits;	  /* or bits: the next word, its first version */
	uint64_t left;
	uint32_t word, n_words;
};
void fields_cursor_init(struct fields_cursor *c, const struct fields_run *r,
	uint32_t value);
bool fields_cursor_next(struct fields_cursor *c, uint32_t *version);

bool fields_run_has(const struct fields_run *r, uint32_t value,
	uint32_t version);

/* NULL, or what is wrong with it. */
const char *fields_run_check(const struct fields_run *r);

/* ---- a field, as far as it is known: fields.c, fields_build.c ---- */

/* Runs that follow each other from version 0 on; never changes. */
struct fields_runs {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	uint32_t n;
	uint32_t covered; /* versions below it are in */
	size_t bytes;
	struct fields_run *at[]; /* referenced */
};

void fields_runs_unref(struct fields_runs *runs); /* NULL is allowed */
int fields_runs_new(struct fields_run *const *at, uint32_t n,
	struct fields_runs **out); /* takes references of its own; -ENOMEM */

/* old (NULL: nothing), and all versions of rows that it lacks; a reference for
 * the caller. -ENOMEM, -VG_ECORRUPT. */
int fields_runs_extend(struct fields_runs *old, struct vg_id field,
	const struct fields_rows *rows, struct fields_runs **out);

/* The runs of a field that cover rows, referenced; extends it if need be. */
int fields_view(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, struct fields_runs **out);

/* The index of one field. */
struct fields_entry {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	_Atomic uint64_t used; /* relaxed: which was used last is a guess */
	pthread_mutex_t build; /* held to extend it; before fields->lock */
	struct fields_runs *runs; /* fields->lock; NULL: nothing yet */
	uint32_t saved; /* fields->lock: versions that its last stream has */
	bool is_in;		  /* fields->lock: it is in the table */
	uint32_t name_len;
	char name[];
};

struct fields {
	pthread_rwlock_t lock;	/* a leaf: nothing is called under it */
	struct fields_entry **at; /* lock, as all below */
	uint32_t n, cap;
	size_t bytes;
	size_t bytes_max;  /* fixed */
	uint32_t n_max;	   /* fixed */
	_Atomic uint64_t clock; /* relaxed: of `used` */
	_Atomic uint64_t n_read; /* relaxed: a figure */
};

/* Puts entries[n] in that are not there, whose references it takes. -ENOMEM:
 * nothing was. */
int fields_add(struct fields *f, struct fields_entry **entries, uint32_t n);
int fields_entry_new(struct vg_id field, struct fields_runs *runs,
	struct fields_entry **out);
void fields_entry_unref(struct fields_entry *e); /* NULL is allowed */

#endif
