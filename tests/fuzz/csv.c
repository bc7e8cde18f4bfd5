/* SPDX-License-Identifier: Apache-2.0 */
/* csv.c: an import of any bytes as csv, in one piece and in many. */
#include "tests/fuzz/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_stream(ROWSTREAM_CSV, data, size);
	return 0;
}
