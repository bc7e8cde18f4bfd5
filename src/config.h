/* SPDX-License-Identifier: Apache-2.0 */
/* config.h: a collection's settings as words: what .config/ shows and takes. */
#ifndef VG_CONFIG_H
#define VG_CONFIG_H

#include "src/meta.h"
#include "src/op.h"

/* The settings, in the order a listing shows them. */
enum config_item {
	CONFIG_DIM,
	CONFIG_METRIC,
	CONFIG_DTYPE,
	CONFIG_M,
	CONFIG_EF_CONSTRUCTION,
	CONFIG_INDEX,
	CONFIG_QUANT,
	CONFIG_EF_SEARCH,
	CONFIG_DIM_SOURCE, /* cannot be written */
	CONFIG_ITEMS,
};

/* What a new collection begins with: cosine, f32, m 16, ef_construction,
 * index and quant auto, ef_search 100, dim from its first vector. */
struct op_config config_default(void);

/* What a graph is linked with: ef_construction, or what auto is for this m. */
uint32_t config_ef_construction(const struct op_config *c);

/* "dim"; never NULL. */
const char *config_name(enum config_item item);

/* The item called name, or -ENOENT. */
int config_find(struct vg_id name);

/* The value as text without a newline into out[cap] like snprintf; an unknown
 * dim is empty. */
int config_format(const struct op_config *c, enum config_item item, char *out,
	size_t cap);

/*
 * Sets an item from text (blanks around it do not count). is_filled: vectors
 * are in, so dim and dtype can only be set to what they are: -EBUSY otherwise.
 * -EINVAL: no such value; -EACCES: the item cannot be written. why gets a
 * sentence. *c is changed only on success.
 */
int config_parse(struct op_config *c, enum config_item item, struct meta text,
	bool is_filled, char why[192]);

/* What decides how vectors are kept and linked as one JSON object, the value of
 * the directory's xattr user.vecgridfs.config, like snprintf; an unknown dim is
 * left out. */
int config_format_json(const struct op_config *c, char *out, size_t cap);

/* Sets every item of such an object, or none: as config_parse. Unknown members
 * are -EINVAL. -ENOMEM. */
int config_parse_json(struct op_config *c, struct meta text, bool is_filled,
	char why[192]);

#endif
