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
 * most of a small one; they and a head are added, of version 2 if bit 1 of the
 * first byte is set. Those of a snapshot are the byte SEQS.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BEFORE_SEQS (AT_SEQ - AT_NUMBER)
#define SEQS 0xee
#define SEQS_MAX 16 /* more of them are bytes like others */

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

static void take_body(const uint8_t *data, size_t size, uint8_t version)
{
	size_t len = AT_NUMBER;
	unsigned n_seqs = 0;
	uint8_t *bytes = calloc(
		1, len + size + (1 + SEQS_MAX) * 8 * (size_t)VG_SEQS);

	if (!bytes)
		abort();
	memcpy(bytes, "vgman\r\n\x1a", 8);
	bytes[AT_VERSION] = version;
	for (size_t i = 0; i < size; i++) {
		if (i == BEFORE_SEQS)
			len += 8 * VG_SEQS;
		if (data[i] == SEQS && n_seqs++ < SEQS_MAX)
			len += 8 * VG_SEQS;
		else
			bytes[len++] = data[i];
	}
	if (size <= BEFORE_SEQS)
		len += 8 * VG_SEQS;
	kit_manifest_fix(bytes, len);
	take(bytes, len);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0 && data[0] % 2 == 0)
		take_file(data + 1, size - 1);
	else if (size > 0)
		take_body(data + 1, size - 1, data[0] & 2 ? 2 : 1);
	return 0;
}
