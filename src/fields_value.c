/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields_value.c: the values of a field in order, and how many have each.
 *
 * For each type the dictionaries of all runs, of scalars and of elements, are
 * merged through a heap of where each stands. What is equal comes out as one
 * group: one place per dictionary that has the value.
 */
#include <assert.h>
#include <errno.h>
#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"

/* A slice of a run's keys, of one tag. */
struct source {
	const struct fields_run *run;
	uint32_t at, end;
	bool is_element;
};

/* What all sources have of one value. */
struct group {
	struct source *parts; /* at the value; scalars of a run first */
	uint32_t n;
	uint32_t no;
};

struct merge {
	struct fields_runs *runs; /* referenced */
	const struct fields_rows *rows;
	struct vg_id field;
	struct source *heap;  /* 2 * runs->n, the least key first */
	struct source *parts; /* as many */
	uint32_t n_heap;
	uint32_t no; /* groups so far */
	struct meta_buf json;
};

typedef int group_fn(struct merge *m, const struct group *g, void *ctx);

/* By key without its tag, then by run, then scalars first. */
static int compare_sources(const struct source *a, const struct source *b)
{
	size_t a_len, b_len;
	const uint8_t *x = fields_run_key(a->run, a->at, &a_len);
	const uint8_t *y = fields_run_key(b->run, b->at, &b_len);
	int order = fields_compare(x + 1, a_len - 1, y + 1, b_len - 1);

	if (order != 0)
		return order;
	if (a->run != b->run)
		return a->run->begin < b->run->begin ? -1 : 1;
	return (int)a->is_element - (int)b->is_element;
}

static bool is_same_value(const struct source *a, const struct source *b)
{
	size_t a_len, b_len;
	const uint8_t *x = fields_run_key(a->run, a->at, &a_len);
	const uint8_t *y = fields_run_key(b->run, b->at, &b_len);

	return a_len == b_len && memcmp(x + 1, y + 1, a_len - 1) == 0;
}

static void sift_down(struct merge *m, uint32_t i)
{
	/* Each turn goes a level down. */
	for (;;) {
		uint32_t least = i;
		for (uint32_t k = 2 * i + 1; k <= 2 * i + 2; k++) {
			if (k < m->n_heap && compare_sources(&m->heap[k],
				&m->heap[least]) < 0)
				least = k;
		}
		if (least == i)
			return;
		struct source s = m->heap[i];
		m->heap[i] = m->heap[least];
		m->heap[least] = s;
		i = least;
	}
}

static void fill_heap(struct merge *m, uint8_t type)
{
	m->n_heap = 0;
	for (uint32_t i = 0; i < 2 * m->runs->n; i++) {
		struct fields_run *r = m->runs->at[i / 2];
		uint8_t tag = (uint8_t)(type + (i % 2 ? FIELDS_ELEMENT : 0));
		struct source s = {r, fields_run_tag(r, tag),
			fields_run_tag(r, (uint8_t)(tag + 1)), i % 2};
		if (s.at < s.end)
			m->heap[m->n_heap++] = s;
	}
	for (uint32_t i = m->n_heap / 2; i-- > 0;)
		sift_down(m, i);
}

/* Takes the least value out of the heap. */
static struct group next_group(struct merge *m)
{
	struct group g = {.parts = m->parts, .no = m->no++};

	assert(m->n_heap > 0);
	do {
		g.parts[g.n++] = m->heap[0];
		if (++m->heap[0].at == m->heap[0].end)
			m->heap[0] = m->heap[--m->n_heap];
		sift_down(m, 0);
	} while (m->n_heap > 0 && is_same_value(&g.parts[0], &m->heap[0]));
	assert(g.n <= 2 * m->runs->n);
	return g;
}

/* Calls fn for all values of the field in order. */
static int merge_values(struct merge *m, group_fn *fn, void *ctx)
{
	int rc = 0;

	m->heap = calloc(2 * (size_t)m->runs->n, sizeof(*m->heap));
	m->parts = calloc(2 * (size_t)m->runs->n, sizeof(*m->parts));
	if (!m->heap || !m->parts)
		rc = -ENOMEM;
	for (uint8_t type = FILTER_FALSE; type <= FILTER_STRING && rc == 0;
		type++) {
		fill_heap(m, type);
		while (m->n_heap > 0 && rc == 0) {
			struct group g = next_group(m);
			rc = fn(m, &g, ctx);
		}
	}
	free(m->heap);
	free(m->parts);
	return rc;
}

/* Versions of a group's parts, each once: of an element's those that its run's
 * scalar, the part before, has too are left out. */
struct walk {
	const struct merge *m;
	const struct group *g;
	uint32_t part;
	const struct source *before; /* or NULL */
	struct fields_cursor cursor;
};

