/* SPDX-License-Identifier: Apache-2.0 */
/* kept.h: what the files of the arena are, and how small things lie in them. */
#ifndef FS_KEPT_H
#define FS_KEPT_H

#include <assert.h>
#include <string.h>

#include "fs/arena.h"

/*
 * A daemon that ends without a word leaves in the arena all that the next one
 * needs for its clients to notice nothing. arena_attr.area says what a file
 * is: enum stage_area (fs/stage.h) for bytes that become a record, or:
 */
enum kept_area {
	KEPT_HANDLE = 16,  /* an open file or directory: fs/handle.h */
	KEPT_QNODE = 17,   /* a name below query/ that is open: fs/node.h */
	KEPT_NAMED = 18,   /* a named request: fs/named.h */
	KEPT_REQUEST = 19, /* a request that waits for its answer:
			      fs/inflight.h */
	KEPT_CHUNK = 20,   /* bytes of an import that are in no record yet */
};

#define KEPT_NONE UINT32_MAX /* no file of the arena */

/* What is small enough lies in the attributes, where names of stages are:
 * such files change wholly or not at all. */
#define KEPT_LEN_MAX VG_ID_MAX

/* Puts bytes[len] there, 1 to KEPT_LEN_MAX. */
static inline void kept_put(
	struct arena_attr *attr, const void *bytes, size_t len)
{
	assert(len > 0 && len <= KEPT_LEN_MAX);
	attr->name_len = (uint8_t)len;
	memcpy(attr->name, bytes, len);
}

/* Takes bytes[len] out; false: that is not how many there are. */
static inline bool kept_get(
	const struct arena_attr *attr, void *bytes, size_t len)
{
	if (attr->name_len != len)
		return false;
	memcpy(bytes, attr->name, len);
	return true;
}

#endif
