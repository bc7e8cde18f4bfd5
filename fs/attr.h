/* SPDX-License-Identifier: Apache-2.0 */
/* attr.h: what stat(2) says of each kind of node. */
#ifndef FS_ATTR_H
#define FS_ATTR_H

#include <sys/stat.h>

#include "fs/view.h"

/* Seconds that the kernel may keep attributes of directories: they are asked
 * for at each path walk, and our own changes drop them. */
#define ATTR_TIMEOUT 1.0

void attr_root(struct fs *fs, struct stat *st);
void attr_alias(struct fs *fs, const struct entry_info *info, struct stat *st);
void attr_coll(struct fs *fs, struct collection *c, struct stat *st);

/* A view's, with its size: text is rendered for it as uid sees it. -ENOMEM. */
int attr_view(struct fs *fs, enum view view, struct collection *c,
	uint32_t uid, struct stat *st);

/* Its number, for listings. */
ino_t attr_view_ino(enum view view, const struct collection *c);

/* A version as a record, as .as/FORM or as .meta: kind and form say which. */
struct version_view {
	struct collection *coll; /* borrowed: that it is in, or a snapshot */
	enum node_kind kind; /* NODE_RECORD, NODE_AS, NODE_META */
	enum record_form form;
};
void attr_version(const struct version_view *as, const struct version *v,
	struct stat *st);

void attr_stage(struct fs *fs, struct stage *stage, struct stat *st);

/* A node below query/, of len bytes and last changed at mtime_ns. */
void attr_qnode(struct fs *fs, struct qnode *node, uint64_t len,
	int64_t mtime_ns, struct stat *st);

/* The target of a QNODE_LINK: hits_target. */
int qnode_target(const struct qnode *node, char *out);

/* Formats a version as its view reads; like snprintf without a terminator. */
size_t version_format(const struct version_view *as, const struct version *v,
	char *out, size_t cap);

#endif
