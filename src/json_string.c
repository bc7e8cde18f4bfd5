/* SPDX-License-Identifier: Apache-2.0 */
/* json_string.c: what stands between the quotes: unescaped, escaped, compared. */
#include <assert.h>
#include <string.h>

#include "src/json.h"

/* The bytes that one step of a walk over a string yields. */
struct piece {
	char bytes[4];
	uint32_t len;
};

static uint32_t hex4(const char *p)
{
	uint32_t unit = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];
		uint32_t digit = c <= '9' ? (uint32_t)(c - '0') :
			(uint32_t)((c | 0x20) - 'a') + 10;
		assert(digit < 16);
		unit = unit << 4 | digit;
	}
	return unit;
}

static struct piece utf8_encode(uint32_t c)
{
	assert(c <= 0x10ffff && (c < 0xd800 || c > 0xdfff));
	if (c < 0x80)
		return (struct piece){{(char)c}, 1};
	if (c < 0x800)
		return (struct piece){{(char)(0xc0 | c >> 6),
			(char)(0x80 | (c & 0x3f))}, 2};
	if (c < 0x10000)
		return (struct piece){{(char)(0xe0 | c >> 12),
			(char)(0x80 | (c >> 6 & 0x3f)),
			(char)(0x80 | (c & 0x3f))}, 3};
	return (struct piece){{(char)(0xf0 | c >> 18),
		(char)(0x80 | (c >> 12 & 0x3f)),
		(char)(0x80 | (c >> 6 & 0x3f)),
		(char)(0x80 | (c & 0x3f))}, 4};
}

/* One character of a string that the scanner has passed; moves *p behind it.
 * Bytes above 0x7f come one at a time, which is all that callers need. */
static struct piece next_piece(const char **p, const char *end)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *at = *p;
	size_t len = (size_t)(end - at);

	(void)len; /* with NDEBUG */
	assert(len > 0);
	if (*at != '\\') {
		*p = at + 1;
		return (struct piece){{*at}, 1};
	}
	assert(len >= 2);
	if (at[1] != 'u') {
		const char *name = memchr(names, at[1], 8);
		assert(name);
		*p = at + 2;
		return (struct piece){{values[name - names]}, 1};
	}
	assert(len >= 6);
	uint32_t c = hex4(at + 2);
	*p = at + 6;
	if (c >= 0xd800 && c <= 0xdbff) {
		assert(len >= 12);
		c = 0x10000 + ((c - 0xd800) << 10) + (hex4(at + 8) - 0xdc00);
		*p = at + 12;
	} else if (c >= 0xdc80 && c <= 0xdcff) {
		return (struct piece){{(char)(c - 0xdc00)}, 1};
	}
	return utf8_encode(c);
}

size_t json_string_decode(const struct json_token *token, char *out)
{
	const char *p = token->text, *end = p + token->len;
	size_t len = 0;

	if (!token->is_escaped) {
		memcpy(out, p, token->len);
		return token->len;
	}
	while (p < end) {
		struct piece piece = next_piece(&p, end);
		memcpy(out + len, piece.bytes, piece.len);
		len += piece.len;
	}
	assert(len <= token->len);
	return len;
}

bool json_string_is(const struct json_token *token, const char *bytes,
	size_t len)
{
	const char *p = token->text, *end = p + token->len;
	size_t at = 0;

	if (!token->is_escaped)
		return len == token->len && memcmp(p, bytes, len) == 0;
	while (p < end) {
		struct piece piece = next_piece(&p, end);
		if (len - at < piece.len ||
			memcmp(bytes + at, piece.bytes, piece.len) != 0)
			return false;
		at += piece.len;
	}
	return at == len;
}

/* What JSON wants escaped: 2 or 6 bytes; else the byte itself. */
static size_t put_escaped(unsigned char c, char *out)
{
	static const char hex[] = "0123456789abcdef";
	static const char short_of[0x20] = {['\b'] = 'b', ['\f'] = 'f',
		['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

	if (c >= 0x20 && c != '"' && c != '\\') {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	if (c >= 0x20 || short_of[c]) {
		out[1] = c >= 0x20 ? (char)c : short_of[c];
		return 2;
	}
	memcpy(out + 1, "u00", 3);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

size_t json_string_compact(const struct json_token *token, char *out)
{
	const char *p = token->text, *end = p + token->len;
	size_t len = 0;

	out[len++] = '"';
	if (!token->is_escaped) {
		memcpy(out + len, p, token->len);
		len += token->len;
	}
	while (token->is_escaped && p < end) {
		struct piece piece = next_piece(&p, end);
		for (uint32_t i = 0; i < piece.len; i++)
			len += put_escaped((unsigned char)piece.bytes[i],
				out + len);
	}
	out[len++] = '"';
	assert(len <= token->len + 2);
	return len;
}

/* The bytes at p that are UTF-8 and need no escape. */
static size_t plain_len(const char *p, const char *end)
{
	const char *at = p;

	while (at < end) {
		unsigned char c = (unsigned char)*at;
		if (c < 0x20 || c == '"' || c == '\\')
			break;
		size_t n = 1;
		if (c >= 0x80) {
			n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
			if (n > (size_t)(end - at) || !json_is_utf8(at, n))
				break;
		}
		at += n;
	}
	return (size_t)(at - p);
}

size_t json_string_encode(const char *bytes, size_t len, char *out)
{
	static const char hex[] = "0123456789abcdef";
	const char *p = bytes, *end = p + len;
	size_t at = 0;

	out[at++] = '"';
	while (p < end) {
		size_t n = plain_len(p, end);
		memcpy(out + at, p, n);
		at += n;
		p += n;
		if (p == end)
			break;
		unsigned char c = (unsigned char)*p++;
		if (c < 0x80) {
			at += put_escaped(c, out + at);
			continue;
		}
		memcpy(out + at, "\\udc", 4);
		out[at + 4] = hex[c >> 4];
		out[at + 5] = hex[c & 15];
		at += 6;
	}
	out[at++] = '"';
	assert(at <= JSON_STRING_MAX(len));
	return at;
}
