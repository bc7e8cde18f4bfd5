/* SPDX-License-Identifier: Apache-2.0 */
/* streamkit.h: a stream in memory, for the sinks and sources of indexes. */
#ifndef TESTS_STREAMKIT_H
#define TESTS_STREAMKIT_H

#include <stddef.h>
#include <stdint.h>

/* What was written, and how far it is read. {0} is empty; bytes is to be freed,
 * unless the test brought some, with a cap that suffices. */
struct stream {
	uint8_t *bytes;
	size_t len, cap, at;
	size_t limit; /* a write beyond it fails; 0: none does */
};

/* The functions of a sink and a source whose ctx is a struct stream: -ENOSPC
 * beyond the limit, -VG_ECORRUPT beyond the end. */
int stream_write(void *ctx, const void *bytes, size_t len);
int stream_read(void *ctx, void *buf, size_t len);

#endif
