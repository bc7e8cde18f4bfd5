/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_fill.c: from a manifest to the collections and links it names. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "src/checkpoint_int.h"

static int load_collection(struct store *s, const struct manifest_collection *mc,
	const struct collection_files *files, char why[256])
{
	struct vg_id name = {mc->name, mc->name_len};
	struct collection *c;
	int rc;

	if (files->dirfd < 0 && mc->version.n_parts > 0) {
		snprintf(why, 256,
			"c/ is missing: copy it back, or restore the "
			"directory as a whole");
		return -ENOENT;
	}
	rc = collection_load(files, mc, why, &c);
	if (rc == 0)
		rc = catalogue_load_collection(
			&s->catalogue, c, name, mc->cursor);
	return rc;
}

/* The state that m describes, into an empty store. */
int checkpoint_fill(struct store *s, const struct manifest *m,
	const struct collection_files *files, enum whole whole, char why[256])
{
	struct catalogue *cat = &s->catalogue;
	int rc = catalogue_load(cat, m);

	assert(whole < PARTS || s->is_recovery);
	for (uint32_t i = 0; i < m->n_colls && rc == 0; i++) {
		rc = load_collection(s, &m->coll[i], files, why);
		if (rc < 0 && rc != -ENOMEM && whole >= PARTS) {
			store_note_loss(s, m->coll[i].name, why);
			why[0] = '\0';
			rc = 0;
		}
	}
	for (uint32_t i = 0; i < m->n_aliases && rc == 0; i++) {
		const struct manifest_alias *ma = &m->alias[i];
		struct vg_id name = {ma->name, ma->name_len};
		struct alias alias = {
			.target = {ma->target, ma->target_len},
			.mtime_ns = ma->mtime_ns,
		};

		rc = catalogue_load_alias(cat, &alias, name, ma->cursor);
	}
	return rc;
}
