/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c: a manifest cut after each byte, flipped in each bit: never believed. */
#include "src/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/manifestkit.h"
#include "tests/tap.h"

static uint8_t *whole;
static size_t whole_len;

/* A copy of its exact length, for the sanitizer; rc, or 1: accepted, but not
 * as the manifest that is encoded as these bytes, or written though refused. */
static int decode_copy(const uint8_t *bytes, size_t len)
{
	struct manifest got = {.number = 77};
	uint8_t *copy = malloc(len ? len : 1), *again = NULL;
	size_t again_len;
	int rc;

	must(copy);
	memcpy(copy, bytes, len);
	rc = manifest_decode(copy, len, &got);
	if (rc < 0) {
		rc = got.number == 77 ? rc : 1;
	} else {
		must(manifest_encode(&got, &again, &again_len) == 0);
		rc = again_len != len || memcmp(again, copy, len) != 0;
		free(again);
		manifest_fini(&got);
	}
	free(copy);
	return rc;
}

static void test_cut(void)
{
	uint8_t *longer = malloc(whole_len + 1);
	bool refused = true, fixed = true;

	must(longer);
	for (size_t cut = 0; cut < whole_len; cut++) {
		memcpy(longer, whole, whole_len);
		refused = refused && decode_copy(longer, cut) == -VG_ECORRUPT;
		if (cut < AT_NUMBER)
			continue;
		kit_manifest_fix(longer, cut);
		fixed = fixed && decode_copy(longer, cut) == -VG_ECORRUPT;
	}
	ok(refused, "cut after any byte it is refused");
	ok(fixed, "also where its length and sum are those of what is left");
	memcpy(longer, whole, whole_len);
	longer[whole_len] = 0;
	ok(decode_copy(longer, whole_len + 1) == -VG_ECORRUPT,
		"with a byte more it is refused");
	kit_manifest_fix(longer, whole_len + 1);
	ok(decode_copy(longer, whole_len + 1) == -VG_ECORRUPT,
		"also where the sum covers it");
	free(longer);
}

static void test_flip(void)
{
	uint8_t *bytes = malloc(whole_len);
	long refused = 0, seen = 0, believed = 0;
	long bits = (long)whole_len * 8;

	must(bytes);
	for (size_t bit = 0; bit < whole_len * 8; bit++) {
		memcpy(bytes, whole, whole_len);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		refused += decode_copy(bytes, whole_len) == -VG_ECORRUPT;
		kit_manifest_fix(bytes, whole_len);
		int rc = decode_copy(bytes, whole_len);

		/* The length and the sum were just put right. */
		seen += rc == 0 || rc == -VG_ECORRUPT || rc == -VG_EFORMAT;
		believed += rc == 0;
	}
	ok(refused == bits, "a flip of any bit is refused");
	ok(seen == bits && believed > bits / 4,
		"no bit is without meaning: under a right sum it is refused, "
		"or another manifest (%ld of %ld)",
		believed, bits);
	free(bytes);
}

/* The same of a file, which is read before it is decoded. */
static void test_file(void)
{
	struct manifest got;
	struct io io;
	bool refused = true;
	int dir = open(scratch(), O_RDONLY | O_DIRECTORY);

	io_init(&io);
	for (size_t cut = 0; cut < whole_len; cut++) {
		int fd = openat(dir, "MANIFEST.7", O_WRONLY | O_CREAT | O_TRUNC,
			0600);

		must(fd >= 0 && write(fd, whole, cut) == (ssize_t)cut);
		close(fd);
		refused = refused &&
			  manifest_load(&io, dir, 7, &got) == -VG_ECORRUPT;
	}
	ok(refused, "a file that was cut after any byte is refused");
	close(dir);
}

int main(void)
{
	struct manifest versions[] = {kit_manifest(), kit_manifest_fields()};

	plan(2 * 7);
	for (size_t i = 0; i < VG_ARRAY_LEN(versions); i++) {
		must(manifest_encode(&versions[i], &whole, &whole_len) == 0);
		test_cut();
		test_flip();
		test_file();
		free(whole);
	}
	return done();
}
