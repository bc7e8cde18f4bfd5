/* SPDX-License-Identifier: Apache-2.0 */
/* streamkit.c: see streamkit.h. */
#include "tests/streamkit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/vg.h"
#include "tests/tap.h"

int stream_write(void *ctx, const void *bytes, size_t len)
{
	struct stream *s = ctx;

	if (s->limit && s->len + len > s->limit)
		return -ENOSPC;
	if (s->len + len > s->cap) {
		s->cap = 2 * (s->len + len);
		s->bytes = realloc(s->bytes, s->cap);
		must(s->bytes);
	}
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
	return 0;
}

int stream_read(void *ctx, void *buf, size_t len)
{
	struct stream *s = ctx;

	if (len > s->len - s->at)
		return -VG_ECORRUPT;
	memcpy(buf, s->bytes + s->at, len);
	s->at += len;
	return 0;
}
