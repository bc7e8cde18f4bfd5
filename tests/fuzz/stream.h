/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h: what the fuzz targets of import streams have in common. */
#ifndef TESTS_FUZZ_STREAM_H
#define TESTS_FUZZ_STREAM_H

#include "src/rowstream.h"

/*
 * The first two bytes say the dimension and how the rest is cut. Feeds the
 * rest in one piece and in many, and aborts unless both tell the same, each
 * row is finite and of the stream's dimension, and the row numbers ascend.
 */
void fuzz_stream(enum rowstream_kind kind, const uint8_t *data, size_t size);

#endif
