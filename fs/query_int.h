/* SPDX-License-Identifier: Apache-2.0 */
/* query_int.h: what the files of query share: the table of parameters. */
#ifndef FS_QUERY_INT_H
#define FS_QUERY_INT_H

#include "fs/query.h"

enum query_kind {
	QUERY_UINT,   /* digits, min..max, into a uint32_t */
	QUERY_FLOAT,  /* a number, into a float */
	QUERY_FLAG,   /* 0 or 1, into a bool */
	QUERY_FIELDS, /* words with commas between them */
	QUERY_FMT,    /* a format's word */
	QUERY_SNAP,   /* a snapshot's name; from here on: text */
	QUERY_WHERE,  /* an expression of filters */
	QUERY_ORDER,  /* a field, maybe with :desc */
	QUERY_GROUP,  /* a field */
};

/* A parameter: its word, what values it takes, and where they go. */
struct query_param {
	const char *word;
	enum query_kind kind;
	uint32_t min, max; /* QUERY_UINT */
	size_t at;	   /* offset in struct query; 0: kind says where */
};

/* The parameter of that word, or NULL: not one of ours. */
const struct query_param *query_find_param(const char *word, size_t len);

/* Sets a parameter from its value's text; -EINVAL with q->error. -ENOMEM. */
int query_set_param(struct query *q, const struct query_param *param,
	const char *value, size_t len);

/* Takes fields[n], copied, n > 0. -EINVAL: none, too many, an empty one, one
 * twice. -ENOMEM. */
int query_set_fields(struct query *q, const struct vg_id *fields, uint32_t n);

/*
 * Copies the FIELD that text[len] spells, as in a filter: without a first
 * `meta.`, and decoded; `what` is the word before it, for sentences. What *field
 * had is freed. -EINVAL: empty, too long. -ENOMEM.
 */
int query_set_field(struct query *q, const char *what, struct vg_id text,
	struct vg_id *field);
void query_free_field(struct vg_id *field); /* and it is empty */

/* query_like.c: takes A,+B,-C. -ENOENT: a name is missing at the end, or none of
 * an id. -EINVAL, -ENOMEM. */
int query_set_like(struct query *q, const char *text, size_t len);

/* Takes a snapshot's name. -EINVAL. */
int query_set_snap(struct query *q, const char *name, size_t len);

/* Takes FIELD.OP=VALUE, or an expression of them, beside what there is already.
 * -EINVAL, -ENOMEM. */
int query_add_filter(struct query *q, const char *text, size_t len,
	bool is_expression);

/* Checks what single parameters cannot; q->src is known. -EINVAL. */
int query_check(struct query *q);

/* Whether a NAME may not be word: ours now, or kept for later. */
bool query_is_reserved(const char *word, size_t len);

/* Makes a sentence of q->error and returns -EINVAL. */
int query_refuse(struct query *q, const char *fmt, ...) VG_PRINTF(2, 3);

/* Bytes of a user's text that a sentence repeats: "%.*s" takes both. */
#define QUERY_QUOTE(text, len) (int)VG_MIN((len), (size_t)60), (text)

#endif
