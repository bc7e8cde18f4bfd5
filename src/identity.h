/* SPDX-License-Identifier: Apache-2.0 */
/* identity.h: which data directory this is, and whether it is a copy. */
#ifndef VG_IDENTITY_H
#define VG_IDENTITY_H

#include "src/io.h"

/*
 * A data directory may be copied by anything, so it has to find out by itself
 * that it is a copy: IDENTITY holds, beside two random ids, where it stands:
 * the machine, IDENTITY's own device, inode and birth, and the directory's
 * inode and birth (a copy made of hard links shares the former). Where any of
 * it differs at an open, the directory is a copy: it gets new ids and keeps
 * those that it found as its parent's. So no two directories are ever one
 * member of a cluster, and a copy that is mounted differs from what it came
 * from. What is told from a copy is not whose it is: FORMAT's uuid, which all
 * copies of a store share, salts the sums of their files.
 *
 * Seven lines of text and a sum; docs/format.md has them. The file is never
 * written to: a new one takes its name.
 */
struct identity_place {
	uint8_t machine[16];	/* /etc/machine-id; zeros: there is none */
	uint64_t dev, inode;	/* of IDENTITY */
	int64_t birth_ns;	/* 0: not known */
	uint64_t dir_inode;	/* of the directory */
	int64_t dir_birth_ns;
};

struct identity {
	uint8_t member[16]; /* random: who this is in a cluster */
	uint8_t copy[16];   /* random: which copy of it */
	uint8_t parent_member[16], parent_copy[16]; /* zeros: it is none */
	struct identity_place place;
};

enum identity_state {
	IDENTITY_SAME,	  /* it stands where it was written */
	IDENTITY_COPIED,  /* it was written elsewhere */
	IDENTITY_MISSING, /* there is none: a new directory, or an old one */
	IDENTITY_DAMAGED, /* it does not say who it was */
};

/*
 * Reads DATADIR/IDENTITY, changing nothing: *out is what is there, zeros if
 * that cannot be said; *state tells. -VG_EFORMAT: of a later version. errno of
 * the disk, -ENOMEM. Any thread.
 */
int identity_load(struct io *io, int dirfd, struct identity *out,
	enum identity_state *state);

/*
 * Gives the directory new ids and makes them durable; *was: what
 * identity_load found, NULL if it was neither the same nor a copy. *out is
 * written also on error: then they hold until it is closed. errno of the disk.
 */
int identity_save(struct io *io, int dirfd, const struct identity *was,
	struct identity *out);

/* The text of an identity, for tests and tools. Bytes without the NUL. */
#define IDENTITY_MAX 512
size_t identity_format(const struct identity *id, char out[IDENTITY_MAX]);

/* -VG_ECORRUPT: not such a text, or its sum is wrong. -VG_EFORMAT: of a later
 * version. */
int identity_parse(const char *text, size_t len, struct identity *out);

#endif
