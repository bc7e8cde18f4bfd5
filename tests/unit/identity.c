/* SPDX-License-Identifier: Apache-2.0 */
/* identity: a copy knows that it is one, however it was made. */
#include "src/identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/wire.h"
#include "tests/logkit.h"
#include "tests/tap.h"

static struct io io;

/* What all of one machine's text but the sum is. */
static const char golden[] =
	"vecgridfs identity 1\n"
	"member 000102030405060708090a0b0c0d0e0f\n"
	"copy 101112131415161718191a1b1c1d1e1f\n"
	"parent 202122232425262728292a2b2c2d2e2f "
	"303132333435363738393a3b3c3d3e3f\n"
	"machine 404142434445464748494a4b4c4d4e4f\n"
	"file 8 1234 1700000000123456789\n"
	"directory 18446744073709551615 -5\n"
	"sum 442109745bb221f4\n";

static struct identity sample(void)
{
	struct identity id = {
		.place = {.dev = 8,
			.inode = 1234,
			.birth_ns = 1700000000123456789,
			.dir_inode = UINT64_MAX,
			.dir_birth_ns = -5},
	};

	for (uint8_t i = 0; i < 16; i++) {
		id.member[i] = i;
		id.copy[i] = (uint8_t)(16 + i);
		id.parent_member[i] = (uint8_t)(32 + i);
		id.parent_copy[i] = (uint8_t)(48 + i);
		id.place.machine[i] = (uint8_t)(64 + i);
	}
	return id;
}

static void test_text(void)
{
	struct identity id = sample(), back;
	char text[IDENTITY_MAX];
	size_t len = identity_format(&id, text);
	unsigned wrong = 0;

	ok(len == strlen(golden) && memcmp(text, golden, len) == 0,
		"the golden text is written") ||
		(diag("%s", text), 0);
	ok(identity_parse(golden, len, &back) == 0 &&
			memcmp(&back, &id, sizeof(id)) == 0,
		"and read");
	for (size_t cut = 0; cut < len; cut++)
		wrong += identity_parse(golden, cut, &back) != -VG_ECORRUPT;
	ok(wrong == 0, "no prefix of it is");
	wrong = 0;
	for (size_t bit = 0; bit < len * 8; bit++) {
		int rc;

		text[bit / 8] ^= (char)(1 << bit % 8);
		rc = identity_parse(text, len, &back);
		/* Its version may become another. */
		wrong += rc != -VG_ECORRUPT &&
			 (rc != -VG_EFORMAT || bit / 8 < 19 || bit / 8 > 20);
		text[bit / 8] ^= (char)(1 << bit % 8);
	}
	ok(wrong == 0, "nor with any bit flipped");
	text[19] = '2';
	ok(identity_parse(text, len, &back) == -VG_EFORMAT,
		"one of a later version is known as such");
}

static enum identity_state state_of(int dir, struct identity *id)
{
	enum identity_state state;

	must(identity_load(&io, dir, id, &state) == 0);
	return state;
}

static void test_same(void)
{
	int dir = kit_dir("same");
	struct identity first, again;

	ok(state_of(dir, &again) == IDENTITY_MISSING,
		"a new directory has none");
	must(identity_save(&io, dir, NULL, &first) == 0);
	ok(state_of(dir, &again) == IDENTITY_SAME &&
			memcmp(&again, &first, sizeof(first)) == 0,
		"it is the same where it was written");
	ok(memcmp(first.member, first.copy, 16) != 0 &&
			first.parent_member[0] == 0,
		"with two ids and no parent");
}

/* A copy of dir as `cp` or `cp -l` makes it. */
static int copy_of(int dir, const char *name, bool is_linked)
{
	int copy = kit_dir(name);
	struct kit_file f = kit_load(dir, "IDENTITY");

	if (is_linked)
		must(linkat(dir, "IDENTITY", copy, "IDENTITY", 0) == 0);
	else
		kit_save(copy, "IDENTITY", f.bytes, f.len);
	kit_free(&f);
	return copy;
}

static void test_copy(bool is_linked)
{
	const char *how = is_linked ? "made of links" : "of bytes";
	int dir = kit_dir(is_linked ? "a" : "b");
	struct identity first, was, now, again;
	int copy;

	must(identity_save(&io, dir, NULL, &first) == 0);
	copy = copy_of(dir, is_linked ? "a.copy" : "b.copy", is_linked);
	ok(state_of(copy, &was) == IDENTITY_COPIED, "a copy %s is known", how);
	must(identity_save(&io, copy, &was, &now) == 0);
	ok(memcmp(now.member, first.member, 16) != 0 &&
			memcmp(now.copy, first.copy, 16) != 0,
		"it gets ids of its own");
	ok(memcmp(now.parent_member, first.member, 16) == 0 &&
			memcmp(now.parent_copy, first.copy, 16) == 0,
		"and remembers whose it was");
	ok(state_of(copy, &again) == IDENTITY_SAME &&
			memcmp(&again, &now, sizeof(now)) == 0,
		"from then on it is itself");
	ok(state_of(dir, &again) == IDENTITY_SAME &&
			memcmp(&again, &first, sizeof(first)) == 0,
		"and the first is unharmed");
}

static void test_damaged(void)
{
	int dir = kit_dir("damaged");
	struct identity id, zeros = {0};
	struct kit_file f;
	enum identity_state state;

	must(identity_save(&io, dir, NULL, &id) == 0);
	f = kit_load(dir, "IDENTITY");
	f.bytes[40] ^= 1;
	kit_save(dir, "IDENTITY", f.bytes, f.len);
	ok(state_of(dir, &id) == IDENTITY_DAMAGED &&
			memcmp(&id, &zeros, sizeof(id)) == 0,
		"one that is damaged says nothing");
	f.bytes[40] ^= 1;
	f.bytes[19] = '7';
	kit_save(dir, "IDENTITY", f.bytes, f.len);
	ok(identity_load(&io, dir, &id, &state) == -VG_EFORMAT,
		"a later version's is refused");
	kit_free(&f);
}

int main(void)
{
	plan(20);
	io_init(&io);
	test_text();
	test_same();
	test_copy(false);
	test_copy(true);
	test_damaged();
	return done();
}
