/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c: fuzz target: bytes are refused, or are what their manifest encodes to. */
#include "src/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "tests/manifestkit.h"

/*
 * The input is a first byte and a rest. Even: the rest is a file, taken as it
 * is and then with the length and sum that it ought to have, so that what lies
 * behind them is reached. Odd: the rest is a body without its seqs, which are
 * most of a small one; they and a head are added.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BEFORE_SEQS (AT_SEQ - AT_NUMBER)

static void take(const uint8_t *bytes, size_t len)
{
	struct manifest m = {.number = 77};
	uint8_t *again;
	size_t again_len;
	int rc = manifest_decode(bytes, len, &m);

	if (rc < 0) {
		if ((rc != -VG_ECORRUPT && rc != -VG_EFORMAT) ||
			m.number != 77)
			abort();
		return;
	}
	if (manifest_check(&m) < 0 ||
		manifest_encode(&m, &again, &again_len) < 0 ||
		again_len != len || memcmp(again, bytes, len) != 0)
		abort();
	free(again);
	manifest_fini(&m);
}

static void take_file(const uint8_t *data, size_t size)
{
	uint8_t *copy = calloc(1, size ? size : 1);

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	take(copy, size);
	if (size >= AT_NUMBER) {
		kit_manifest_fix(copy, size);
		take(copy, size);
	}
	free(copy);
}

static void take_body(const uint8_t *data, size_t size)
{
	size_t before = VG_MIN(size, (size_t)BEFORE_SEQS);
	size_t len = AT_NUMBER + size + 8 * VG_SEQS;
	uint8_t *bytes = calloc(1, len);

	if (!bytes)
		abort();
	memcpy(bytes, "vgman\r\n\x1a\x01", 9);
	if (size > 0)
		memcpy(bytes + AT_NUMBER, data, before);
	if (size > before)
		memcpy(bytes + AT_NUMBER + before + 8 * VG_SEQS, data + before,
			size - before);
	kit_manifest_fix(bytes, len);
	take(bytes, len);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] % 2 == 0)
		take_file(data + 1, size - 1);
	else if (size > 0)
		take_body(data + 1, size - 1);
	return 0;
}
