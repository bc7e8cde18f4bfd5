/* SPDX-License-Identifier: Apache-2.0 */
/* op.c: fuzz target: a body is refused, or is the one that its op encodes to. */
#include "src/op.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct op_place places[OP_PLACES_MAX];
	struct op op = {.type = (enum op_type)99};
	int rc = op_decode(data, size, places, &op);

	if (rc < 0) {
		if ((rc != -VG_ECORRUPT && rc != -VG_EFORMAT) ||
			op.type != (enum op_type)99)
			abort();
		return 0;
	}
	uint8_t *again = malloc(size);

	if (!again || op_size(&op) != size ||
		op_encode(&op, again, size) != size ||
		memcmp(again, data, size) != 0)
		abort();
	free(again);
	return 0;
}
