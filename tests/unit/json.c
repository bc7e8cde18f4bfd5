/* SPDX-License-Identifier: Apache-2.0 */
/* json.c: what is JSON and what is not, token by token, and its strings. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/json.h"
#include "tests/tap.h"

/* The tokens of a text as letters, with the bytes of scalars; "!" at an error
 * and "~" where it is only cut. The text is copied to exactly its size, so
 * that a sanitizer sees each byte read beyond it. */
static const char *walk_len(const char *text, size_t len, bool takes_bytes)
{
	static const char letters[] = ".{}[]ksn+-0";
	static char out[4096];
	struct json_token token;
	struct json j;
	size_t at = 0;
	char *copy = malloc(len ? len : 1);

	must(copy);
	memcpy(copy, text, len);
	json_init(&j, copy, len);
	j.takes_bytes = takes_bytes;
	for (;;) {
		if (json_next(&j, &token) < 0) {
			out[at++] = j.is_cut ? '~' : '!';
			break;
		}
		out[at++] = letters[token.type];
		if (token.type == JSON_KEY || token.type == JSON_STRING ||
			token.type == JSON_NUMBER) {
			memcpy(out + at, token.text, token.len);
			at += token.len;
		}
		if (token.type == JSON_END || at > sizeof(out) - 300)
			break;
	}
	out[at] = 0;
	free(copy);
	return out;
}

static bool walks(const char *text, const char *want)
{
	const char *got = walk_len(text, strlen(text), false);

	if (strcmp(got, want) != 0)
		diag("%s: %s instead of %s", text, got, want);
	return strcmp(got, want) == 0;
}

static char last(const char *text)
{
	const char *got = walk_len(text, strlen(text), false);

	return got[strlen(got) - 1];
}

static void test_tokens(void)
{
	ok(walks("{\"a\":[1,-2.5e+3,true],\"b\":{},\"c\":[]}",
		"{ka[n1n-2.5e+3+]kb{}kc[]}."), "tokens come in order");
	ok(walks(" [ 1 , 2 ]\r\n\t", "[n1n2].") && walks("\"x\"", "sx.") &&
		walks("false", "-.") && walks("null", "0.") &&
		walks("12", "n12."), "any value may be the whole text");
	ok(walks("[1.10,12345678901234567890123,1E400]",
		"[n1.10n12345678901234567890123n1E400]."),
		"numbers keep their spelling, of any size");
	ok(walks("{\"a\" : \"\\u00e9\\n\" }", "{kas\\u00e9\\n}."),
		"strings are given as they are spelled");
}

static void test_refused(void)
{
	static const char *const wrong[] = {"]", "}", "[1}", "{\"a\":1]",
		"[,1]", "[1,,2]", "[1,]", "{,}", "{\"a\":1,}", "{\"a\"}",
		"{\"a\",1}", "{a:1}", "{1:1}", "[1 2]", "1 2", "{} {}", "01",
		"-x", "+1", ".5", "1.x", "1ex", "[NaN]", "[Infinity]", "[-x]",
		"nulL", "True", "'a'", "\"\\x\"", "\"\\u12g4\"", "\"\n\"",
		"\"\x01\"", "//", "[1]x", "\xef\xbb\xbf{}",
		"\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
		"\"\\ud800x\"", "\"\\udc80\"", "\"\x80\"", "\"\xc0\x80\"",
		"\"\xc1\xbf\"", "\"\xe0\x9f\xbf\"", "\"\xed\xa0\x80\"",
		"\"\xf0\x8f\xbf\xbf\"", "\"\xf4\x90\x80\x80\"",
		"\"\xf5\x80\x80\x80\"", "\"\xff\"", "\"\xc3(\""};
	static const char *const right[] = {"\"\\ud83d\\ude00\"", "\"\xc2\x80\"",
		"\"\xe0\xa0\x80\"", "\"\xed\x9f\xbf\"", "\"\xee\x80\x80\"",
		"\"\xf0\x90\x80\x80\"", "\"\xf4\x8f\xbf\xbf\"", "\"\x7f\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\"", "-0", "0.0", "1e5",
		"-0.5E-07"};
	bool holds = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(wrong); i++) {
		bool is_refused = last(wrong[i]) == '!';
		if (!is_refused)
			diag("taken: %s", wrong[i]);
		holds &= is_refused;
	}
	ok(holds, "what RFC 8259 does not allow is refused, as is bad UTF-8");
	holds = true;
	for (size_t i = 0; i < VG_ARRAY_LEN(right); i++) {
		bool is_taken = last(right[i]) == '.';
		if (!is_taken)
			diag("refused: %s", right[i]);
		holds &= is_taken;
	}
	ok(holds, "what it allows is taken, up to the borders of UTF-8");
}

