/* SPDX-License-Identifier: Apache-2.0 */
/* nullfs.h: a filesystem that does nothing, to measure what a mount costs. */
#ifndef BENCH_NULLFS_H
#define BENCH_NULLFS_H

#include <stdatomic.h>
#include <sys/types.h>

#include "src/vg.h"

/*
 * It is served by the product's own receive loop in a child process, so that
 * what is above its cost is the product's work and nothing else:
 *
 *   DIR/...     a name that begins with 'd' is a directory, at any depth
 *   FILE        any other name is there and reads answer_len bytes, as an
 *               answer: direct, no FLUSH, its number the same at each lookup
 *   cFILE       one that begins with 'c' is not there until it is created;
 *               writes are taken and forgotten, close() sends a FLUSH
 *
 * As in the product, directories are remembered for a second, names of files
 * are asked for at each use.
 */
struct nullfs_shared {
	_Atomic uint32_t answer_len; /* at most NULLFS_ANSWER_MAX */
};

#define NULLFS_ANSWER_MAX (1u << 20)

struct nullfs {
	struct nullfs_shared *shared; /* with the child */
	pid_t pid;
	char mnt[512];
};

/* Mounts on the directory mnt; ends the program where that fails. */
void nullfs_open(const char *mnt, struct nullfs *out);

/* Unmounts and waits for the child. */
void nullfs_close(struct nullfs *fs);

#endif
