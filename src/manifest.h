/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.h: the root of all files: what a checkpoint made, in one file. */
#ifndef VG_MANIFEST_H
#define VG_MANIFEST_H

#include "src/colfile.h"
#include "src/origins.h"

/*
 * MANIFEST.<n> says what the store was at one moment, which files hold it, and
 * where in the log to go on. It is written under another name, synced, renamed
 * and the directory synced, so it is there whole or not at all; n only grows.
 * A manifest is never changed. Whoever finds several takes the newest whose
 * sum is right and whose files are all there.
 *
 *   0       8         12      16        24       32
 *   | magic | version | zero  | length  | hash   | body, length bytes |
 *
 * magic is "vgman\r\n\x1a"; hash = wire_hash of bytes 0..23 and the body.
 * docs/format.md has the body.
 */

/* A file that is written once: a graph, or what was added to it, or indexes of
 * fields. */
struct manifest_file {
	uint32_t number; /* of its name; 0: there is none */
	uint64_t len;
	uint64_t hash; /* wire_hash of its bytes, unless the file has sums */
};

struct manifest_column {
	struct colfile_part *part; /* owned by the manifest */
	uint32_t n_parts;
};

#define MANIFEST_DELTAS_MAX 64

/* A snapshot: what its collection was when it was taken. */
struct manifest_snap {
	uint32_t no; /* as nodeids name it */
	uint8_t uuid[16];
	uint32_t name_len;
	char name[VG_ID_MAX + 1];
	struct op_config config;
	struct op_attr attr;
	int64_t mtime_ns;  /* when it was taken */
	int64_t commit_ns; /* the last change that it shows */
	uint64_t n_live, meta_bytes;
	uint64_t seq[VG_SEQS]; /* what it shows of the generation it is in */
};

/*
 * A generation of a collection: the newest, then older ones, each with the
 * snapshots that show it. These have no name of their own: no cursor, and
 * name_len 0; all else that is no row's is as their collection's. One without
 * snapshots is there for open files alone (struct hold).
 */
struct manifest_collection {
	uint32_t no;  /* as nodeids name it */
	uint32_t gen; /* as nodeids name its generation: no, if the first */
	uint8_t uuid[16];
	uint64_t cursor; /* of its name in listings */
	uint32_t name_len;
	char name[VG_ID_MAX + 1];
	struct op_config config;
	struct op_attr attr;
	int64_t mtime_ns, commit_ns;
	uint32_t dim; /* of its rows; 0: it has no vectors */
	uint8_t dtype, metric, index, quant; /* of its rows, as what follows */
	uint32_t m, ef_construction;
	uint32_t cell; /* its number: versions of others have no rows */
	struct manifest_column vec, version, meta, end;
	struct manifest_file graph;
	struct manifest_file delta[MANIFEST_DELTAS_MAX];
	uint32_t n_deltas;
	struct manifest_file fields; /* indexes of its metadata's fields */
	struct manifest_snap *snap; /* owned by the manifest; oldest first */
	uint32_t n_snaps;
};

static inline bool manifest_is_past(const struct manifest_collection *c)
{
	return c->name_len == 0;
}

static inline bool manifest_is_held(const struct manifest_collection *c)
{
	return manifest_is_past(c) && c->n_snaps == 0;
}

struct manifest_alias {
	uint64_t cursor;
	int64_t mtime_ns;
	uint32_t name_len, target_len;
	char *name, *target; /* owned, one allocation: name's; each of a
				decoded one has a NUL behind it */
};

