/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_format.c: the one text of a filter.
 *
 * The steps are run as when they are asked, on texts in place of truths. What
 * is joined by the same operator is one list, however it was in parentheses; a
 * list is sorted by its bytes and each text of it there once, when it becomes
 * a text itself. Texts are only ever appended to `out`, which so grows by the
 * size of the filter with each level; the last one is moved to its begin.
 *
 * Where all of a list is the same text, (a and c or c and a) and b, there is a
 * level less than the steps say; then the text is read and written once more.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/filter_int.h"

struct text {
	size_t at, len;	 /* in out */
	uint16_t joined; /* what it is joined by, if not in parentheses */
};

struct list {
	uint16_t joined; /* FILTER_AND, FILTER_OR, or 0: a single text */
	uint32_t n;	 /* the last n texts */
};

struct format {
	const struct filter *f;
	struct meta_buf *out;
	struct text *texts; /* n_terms of them suffice */
	uint32_t n_texts;
	struct list lists[FILTER_STACK_MAX];
	uint32_t n_lists;
	bool is_less; /* a list was one text again and again */
};

static int put(struct meta_buf *out, const char *bytes, size_t n)
{
	if (n == 0)
		return 0;
	if (out->cap - out->len < n) {
		size_t cap = VG_MAX(2 * out->cap, out->len + n + 256);
		char *grown = realloc(out->bytes, cap);
		if (!grown)
			return -ENOMEM;
		out->bytes = grown;
		out->cap = cap;
	}
	assert(out->cap - out->len >= n);
	memcpy(out->bytes + out->len, bytes, n);
	out->len += n;
	return 0;
}

static int put_word(struct meta_buf *out, const char *word)
{
	return put(out, word, strlen(word));
}

/* Escaped wherever an unquoted text could not have it; is_quoted: in quotes,
 * where only % needs it. */
static int put_encoded(struct meta_buf *out, const char *text, size_t len,
	bool is_quoted)
{
	static const char hex[] = "0123456789ABCDEF";
	int rc = 0;

	for (size_t i = 0; i < len && rc == 0; i++) {
		unsigned char c = (unsigned char)text[i];
		bool is_plain = c != '%' && (is_quoted || (c > ' ' &&
			c != 0x7f && !memchr("=()\"", c, 4)));
		char code[] = {'%', hex[c >> 4], hex[c & 15]};
		rc = is_plain ? put(out, text + i, 1) : put(out, code, 3);
	}
	return rc;
}

/* Text as a JSON string, decoded as VALUES are. */
static int put_quoted(struct meta_buf *out, const char *text, size_t len)
{
	char *json = malloc(JSON_STRING_MAX(len));
	int rc;

	if (!json)
		return -ENOMEM;
	rc = put_encoded(out, json, json_string_encode(text, len, json), true);
	free(json);
	return rc;
}

static int put_number(struct meta_buf *out, const struct decimal *num)
{
	char *text = malloc(DECIMAL_TEXT_MAX(num->len));
	int rc;

	if (!text)
		return -ENOMEM;
	rc = put(out, text, decimal_format(num, text));
	free(text);
	return rc;
}

static int put_value(struct meta_buf *out, const struct filter_value *v)
{
	switch (v->type) {
	case FILTER_FALSE:
		return put_word(out, "false");
	case FILTER_TRUE:
		return put_word(out, "true");
	case FILTER_NUMBER:
		return put_number(out, &v->num);
	default:
		assert(v->type == FILTER_STRING);
		return put_quoted(out, v->text, v->len);
	}
}

static int put_values(const struct format *m, const struct filter_term *t)
{
	int rc = t->n_values == 0 ? put_word(m->out, "[]") : 0;

	for (uint32_t i = 0; i < t->n_values && rc == 0; i++) {
		if (i > 0)
			rc = put(m->out, ",", 1);
		if (rc == 0)
			rc = put_value(m->out, &m->f->values[t->values + i]);
	}
	return rc;
}

/* One of a list is said shorter. */
static int put_op(struct meta_buf *out, const struct filter_term *t)
{
	enum filter_op op = t->op;
	int rc = put_word(out, ".");

	assert(op < FILTER_N_OPS);
	if (op == FILTER_IN && t->n_values == 1)
		op = FILTER_EQ;
	if (op == FILTER_NIN && t->n_values == 1)
		op = FILTER_NE;
	if (rc == 0)
		rc = put_word(out, filter_words[op]);
	return rc < 0 ? rc : put_word(out, "=");
}

static int put_term(const struct format *m, const struct filter_term *t)
{
	bool is_forced = t->field_len >= 5 && memcmp(t->field, "meta.", 5) == 0;
	int rc = is_forced ? put_word(m->out, "meta.") : 0;

	if (rc == 0)
		rc = put_encoded(m->out, t->field, t->field_len, false);
	if (rc == 0)
		rc = put_op(m->out, t);
	if (rc < 0)
		return rc;
	if (t->op == FILTER_EXISTS)
		return put_word(m->out, t->wants ? "1" : "0");
	if (t->op == FILTER_PREFIX)
		return put_quoted(m->out, t->text, t->text_len);
	if (t->op == FILTER_CONTAINS &&
		m->f->values[t->values].type != FILTER_STRING)
		return put_encoded(m->out, t->text, t->text_len, false);
	return put_values(m, t);
}

