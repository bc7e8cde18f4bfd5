/* SPDX-License-Identifier: Apache-2.0 */
/* simkit.h: what the tests of the simulated disk share: files of one byte. */
#ifndef TESTS_SIMKIT_H
#define TESTS_SIMKIT_H

#include "tests/simdisk.h"

#define DRAWS 400 /* power cuts where a few would show it, too */

/* The disk at hand, its table and its root. */
extern struct sim *disk;
extern struct io *io;
extern int root;

/* Takes a disk as the one at hand. */
void use(struct sim *sim);

/* Frees the disk at hand and makes another. */
void begin(const struct sim_config *cfg);

/* Opens or makes a file in the root; its descriptor. */
int create(const char *name);

/* Writes len times a byte, not durably. */
void put(int fd, uint64_t offset, int byte, size_t len);

/* A file of len times a byte, all of it safe; its descriptor. */
int safe_file(const char *name, int byte, size_t len);

/* Whether a disk's file ends at from + len and is the byte from `from` on. */
bool is_all(struct sim *sim, const char *path, uint64_t from, int byte,
	size_t len);

bool is_there(struct sim *sim, const char *path);

/* Bytes of a file, 0 where there is none. */
uint64_t size_of(struct sim *sim, const char *path);

struct sim_stat stat_of(struct sim *sim);

/* Adds how many of a file's units of len bytes are wholly byte[0], byte[1], or
 * neither. */
void count_units(struct sim *sim, const char *path, size_t len,
	const char byte[2], unsigned n[3]);

#endif
