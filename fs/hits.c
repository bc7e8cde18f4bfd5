/* SPDX-License-Identifier: Apache-2.0 */
/* hits.c: see hits.h. */
#include "fs/hits.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGITS_MIN 4

void hits_init(struct hits *h, const char *text, size_t len, uint32_t offset)
{
	char digits[16];
	uint32_t last = offset;

	for (size_t i = 0; i < len; i++)
		last += text[i] == '\n';
	assert(len == 0 || text[len - 1] == '\n');
	*h = (struct hits){.text = text, .len = len, .number = offset};
	h->digits = VG_MAX(DIGITS_MIN,
		snprintf(digits, sizeof(digits), "%u", last));
}

/* The id that text[len] has, as answer.h writes it into a line. */
static bool unescape(const char *text, size_t len, struct hits_row *row)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (n == VG_ID_MAX)
			return false;
		if (c == '\\' && i + 1 < len) {
			c = text[++i];
			c = c == 't' ? '\t' : c == 'n' ? '\n' : c;
		}
		row->id_bytes[n++] = c;
	}
	row->id = (struct vg_id){row->id_bytes, n};
	return n > 0;
}

/* False: the id's file name is too long. */
static bool put_name(struct hits_row *row, int digits)
{
	char name[NAME_ENCODED_MAX];
	size_t len;
	int n;

	if (name_encode(row->id, name, &len) < 0)
		return false;
	n = snprintf(row->name, sizeof(row->name), "%0*u_", digits,
		row->number);
	assert(n > DIGITS_MIN && (size_t)n < HITS_NAME_MAX);
	if (len > HITS_NAME_MAX - (size_t)n) {
		len = HITS_NAME_MAX - (size_t)n;
		/* Not within a character of UTF-8. */
		for (int i = 0; i < 3 && (name[len] & 0xc0) == 0x80; i++)
			len--;
	}
	memcpy(row->name + n, name, len);
	row->name_len = (size_t)n + len;
	row->name[row->name_len] = '\0';
	return true;
}

bool hits_next(struct hits *h, struct hits_row *row)
{
	/* Each turn takes a line. */
	while (h->at < h->len) {
		const char *line = h->text + h->at;
		const char *end = memchr(line, '\n', h->len - h->at);
		size_t len = (size_t)(end - line);

		assert(end);
		h->at += len + 1;
		row->number = ++h->number;
		if (unescape(line, len, row) && put_name(row, h->digits))
			return true;
	}
	return false;
}

bool hits_find(struct hits h, struct vg_id name, struct hits_row *row)
{
	uint64_t number = 0;

	if (!hits_is_name(name))
		return false;
	for (uint32_t i = 0; name.bytes[i] != '_'; i++)
		number = number * 10 + (uint64_t)(name.bytes[i] - '0');
	/* Lines before it are passed over unread. */
	while (h.number + 1 < number && h.at < h.len) {
		const char *line = h.text + h.at;
		const char *end = memchr(line, '\n', h.len - h.at);

		assert(end);
		h.at += (size_t)(end - line) + 1;
		h.number++;
	}
	return hits_next(&h, row) && row->number == number &&
	       row->name_len == name.len &&
	       memcmp(row->name, name.bytes, name.len) == 0;
}

bool hits_is_name(struct vg_id name)
{
	uint32_t n = 0;

	while (n < name.len && name.bytes[n] >= '0' && name.bytes[n] <= '9')
		n++;
	return n >= DIGITS_MIN && n < 10 && n + 1 < name.len &&
	       name.bytes[n] == '_';
}

int hits_target(struct vg_id path, struct vg_id snap, struct vg_id id,
	char out[HITS_TARGET_MAX + 1])
{
	char name[NAME_ENCODED_MAX];
	size_t len, up = 1, n;

	for (uint32_t i = 0; i < path.len; i++)
		up += path.bytes[i] == '/';
	assert(up > 1); /* of SRC.hits/ and of query/ */
	if (name_encode(id, name, &len) < 0)
		return -ENAMETOOLONG;
	n = 3 * up + len + (snap.len ? snap.len + 7 : 0);
	if (n > HITS_TARGET_MAX)
		return -ENAMETOOLONG;
	while (up-- > 0) {
		memcpy(out, "../", 3);
		out += 3;
	}
	if (snap.len) {
		memcpy(out, ".snap/", 6);
		memcpy(out + 6, snap.bytes, snap.len);
		out[6 + snap.len] = '/';
		out += 7 + snap.len;
	}
	memcpy(out, name, len);
	out[len] = '\0';
	return (int)n;
}
