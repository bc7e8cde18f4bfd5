/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c: an import of any bytes as npy, in one piece and in many. */
#include "tests/fuzz/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_stream(ROWSTREAM_NPY, data, size);
	return 0;
}
