/* SPDX-License-Identifier: Apache-2.0 */
/* record_csv.h: rows of CSV become records. */
#ifndef VG_RECORD_CSV_H
#define VG_RECORD_CSV_H

#include "src/record.h"

/*
 * CSV is RFC 4180's: cells with commas between them, a row a line, ended by a
 * newline with or without a return before it. A cell in double quotes may hold
 * commas, newlines, and quotes written twice. The first row, behind a byte order
 * mark if there is one, names the columns:
 *
 *	id		the record's id, as it stands; empty, or no such column:
 *			the row's number
 *	vector		numbers with any separator, or in brackets; empty: none
 *	v0, v1, ...	one number each, if there is a v0 and no vector: in any
 *			order, none left out; all empty: no vector
 *	any other	a key of the metadata, its value typed as setfattr does it
 *			(meta_from_text); of an empty cell there is none, unless
 *			it is "" in quotes: the empty string
 */
struct record_csv {
	struct csv_column *columns; /* owned */
	uint32_t n;	 /* columns; 0: the header was not read yet */
	uint32_t n_vec;	 /* of them v0, v1, ...; 0: `vector`, or none */
	char *head;	 /* owned: the header's row */
	size_t head_len;
	struct meta_buf json, value, cell; /* owned: for one row */
	size_t scanned;	 /* bytes of the row that was begun */
	uint8_t state;	 /* of the scan there */
};

/* All zeros is one of which nothing was read. */
void record_csv_fini(struct record_csv *c);

/*
 * Looks for the end of the row that bytes[len] begins with: true, and *end is
 * its newline, and the next call begins another; false: there is none yet, and
 * the next call has the same bytes and more behind them, of which only those
 * are looked at; unless record_csv_drop was called: then it has only those.
 */
bool record_csv_scan(struct record_csv *c, const char *bytes, size_t len,
	size_t *end);
void record_csv_drop(struct record_csv *c);

/* Whether the row that was begun is inside quotes. */
bool record_csv_is_quoted(const struct record_csv *c);

/*
 * Takes the header, row[len] without its newline. dim 0: not known. p->error
 * says why not: a name that is empty, is there twice, or is no UTF-8; v columns
 * that are not all there, or not dim of them: -EINVAL. -ENOMEM.
 */
int record_csv_put_head(struct record_csv *c, struct record_parser *p,
	const char *row, size_t len, uint32_t dim);

/* A row after it, likewise; *out is borrowed from p and c until the next one,
 * and from row. Errors as record_parse. */
int record_csv_parse(struct record_csv *c, struct record_parser *p,
	const char *row, size_t len, uint32_t dim, struct record *out);

#endif
