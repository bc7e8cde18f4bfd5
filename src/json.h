/* SPDX-License-Identifier: Apache-2.0 */
/* json.h: JSON read token by token, and the strings of it written. */
#ifndef VG_JSON_H
#define VG_JSON_H

#include "src/vg.h"

/*
 * A pull scanner over text in memory: no allocation, no recursion, no tree. A
 * token borrows its bytes from the text, so a number keeps the spelling that
 * somebody chose: 1.10 stays 1.10 and 12345678901234567890123 keeps each
 * digit. That is why this is not jansson, which spells reals anew and refuses
 * whole numbers beyond 64 bits.
 *
 * It is strict: UTF-8 without overlong forms or surrogates, the escapes and
 * the number grammar of RFC 8259, surrogate escapes in pairs, one value and
 * nothing but blanks after it, containers at most JSON_DEPTH_MAX deep.
 */
#define JSON_DEPTH_MAX 128

enum json_type {
	JSON_END, /* the value is complete, only blanks followed */
	JSON_OBJECT,
	JSON_OBJECT_END,
	JSON_ARRAY,
	JSON_ARRAY_END,
	JSON_KEY, /* the colon behind it is read as well */
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL,
};

/* text[len] is the token as it is spelled; strings and keys without quotes. */
struct json_token {
	enum json_type type;
	bool is_escaped; /* strings and keys: there is a \ in it */
	const char *text;
	size_t len;
};

/* Where the scanner stands. One thread; copying it remembers the place. */
struct json {
	const char *begin, *at, *end;
	uint64_t objects[JSON_DEPTH_MAX / 64]; /* bit d: depth d is an object */
	uint32_t depth;	  /* containers that are open */
	uint8_t expect;	  /* enum json_expect of json.c */
	bool takes_bytes; /* \udc80 to \udcff may stand alone: see below */
	bool is_cut;	  /* after an error: the text ends too early, and
			     could go on so that it is valid */
	const char *why;  /* after an error: half a sentence, static */
};

/* Begins at text, borrowed for as long as j and its tokens are used. */
void json_init(struct json *j, const char *text, size_t len);

/* The next token. -EINVAL: j->why, at json_position(j); do not go on. */
int json_next(struct json *j, struct json_token *out);

/*
 * Passes the value that begins with the token `first`, which was just read
 * (not a KEY or an END), and makes *out the whole of it as it is spelled, a
 * string with its quotes. -EINVAL as json_next.
 */
int json_skip(struct json *j, const struct json_token *first,
	struct json_token *out);

/*
 * The fast way through an array of numbers, after its JSON_ARRAY token:
 * 1 and the next number, 0 after the closing bracket, -EINVAL as json_next
 * (not a number; or beyond float32). Goes well with json_next.
 */
int json_next_float(struct json *j, float *out);

/* The same of float64. */
int json_next_double(struct json *j, double *out);

/* The place of the error for people: the first byte is 1. */
size_t json_position(const struct json *j);

/*
 * Strings of ids. An id is bytes, JSON is not: a byte of an id that is not
 * part of valid UTF-8 is written \udcXX, XX being the byte, as Python's
 * surrogateescape has it (so os.fsencode gives the id back), and read back if
 * the scanner was told takes_bytes before the token was read. Everywhere else
 * a lone surrogate is an error.
 */

/* Unescapes a string or key into out[token->len], which suffices; returns
 * the length. The token must come from a scanner. */
size_t json_string_decode(const struct json_token *token, char *out);

/* Whether the unescaped token is bytes[len]. */
bool json_string_is(const struct json_token *token, const char *bytes,
	size_t len);

/* Room that any string of len bytes fits in, with its quotes. */
#define JSON_STRING_MAX(len) ((size_t)(len) * 6 + 2)

/*
 * Writes bytes[len] as a JSON string with quotes into
 * out[JSON_STRING_MAX(len)], in the shortest escaping: only ", \, control
 * characters and what is not UTF-8. Returns the length.
 */
size_t json_string_encode(const char *bytes, size_t len, char *out);

/* The same string in its shortest escaping with quotes: at most
 * token->len + 2 bytes. Returns the length. */
size_t json_string_compact(const struct json_token *token, char *out);

/* Whether bytes[len] is UTF-8. */
bool json_is_utf8(const char *bytes, size_t len);

#endif
