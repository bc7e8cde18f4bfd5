/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields_match.c: which versions a filter means: its steps run on sets.
 *
 * A term's versions are a few slices of each run. Keys that are cut cannot
 * tell for values that are as long; then the versions of the key are asked one
 * by one, and so a term's set is exact before anything is made of it.
 */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"

/* A filter being evaluated. */
struct match {
	const struct filter *filter;
	const struct fields_rows *rows;
	struct fields_runs **views; /* by term; those of the first term of each
				       field are references */
	uint32_t n; /* versions of all sets: beyond rows->n where an index is */
	struct fields_payload payload;
	struct fields_bits held[FILTER_STACK_MAX];
	uint32_t n_held;
};

/* A term, and the set that it becomes. */
struct part {
	struct match *m;
	const struct filter_term *t;
	const struct fields_runs *runs;
	struct fields_bits *out;
};

/* Asks the metadata of each version that a key has and that is not in yet. */
static int verify(struct part *p, const struct fields_run *r, uint32_t value)
{
	const struct fields_rows *rows = p->m->rows;
	struct fields_cursor c;
	uint32_t v;

	fields_cursor_init(&c, r, value);
	while (fields_cursor_next(&c, &v) && v < rows->n) {
		if (fields_bits_has(p->out, v))
			continue;
		int rc = filter_term_matches(p->m->filter, p->t,
			rows->get(rows->ctx, v), true);
		if (rc < 0)
			return rc;
		if (rc > 0)
			fields_bits_set(p->out, v);
	}
	return 0;
}

/* The keys of a zone: all of them, or those that are it after all. */
static int add_zone(struct part *p, const struct fields_run *r, uint32_t lo,
	uint32_t hi)
{
	int rc = 0;

	if (p->m->payload.len <= FIELDS_PAYLOAD_MAX) {
		fields_run_or(r, lo, hi, p->out);
		return 0;
	}
	for (uint32_t i = lo; i < hi && rc == 0; i++)
		rc = verify(p, r, i);
	return rc;
}

/* Of a long value only the key with its hash can be it. */
static int add_equal(struct part *p, const struct fields_run *r)
{
	uint8_t key[FIELDS_KEY_MAX];
	size_t key_len = fields_key(&p->m->payload, key), len;
	uint32_t lo, hi;

	fields_run_zone(r, &p->m->payload, false, &lo, &hi);
	for (uint32_t i = lo; i < hi; i++) {
		const uint8_t *is = fields_run_key(r, i, &len);
		if (fields_compare(is, len, key, key_len) == 0)
			return add_zone(p, r, i, i + 1);
	}
	return 0;
}

/* What an order takes beside the zone of the value itself. */
static int add_ordered(struct part *p, const struct fields_run *r)
{
	enum filter_op op = p->t->op;
	uint8_t tag = p->m->payload.tag;
	bool is_long = p->m->payload.len > FIELDS_PAYLOAD_MAX;
	uint32_t lo, hi;

	fields_run_zone(r, &p->m->payload, false, &lo, &hi);
	if (op == FILTER_LT || op == FILTER_LTE) {
		fields_run_or(r, fields_run_tag(r, tag), lo, p->out);
	} else {
		assert(op == FILTER_GT || op == FILTER_GTE);
		fields_run_or(r, hi, fields_run_tag(r, (uint8_t)(tag + 1)),
			p->out);
	}
	if (is_long || op == FILTER_LTE || op == FILTER_GTE)
		return add_zone(p, r, lo, hi);
	return 0;
}

static int add_prefix(struct part *p, const struct fields_run *r)
{
	uint32_t lo, hi;

	fields_run_zone(r, &p->m->payload, true, &lo, &hi);
	return add_zone(p, r, lo, hi);
}

/* Calls add for each run, with a payload of scalars or of elements. */
static int each_run(struct part *p, const struct filter_value *v,
	bool is_element, int (*add)(struct part *, const struct fields_run *))
{
	int rc = fields_payload_of_value(&p->m->payload, v, is_element);

	for (uint32_t i = 0; i < p->runs->n && rc == 0; i++)
		rc = add(p, p->runs->at[i]);
	return rc;
}

/* What some value of the term equals, or is ordered to. */
static int add_values(struct part *p,
	int (*add)(struct part *, const struct fields_run *))
{
	const struct filter_value *v = p->m->filter->values + p->t->values;
	int rc = 0;

	for (uint32_t i = 0; i < p->t->n_values && rc == 0; i++) {
		rc = each_run(p, &v[i], false, add);
		if (rc == 0)
			rc = each_run(p, &v[i], true, add);
	}
	return rc;
}

/* Strings with the text in them: every key is looked at. */
static int add_containing(struct part *p, const struct fields_run *r)
{
	uint32_t from = fields_run_tag(r, FILTER_STRING);
	uint32_t to = fields_run_tag(r, FILTER_STRING + 1);
	int rc = 0;

	for (uint32_t i = from; i < to && rc == 0; i++) {
		size_t len;
		const uint8_t *key = fields_run_key(r, i, &len);
		bool is_cut = fields_key_is_cut(len);
		size_t n = is_cut ? FIELDS_PAYLOAD_MAX : len - 1;
		if (memmem(key + 1, n, p->t->text, p->t->text_len))
			fields_run_or(r, i, i + 1, p->out);
		else if (is_cut)
			rc = verify(p, r, i);
	}
	return rc;
}

