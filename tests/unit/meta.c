/* SPDX-License-Identifier: Apache-2.0 */
/* meta.c: what metadata becomes, and how it is changed and read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/meta.h"
#include "tests/tap.h"

static struct meta_buf buf;

static struct meta as_meta(const char *json)
{
	return (struct meta){json, json ? (uint32_t)strlen(json) : 0};
}

static struct vg_id as_id(const char *text)
{
	return (struct vg_id){text, (uint32_t)strlen(text)};
}

static bool is_buf(const char *want)
{
	bool holds = buf.len == strlen(want) &&
		(buf.len == 0 || memcmp(buf.bytes, want, buf.len) == 0);

	if (!holds)
		diag("%.*s instead of %s", (int)buf.len,
			buf.len ? buf.bytes : "", want);
	return holds;
}

static bool parses(const char *in, const char *want)
{
	const char *why = NULL;
	int rc = meta_parse(in, strlen(in), &buf, &why);

	if (rc < 0)
		diag("%s: %d %s", in, rc, why ? why : "");
	return rc == 0 && is_buf(want);
}

static bool refuses(const char *in, const char *sentence)
{
	const char *why = "";
	int rc = meta_parse(in, strlen(in), &buf, &why);

	if (rc != -EINVAL || !strstr(why, sentence))
		diag("%s: %d %s", in, rc, why);
	return rc == -EINVAL && buf.len == 0 && strstr(why, sentence);
}

static void test_parse(void)
{
	ok(parses(" { \"a\" : 1 , \"b\" : [ 1 , { \"c\" : null } ] }\n",
		"{\"a\":1,\"b\":[1,{\"c\":null}]}"), "blanks are dropped");
	ok(parses("{\"n\":1.10,\"m\":123456789012345678901234567890,\"e\":1E+5}",
		"{\"n\":1.10,\"m\":123456789012345678901234567890,\"e\":1E+5}"),
		"numbers stay as they are spelled");
	ok(parses("{\"\\u0061\\/\":\"\\u00e9\\u000a\\ud83d\\ude00\\u0000\"}",
		"{\"a/\":\"\xc3\xa9\\n\xf0\x9f\x98\x80\\u0000\"}"),
		"strings get their shortest escaping");
	ok(parses("{\"a\":1,\"b\":2,\"\\u0061\":3,\"c\":4,\"b\":null}",
		"{\"a\":3,\"b\":null,\"c\":4}"),
		"of a key given twice the last value counts, in the first place");
	ok(parses("{\"o\":{\"x\":1,\"x\":2}}", "{\"o\":{\"x\":1,\"x\":2}}"),
		"inside values nothing is dropped");
	ok(parses("{}", "") && parses(" { } ", ""), "no metadata is nothing");
	ok(refuses("[1]", "object") && refuses("12", "object") &&
		refuses("", "too early") && refuses("{\"a\":1", "too early") &&
		refuses("{\"a\":1} x", "at byte 9") &&
		refuses("{\"a\":01}", "at byte 6") &&
		refuses("{\"a\":\"\\udc80\"}", "surrogate") &&
		refuses("{\"a\":\"\xff\"}", "UTF-8"),
		"what is no JSON object is refused with the place");
}

static void test_limits(void)
{
	char deep[200];
	const char *why;
	int n = 0;

	n += sprintf(deep, "{\"a\":");
	memset(deep + n, '[', 63);
	memset(deep + n + 63, ']', 63);
	strcpy(deep + n + 126, "}");
	ok(meta_parse(deep, strlen(deep), &buf, &why) == 0,
		"64 levels are taken");
	memset(deep + n, '[', 64);
	memset(deep + n + 64, ']', 64);
	strcpy(deep + n + 128, "}");
	ok(refuses(deep, "deeper than 64"), "65 are not");

	size_t len = VG_META_MAX;
	char *large = malloc(len + 2);
	must(large);
	memset(large, 'x', len);
	memcpy(large, "{\"a\":\"", 6);
	memcpy(large + len - 2, "\"}", 2);
	ok(meta_parse(large, len, &buf, &why) == 0 && buf.len == len,
		"a MiB of metadata is taken");
	memcpy(large + len - 2, "x\"}", 3);
	ok(meta_parse(large, len + 1, &buf, &why) == -EINVAL &&
		strstr(why, "larger than 1048576 bytes"),
		"a byte more is not");

	/* A hundred thousand members, each twice: not a matter of seconds. */
	size_t at = 1;
	large[0] = '{';
	for (int i = 0; i < 100000; i++)
		at += (size_t)sprintf(large + at, "\"%x\":1,", i % 50000);
	large[at - 1] = '}';
	must(at <= VG_META_MAX);
	ok(meta_parse(large, at, &buf, &why) == 0 && buf.len > at / 2 - 10 &&
		buf.len < at / 2 + 10, "many keys given twice are united");
	free(large);
}

