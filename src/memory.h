/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h: how much memory this process may use, and how many descriptors. */
#ifndef VG_MEMORY_H
#define VG_MEMORY_H

#include "src/vg.h"

/*
 * Bytes: what the machine has, or less if a control group (version 1 or 2) that
 * the process is in allows less. Read anew at each call; any thread.
 */
uint64_t memory_limit(void);

/* Whether so many bytes are half of that at most. */
bool memory_has_room(uint64_t bytes);

/* Descriptors that it may have; UINT64_MAX: no limit. */
uint64_t memory_fds(void);

#endif