struct manifest {
	uint64_t number;
	uint8_t store[16]; /* uuid */
	int64_t time_ns;   /* wall clock when it was made */
	uint64_t lsn;	   /* the next op is this one... */
	uint64_t segment, offset; /* ...and its frame begins here */
	uint64_t seq[VG_SEQS]; /* the moment */
	uint32_t next_no;      /* of the next collection */
	uint32_t next_gen;     /* of the next generation but a first */
	uint64_t next_cursor;  /* the last cursor given */
	int64_t root_mtime_ns;
	bool has_root_attr;
	struct op_attr root_attr;
	struct manifest_collection *coll; /* owned */
	uint32_t n_colls;
	struct manifest_alias *alias; /* owned */
	uint32_t n_aliases;
	struct op_origin *origin; /* owned: of the last ops, oldest first */
	uint32_t n_origins;
};

/* How many of its generations are there for open files alone. */
static inline uint32_t manifest_count_held(const struct manifest *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->n_colls; i++)
		n += manifest_is_held(&m->coll[i]);
	return n;
}

/* Frees what m owns; a zeroed one is legal. */
void manifest_fini(struct manifest *m);
void manifest_collection_fini(struct manifest_collection *c);

/*
 * Is it one that the program would write? src/manifest_check.c has the rules.
 * -VG_ECORRUPT: a value is out of its range, a column has a gap, a name or
 * number is there twice. -VG_EFORMAT: a metric, index or the like that is not
 * known. -ENOMEM.
 */
int manifest_check(const struct manifest *m);

#define MANIFEST_LEN_MAX (1u << 30) /* bytes of a file */

/* Encodes into *bytes, owned by the caller (free): the same bytes for the
 * same m. -ENOMEM. -EFBIG: over MANIFEST_LEN_MAX. Asserts manifest_check. */
int manifest_encode(const struct manifest *m, uint8_t **bytes, size_t *len);

/* Decodes; *out is owned: manifest_fini. -VG_ECORRUPT: the sum or a length is
 * wrong, or manifest_check finds it so. -VG_EFORMAT: of a later version.
 * -ENOMEM. What it takes is at most a constant times len. */
int manifest_decode(const void *bytes, size_t len, struct manifest *out);

/* 32 hexadecimal digits: the directory of a collection's files in c/. */
void manifest_dir_format(const uint8_t uuid[16], char out[33]);

/* Whether one of the n manifests names this file (a part, its sums, a graph,
 * indexes of fields)
 * of the directory c/<dir>; name NULL: whether one names the directory. */
bool manifest_names(const struct manifest m[], uint32_t n, const char *dir,
	const char *name);

/* Is `name` a file that a checkpoint makes in such a directory? */
bool manifest_is_file(const char *name);

/*
 * What follows is for one thread at a time in a directory.
 *
 * Writes MANIFEST.<m->number>, durably: 0 says that it is there for good. -EIO:
 * not known, and nothing is tried again: a sync or the disk failed. Any other
 * error: it is not there, and nothing else changed. -EEXIST: it was there
 * before, and is untouched. -ENOMEM, -EFBIG; -ENOSPC and -EDQUOT, which pass by
 * themselves; errno of the disk. m as manifest_encode.
 */
int manifest_save(struct io *io, int dirfd, const struct manifest *m);

/* Makes a manifest that was found durable: writes it again, and gives it its
 * name, in place of the file that has it. Errors as manifest_save; it is there
 * as before then. */
int manifest_renew(struct io *io, int dirfd, uint64_t number);

/* Loads MANIFEST.<number>. -ENOENT; else as manifest_decode; -VG_ECORRUPT also
 * where the number inside is another. errno of the disk. */
int manifest_load(
	struct io *io, int dirfd, uint64_t number, struct manifest *out);

/* Is `name` a manifest's? Then *number is its. */
bool manifest_is_name(const char *name, uint64_t *number);

/* The numbers of the manifests in dirfd, newest first, into *number (owned by
 * the caller), their count into *n. -ENOMEM; errno of the disk. */
int manifest_list(struct io *io, int dirfd, uint64_t **number, uint32_t *n);

/* Removes MANIFEST.<number> and what an unfinished save left, durably. Of
 * number 0: only the latter. What is not there is no error. errno of the disk. */
int manifest_unlink(struct io *io, int dirfd, uint64_t number);

#endif