static void test_cut(void)
{
	static const char text[] = "{\"k\\u00e9\\ud83d\\ude00\":[1.5e+10,true,"
		"\"\xf0\x9f\x98\x80\xc3\xa9\",null,{}],\"x\":false}";
	bool holds = true;

	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		const char *got = walk_len(text, n, false);
		if (got[strlen(got) - 1] != '~') {
			diag("%.*s: %s", (int)n, text, got);
			holds = false;
		}
	}
	ok(holds, "each beginning of a text is told to be cut, not wrong");
	ok(last("\"\\ud83d\\u") == '~' && last("[1,") == '~' &&
		last("tru") == '~' && last("-") == '~' && last("1.") == '~',
		"words, numbers and surrogates, too");
	ok(last("trx") == '!' && last("\"\\ud83dx") == '!',
		"unless it is wrong before it ends");
}

static void test_depth(void)
{
	char text[2 * JSON_DEPTH_MAX + 8];
	struct json_token token;
	struct json j;
	size_t n = 0;

	for (; n < JSON_DEPTH_MAX; n++)
		text[n] = '[';
	for (; n < 2 * JSON_DEPTH_MAX; n++)
		text[n] = ']';
	text[n] = 0;
	ok(last(text) == '.', "128 levels are taken");
	memmove(text + 1, text, n + 1);
	text[n + 1] = ']';
	text[n + 2] = 0;
	ok(last(text) == '!', "129 are not");

	/* Objects and arrays in turn: each closes with its own bracket. */
	n = 0;
	for (int i = 0; i < 40; i++)
		n += (size_t)sprintf(text + n, i % 3 ? "[" : "{\"\":");
	must(n < sizeof(text));
	json_init(&j, text, n);
	int depth = 0;
	while (json_next(&j, &token) == 0)
		depth += token.type != JSON_KEY;
	ok(depth == 40 && j.is_cut && j.depth == 40,
		"objects and arrays may alternate");
}

static void test_skip(void)
{
	static const char text[] =
		"{\"a\": {\"x\":[1,{}]} ,\"b\":\"s\\n\",\"c\": 12 }";
	struct json_token token, whole;
	struct json j;
	bool holds = true;
	static const char *const want[] = {"{\"x\":[1,{}]}", "\"s\\n\"", "12"};

	json_init(&j, text, strlen(text));
	must(json_next(&j, &token) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(want); i++) {
		must(json_next(&j, &token) == 0 && token.type == JSON_KEY);
		must(json_next(&j, &token) == 0);
		holds &= json_skip(&j, &token, &whole) == 0 &&
			whole.len == strlen(want[i]) &&
			memcmp(whole.text, want[i], whole.len) == 0;
	}
	holds &= json_next(&j, &token) == 0 && token.type == JSON_OBJECT_END;
	ok(holds, "a value is passed over whole");
	json_init(&j, "[[1,}", 5);
	must(json_next(&j, &token) == 0);
	ok(json_skip(&j, &token, &whole) == -EINVAL && json_position(&j) == 5,
		"an error in it is found, with its place");
}

/* The numbers of an array, or the place of its error as a negative. */
static int floats(const char *text, float *out)
{
	struct json_token token;
	struct json j;
	int n = 0, rc;

	json_init(&j, text, strlen(text));
	must(json_next(&j, &token) == 0 && token.type == JSON_ARRAY);
	while ((rc = json_next_float(&j, &out[n])) > 0)
		n++;
	if (rc == 0 && json_next(&j, &token) < 0)
		rc = -1;
	return rc < 0 ? -(int)json_position(&j) : n;
}

static void test_doubles(void)
{
	static const char text[] = "[0.1, -1e300,\n3]x", far[] = "[1e999]";
	struct json_token token;
	struct json j;
	double d[4];
	int n = 0;

	json_init(&j, text, sizeof(text) - 2);
	must(json_next(&j, &token) == 0);
	while (n < 4 && json_next_double(&j, &d[n]) > 0)
		n++;
	ok(n == 3 && d[0] == 0.1 && d[1] == -1e300 && d[2] == 3 &&
			j.at == text + sizeof(text) - 2,
		"also as float64");
	json_init(&j, far, sizeof(far) - 1);
	must(json_next(&j, &token) == 0);
	ok(json_next_double(&j, d) == -EINVAL && strstr(j.why, "float64") &&
			json_position(&j) == 7,
		"whose range is its own");
}

