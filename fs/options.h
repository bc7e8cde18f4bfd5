/* SPDX-License-Identifier: Apache-2.0 */
/* options.h: the command line: what to mount, where, and how. */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdio.h>

#include "src/vg.h"

struct fuse_args;

/* When a change is on stable storage: interface "Durability". */
enum options_durability {
	OPTIONS_CLOSE, /* when close() returns; the default */
	OPTIONS_FSYNC, /* when fsync() returns */
	OPTIONS_ASYNC, /* within a second */
};

/* What the command line asks for. */
enum options_action {
	OPTIONS_MOUNT,
	OPTIONS_REMOUNT, /* mount(8) ran us for `mount -o remount` */
	OPTIONS_CHECK, /* --check DATADIR */
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

#define OPTIONS_SPIN_AUTO (-1)		/* the loop decides */
#define OPTIONS_SPIN_MAX 1000000	/* us: a second */
#define OPTIONS_THREADS_MAX 64
#define OPTIONS_STAGING_MIN (1ull << 20) /* bytes */
#define OPTIONS_STAGING_MAX (16ull << 30)
#define OPTIONS_STAGING_MOST (4ull << 30) /* unless more is asked for */

/*
 * Both paths are absolute and free of symbolic links, because the daemon works
 * in "/". data_dir need not exist. Everything is owned by the struct.
 */
struct options {
	enum options_action action;
	char *data_dir;
	char *mountpoint; /* "/dev/fd/N" where mount(8) mounted already */
	enum options_durability durability;
	int spin_us;	     /* OPTIONS_SPIN_AUTO, or 0..OPTIONS_SPIN_MAX */
	int n_threads;	     /* 0: the loop decides, or 1.. */
	uint64_t staging_max; /* bytes of bodies not yet committed: memory / 4,
				 at most OPTIONS_STAGING_MOST, by default */
	uint64_t checkpoint; /* bytes of the log between two; 0: the store's */
	int backup_grace_s;  /* OPTIONS_GRACE_S by default */
	bool is_recovery;    /* mount what is intact, change nothing */
	bool foreground;     /* -f, or -d */
	bool debug;	     /* -d or -o debug */
	bool allow_other;
	bool norestart;	     /* a daemon that crashes ends the mount */
	struct fuse_args *fuse; /* argv[0] and what libfuse is to read: -o ... */
	char *remount;		/* the flags to remount with: "remount,ro" */
};

#define OPTIONS_CHECKPOINT_MIN (64u << 10)
#define OPTIONS_CHECKPOINT_MAX (16ull << 30)
#define OPTIONS_GRACE_S 3600
#define OPTIONS_GRACE_MAX (30 * 24 * 3600)

/*
 * Parses argv. 0: *out is filled (paths only for OPTIONS_MOUNT and
 * OPTIONS_REMOUNT, data_dir for OPTIONS_CHECK) and options_fini is due.
 * -EINVAL: why[cap] has a sentence for the user; -ENOMEM likewise. Options that
 * only libfuse knows are kept for it unread: fuse_session_new is who refuses
 * unknown ones. Main thread.
 */
int options_parse(int argc, char **argv, char *why, size_t cap,
	struct options *out);

/* Frees what options_parse made; legal on zeros and twice. */
void options_fini(struct options *o);

/*
 * Copies o->fuse into *out, because fuse_session_new consumes what it reads:
 * each session needs a copy of its own. fuse_opt_free_args is due. -ENOMEM.
 */
int options_args(const struct options *o, struct fuse_args *out);

/* Writes the text of --help. */
void options_usage(FILE *to);

#endif
