/* SPDX-License-Identifier: Apache-2.0 */
/* filter.c: see filter.h: filters made, joined, freed. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/filter_int.h"

void *filter_grow(void *at, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t want = VG_MAX(*cap, (uint32_t)4);
	void *grown;

	assert(n <= UINT32_MAX / 4 && size > 0);
	while (want < n)
		want *= 2;
	if (want == *cap)
		return at;
	grown = realloc(at, want * size);
	if (grown)
		*cap = want;
	return grown;
}

int filter_add_step(struct filter *f, uint16_t step)
{
	uint16_t *steps = filter_grow(f->steps, &f->cap_steps, f->n_steps + 1,
		sizeof(*steps));

	if (!steps)
		return -ENOMEM;
	f->steps = steps;
	/* Negated twice is as it was. */
	if (step == FILTER_NOT && f->steps[f->n_steps - 1] == FILTER_NOT) {
		f->n_steps--;
		return 0;
	}
	f->steps[f->n_steps++] = step;
	if (step < FILTER_NOT)
		f->held++;
	else if (step != FILTER_NOT)
		f->held--;
	assert(f->held > 0);
	f->depth = VG_MAX(f->depth, f->held);
	return 0;
}

int filter_refuse(struct filter_why *why, size_t position, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(why->sentence, sizeof(why->sentence),
		"position %zu: ", position);

	assert(n > 0 && position > 0);
	why->position = position;
	va_start(ap, fmt);
	vsnprintf(why->sentence + n, sizeof(why->sentence) - (size_t)n, fmt,
		ap);
	va_end(ap);
	return -EINVAL;
}

const char *filter_show(const char *text, size_t len,
	char out[FILTER_SHOW_LEN + 4])
{
	size_t n = VG_MIN(len, (size_t)FILTER_SHOW_LEN);

	for (size_t i = 0; i < n; i++)
		out[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	strcpy(out + n, n < len ? "..." : "");
	return out;
}

int filter_compare(const struct filter_value *a, const struct filter_value *b)
{
	int order;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	if (a->type == FILTER_NUMBER)
		return decimal_compare(&a->num, &b->num);
	if (a->type != FILTER_STRING)
		return 0;
	order = memcmp(a->text, b->text, VG_MIN(a->len, b->len));
	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	free(f->terms);
	free(f->values);
	free(f->steps);
	free(f->skips);
	free(f->bytes);
	free(f);
}

/* Where a text of `from` lies in `to`, whose bytes have from's at `at`. */
static const char *rebase(const struct filter *to, size_t at,
	const struct filter *from, const char *text)
{
	if (!text)
		return NULL;
	assert(text >= from->bytes && text <= from->bytes + from->n_bytes);
	return to->bytes + at + (text - from->bytes);
}

static void append_values(struct filter *to, size_t at,
	const struct filter *from)
{
	for (uint32_t i = 0; i < from->n_values; i++) {
		struct filter_value v = from->values[i];
		v.text = rebase(to, at, from, v.text);
		v.num.digits = rebase(to, at, from, v.num.digits);
		to->values[to->n_values++] = v;
	}
	if (from->n_skips > 0)
		memcpy(to->skips + to->n_skips, from->skips,
			from->n_skips * sizeof(*to->skips));
	to->n_skips += from->n_skips;
}

/* There is room for all of it, but for the steps maybe. */
static int append(struct filter *to, const struct filter *from)
{
	uint32_t first = to->n_terms;
	size_t at = to->n_bytes;
	int rc = 0;

	for (uint32_t i = 0; i < from->n_terms; i++) {
		struct filter_term t = from->terms[i];
		t.values += to->n_values;
		t.skips += to->n_skips;
		t.field = rebase(to, at, from, t.field);
		t.text = rebase(to, at, from, t.text);
		to->terms[to->n_terms++] = t;
	}
	append_values(to, at, from);
	memcpy(to->bytes + at, from->bytes, from->n_bytes);
	to->n_bytes += from->n_bytes;
	for (uint32_t i = 0; i < from->n_steps && rc == 0; i++) {
		uint16_t step = from->steps[i];
		rc = filter_add_step(to, step >= FILTER_NOT ? step :
			(uint16_t)(step + first));
	}
	return rc;
}

/* Room for all that the parts have together. */
static int reserve(struct filter *f, const struct filter *const *parts,
	uint32_t n)
{
	uint64_t terms = 0, values = 0, skips = 0;
	size_t bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		terms += parts[i]->n_terms;
		values += parts[i]->n_values;
		skips += parts[i]->n_skips;
		bytes += parts[i]->n_bytes;
		if (parts[i]->depth + 1 > FILTER_STACK_MAX)
			return -E2BIG;
	}
	if (terms > FILTER_TERMS_MAX || values > UINT32_MAX / 8 ||
		skips > UINT32_MAX / 8)
		return -E2BIG;
	f->terms = filter_grow(NULL, &f->cap_terms, (uint32_t)terms,
		sizeof(*f->terms));
	f->values = filter_grow(NULL, &f->cap_values, (uint32_t)values,
		sizeof(*f->values));
	f->skips = filter_grow(NULL, &f->cap_skips, (uint32_t)skips,
		sizeof(*f->skips));
	f->bytes = malloc(bytes + 1);
	return f->terms && f->values && f->skips && f->bytes ? 0 : -ENOMEM;
}

int filter_join(const struct filter *const *parts, uint32_t n,
	struct filter **out)
{
	struct filter *f = calloc(1, sizeof(*f));
	int rc;

	assert(n > 0);
	if (!f)
		return -ENOMEM;
	rc = reserve(f, parts, n);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		rc = append(f, parts[i]);
		if (rc == 0 && i > 0)
			rc = filter_add_step(f, FILTER_AND);
	}
	if (rc < 0) {
		filter_free(f);
		return rc;
	}
	assert(f->held == 1 && f->depth <= FILTER_STACK_MAX);
	*out = f;
	return 0;
}

int filter_each_field(const struct filter *f, filter_field_fn *each,
	void *ctx)
{
	int rc = 0;

	for (uint32_t i = 0; i < f->n_terms && rc == 0; i++) {
		const struct filter_term *t = &f->terms[i];
		bool is_known = false;
		for (uint32_t k = 0; k < i && !is_known; k++)
			is_known = f->terms[k].field_len == t->field_len &&
				memcmp(f->terms[k].field, t->field,
					t->field_len) == 0;
		if (!is_known)
			rc = each(ctx, (struct vg_id){t->field, t->field_len});
	}
	return rc;
}