static void test_floats(void)
{
	float f[8] = {0};

	ok(floats("[1, -2.5,\n3e2 ]", f) == 3 && f[0] == 1 && f[1] == -2.5f &&
		f[2] == 300, "an array of numbers is read fast");
	ok(floats("[ ]", f) == 0 && floats("[1,]", f) == -4 &&
		floats("[1 2]", f) == -4 && floats("[,1]", f) == -2 &&
		floats("[1,\"2\"]", f) == -4 && floats("[1", f) == -3 &&
		floats("[1e39]", f) == -6 && floats("[01]", f) == -4 &&
		floats("[1] 2", f) == -5 && floats("[1,NaN]", f) == -4,
		"and refused where it is none");
}

static bool encodes(const char *bytes, size_t len, const char *want)
{
	char out[512];
	size_t n = json_string_encode(bytes, len, out);
	bool holds = n == strlen(want) && memcmp(out, want, n) == 0;

	if (!holds)
		diag("%.*s instead of %s", (int)n, out, want);
	return holds;
}

static void test_strings(void)
{
	ok(encodes("", 0, "\"\"") && encodes("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\""),
		"quotes and backslashes are escaped, a slash is not");
	ok(encodes("\b\f\n\r\t\0\x1f\x7f", 8,
		"\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\""),
		"so are control characters");
	ok(encodes("\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""),
		"UTF-8 stands for itself");
	ok(encodes("a\xff\xc3", 3, "\"a\\udcff\\udcc3\"") &&
		encodes("\xed\xa0\x80", 3, "\"\\udced\\udca0\\udc80\""),
		"bytes that are none are written as Python does");
	ok(strcmp(walk_len("\"\\udc80\\udcff\"", 14, true),
		"s\\udc80\\udcff.") == 0 &&
		strchr(walk_len("\"\\udc7f\"", 8, true), '!') &&
		strchr(walk_len("\"\\udd00\"", 8, true), '!') &&
		strchr(walk_len("\"\\ud880\"", 8, true), '!'),
		"and read where bytes are taken, these only");

	struct json_token t = {JSON_STRING, true,
		"\\u00e9\\ud83d\\ude00\\n\\/\\u0041\\u0001", 32};
	t.len = strlen(t.text);
	char out[64];
	size_t n = json_string_decode(&t, out);
	ok(n == 10 && memcmp(out, "\xc3\xa9\xf0\x9f\x98\x80\n/A\x01", 10) == 0,
		"escapes are undone");
	ok(json_string_is(&t, out, n) && !json_string_is(&t, out, n - 1) &&
		!json_string_is(&t, "\xc3\xa9\xf0\x9f\x98\x80\n/A\x01z", 11),
		"a string is compared without undoing it");
	n = json_string_compact(&t, out);
	ok(n == 18 && memcmp(out,
		"\"\xc3\xa9\xf0\x9f\x98\x80\\n/A\\u0001\"", n) == 0,
		"or spelled as short as can be");
}

static void test_any_bytes(void)
{
	unsigned long rng = seed();
	bool holds = true;
	char bytes[64], text[JSON_STRING_MAX(64)], back[sizeof(text)];

	for (int i = 0; i < 200000 && holds; i++) {
		struct json_token token;
		struct json j;
		rng = rng * 6364136223846793005ul + 1442695040888963407ul;
		size_t len = rng >> 40 & 15;
		for (size_t k = 0; k < len; k++) {
			rng = rng * 6364136223846793005ul + 1442695040888963407ul;
			/* The interesting ones are at the borders. */
			bytes[k] = "\xed\xa0\xf4\x8f\xbf\xe0\x80\x22"[rng >> 40 & 7];
			if (rng >> 62)
				bytes[k] = (char)(rng >> 40);
		}
		size_t n = json_string_encode(bytes, len, text);
		json_init(&j, text, n);
		j.takes_bytes = true;
		holds = json_next(&j, &token) == 0 &&
			token.type == JSON_STRING &&
			json_string_decode(&token, back) == len &&
			memcmp(back, bytes, len) == 0 &&
			json_string_is(&token, bytes, len) &&
			json_next(&j, &token) == 0;
	}
	ok(holds, "any bytes come back from a JSON string");
}

int main(void)
{
	plan(27);
	test_tokens();
	test_refused();
	test_cut();
	test_depth();
	test_skip();
	test_floats();
	test_doubles();
	test_strings();
	test_any_bytes();
	return done();
}
