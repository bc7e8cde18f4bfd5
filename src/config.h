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
	CONFIG_TARGET_RECALL,
	CONFIG_DIM_SOURCE, /* cannot be written */
	CONFIG_ITEMS,
};

/* What a new collection begins with: cosine, f32, m 16, ef_construction,
 * index, quant and ef_search auto, target_recall .99, dim from its first
 * vector. */
struct op_config config_default(void);

/* What a graph is linked with: ef_construction, or what auto is for this m. */
uint32_t config_ef_construction(const struct op_config *c);

/* What a search for k goes by: ef_search, or what it was tuned to, or 100. It
 * is tuned for k to 20, to 200 and above apart: these are its classes. */
uint32_t config_ef_search(const struct op_config *c, uint32_t k);
unsigned config_ef_class(uint32_t k);
#define CONFIG_EF_DEFAULT 100u
#define CONFIG_EF_CLASS_MAX {20, 200, VG_K_MAX}

/* target_recall as a share of 1. */
double config_target_recall(const struct op_config *c);

/* What follows when `now` is replaced by `next`: what was tuned for a recall
 * that is wanted no more is forgotten, else it stays. */
void config_replace(struct op_config *now, const struct op_config *next);

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
 * Writing dtype b1 makes the metric hamming, writing another instead of it
 * cosine; any other way to a metric that the dtype has not is refused. An
 * inferred dim is not known any more when dtype changes.
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
