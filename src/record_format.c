/* SPDX-License-Identifier: Apache-2.0 */
/* record_format.c: a stored vector as a file in one of the forms. */
#include <assert.h>
#include <string.h>

#include "src/element.h"
#include "src/number.h"
#include "src/record.h"
#include "src/record_npy.h"

/* Counts all, keeps what fits. */
struct sink {
	char *out;
	size_t cap, len;
};

static void put(struct sink *s, const void *bytes, size_t n)
{
	if (s->len < s->cap)
		memcpy(s->out + s->len, bytes, VG_MIN(n, s->cap - s->len));
	s->len += n;
}

static void put_text(struct sink *s, const char *text)
{
	put(s, text, strlen(text));
}

static void put_numbers(struct sink *s, const struct record_row *row)
{
	char number[NUMBER_LEN + 1];

	for (uint32_t i = 0; i < row->dim; i++) {
		number[0] = ',';
		size_t n = number_format(
			element_get(row->dtype, row->vec, i), number + 1);
		put(s, number + (i == 0), n + (i != 0));
	}
}

size_t record_format(enum record_form form, const struct record_row *row,
	const struct record_meta *meta, char *out, size_t cap)
{
	size_t len = vg_row_len(row->dtype, row->dim);
	struct sink s = {out, cap, 0};
	char header[RECORD_NPY_HEADER_LEN];

	assert(row->vec && row->dim >= 1 && row->dim <= VG_DIM_MAX);
	assert(form != RECORD_ANY && (out || cap == 0));
	switch (form) {
	case RECORD_NPY:
		put(&s, header, record_npy_header(header, row->dtype,
			RECORD_NPY_VECTOR, row->dim));
		put(&s, row->vec, len);
		break;
	case RECORD_JSON:
		put_text(&s, "{\"vector\":[");
		put_numbers(&s, row);
		put_text(&s, "]");
		if (meta && meta->json) {
			put_text(&s, ",\"metadata\":");
			put(&s, meta->json, meta->len);
		}
		put_text(&s, "}\n");
		break;
	case RECORD_TEXT:
		put_numbers(&s, row);
		put_text(&s, "\n");
		break;
	default:
		put(&s, row->vec, len);
	}
	return s.len;
}
