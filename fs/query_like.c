/* SPDX-License-Identifier: Apache-2.0 */
/* query_like.c: the records that like= names, and the signs before them. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/name.h"
#include "fs/query.h"
#include "fs/query_int.h"

static bool is_at(const char *at, const char *end, const char *word)
{
	size_t len = strlen(word);

	return (size_t)(end - at) >= len && memcmp(at, word, len) == 0;
}

/*
 * What text[len], behind its sign, is as a file name, into out[len]: a comma is
 * %2C, a sign at the beginning %2B or %2D, and each of these is spelled with
 * %25 for its % where it is part of the id. All else is name_decode's.
 */
static size_t get_name(const char *text, size_t len, char *out)
{
	const char *end = text + len;
	size_t n = 0;

	for (const char *at = text; at < end; at++) {
		bool is_first = at == text;

		if (is_at(at, end, "%252C") ||
			(is_first && (is_at(at, end, "%252B") ||
					     is_at(at, end, "%252D")))) {
			out[n++] = '%';
			at += 2;
		} else if (is_at(at, end, "%2C")) {
			out[n++] = ',';
			at += 2;
		} else if (is_first && is_at(at, end, "%2B")) {
			out[n++] = '+';
			at += 2;
		} else if (is_first && is_at(at, end, "%2D")) {
			out[n++] = '-';
			at += 2;
		} else {
			out[n++] = *at;
		}
	}
	assert(n <= len);
	return n;
}

/* The ids while they are read: those with + grow from the front, those with -
 * from the back. */
struct reading {
	struct query *q;
	struct vg_id *ids; /* of QUERY_LIKE_MAX */
	char *bytes;	   /* room for all */
	char *name;	   /* for one */
	uint32_t n_plus, n_minus;
};

static int read_one(struct reading *r, const char *text, size_t len)
{
	bool is_minus = len > 0 && *text == '-';
	bool has_sign = is_minus || (len > 0 && *text == '+');
	char buf[VG_ID_MAX];
	struct vg_id id;

	text += has_sign;
	len -= has_sign;
	if (len == 0)
		return query_refuse(r->q, "like takes ids, as like=A,+B,-C");
	if (r->n_plus + r->n_minus == QUERY_LIKE_MAX)
		return query_refuse(r->q, "like takes at most %d ids",
			QUERY_LIKE_MAX);
	if (name_decode(r->name, get_name(text, len, r->name), buf, &id) < 0)
		return -ENOENT; /* no record can have this name */
	memcpy(r->bytes, id.bytes, id.len);
	r->ids[is_minus ? QUERY_LIKE_MAX - ++r->n_minus : r->n_plus++] =
		(struct vg_id){r->bytes, id.len};
	r->bytes += id.len;
	return 0;
}

static int read_all(struct reading *r, const char *text, size_t len)
{
	const char *end = text + len;
	int rc = 0;

	/* Each turn goes behind a comma, or to the end. */
	while (rc == 0) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t n = (size_t)((comma ? comma : end) - text);

		/* More of it may come. */
		if (!comma && (n == 0 || (n == 1 && strchr("+-", *text))))
			return -ENOENT;
		rc = read_one(r, text, n);
		if (!comma)
			break;
		text = comma + 1;
	}
	return rc;
}

int query_set_like(struct query *q, const char *text, size_t len)
{
	const size_t ids_len = QUERY_LIKE_MAX * sizeof(struct vg_id);
	struct reading r = {.q = q};
	char *block = malloc(ids_len + len);
	int rc;

	r.name = malloc(len + 1);
	r.ids = (struct vg_id *)block;
	if (!block || !r.name) {
		rc = -ENOMEM;
		goto free_block;
	}
	r.bytes = block + ids_len;
	rc = read_all(&r, text, len);
	if (rc < 0)
		goto free_block;
	/* Behind those with +, in the order in which they were named. */
	for (uint32_t i = 0; i < r.n_minus / 2; i++) {
		struct vg_id *a = &r.ids[QUERY_LIKE_MAX - r.n_minus + i];
		struct vg_id *b = &r.ids[QUERY_LIKE_MAX - 1 - i];
		struct vg_id id = *a;

		*a = *b;
		*b = id;
	}
	memmove(r.ids + r.n_plus, r.ids + QUERY_LIKE_MAX - r.n_minus,
		r.n_minus * sizeof(*r.ids));
	free(q->like);
	q->like = r.ids;
	q->n_plus = r.n_plus;
	q->n_like = r.n_plus + r.n_minus;
	q->src = QUERY_LIKE;
	block = NULL;
free_block:
	free(block);
	free(r.name);
	return rc;
}