static bool merges(const char *old, const char *changes, const char *want)
{
	int rc = meta_merge(as_meta(old), as_meta(changes), &buf);

	return rc == 0 && is_buf(want);
}

static void test_merge(void)
{
	ok(merges("{\"a\":1,\"b\":2,\"c\":3}", "{\"d\":4,\"b\":5,\"a\":null}",
		"{\"b\":5,\"c\":3,\"d\":4}"),
		"present replaces, null removes, absent keeps");
	ok(merges(NULL, "{\"a\":null,\"b\":[null]}", "{\"b\":[null]}") &&
		merges("{\"a\":1}", NULL, "{\"a\":1}") &&
		merges(NULL, NULL, ""), "either may be nothing");
	ok(merges("{\"a\":1}", "{\"a\":null}", ""),
		"what becomes empty is nothing");
	ok(merges("{\"o\":{\"x\":1}}", "{\"o\":{\"y\":2}}", "{\"o\":{\"y\":2}}"),
		"a value is replaced whole");
	ok(meta_merge(as_meta("{\"a\":1"), as_meta("{}"), &buf) ==
		-VG_ECORRUPT && meta_merge(as_meta("{}"), as_meta("[]"),
			&buf) == -VG_ECORRUPT,
		"what is no stored form is told to be damaged");

	char *large = malloc(VG_META_MAX + 1);
	must(large);
	memset(large, 'x', VG_META_MAX);
	memcpy(large, "{\"a\":\"", 6);
	memcpy(large + VG_META_MAX - 2, "\"}", 2);
	large[VG_META_MAX] = 0;
	ok(meta_merge(as_meta(large), as_meta("{\"b\":1}"), &buf) == -EFBIG,
		"an outcome over a MiB is too big");
	free(large);
}

static bool sets(const char *old, const char *key, const char *value,
	const char *want)
{
	int rc = meta_set(as_meta(old), as_id(key), as_meta(value), &buf);

	return rc == 0 && is_buf(want);
}

static void test_set_get(void)
{
	struct meta value;
	struct meta m = as_meta("{\"a\":1,\"b\\n\":{\"a\":2},\"\xc3\xa9\":\"x\"}");

	ok(sets("{\"a\":1,\"b\":2}", "a", "[3]", "{\"a\":[3],\"b\":2}") &&
		sets("{\"a\":1}", "b\n\"", "true", "{\"a\":1,\"b\\n\\\"\":true}") &&
		sets(NULL, "a", "null", "{\"a\":null}"),
		"one key is set, in its place or at the end");
	ok(sets("{\"a\":1,\"b\":2}", "a", NULL, "{\"b\":2}") &&
		sets("{\"a\":1}", "a", NULL, ""), "or removed");
	ok(meta_set(as_meta("{\"a\":1}"), as_id("b"), as_meta(NULL), &buf) ==
		-ENODATA && meta_set(as_meta(NULL), as_id("b"), as_meta(NULL),
			&buf) == -ENODATA, "but only what is there");
	ok(meta_set(as_meta(NULL), as_id("\xff"), as_meta("1"), &buf) ==
		-EINVAL, "a key is UTF-8");
	ok(meta_get(m, as_id("b\n"), &value) == 0 && value.len == 7 &&
		memcmp(value.json, "{\"a\":2}", 7) == 0 &&
		meta_get(m, as_id("\xc3\xa9"), &value) == 0 &&
		memcmp(value.json, "\"x\"", value.len) == 0,
		"a value is found by its plain key");
	ok(meta_get(m, as_id("b"), &value) == -ENODATA &&
		meta_get(as_meta(NULL), as_id("a"), &value) == -ENODATA &&
		meta_get(as_meta("{\"a\":"), as_id("a"), &value) ==
			-VG_ECORRUPT, "or it is not");
}

struct seen {
	char text[200];
	int stop_at;
};

