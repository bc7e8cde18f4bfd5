/* SPDX-License-Identifier: Apache-2.0 */
/* record_csv.c: see record_csv.h. */
#include "src/record_csv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"
#include "src/number.h"
#include "src/record_int.h"

enum role { ROLE_META, ROLE_ID, ROLE_VECTOR, ROLE_NUMBER };

struct csv_column {
	enum role role;
	uint32_t number; /* ROLE_NUMBER: which */
	char *name;	 /* owned, the key behind it in one block */
	uint32_t len;
	char *key; /* ROLE_META: as JSON, a colon behind it */
	size_t key_len;
};

/* Where a scan of a row is. */
enum state {
	AT_CELL, /* a cell begins */
	IN_PLAIN,
	IN_QUOTES,
	AT_QUOTE, /* behind a quote within quotes: the end, or one of two */
};

void record_csv_fini(struct record_csv *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		free(c->columns[i].name);
	free(c->columns);
	free(c->head);
	free(c->json.bytes);
	free(c->value.bytes);
	free(c->cell.bytes);
	*c = (struct record_csv){0};
}

bool record_csv_scan(struct record_csv *c, const char *bytes, size_t len,
	size_t *end)
{
	uint8_t state = c->state;

	assert(c->scanned <= len);
	for (size_t i = c->scanned; i < len; i++) {
		if (state == IN_QUOTES) {
			state = bytes[i] == '"' ? AT_QUOTE : IN_QUOTES;
		} else if (bytes[i] == '\n') {
			c->scanned = c->state = 0;
			*end = i;
			return true;
		} else if (bytes[i] == '"' && state != IN_PLAIN) {
			state = IN_QUOTES;
		} else {
			state = bytes[i] == ',' ? AT_CELL : IN_PLAIN;
		}
	}
	c->state = state;
	c->scanned = len;
	return false;
}

void record_csv_drop(struct record_csv *c)
{
	c->scanned = 0;
}

bool record_csv_is_quoted(const struct record_csv *c)
{
	return c->state == IN_QUOTES;
}

/* ---- cells ---- */

struct cell {
	const char *text;
	size_t len;
	bool is_quoted;
};

/* Cells of a row from at on. */
struct cells {
	struct record_csv *csv;
	struct record_parser *parser;
	const char *at, *end;
	bool is_over;
};

static int cells_init(struct cells *cells, struct record_csv *c,
	struct record_parser *p, const char *row, size_t len)
{
	char *bytes;

	len -= len > 0 && row[len - 1] == '\r';
	*cells = (struct cells){c, p, row, row + len, false};
	if (len <= c->cell.cap)
		return 0;
	bytes = realloc(c->cell.bytes, len);
	if (!bytes)
		return -ENOMEM;
	c->cell.bytes = bytes;
	c->cell.cap = len;
	return 0;
}

/* What is in quotes, each two of them inside as one. */
static int read_quoted(struct cells *cells, struct cell *out)
{
	char *bytes = cells->csv->cell.bytes;
	bool is_closed = false;
	size_t n = 0;

	for (cells->at++; cells->at < cells->end; cells->at++) {
		is_closed = *cells->at == '"';
		if (is_closed &&
			(++cells->at == cells->end || *cells->at != '"'))
			break;
		is_closed = false;
		assert(n < cells->csv->cell.cap);
		bytes[n++] = *cells->at;
	}
	if (!is_closed)
		return record_fail(cells->parser, "a quote is not closed");
	if (cells->at < cells->end && *cells->at != ',')
		return record_fail(cells->parser,
			"something follows a closing quote: a quote in quotes "
			"is written twice");
	*out = (struct cell){bytes, n, true};
	return 0;
}

/* The next cell, good until the one after: 1, or 0: that was all; -EINVAL. */
static int cells_next(struct cells *cells, struct cell *out)
{
	const char *comma;
	size_t len;
	int rc;

	if (cells->is_over)
		return 0;
	if (cells->at < cells->end && *cells->at == '"') {
		rc = read_quoted(cells, out);
		if (rc < 0)
			return rc;
	} else {
		len = (size_t)(cells->end - cells->at);
		comma = memchr(cells->at, ',', len);
		len = comma ? (size_t)(comma - cells->at) : len;
		if (memchr(cells->at, '"', len))
			return record_fail(cells->parser,
				"a quote is in a cell that does not begin with "
				"one");
		*out = (struct cell){cells->at, len, false};
		cells->at += len;
	}
	assert(cells->at <= cells->end);
	assert(cells->at == cells->end || *cells->at == ',');
	cells->is_over = cells->at == cells->end;
	cells->at += !cells->is_over; /* the comma */
	return 1;
}

