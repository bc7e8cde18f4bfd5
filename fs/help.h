/* SPDX-License-Identifier: Apache-2.0 */
/* help.h: the texts of /README and of a collection's .help. */
#ifndef FS_HELP_H
#define FS_HELP_H

#include "src/vg.h"

/*
 * Both texts say what this program does, no more: whoever changes the tree or
 * the grammar changes them, README.md and the man page in the same commit.
 * They are ASCII but for a collection's name, in lines of at most 80 columns.
 */

/* What .help shows of its collection. */
struct help_env {
	struct vg_id name; /* the collection's; borrowed */
	uint32_t dim;	   /* 0: not known yet */
	enum vg_metric metric;
	enum vg_dtype dtype;
};

/*
 * Formats /README: the interface in one page. Like snprintf, but without a
 * terminator: returns the bytes needed, writes at most cap. Allocates nothing.
 * Any thread.
 */
size_t help_format_readme(char *out, size_t cap);

/*
 * Formats .help: the grammar of queries, with examples that can be pasted into
 * a shell in the mount's root: they have the collection's name, quoted where a
 * shell needs it, and vectors of its dim (up to eight numbers; longer ones go
 * by file). As help_format_readme.
 */
size_t help_format(const struct help_env *env, char *out, size_t cap);

#endif