static void walk_part(struct walk *w, uint32_t part)
{
	const struct source *s = &w->g->parts[part];

	assert(part < w->g->n && s->at < s->end);
	w->part = part;
	w->before = part > 0 && s[-1].run == s->run ? s - 1 : NULL;
	assert(!w->before || s->is_element);
	fields_cursor_init(&w->cursor, s->run, s->at);
}

static bool walk_next(struct walk *w, uint32_t *version)
{
	while (fields_cursor_next(&w->cursor, version)) {
		if (*version >= w->m->rows->n)
			return false;
		if (!w->before || !fields_run_has(w->before->run, w->before->at,
			*version))
			return true;
	}
	return false;
}

/* ---- a value as JSON ---- */

static int reserve(struct meta_buf *buf, size_t n)
{
	char *bytes;

	buf->len = 0;
	if (n <= buf->cap)
		return 0;
	bytes = realloc(buf->bytes, n + 256);
	if (!bytes)
		return -ENOMEM;
	buf->bytes = bytes;
	buf->cap = n + 256;
	return 0;
}

static int put_number(struct meta_buf *out, const struct decimal *num)
{
	int rc = reserve(out, DECIMAL_TEXT_MAX(num->len));

	if (rc == 0)
		out->len = decimal_format(num, out->bytes);
	return rc;
}

static int put_string(struct meta_buf *out, const char *text, size_t len)
{
	int rc = reserve(out, JSON_STRING_MAX(len));

	if (rc == 0)
		out->len = json_string_encode(text, len, out->bytes);
	return rc;
}

/* What a cut key was made of: found in the metadata of a version that has it. */
static int put_cut(struct merge *m, const uint8_t *key, uint32_t version)
{
	struct meta record = m->rows->get(m->rows->ctx, version);
	struct fields_payload p = {0};
	uint8_t is[FIELDS_KEY_MAX];
	struct filter_walk w;
	struct filter_hit hit;
	bool is_found = false;
	int rc;

	filter_walk_init(&w, record, m->field.bytes, m->field.len);
	while (!is_found && (rc = filter_walk_next(&w, &hit)) > 0) {
		if (hit.token.type != JSON_STRING &&
			hit.token.type != JSON_NUMBER)
			continue;
		rc = fields_payload_of_hit(&p, &hit);
		if (rc < 0)
			break;
		is_found = fields_key_is_cut(fields_key(&p, is)) &&
			memcmp(is, key, FIELDS_KEY_MAX) == 0;
	}
	if (is_found && hit.token.type == JSON_STRING) {
		rc = put_string(&m->json, (const char *)p.bytes, p.len);
	} else if (is_found) {
		struct decimal num = decimal_scan(hit.token.text,
			(uint32_t)hit.token.len);
		rc = put_number(&m->json, &num);
	} else if (rc == 0) {
		rc = -VG_ECORRUPT; /* the index is not of this metadata */
	}
	free(p.made);
	return rc;
}

/* The value of a key, which version has, in m->json. */
static int put_json(struct merge *m, const struct source *s, uint32_t version)
{
	char digits[2 * FIELDS_KEY_MAX];
	struct decimal num;
	size_t len;
	const uint8_t *key = fields_run_key(s->run, s->at, &len);
	const char *word;
	int rc;

	assert(version < m->rows->n);
	if (fields_key_is_cut(len))
		return put_cut(m, key, version);
	switch (key[0] & (FIELDS_ELEMENT - 1)) {
	case FILTER_NUMBER:
		if (!decimal_decode(key + 1, len - 1, digits, &num))
			return -VG_ECORRUPT;
		return put_number(&m->json, &num);
	case FILTER_STRING:
		return put_string(&m->json, (const char *)key + 1, len - 1);
	default:
		word = key[0] & FILTER_TRUE ? "true" : "false";
		rc = reserve(&m->json, 5);
		if (rc < 0)
			return rc;
		m->json.len = strlen(word);
		memcpy(m->json.bytes, word, m->json.len);
		return 0;
	}
}

static struct meta as_meta(const struct meta_buf *buf)
{
	return (struct meta){buf->bytes, (uint32_t)buf->len};
}

/* A merge over the field's runs; -ENOMEM and what extending returns. */
static int merge_init(struct merge *m, struct fields *f, struct vg_id field,
	const struct fields_rows *rows)
{
	*m = (struct merge){.rows = rows, .field = field};
	return fields_view(f, field, rows, &m->runs);
}

static void merge_fini(struct merge *m)
{
	fields_runs_unref(m->runs);
	free(m->json.bytes);
}

/* ---- each value ---- */

#define PORTION 1024