/* ---- the header ---- */

/* The N of vN, spelled as it is printed; false: the name is another. */
static bool get_number(const struct csv_column *col, uint32_t *number)
{
	uint32_t n = 0;

	if (col->len < 2 || col->len > 6 || col->name[0] != 'v' ||
		(col->name[1] == '0' && col->len > 2))
		return false;
	for (uint32_t i = 1; i < col->len; i++) {
		if (col->name[i] < '0' || col->name[i] > '9')
			return false;
		n = n * 10 + (uint32_t)(col->name[i] - '0');
	}
	*number = n;
	return true;
}

static bool is_named(const struct csv_column *col, const char *name)
{
	return col->len == strlen(name) &&
	       memcmp(col->name, name, col->len) == 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct csv_column *const *x = a, *const *y = b;
	int order = memcmp((*x)->name, (*y)->name,
		VG_MIN((*x)->len, (*y)->len));

	return order ? order : ((*x)->len > (*y)->len) - ((*x)->len < (*y)->len);
}

static int refuse_twice(struct record_csv *c, struct record_parser *p)
{
	const struct csv_column **sorted = malloc(c->n * sizeof(*sorted));
	int rc = sorted ? 0 : -ENOMEM;

	for (uint32_t i = 0; sorted && i < c->n; i++)
		sorted[i] = &c->columns[i];
	if (sorted)
		qsort(sorted, c->n, sizeof(*sorted), compare_names);
	for (uint32_t i = 1; sorted && i < c->n && rc == 0; i++)
		if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
			rc = record_fail(p,
				"the header has the column %.*s twice",
				(int)VG_MIN(sorted[i]->len, 100u),
				sorted[i]->name);
	free(sorted);
	return rc;
}

/* Which columns are v0 to v(n_vec - 1): n_vec different ones below n_vec. */
static int find_numbers(
	struct record_csv *c, struct record_parser *p, uint32_t dim)
{
	uint32_t number, most = 0;

	assert(c->n > 0 && c->n_vec == 0);
	for (uint32_t i = 0; i < c->n; i++) {
		if (!get_number(&c->columns[i], &number))
			continue;
		c->columns[i].role = ROLE_NUMBER;
		c->columns[i].number = number;
		most = VG_MAX(most, number);
		c->n_vec++;
	}
	if (c->n_vec > VG_DIM_MAX)
		return record_fail(p,
			"a vector has at most 65,535 numbers, the header has "
			"%u columns for them",
			c->n_vec);
	if (most + 1 != c->n_vec)
		return record_fail(p,
			"the header has v0 and v%u, but %u of the columns "
			"between them are missing",
			most, most + 1 - c->n_vec);
	if (dim && c->n_vec != dim)
		return record_fail(p,
			"this collection has %u dimensions, the header has the "
			"%u columns v0 to v%u",
			dim, c->n_vec, most);
	if (p->dtype == VG_B1 && c->n_vec % 8 != 0)
		return record_fail(p,
			"bits fill whole bytes: a b1 vector has a multiple of "
			"8 of them, the header has the columns v0 to v%u",
			most);
	return 0;
}

static int find_roles(
	struct record_csv *c, struct record_parser *p, uint32_t dim)
{
	bool has_vector = false, has_zero = false;

	for (uint32_t i = 0; i < c->n; i++) {
		struct csv_column *col = &c->columns[i];

		has_zero |= is_named(col, "v0");
		if (is_named(col, "id"))
			col->role = ROLE_ID;
		if (is_named(col, "vector"))
			col->role = ROLE_VECTOR;
		has_vector |= col->role == ROLE_VECTOR;
	}
	return has_zero && !has_vector ? find_numbers(c, p, dim) : 0;
}

static int add_column(
	struct record_csv *c, struct record_parser *p, const struct cell *cell)
{
	struct csv_column *columns = c->columns;
	char *name;

	if (cell->len == 0)
		return record_fail(p,
			"column %u of the header has no name: it is id, "
			"vector, v0, v1, ... or a key of the metadata",
			c->n + 1);
	if (!json_is_utf8(cell->text, cell->len))
		return record_fail(p,
			"the name of column %u is not UTF-8", c->n + 1);
	/* As many again each time their number is a power of two. */
	if ((c->n & (c->n - 1)) == 0)
		columns = realloc(columns,
			VG_MAX(2 * c->n, 4u) * sizeof(*columns));
	if (!columns)
		return -ENOMEM;
	c->columns = columns;
	name = malloc(cell->len + JSON_STRING_MAX(cell->len) + 1);
	if (!name)
		return -ENOMEM;
	memcpy(name, cell->text, cell->len);
	columns[c->n] = (struct csv_column){
		.name = name, .len = (uint32_t)cell->len};
	struct csv_column *col = &columns[c->n++];