static int add_contains(struct part *p)
{
	const struct filter_value *v = p->m->filter->values + p->t->values;
	int rc = 0;

	assert(p->t->n_values == 1);
	for (uint32_t i = 0; i < p->runs->n && rc == 0; i++)
		rc = add_containing(p, p->runs->at[i]);
	if (rc == 0 && v->type != FILTER_NULL)
		rc = each_run(p, v, true, add_equal);
	return rc;
}

static void add_existing(const struct part *p, struct fields_bits *out)
{
	for (uint32_t i = 0; i < p->runs->n; i++) {
		const struct fields_run *r = p->runs->at[i];
		fields_run_or(r, 0, fields_run_tag(r, FIELDS_EXISTS + 1), out);
	}
}

static int add_text(struct part *p)
{
	struct filter_value v = {.type = FILTER_STRING, .text = p->t->text,
		.len = p->t->text_len};
	int rc = each_run(p, &v, false, add_prefix);

	return rc < 0 ? rc : each_run(p, &v, true, add_prefix);
}

/* ne, nin: out becomes what has the field and is not in out. */
static int except(const struct part *p)
{
	struct fields_bits all;
	int rc = fields_bits_init(&all, p->m->n);

	if (rc < 0)
		return rc;
	add_existing(p, &all);
	fields_bits_take(p->out, &all);
	fields_bits_fini(&all);
	return 0;
}

static int match_term(struct part *p)
{
	int rc = 0;

	switch (p->t->op) {
	case FILTER_EXISTS:
		add_existing(p, p->out);
		if (!p->t->wants)
			fields_bits_not(p->out);
		break;
	case FILTER_EQ:
	case FILTER_IN:
		return add_values(p, add_equal);
	case FILTER_NE:
	case FILTER_NIN:
		rc = add_values(p, add_equal);
		return rc < 0 ? rc : except(p);
	case FILTER_PREFIX:
		return add_text(p);
	case FILTER_CONTAINS:
		return add_contains(p);
	default:
		return add_values(p, add_ordered);
	}
	return rc;
}

static int step_term(struct match *m, uint16_t step)
{
	struct part p = {.m = m, .t = &m->filter->terms[step],
		.runs = m->views[step], .out = &m->held[m->n_held]};
	int rc = fields_bits_init(p.out, m->n);

	assert(m->n_held < FILTER_STACK_MAX);
	assert(p.runs->covered <= m->n);
	if (rc < 0)
		return rc;
	m->n_held++;
	return match_term(&p);
}

static int run_steps(struct match *m)
{
	int rc = 0;

	assert(m->filter->depth <= FILTER_STACK_MAX);
	for (uint32_t i = 0; i < m->filter->n_steps && rc == 0; i++) {
		uint16_t step = m->filter->steps[i];
		if (step < FILTER_NOT) {
			rc = step_term(m, step);
			continue;
		}
		struct fields_bits *top = &m->held[m->n_held - 1];
		if (step == FILTER_NOT) {
			fields_bits_not(top);
			continue;
		}
		if (step == FILTER_AND)
			fields_bits_and(top - 1, top);
		else
			fields_bits_or(top - 1, top);
		fields_bits_fini(top);
		m->n_held--;
	}
	assert(rc < 0 || m->n_held == 1);
	return rc;
}

/* The first term of the same field. */
static uint32_t first_of_field(const struct filter *f, uint32_t term)
{
	const struct filter_term *t = &f->terms[term];

	for (uint32_t i = 0; i < term; i++) {
		if (f->terms[i].field_len == t->field_len &&
			memcmp(f->terms[i].field, t->field, t->field_len) == 0)
			return i;
	}
	return term;
}

/* All fields as they are now, each once. */
static int take_views(struct fields *f, struct match *m)
{
	const struct filter *filter = m->filter;
	int rc = 0;

	m->views = calloc(filter->n_terms, sizeof(struct fields_runs *));
	if (!m->views)
		return -ENOMEM;
	for (uint32_t i = 0; i < filter->n_terms && rc == 0; i++) {
		const struct filter_term *t = &filter->terms[i];
		uint32_t first = first_of_field(filter, i);
		if (first < i) {
			m->views[i] = m->views[first];
			continue;
		}
		rc = fields_view(f, (struct vg_id){t->field, t->field_len},
			m->rows, &m->views[i]);
		if (rc == 0)
			m->n = VG_MAX(m->n, m->views[i]->covered);
	}
	return rc;
}

static void give_views(struct match *m)
{
	for (uint32_t i = 0; m->views && i < m->filter->n_terms; i++) {
		if (first_of_field(m->filter, i) == i)
			fields_runs_unref(m->views[i]);
	}
	free(m->views);
}

/* Without versions no field is asked for. */
static int match_none(struct roaring_bitmap_s **out)
{
	struct fields_bits none;
	int rc = fields_bits_init(&none, 0);

	if (rc == 0)
		rc = fields_bits_export(&none, out);
	fields_bits_fini(&none);
	return rc;
}

int fields_match(struct fields *f, const struct filter *filter,
	const struct fields_rows *rows, struct roaring_bitmap_s **out)
{
	struct match *m;
	int rc;

	if (rows->n == 0)
		return match_none(out);
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->filter = filter;
	m->rows = rows;
	m->n = rows->n;
	rc = take_views(f, m);
	if (rc == 0)
		rc = run_steps(m);
	if (rc == 0) {
		fields_bits_cut(&m->held[0], rows->n);
		rc = fields_bits_export(&m->held[0], out);
	}
	for (uint32_t i = 0; i < m->n_held; i++)
		fields_bits_fini(&m->held[i]);
	give_views(m);
	free(m->payload.made);
	free(m);
	return rc;
}
