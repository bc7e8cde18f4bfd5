/* SPDX-License-Identifier: Apache-2.0 */
/* fieldkit.c: see fieldkit.h. */
#include "tests/fieldkit.h"

#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

uint32_t fk_below(uint64_t *rng, uint32_t n)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return (uint32_t)((*rng * 0x2545f4914f6cdd1dull) >> 33) % n;
}

/* ---- records ---- */

/* Of one type next to each other, so that ranges meet some; many that are
 * equal, that begin each other, that are longer than a key. */
static const char *const scalars[] = {
	"0", "-0", "0.0", "1", "1.10", "1.1", "11e-1", "-1", "-1.5", "100",
	"1e2", "9007199254740992", "9007199254740993", "1e400", "-1e400",
	"1e-400", "0.5", "7", "8", "9", "10", "true", "false", "true",
	"\"\"", "\"a\"", "\"ab\"", "\"abc\"", "\"abd\"", "\"b\"",
	"\"\\u00e9\"", "\"a\\nb\"", "\"a\\u0000\"", "\"x,y\"", "\"1\"",
	"\"true\"", "\"null\"", "\"a\\\"b\"", "\"100%\"", "\"A (b) c\"",
	"\"%L\"", "\"%La\"", "\"%Lab\"", "\"%Lb\"", "\"%L\\n\"", "1%D",
	"1%D1", "1%D2", "-1%D1", "-1%D2",
};

/* %L is 128 letters, %D 300 digits. */
static size_t expand(char *out, const char *text)
{
	size_t n = 0;

	for (; *text; text++) {
		if (text[0] == '%' && (text[1] == 'L' || text[1] == 'D')) {
			size_t len = text[1] == 'L' ? 128 : 300;
			memset(out + n, text[1] == 'L' ? 'l' : '4', len);
			n += len;
			text++;
		} else {
			out[n++] = *text;
		}
	}
	out[n] = 0;
	return n;
}

static size_t put_scalar(uint64_t *rng, char *out)
{
	return expand(out, scalars[fk_below(rng, VG_ARRAY_LEN(scalars))]);
}

static size_t put_value(uint64_t *rng, char *out)
{
	size_t n = 0;
	uint32_t kind = fk_below(rng, 12);

	if (kind == 0)
		return (size_t)sprintf(out, "null");
	if (kind == 1)
		return (size_t)sprintf(out, "{\"x\":%d,\"y\":[1,{\"x\":2}]}",
			(int)fk_below(rng, 3));
	if (kind > 4)
		return put_scalar(rng, out);
	out[n++] = '[';
	for (uint32_t i = fk_below(rng, 4); i > 0; i--) {
		if (fk_below(rng, 8) == 0)
			n += (size_t)sprintf(out + n, "[1],");
		else if (fk_below(rng, 8) == 0)
			n += (size_t)sprintf(out + n, "null,");
		else {
			n += put_scalar(rng, out + n);
			out[n++] = ',';
		}
	}
	n -= out[n - 1] == ',';
	out[n++] = ']';
	return n;
}

static const char *const keys[] = {"a", "b", "c", "o.x", "k.k", "\\u0065\\n"};

static void make_record(uint64_t *rng, char *out)
{
	size_t n = 0;

	out[n++] = '{';
	for (size_t i = 0; i < VG_ARRAY_LEN(keys); i++) {
		if (fk_below(rng, 4) == 0)
			continue;
		n += (size_t)sprintf(out + n, "\"%s\":", keys[i]);
		n += put_value(rng, out + n);
		out[n++] = ',';
	}
	if (fk_below(rng, 2)) {
		n += (size_t)sprintf(out + n, "\"o\":{\"x\":");
		n += put_value(rng, out + n);
		n += (size_t)sprintf(out + n, ",\"x\":");
		n += put_value(rng, out + n);
		n += (size_t)sprintf(out + n, ",\"y\":{\"z\":");
		n += put_value(rng, out + n);
		n += (size_t)sprintf(out + n, "}},");
	}
	if (fk_below(rng, 3) == 0)
		n += (size_t)sprintf(out + n, "\"k\":{\"k\":%d},",
			(int)fk_below(rng, 3));
	n -= out[n - 1] == ',';
	out[n++] = '}';
	out[n] = 0;
}

static struct meta get(void *ctx, uint32_t version)
{
	const struct fk_records *r = ctx;

	must(version < r->n);
	return r->at[version];
}

