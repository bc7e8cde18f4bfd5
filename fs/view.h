/* SPDX-License-Identifier: Apache-2.0 */
/* view.h: the files that are not stored: what they are called and contain. */
#ifndef FS_VIEW_H
#define FS_VIEW_H

#include <sys/stat.h>

#include "fs/fs.h"

/* Every fixed name of the tree. The order within a directory is that of its
 * listing. Values are part of nodeids, of one mount's life only. */
enum view {
	VIEW_NONE,
	VIEW_ROOT, /* the directory / itself, as a parent */
	VIEW_README,
	VIEW_DOT, /* /.vecgridfs/ */
	VIEW_VERSION,
	VIEW_HEALTH,
	VIEW_ERRORS,
	VIEW_COLL, /* a collection's directory itself, as a parent */
	VIEW_QUERY,
	VIEW_AS,
	VIEW_AS_RAW,
	VIEW_AS_NPY,
	VIEW_AS_JSON,
	VIEW_AS_TXT,
	VIEW_META,
	VIEW_SNAP,
	VIEW_TX,
	VIEW_CONFIG,
	VIEW_CONFIG_DIM, /* + enum config_item */
	VIEW_CONFIG_LAST = VIEW_CONFIG_DIM + 9,
	VIEW_STATS,
	VIEW_STATS_COUNT,
	VIEW_STATS_DELETED,
	VIEW_STATS_BYTES,
	VIEW_STATS_DEAD_RATIO,
	VIEW_STATS_INDEXING,
	VIEW_STATS_INDEX,
	VIEW_STATS_RECALL,
	VIEW_STATS_SEARCHES,
	VIEW_STATS_SNAPSHOTS,
	VIEW_STATS_PINNED_BYTES,
	VIEW_STATS_GRACE_BYTES,
	VIEW_STATS_LAST_ERROR,
	VIEW_STATS_FACETS, /* a directory of fields */
	VIEW_IMPORT,
	VIEW_IMPORT_NPY,
	VIEW_IMPORT_FVECS,
	VIEW_IMPORT_NDJSON,
	VIEW_IMPORT_BVECS,
	VIEW_IMPORT_CSV, /* the last one that takes a stream */
	VIEW_IMPORT_STATUS,
	VIEW_IMPORT_ERRORS,
	VIEW_EXPORT,
	VIEW_EXPORT_IDS,
	VIEW_EXPORT_NPY,
	VIEW_EXPORT_FVECS,
	VIEW_EXPORT_NDJSON,
	VIEW_EXPORT_VEC,
	VIEW_HELP,
	VIEW_DELETE_WHERE,
	VIEWS,
};

/* What is fixed about a view. */
struct view_info {
	const char *name;
	enum view parent;
	mode_t mode; /* type and the most that its collection's mode can give */
};

const struct view_info *view_get(enum view view);

/* The view called name[len] in parent, or VIEW_NONE. */
enum view view_find(enum view parent, const char *name, size_t len);

/* Whether c (NULL: the root) has that view. A snapshot has none that writes,
 * none of snapshots, and no figures of what changes. */
bool view_is_in(enum view view, const struct collection *c);

/* Whether it takes a stream of rows: the kinds of rowstream.h, in order. */
static inline bool view_is_stream(enum view view)
{
	return view >= VIEW_IMPORT_NPY && view <= VIEW_IMPORT_CSV;
}

/* Whether reading it renders text (false: a directory, an export, or a file
 * that is written only). */
bool view_is_text(enum view view);

/*
 * Renders a text view of coll (NULL for the root's) as uid sees it. *bytes is
 * returned owned (free), *len its length. -ENOMEM.
 */
int view_render(struct fs *fs, enum view view, struct collection *coll,
	uint32_t uid, char **bytes, size_t *len);

/* The form of a directory below .as/. */
enum record_form view_form(enum view view);

/* The text of --version and /.vecgridfs/version. Returned owned. */
int view_version(char **bytes, size_t *len);

#endif
