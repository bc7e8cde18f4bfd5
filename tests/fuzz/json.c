/* SPDX-License-Identifier: Apache-2.0 */
/* json.c: any bytes as JSON, as metadata, as an attribute and as an id. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/json.h"
#include "src/meta.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(holds)                                                       \
	do {                                                               \
		if (!(holds))                                              \
			abort();                                           \
	} while (0)

static void walk(const char *text, size_t len, bool takes_bytes)
{
	struct json_token token, whole;
	struct json j, at_value;
	int rc;

	json_init(&j, text, len);
	j.takes_bytes = takes_bytes;
	while ((rc = json_next(&j, &token)) == 0 && token.type != JSON_END) {
		check(token.text >= text && token.text + token.len <= text + len);
		check(j.depth <= JSON_DEPTH_MAX);
		if (token.type != JSON_KEY && token.type != JSON_STRING)
			continue;
		char *out = malloc(token.len + 2);
		check(out);
		size_t n = json_string_decode(&token, out);
		check(n <= token.len && json_string_is(&token, out, n));
		if (!takes_bytes) {
			check(json_is_utf8(out, n));
			check(json_string_compact(&token, out) <= token.len + 2);
		}
		free(out);
	}
	check(rc == 0 || (j.why && json_position(&j) <= len + 1));
	check(rc == 0 || !j.is_cut || json_position(&j) == len + 1);

	/* Skipping the whole is the same judgement. */
	json_init(&at_value, text, len);
	at_value.takes_bytes = takes_bytes;
	int rc2 = json_next(&at_value, &token);
	if (rc2 == 0)
		rc2 = json_skip(&at_value, &token, &whole);
	if (rc2 == 0)
		rc2 = json_next(&at_value, &token);
	check(rc2 == rc);
}

static void meta(const char *text, size_t len)
{
	struct meta_buf a = {0}, b = {0};
	const char *why;

	if (meta_parse(text, len, &a, &why) < 0) {
		check(strlen(why) > 0);
	} else if (a.len > 0) {
		struct meta m = {a.bytes, (uint32_t)a.len};
		struct meta none = {NULL, 0}, value;
		struct vg_id key = {"a", 1};
		check(meta_parse(a.bytes, a.len, &b, &why) == 0);
		check(b.len == a.len && memcmp(a.bytes, b.bytes, a.len) == 0);
		check(meta_merge(m, none, &b) == 0 && b.len == a.len);
		check(meta_merge(m, m, &b) == 0 && b.len <= a.len);
		int rc = meta_set(m, key, none, &b);
		check(rc == (meta_get(m, key, &value) == 0 ? 0 : -ENODATA));
	}
	free(a.bytes);
	free(b.bytes);
}

static void attribute(const char *text, size_t len)
{
	struct meta_buf a = {0}, b = {0}, c = {0};

	if (meta_from_text(text, len, &a) == 0) {
		struct meta value = {a.bytes, (uint32_t)a.len};
		check(meta_to_text(value, &b) == 0);
		check(meta_from_text(b.bytes ? b.bytes : "", b.len, &c) == 0);
		check(a.len == c.len && memcmp(a.bytes, c.bytes, a.len) == 0);
	}
	free(a.bytes);
	free(b.bytes);
	free(c.bytes);
}

static void id(const char *text, size_t len)
{
	char *out = malloc(JSON_STRING_MAX(len)), *back = NULL;
	struct json_token token;
	struct json j;

	check(out);
	json_init(&j, out, json_string_encode(text, len, out));
	j.takes_bytes = true;
	check(json_next(&j, &token) == 0 && token.type == JSON_STRING);
	back = malloc(token.len + 1);
	check(back && json_string_decode(&token, back) == len);
	check(memcmp(back, text, len) == 0);
	free(back);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	walk(text, size, false);
	walk(text, size, true);
	meta(text, size);
	attribute(text, size);
	id(text, size);
	return 0;
}
