/* SPDX-License-Identifier: Apache-2.0 */
/* name.c: ids and file names are spellings of each other, one for one. */
#include "fs/name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static uint64_t rng;

static uint32_t random_below(uint32_t n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng >> 33) % n;
}

/* Whether id has this name, and the name this id. */
static bool pair(const char *id, const char *name)
{
	struct vg_id from = {id, (uint32_t)strlen(id)}, back;
	char buf[NAME_ENCODED_MAX], id_buf[VG_ID_MAX];
	size_t len;

	if (name_encode(from, buf, &len) < 0 || len != strlen(name) ||
		memcmp(buf, name, len) != 0) {
		diag("encode(%s) is not %s", id, name);
		return false;
	}
	if (name_decode(name, strlen(name), id_buf, &back) < 0 ||
		back.len != from.len || memcmp(back.bytes, id, back.len) != 0) {
		diag("decode(%s) is not %s", name, id);
		return false;
	}
	return true;
}

static int decode(const char *name)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	return name_decode(name, strlen(name), buf, &id);
}

static void test_spellings(void)
{
	ok(pair("doc7", "doc7") && pair("a b\"c'\n", "a b\"c'\n") &&
			pair("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
		"a plain id is its own name, spaces, quotes, newline and emoji "
		"too");
	ok(pair("a/b", "a%2Fb") && pair("/", "%2F") && pair("//", "%2F%2F"),
		"a slash is spelled %%2F");
	ok(pair(".hidden", "%2Ehidden") && pair(".", "%2E") &&
			pair("..", "%2E.") && pair("a.b", "a.b"),
		"a dot is spelled %%2E at the beginning only");
	ok(pair("query", "%71uery") && pair("queryx", "queryx") &&
			pair("Query", "Query"),
		"only the id query is spelled %%71uery");
	ok(pair("100%", "100%") && pair("a%20b", "a%20b") && pair("%", "%") &&
			pair("%%", "%%") && pair("a%2", "a%2") &&
			pair("a%2f", "a%2f"),
		"a %% that reads as nothing else is plain, %%2f too");
	ok(pair("%2F", "%252F") && pair("%25", "%2525") &&
			pair("%2525", "%252525") && pair("x%25y", "x%2525y"),
		"a %% that would read as something is spelled %%25");
	ok(pair("%2Ex", "%252Ex") && pair("a%2Ex", "a%2Ex"),
		"%%2E is escaped at the beginning only");
	ok(pair("%71uery", "%2571uery") && pair("%71", "%71") &&
			pair("%71uery2", "%71uery2") &&
			pair("a%71uery", "a%71uery"),
		"%%71uery is escaped as a whole name only");
	ok(pair("%/", "%%2F") && pair("%2/", "%2%2F") &&
			pair("/.query", "%2F.query"),
		"escapes stand side by side");
}

static void test_refusals(void)
{
	char buf[VG_ID_MAX];
	struct vg_id id;

	ok(decode("%25x") == -EINVAL && decode("100%25") == -EINVAL &&
			decode("%2571") == -EINVAL &&
			decode("a%252Eb") == -EINVAL,
		"a name that would list otherwise is refused");
	ok(decode("") == -EINVAL && decode("a/b") == -EINVAL &&
			decode(".as") == -EINVAL && decode("query") == -EINVAL,
		"nothing, a slash, a dot name and query are no ids");
	ok(name_decode("a\0b", 3, buf, &id) == -EINVAL &&
			name_decode("a%2F\0b", 6, buf, &id) == -EINVAL,
		"a NUL is no part of a name");
}

static void test_lengths(void)
{
	char name[NAME_ENCODED_MAX + 1], bytes[VG_ID_MAX + 1], buf[VG_ID_MAX];
	struct vg_id id = {bytes, VG_ID_MAX}, back;
	size_t len = 0;

	memset(bytes, 'x', sizeof(bytes));
	ok(name_encode(id, name, &len) == 0 && len == 255 &&
			name_decode(name, len, buf, &back) == 0 &&
			back.len == 255,
		"255 plain bytes are a name of 255 bytes");
	bytes[100] = '/';
	ok(name_encode(id, name, &len) == -ENAMETOOLONG && len == 257,
		"an id whose name exceeds 255 bytes cannot be listed");
	ok(name_decode(name, len, buf, &back) == 0 && back.len == 255 &&
			memcmp(back.bytes, bytes, 255) == 0,
		"but its spelling still reads as the id");
	memset(bytes, '/', sizeof(bytes));
	ok(name_encode(id, name, &len) == -ENAMETOOLONG &&
			len == NAME_ENCODED_MAX &&
			name_decode(name, len, buf, &back) == 0 &&
			back.len == 255,
		"255 slashes make the longest spelling");
	memset(name, 'x', sizeof(name));
	ok(name_decode(name, 256, buf, &back) == -ENAMETOOLONG,
		"a name of 256 plain bytes is too long for an id");
	name[0] = '%';
	ok(name_decode(name, 256, buf, &back) == -ENAMETOOLONG &&
			name_decode(name, sizeof(name), buf, &back) ==
				-ENAMETOOLONG,
		"so is one with a percent sign");
	id.len = VG_ID_MAX + 1;
	ok(name_encode(id, name, &len) == -EINVAL, "256 bytes are no id");
	id.len = 0;
	ok(name_encode(id, name, &len) == -EINVAL, "no bytes are no id");
	id = (struct vg_id){"a\0b", 3};
	ok(name_encode(id, name, &len) == -EINVAL,
		"an id with a NUL has no name");
}

/* Bytes that are likely to be escapes, or to look like some. */
static uint32_t random_bytes(char *out, uint32_t max)
{
	static const char *const parts[] = {"%", "2", "5", "F", "E", ".", "/",
		"query", "%25", "%2F", "%2E", "%71uery", "71uery", "f", "x"};
	uint32_t n = 0, turns = random_below(7) + 1;

	while (turns-- > 0) {
		const char *part = parts[random_below(VG_ARRAY_LEN(parts))];
		char byte[2] = {(char)random_below(256), '\0'};

		if (random_below(8) == 0)
			part = byte;
		if (n + strlen(part) > max)
			break;
		memcpy(out + n, part, strlen(part));
		n += (uint32_t)strlen(part);
	}
	return n;
}

static void test_properties(void)
{
	char bytes[64], name[NAME_ENCODED_MAX], buf[VG_ID_MAX];
	long runs = env_long("VG_NAME_N", 300000);
	bool ids_return = true, names_return = true, names_are_listable = true;
	long accepted = 0;
	struct vg_id id;
	size_t len = 0;

	rng = seed();
	for (long i = 0; i < runs; i++) {
		uint32_t n = random_bytes(bytes, sizeof(bytes));

		if (n == 0)
			continue;
		id = (struct vg_id){bytes, n};
		int rc = name_encode(id, name, &len);

		ids_return &= rc == 0 &&
			      name_decode(name, len, buf, &id) == 0 &&
			      id.len == n && memcmp(id.bytes, bytes, n) == 0;
		names_are_listable &= name[0] != '.' &&
				      !memchr(name, '/', len) &&
				      name_find(name, len) == NAME_RECORD;
		if (name_decode(bytes, n, buf, &id) < 0)
			continue;
		accepted++;
		names_return &= name_encode(id, name, &len) == 0 && len == n &&
				memcmp(name, bytes, n) == 0;
	}
	ok(ids_return, "every id is read back from its name");
	ok(names_return && accepted > 0,
		"every accepted name is the name of its id");
	ok(names_are_listable, "every name can stand in a directory");
}

static enum name_kind kind(const char *name)
{
	return name_find(name, strlen(name));
}

static void test_kinds(void)
{
	ok(kind("doc") == NAME_RECORD && kind("queryx") == NAME_RECORD &&
			kind("q") == NAME_RECORD &&
			kind("%2Eas") == NAME_RECORD,
		"undotted names are records");
	ok(kind("query") == NAME_QUERY, "query is not");
	ok(kind(".as") == NAME_AS && kind(".meta") == NAME_META &&
			kind(".snap") == NAME_SNAP &&
			kind(".tx") == NAME_TX &&
			kind(".config") == NAME_CONFIG &&
			kind(".stats") == NAME_STATS &&
			kind(".import") == NAME_IMPORT &&
			kind(".export") == NAME_EXPORT &&
			kind(".help") == NAME_HELP &&
			kind(".delete-where") == NAME_DELETE_WHERE,
		"ten dot names are ours");
	ok(kind(".a.f32.Xy12Zz") == NAME_STAGING &&
			kind(".ass") == NAME_STAGING &&
			kind(".a") == NAME_STAGING &&
			kind(".query") == NAME_STAGING,
		"any other dot name is staging");
	ok(!name_get(NAME_RECORD) && !name_get(NAME_STAGING),
		"records and staging have no name of their own");

	bool back = true;

	for (int k = NAME_QUERY; k < NAME_KINDS; k++)
		back &= kind(name_get((enum name_kind)k)) == (enum name_kind)k;
	ok(back, "each name of ours is found as its kind");
}

int main(void)
{
	plan(30);
	test_spellings();
	test_refusals();
	test_lengths();
	test_properties();
	test_kinds();
	return done();
}