/* Texts need the bytes that they are in to be compared. */
static int compare_texts(const void *a, const void *b, void *bytes)
{
	const struct text *x = a, *y = b;
	int order = memcmp((char *)bytes + x->at, (char *)bytes + y->at,
		VG_MIN(x->len, y->len));

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* A list's text from out's end on, its own texts before it. */
static int put_list(struct format *m, struct list *list, struct text *texts)
{
	const char *word = list->joined == FILTER_AND ? " and " : " or ";
	uint32_t kept = 0;
	int rc = 0;

	qsort_r(texts, list->n, sizeof(*texts), compare_texts, m->out->bytes);
	for (uint32_t i = 0; i < list->n; i++) {
		if (kept == 0 || compare_texts(&texts[kept - 1], &texts[i],
			m->out->bytes) != 0)
			texts[kept++] = texts[i];
	}
	m->is_less |= kept == 1 && list->n > 1;
	list->n = kept;
	if (kept == 1)
		return 0;
	size_t at = m->out->len;
	for (uint32_t i = 0; i < kept && rc == 0; i++) {
		struct text t = texts[i];
		char *copy = malloc(t.len + 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, m->out->bytes + t.at, t.len);
		rc = i > 0 ? put_word(m->out, word) : 0;
		if (rc == 0)
			rc = put(m->out, copy, t.len);
		free(copy);
	}
	texts[0] = (struct text){at, m->out->len - at, list->joined};
	list->n = 1;
	return rc;
}

/* The list's single text in parentheses, behind before. */
static int wrap(struct format *m, struct text *text, const char *before,
	bool in_parentheses)
{
	size_t at = m->out->len;
	char *copy = malloc(text->len + 1);
	int rc;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, m->out->bytes + text->at, text->len);
	rc = put_word(m->out, before);
	if (rc == 0 && in_parentheses)
		rc = put(m->out, "(", 1);
	if (rc == 0)
		rc = put(m->out, copy, text->len);
	if (rc == 0 && in_parentheses)
		rc = put(m->out, ")", 1);
	free(copy);
	*text = (struct text){at, m->out->len - at, 0};
	return rc;
}

/* The list becomes what stands on a side of `joined`: itself if it is joined
 * so already, else one text. */
static int make_side(struct format *m, struct list *list, struct text *texts,
	uint16_t joined)
{
	int rc = 0;

	assert(list->n > 0);
	if (list->joined == joined)
		return 0;
	if (list->joined)
		rc = put_list(m, list, texts);
	list->joined = 0;
	if (rc == 0 && texts->joined == FILTER_OR && joined == FILTER_AND)
		rc = wrap(m, texts, "", true);
	return rc;
}

static int join(struct format *m, uint16_t joined)
{
	struct list *left, *right;
	struct text *texts;
	uint32_t n;
	int rc;

	assert(m->n_lists >= 2);
	left = &m->lists[m->n_lists - 2];
	right = left + 1;
	texts = m->texts + m->n_texts - right->n;
	n = right->n;
	rc = make_side(m, right, texts, joined);
	m->n_texts -= n - right->n;
	if (rc < 0)
		return rc;
	n = left->n;
	texts = m->texts + m->n_texts - right->n - n;
	rc = make_side(m, left, texts, joined);
	memmove(texts + left->n, texts + n, right->n * sizeof(*texts));
	m->n_texts -= n - left->n;
	*left = (struct list){joined, left->n + right->n};
	m->n_lists--;
	return rc;
}

static int negate(struct format *m)
{
	struct list *list = &m->lists[m->n_lists - 1];
	struct text *texts = m->texts + m->n_texts - list->n;
	uint32_t n = list->n;
	int rc = list->joined ? put_list(m, list, texts) : 0;

	m->n_texts -= n - list->n;
	if (rc == 0)
		rc = wrap(m, texts, "not ", texts->joined != 0);
	list->joined = 0;
	return rc;
}

static int run(struct format *m)
{
	const struct filter *f = m->f;
	int rc = 0;

	for (uint32_t i = 0; i < f->n_steps && rc == 0; i++) {
		uint16_t step = f->steps[i];
		if (step == FILTER_NOT) {
			rc = negate(m);
		} else if (step > FILTER_NOT) {
			rc = join(m, step);
		} else {
			size_t at = m->out->len;
			rc = put_term(m, &f->terms[step]);
			m->texts[m->n_texts++] = (struct text){at,
				m->out->len - at, 0};
			m->lists[m->n_lists++] = (struct list){0, 1};
		}
	}
	assert(rc < 0 || m->n_lists == 1);
	if (rc == 0 && m->lists[0].joined)
		rc = put_list(m, &m->lists[0], m->texts);
	return rc;
}

/* One round; *is_less: another may say it shorter. */
static int format(const struct filter *f, struct meta_buf *out, bool *is_less)
{
	struct format m = {.f = f, .out = out};
	int rc;

	assert(f->depth <= FILTER_STACK_MAX && f->n_terms > 0);
	out->len = 0;
	m.texts = malloc(f->n_terms * sizeof(*m.texts));
	if (!m.texts)
		return -ENOMEM;
	rc = run(&m);
	if (rc == 0) {
		memmove(out->bytes, out->bytes + m.texts[0].at, m.texts[0].len);
		out->len = m.texts[0].len;
	}
	*is_less = m.is_less;
	free(m.texts);
	return rc;
}

int filter_format(const struct filter *f, struct meta_buf *out)
{
	struct filter *shorter = NULL;
	struct filter_why why;
	bool is_less;
	int rc = format(f, out, &is_less);

	/* Each turn has at least one term less. */
	while (rc == 0 && is_less) {
		struct filter *before = shorter;
		rc = filter_parse_where(out->bytes, out->len, &why, &shorter);
		if (rc == 0)
			filter_free(before);
		if (rc == -EINVAL) { /* longer than a text may be */
			rc = 0;
			break;
		}
		if (rc == 0)
			rc = format(shorter, out, &is_less);
	}
	filter_free(shorter);
	if (rc < 0)
		out->len = 0;
	return rc;
}