struct each {
	fields_value_fn *each;
	void *ctx;
	uint32_t no; /* values that some version below n has */
	uint32_t versions[PORTION];
};

static int tell_group(struct merge *m, const struct group *g, void *ctx)
{
	struct each *e = ctx;
	struct walk w = {.m = m, .g = g};
	bool is_told = false;
	int rc = 0;

	for (uint32_t i = 0; i < g->n && rc == 0; i++) {
		uint32_t n = 0;
		walk_part(&w, i);
		/* Each turn takes a portion or ends. */
		do {
			for (n = 0; n < PORTION; n++) {
				if (!walk_next(&w, &e->versions[n]))
					break;
			}
			if (n > 0 && !is_told)
				rc = put_json(m, &g->parts[i], e->versions[0]);
			if (n > 0 && rc == 0)
				rc = e->each(e->ctx, e->no, as_meta(&m->json),
					e->versions, n);
			is_told |= n > 0;
		} while (n == PORTION && rc == 0);
	}
	e->no += is_told;
	return rc;
}

int fields_each_value(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, fields_value_fn *each, void *ctx)
{
	struct each *e;
	struct merge m;
	int rc;

	if (rows->n == 0)
		return 0;
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->each = each;
	e->ctx = ctx;
	rc = merge_init(&m, f, field, rows);
	if (rc == 0) {
		rc = merge_values(&m, tell_group, e);
		merge_fini(&m);
	}
	free(e);
	return rc;
}

/* ---- facets ---- */

/* A value, how many have it, and one of them. */
struct tally {
	struct source at;
	uint32_t no, count, version;
};

struct facet {
	struct fields_bits among;
	struct tally *tallies;
	uint32_t n, cap;
};

/* Those of a part that are among, and one of them. */
static uint32_t count_part(struct walk *w, const struct facet *f,
	uint32_t *one)
{
	const struct source *s = &w->g->parts[w->part];
	uint32_t n = 0, version, count;
	const uint64_t *bits = fields_run_bits(s->run, s->at, &count);

	if (bits && !w->before && s->run->end <= w->m->rows->n) {
		const uint64_t *with = f->among.words + s->run->begin / 64;
		for (uint32_t i = 0; i < fields_run_words(s->run); i++)
			n += (uint32_t)__builtin_popcountll(bits[i] & with[i]);
		fields_cursor_next(&w->cursor, one);
		return n;
	}
	while (walk_next(w, &version)) {
		if (!fields_bits_has(&f->among, version))
			continue;
		*one = version;
		n++;
	}
	return n;
}

static int count_group(struct merge *m, const struct group *g, void *ctx)
{
	struct facet *f = ctx;
	struct walk w = {.m = m, .g = g};
	struct tally t = {.no = g->no};
	struct tally *tallies;

	for (uint32_t i = 0; i < g->n; i++) {
		uint32_t one = 0, n;
		walk_part(&w, i);
		n = count_part(&w, f, &one);
		if (n > 0 && t.count == 0) {
			t.at = g->parts[i];
			t.version = one;
		}
		t.count += n;
	}
	if (t.count == 0)
		return 0;
	assert(t.at.run && t.version < m->rows->n);
	tallies = filter_grow(f->tallies, &f->cap, f->n + 1, sizeof(*tallies));
	if (!tallies)
		return -ENOMEM;
	f->tallies = tallies;
	f->tallies[f->n++] = t;
	return 0;
}

static int compare_tallies(const void *a, const void *b)
{
	const struct tally *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return (x->no > y->no) - (x->no < y->no);
}

static int tell_facets(struct merge *m, struct facet *f,
	fields_facet_fn *each, void *ctx)
{
	int rc = 0;

	if (f->n > 1)
		qsort(f->tallies, f->n, sizeof(*f->tallies), compare_tallies);
	for (uint32_t i = 0; i < f->n && rc == 0; i++) {
		const struct tally *t = &f->tallies[i];
		rc = put_json(m, &t->at, t->version);
		if (rc == 0)
			rc = each(ctx, as_meta(&m->json), t->count);
	}
	return rc;
}

int fields_facet(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, const struct fields_among *among,
	fields_facet_fn *each, void *ctx)
{
	struct facet facet = {.n = 0};
	struct merge m;
	int rc;

	if (rows->n == 0)
		return 0;
	rc = merge_init(&m, f, field, rows);
	if (rc < 0)
		return rc;
	rc = fields_bits_among(among, rows->n, &facet.among);
	if (rc == 0)
		rc = merge_values(&m, count_group, &facet);
	if (rc == 0)
		rc = tell_facets(&m, &facet, each, ctx);
	fields_bits_fini(&facet.among);
	free(facet.tallies);
	merge_fini(&m);
	return rc;
}