void fk_add(struct fk_records *r, const char *json)
{
	struct meta_buf buf = {0};
	const char *why = "";

	if (meta_parse(json, strlen(json), &buf, &why) < 0) {
		diag("%s: %s", json, why);
		must(false);
	}
	if (r->n == r->cap) {
		r->cap = VG_MAX(2 * r->cap, 64u);
		r->at = realloc(r->at, r->cap * sizeof(*r->at));
		must(r->at);
	}
	if (buf.len == 0) {
		free(buf.bytes);
		buf.bytes = NULL;
	} else {
		/* Its exact length, so that a sanitizer sees each overrun. */
		buf.bytes = realloc(buf.bytes, buf.len);
		must(buf.bytes);
	}
	r->at[r->n++] = (struct meta){buf.bytes, (uint32_t)buf.len};
	r->rows = (struct fields_rows){get, r, r->n};
}

void fk_add_random(struct fk_records *r, uint64_t *rng, uint32_t n)
{
	static char json[65536];

	for (; n > 0; n--) {
		make_record(rng, json);
		fk_add(r, json);
	}
}

void fk_fini(struct fk_records *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		free((char *)r->at[i].json);
	free(r->at);
	*r = (struct fk_records){.n = 0};
}

/* ---- filters ---- */

static const char *const fields[] = {"a", "b", "c", "o.x", "k.k", "o.y.z", "o",
	"e%0A", "none", "meta.a"};
static const char *const ops[] = {"eq", "ne", "gt", "gte", "lt", "lte", "in",
	"nin", "exists", "prefix", "contains"};

static size_t put_op_value(uint64_t *rng, const char *op, char *out)
{
	size_t n = 0;

	if (!strcmp(op, "exists"))
		return (size_t)sprintf(out, "%s", fk_below(rng, 2) ? "1" : "0");
	if (strchr("gl", op[0])) {
		do {
			n = put_scalar(rng, out);
		} while (out[0] == 't' || out[0] == 'f');
		return n;
	}
	if (strcmp(op, "in") != 0 && strcmp(op, "nin") != 0)
		return put_scalar(rng, out);
	for (uint32_t i = fk_below(rng, 4) + 1; i > 0; i--) {
		n += put_scalar(rng, out + n);
		out[n++] = ',';
	}
	out[--n] = 0;
	return n;
}

static size_t put_term(uint64_t *rng, char *out)
{
	const char *op = ops[fk_below(rng, VG_ARRAY_LEN(ops))];
	size_t n = (size_t)sprintf(out, "%s.%s=",
		fields[fk_below(rng, VG_ARRAY_LEN(fields))], op);

	return n + put_op_value(rng, op, out + n);
}

void fk_random_where(uint64_t *rng, uint32_t terms, char *text, size_t len)
{
	static char term[4096];
	size_t n = 0, open = 0;

	for (uint32_t i = 0; i < terms; i++) {
		size_t term_len = put_term(rng, term);
		if (n + term_len + 40 + open > len)
			break;
		if (i > 0)
			n += (size_t)sprintf(text + n, "%s",
				fk_below(rng, 2) ? " and " : " or ");
		while (fk_below(rng, 3) == 0 && open < 12) {
			bool is_not = fk_below(rng, 2);
			n += (size_t)sprintf(text + n, "%s(",
				is_not ? "not " : "");
			open++;
			if (n + term_len + 40 + open > len)
				break;
		}
		memcpy(text + n, term, term_len);
		n += term_len;
		while (open > 0 && fk_below(rng, 3) == 0) {
			text[n++] = ')';
			open--;
		}
	}
	for (; open > 0; open--)
		text[n++] = ')';
	must(n < len);
	text[n] = 0;
}

struct filter *fk_where(const char *text)
{
	struct filter_why why = {.sentence = "no memory"};
	struct filter *f = NULL;

	if (filter_parse_where(text, strlen(text), &why, &f) < 0) {
		diag("%s: %s", text, why.sentence);
		must(false);
	}
	return f;
}

bool fk_agree(struct fields *f, const struct filter *filter,
	const struct fields_rows *rows, uint32_t *n)
{
	struct meta_buf text = {0};
	roaring_bitmap_t *set;
	uint32_t n_same = 0;
	int rc = fields_match(f, filter, rows, &set);

	if (rc < 0) {
		diag("fields_match: %d", rc);
		return false;
	}
	uint32_t n_set = (uint32_t)roaring_bitmap_get_cardinality(set), n_want = 0;
	for (uint32_t i = 0; i < rows->n; i++) {
		struct meta m = rows->get(rows->ctx, i);
		int want = filter_matches(filter, m);
		bool is = roaring_bitmap_contains(set, i);
		n_want += want == 1;
		if (want == is) {
			n_same++;
			continue;
		}
		if (n_same == i && filter_format(filter, &text) == 0)
			diag("version %u: %d by metadata, %d by index\n"
				"# %.*s\n# %.*s", i, want, is, (int)text.len,
				text.bytes, (int)m.len, m.len ? m.json : "");
	}
	free(text.bytes);
	roaring_bitmap_free(set);
	if (n)
		*n = n_set;
	return n_same == rows->n && n_set == n_want;
}