	col->key = name + cell->len;
	col->key_len = json_string_encode(name, cell->len, col->key);
	col->key[col->key_len++] = ':';
	assert(col->key_len <= JSON_STRING_MAX(cell->len) + 1);
	return 0;
}

static int read_head(struct record_csv *c, struct record_parser *p,
	const char *row, size_t len, uint32_t dim)
{
	struct cells cells;
	struct cell cell;
	int rc;

	if (len >= 3 && memcmp(row, "\xef\xbb\xbf", 3) == 0) {
		row += 3;
		len -= 3;
	}
	rc = cells_init(&cells, c, p, row, len);
	while (rc == 0 && (rc = cells_next(&cells, &cell)) > 0)
		rc = add_column(c, p, &cell);
	if (rc == 0)
		rc = refuse_twice(c, p);
	return rc < 0 ? rc : find_roles(c, p, dim);
}

int record_csv_put_head(struct record_csv *c, struct record_parser *p,
	const char *row, size_t len, uint32_t dim)
{
	char *head = malloc(len + 1);
	int rc;

	assert(c->n == 0 && !c->head && !c->columns);
	if (!head)
		return -ENOMEM;
	memcpy(head, row, len);
	rc = read_head(c, p, head, len, dim);
	if (rc < 0) {
		free(head);
		record_csv_fini(c);
		return rc;
	}
	c->head = head;
	c->head_len = len;
	return 0;
}

/* ---- a row ---- */

static int put_json(struct record_csv *c, const char *bytes, size_t len)
{
	size_t cap = VG_MAX(2 * (c->json.len + len), (size_t)256);
	char *grown;

	if (len > c->json.cap - c->json.len) {
		grown = realloc(c->json.bytes, cap);
		if (!grown)
			return -ENOMEM;
		c->json.bytes = grown;
		c->json.cap = cap;
	}
	assert(len <= c->json.cap - c->json.len);
	memcpy(c->json.bytes + c->json.len, bytes, len);
	c->json.len += len;
	return 0;
}

static int take_meta(struct record_csv *c, struct record_parser *p,
	const struct csv_column *col, const struct cell *cell)
{
	int rc;

	if (cell->len == 0 && !cell->is_quoted)
		return 0;
	rc = meta_from_text(cell->text, cell->len, &c->value);
	if (rc == -EINVAL)
		return record_fail(p, "the column %.*s is not UTF-8",
			(int)VG_MIN(col->len, 100u), col->name);
	if (rc == -EFBIG)
		return record_fail(p, "the column %.*s has more than %u bytes",
			(int)VG_MIN(col->len, 100u), col->name, VG_META_MAX);
	if (rc == 0)
		rc = put_json(c, c->json.len ? "," : "{", 1);
	if (rc == 0)
		rc = put_json(c, col->key, col->key_len);
	return rc < 0 ? rc : put_json(c, c->value.bytes, c->value.len);
}

static int take_id(struct record_parser *p, const struct cell *cell,
	struct record *out)
{
	if (cell->len == 0)
		return 0;
	if (cell->len > VG_ID_MAX)
		return record_fail(p,
			"the id is longer than 255 bytes (it has %zu)",
			cell->len);
	if (memchr(cell->text, 0, cell->len))
		return record_fail(p, "the id has a NUL byte in it");
	memcpy(p->id, cell->text, cell->len);
	out->id = (struct vg_id){p->id, (uint32_t)cell->len};
	return 0;
}

/* A list is text of numbers, whether in brackets or not. */
static int take_vector(struct record_parser *p, const struct cell *cell,
	uint32_t dim, struct record *out)
{
	const char *at = cell->text, *end = at + cell->len;
	struct record r;
	int rc;

	while (at < end && memchr(" \t\r\n", *at, 4))
		at++;
	while (at < end && memchr(" \t\r\n", end[-1], 4))
		end--;
	if (at == end)
		return 0;
	if (*at == '[' && end[-1] == ']') {
		at++;
		end--;
	}
	rc = record_parse(p, RECORD_TEXT, at, (size_t)(end - at), dim, &r);
	if (rc < 0)
		return rc;
	out->vec = r.vec;
	out->dim = r.dim;
	out->source = r.source;
	return 0;
}

