/* SPDX-License-Identifier: Apache-2.0 */
/* derived.h: a file made from others: a stream, written once and hashed. */
#ifndef VG_DERIVED_H
#define VG_DERIVED_H

#include <xxhash.h>

#include "src/manifest.h"

/*
 * KIND.NNNN in a collection's directory. What is in it can be made again; so
 * one that is missing or damaged is left aside.
 */
#define DERIVED_GRAPH "graph"
#define DERIVED_FIELDS "fields"

#define DERIVED_NAME_MAX 24
void derived_name_format(
	const char *kind, uint32_t number, char out[DERIVED_NAME_MAX]);

/* A file that is being written. */
struct derived_out {
	struct io *io;
	int dirfd, fd;
	const char *kind;
	struct manifest_file file; /* len so far */
	XXH3_state_t *hash;
	uint8_t *buf;
	size_t len; /* of buf */
};

/* Makes the file, whose number is above all of its kind in dirfd, which is
 * borrowed until it is closed, as kind is. -ENOMEM; errno. */
int derived_out_open(struct derived_out *out, struct io *io, int dirfd,
	const char *kind);

/* Appends; ctx is the struct derived_out: for sinks of streams. errno. */
int derived_write(void *ctx, const void *bytes, size_t len);

/* Writes the rest and makes file and name durable; *file describes it. rc < 0
 * (what saving returned), or an error here: the file is removed. Returns the
 * error. */
int derived_out_close(
	struct derived_out *out, int rc, struct manifest_file *file);

/* A file that is being read. */
struct derived_in {
	struct io *io;
	int fd;
	uint64_t at, size; /* of the file */
	XXH3_state_t *hash;
	uint8_t *buf;
	size_t from, len; /* bytes of buf that were not handed out yet */
};

/* -VG_ECORRUPT: it is too short. -ENOENT, -ENOMEM; errno. derived_in_fini in
 * any case. */
int derived_in_open(struct derived_in *in, struct io *io, int dirfd,
	const char *kind, const struct manifest_file *file);

/* Fills buf; ctx is the struct derived_in: for sources of streams.
 * -VG_ECORRUPT: the file ends before. errno. */
int derived_read(void *ctx, void *buf, size_t len);

/* 0: the whole file was read, and is what was written; else -VG_ECORRUPT. */
int derived_in_check(const struct derived_in *in, uint64_t hash);
void derived_in_fini(struct derived_in *in);

#endif
