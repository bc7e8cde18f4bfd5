/* SPDX-License-Identifier: Apache-2.0 */
/* hits.c: lines of ids become names of links, which find them again. */
#include "fs/hits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/tap.h"

static struct vg_id id_of(const char *s)
{
	return (struct vg_id){s, (uint32_t)strlen(s)};
}

/* Whether the rows of text have these names. */
static bool are_names(const char *text, uint32_t offset,
	const char *const *names)
{
	struct hits_row row;
	struct hits h;

	hits_init(&h, text, strlen(text), offset);
	for (; *names; names++) {
		if (!hits_next(&h, &row) || strcmp(row.name, *names) != 0) {
			diag("%s, not %s", row.name, *names);
			return false;
		}
	}
	return !hits_next(&h, &row);
}

#define ARE_NAMES(text, offset, ...)                                           \
	are_names(text, offset, (const char *const[]){__VA_ARGS__, NULL})

static void test_names(void)
{
	ok(ARE_NAMES("doc7\na b\n", 0, "0001_doc7", "0002_a b"),
		"a row is its number and its id");
	ok(ARE_NAMES("a\nb\n", 9998, "09999_a", "10000_b"),
		"all have the digits that the last one needs");
	ok(ARE_NAMES("a\\tb\\n\\\\\n.x\n%2F\nquery\na/b\n", 0,
		   "0001_a\tb\n\\", "0002_%2Ex", "0003_%252F", "0004_%71uery",
		   "0005_a%2Fb"),
		"ids are unescaped, then spelled as files are");
	ok(ARE_NAMES("", 5, NULL), "no rows are none");
}

static void test_long_names(void)
{
	char text[1024];
	struct hits_row row;
	struct hits h;
	size_t n = 0;

	for (; n < 255; n++)
		text[n] = 'x';
	text[n++] = '\n';
	/* 127 letters of two bytes: byte 250 is a letter's second. */
	for (int i = 0; i < 127; i++) {
		text[n++] = (char)0xc3;
		text[n++] = (char)0xbc;
	}
	text[n++] = '\n';
	memset(text + n, '/', 255);
	n += 255;
	memcpy(text + n, "\nend\n", 5);
	n += 5;
	hits_init(&h, text, n, 0);
	ok(hits_next(&h, &row) && row.name_len == 255 && row.id.len == 255,
		"a name that would be too long is cut");
	ok(hits_next(&h, &row) && row.name_len == 255 && row.id.len == 254 &&
			row.name[254] == (char)0xbc,
		"behind a letter of UTF-8");
	ok(hits_find((struct hits){.text = text, .len = n, .digits = 4},
		   (struct vg_id){row.name, (uint32_t)row.name_len}, &row) &&
			row.number == 2 && row.id.len == 254,
		"and is found with its whole id");
	ok(hits_next(&h, &row) && row.number == 4 &&
			!strcmp(row.name, "0004_end") && !hits_next(&h, &row),
		"a row that no file has is passed over, and counts");
	/* With five digits byte 249 of the second is a letter's first. */
	hits_init(&h, text, n, 10000);
	ok(hits_next(&h, &row) && hits_next(&h, &row) && row.name_len == 254 &&
			row.name[253] == (char)0xbc,
		"never within one");
}

static void test_find(void)
{
	static const char text[] = "a\nb\nc\nd\n";
	struct hits_row row;
	struct hits h;
	bool none = true;
	static const char *const bad[] = {"0004_c", "0003_a", "003_c", "00003_c",
		"0003_", "0003", "c", "", "0000_a", "0005_e", "9999_a",
		"99999999999_a", "0003_cc", "_c", "4294967299_c"};

	hits_init(&h, text, sizeof(text) - 1, 0);
	ok(hits_find(h, id_of("0003_c"), &row) && row.number == 3 &&
			row.id.len == 1 && row.id.bytes[0] == 'c',
		"a name finds its row");
	ok(hits_find(h, id_of("0001_a"), &row) &&
			hits_find(h, id_of("0004_d"), &row),
		"so do the first and the last one");
	for (size_t i = 0; i < VG_ARRAY_LEN(bad); i++)
		none &= !hits_find(h, id_of(bad[i]), &row);
	ok(none, "what is no link's name finds nothing");
}

static void test_targets(void)
{
	char out[HITS_TARGET_MAX + 1], path[3000];
	const struct vg_id none = {"", 0};

	ok(hits_target(id_of("q1.hits/0001_a"), none, id_of("a"), out) == 7 &&
			!strcmp(out, "../../a"),
		"a target is above query/");
	ok(hits_target(id_of("k=5/a.eq=1/q1.hits/0001_a"), id_of("s"),
		   id_of("x/y"), out) == 25 &&
			!strcmp(out, "../../../../.snap/s/x%2Fy"),
		"and above parameters, and in a snapshot");
	memset(path, '/', sizeof(path));
	ok(hits_target((struct vg_id){path, sizeof(path)}, none, id_of("a"),
		   out) == -ENAMETOOLONG,
		"one that no link can have is refused");
}

int main(void)
{
	plan(15);
	test_names();
	test_long_names();
	test_find();
	test_targets();
	return done();
}