static int see(void *ctx, struct vg_id key, struct meta value)
{
	struct seen *seen = ctx;
	size_t at = strlen(seen->text);

	snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s=%.*s;",
		(int)key.len, key.bytes, (int)value.len, value.json);
	return --seen->stop_at == 0 ? -EINTR : 0;
}

static void test_each(void)
{
	struct seen seen = {"", 0};
	struct meta m = as_meta("{\"a\":1,\"\\\"\":[2,3],\"c\":\"x\"}");

	ok(meta_each(m, see, &seen) == 0 &&
		strcmp(seen.text, "a=1;\"=[2,3];c=\"x\";") == 0,
		"members are seen in order, keys unescaped");
	seen = (struct seen){"", 2};
	ok(meta_each(m, see, &seen) == -EINTR &&
		strcmp(seen.text, "a=1;\"=[2,3];") == 0, "until one says stop");
	ok(meta_each(as_meta(NULL), see, &seen) == 0, "nothing has none");
}

/* text set as an attribute is stored as `json` and printed as `back`. */
static bool attribute(const char *text, const char *json, const char *back)
{
	struct meta_buf value = {0};
	bool holds;

	if (meta_from_text(text, strlen(text), &value) < 0)
		return false;
	buf.len = 0;
	holds = value.len == strlen(json) &&
		memcmp(value.bytes, json, value.len) == 0 &&
		meta_to_text((struct meta){value.bytes, (uint32_t)value.len},
			&buf) == 0 && is_buf(back);
	if (!holds)
		diag("%s is %.*s", text, (int)value.len, value.bytes);
	free(value.bytes);
	return holds;
}

static void test_text(void)
{
	ok(attribute("2020", "2020", "2020") &&
		attribute("1.10", "1.10", "1.10") &&
		attribute("[1, 2]", "[1,2]", "[1,2]") &&
		attribute("null", "null", "null"),
		"what is JSON is that value");
	ok(attribute("en", "\"en\"", "en") && attribute("", "\"\"", "") &&
		attribute("a\"b", "\"a\\\"b\"", "a\"b") &&
		attribute("{x", "\"{x\"", "{x") &&
		attribute("1.2.3", "\"1.2.3\"", "1.2.3") &&
		attribute("\"\\ud800\"", "\"\\\"\\\\ud800\\\"\"", "\"\\ud800\""),
		"anything else is a string, bare both ways");
	ok(attribute("\"2020\"", "\"2020\"", "\"2020\"") &&
		attribute("\"en\"", "\"en\"", "en") &&
		attribute("\" true \"", "\" true \"", "\" true \"") &&
		attribute("\"\\u0000\"", "\"\\u0000\"", "\"\\u0000\""),
		"a string is quoted where bare it would be something else");
	ok(meta_from_text("a\0b", 3, &buf) == -EINVAL &&
		meta_from_text("\xff", 1, &buf) == -EINVAL && buf.len == 0,
		"NUL and what is not UTF-8 are refused");
}

/* Random strings over the bytes that matter, there and back. */
static void test_inverse(void)
{
	static const char alphabet[] = "\"\\{}[]:,0123 \ntruefalsn.e-u\xc3\xa9";
	struct meta_buf value = {0}, again = {0};
	unsigned long rng = seed();
	bool holds = true;
	char text[16];

	for (int i = 0; i < 300000 && holds; i++) {
		rng = rng * 6364136223846793005ul + 1442695040888963407ul;
		size_t len = rng >> 60;
		for (size_t k = 0; k < len; k++) {
			rng = rng * 6364136223846793005ul + 1442695040888963407ul;
			text[k] = alphabet[(rng >> 33) % (sizeof(alphabet) - 1)];
		}
		if (meta_from_text(text, len, &value) < 0)
			continue;
		struct meta v = {value.bytes, (uint32_t)value.len};
		holds = meta_to_text(v, &buf) == 0 &&
			meta_from_text(buf.len ? buf.bytes : "", buf.len,
				&again) == 0 &&
			again.len == value.len && memcmp(again.bytes,
				value.bytes, again.len) == 0;
		if (!holds)
			diag("%.*s", (int)len, text);
	}
	ok(holds, "what is got can be set again and is the same");
	free(value.bytes);
	free(again.bytes);
}

int main(void)
{
	plan(32);
	test_parse();
	test_limits();
	test_merge();
	test_set_get();
	test_each();
	test_text();
	test_inverse();
	free(buf.bytes);
	return done();
}