/* One of v0, v1, ...; *n_empty counts those without a number. */
static int take_number(struct record_parser *p, const struct csv_column *col,
	const struct cell *cell, uint32_t *n_empty)
{
	const char *at = cell->text, *end = at + cell->len;
	double value = 0;
	int rc = 0;

	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	while (at < end && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (at == end)
		++*n_empty;
	else
		rc = record_scan_number(p, &at, end, &value);
	if (rc == -ERANGE)
		return record_fail(p, "the number in v%u is beyond %s",
			col->number,
			record_is_wide(p) ? "float64" : "float32");
	if (rc < 0 || at != end)
		return record_fail(p, "what is in v%u is no number: %.*s",
			col->number, (int)VG_MIN(cell->len, (size_t)40),
			cell->text);
	assert(vg_row_len(p->dtype, col->number + 1) <= p->vec_cap);
	if (!element_put(p->dtype, p->vec, col->number, value))
		return record_fail(p, "the number in v%u is %s", col->number,
			element_misfit(p->dtype));
	return 0;
}

/* The metadata of the cells that were taken. */
static int end_meta(
	struct record_csv *c, struct record_parser *p, struct record *out)
{
	const char *why;
	int rc;

	if (c->json.len == 0)
		return 0;
	rc = put_json(c, "}", 1);
	if (rc == 0)
		rc = meta_parse(c->json.bytes, c->json.len, &p->meta, &why);
	if (rc == -EINVAL)
		return record_fail(p, "%s", why);
	if (rc == 0 && p->meta.len > 0) {
		out->meta = p->meta.bytes;
		out->meta_len = (uint32_t)p->meta.len;
	}
	return rc;
}

/* A row while it is read. */
struct reading {
	struct record_csv *csv;
	struct record_parser *parser;
	uint32_t dim;
	uint32_t n_empty; /* of v0, v1, ... */
	struct record out;
};

static int take(struct reading *r, uint32_t column, const struct cell *cell)
{
	const struct csv_column *col = &r->csv->columns[column];

	assert(column < r->csv->n);
	switch (col->role) {
	case ROLE_ID:
		return take_id(r->parser, cell, &r->out);
	case ROLE_VECTOR:
		return take_vector(r->parser, cell, r->dim, &r->out);
	case ROLE_NUMBER:
		return take_number(r->parser, col, cell, &r->n_empty);
	default:
		return take_meta(r->csv, r->parser, col, cell);
	}
}

static int end_numbers(struct record_csv *c, struct record_parser *p,
	uint32_t n_empty, struct record *out)
{
	assert(c->n_vec > 0 && n_empty <= c->n_vec);
	if (n_empty == c->n_vec)
		return 0;
	if (n_empty > 0)
		return record_fail(p,
			"%u of the columns v0 to v%u are empty", n_empty,
			c->n_vec - 1);
	record_set_vec(p, c->n_vec, OP_SOURCE_TEXT, out);
	return 0;
}

int record_csv_parse(struct record_csv *c, struct record_parser *p,
	const char *row, size_t len, uint32_t dim, struct record *out)
{
	struct reading r = {.csv = c, .parser = p, .dim = dim};
	struct cells cells;
	struct cell cell;
	uint32_t n = 0;
	int bad = 0, rc = cells_init(&cells, c, p, row, len);

	assert(c->n > 0);
	p->vec_len = 0;
	c->json.len = 0;
	if (rc == 0 && c->n_vec)
		rc = record_reserve(p, c->n_vec);
	while (rc == 0 && (rc = cells_next(&cells, &cell)) > 0) {
		/* Those that are too many are only counted, as are those behind
		 * a bad one: maybe that is in a wrong column. */
		rc = n < c->n && !bad ? take(&r, n, &cell) : 0;
		n++;
		if (rc == -EINVAL) {
			bad = rc;
			rc = 0;
		}
	}
	if (rc == 0 && n != c->n)
		return record_fail(p,
			"the row has %u cell%s, the header has %u", n,
			n == 1 ? "" : "s", c->n);
	rc = rc < 0 ? rc : bad;
	if (rc == 0 && c->n_vec)
		rc = end_numbers(c, p, r.n_empty, &r.out);
	if (rc == 0)
		rc = end_meta(c, p, &r.out);
	if (rc == 0 && !r.out.vec && !r.out.meta)
		return record_fail(p,
			"the row has neither a vector nor metadata");
	if (rc == 0)
		*out = r.out;
	return rc;
}
