/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_fill.c: from a manifest to the collections and links it names. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/checkpoint_int.h"
#include "src/log.h"

struct fill {
	struct store *s;
	const struct collection_files *files;
	struct collection *coll; /* the last that was loaded, referenced; NULL:
				    it could not be */
	char *why; /* 256 bytes */
};

static int load_collection(
	struct fill *fill, const struct manifest_collection *mc)
{
	struct vg_id name = {mc->name, mc->name_len};
	struct collection *c;
	int rc;

	rc = collection_load(fill->files, mc, fill->why, &c);
	if (rc < 0)
		return rc;
	fill->coll = collection_ref(c);
	return catalogue_load_collection(
		&fill->s->catalogue, c, name, mc->cursor);
}

static int load_snap(struct fill *fill, struct generation *g,
	const struct manifest_snap *ms)
{
	struct vg_id name = {ms->name, ms->name_len};
	struct collection *snap;
	int rc;

	assert(g && g->coll == fill->coll);
	rc = collection_new_snap(
		fill->coll, g, ms->no, ms->uuid, name, &snap);

	if (rc < 0)
		return rc;
	snap->config = ms->config;
	snap->attr = ms->attr;
	snap->mtime_ns = ms->mtime_ns;
	snap->commit_ns = ms->commit_ns;
	atomic_store_explicit(&snap->n_live, ms->n_live, memory_order_relaxed);
	atomic_store_explicit(
		&snap->meta_bytes, ms->meta_bytes, memory_order_relaxed);
	memcpy(snap->moment->seq, ms->seq, sizeof(ms->seq));
	return catalogue_load_snap(&fill->s->catalogue, snap);
}

/* The older generation, referenced. */
static int load_past(struct fill *fill, const struct manifest_collection *mc,
	struct generation **out)
{
	int rc;

	assert(fill->coll && fill->coll->no == mc->no);
	rc = generation_load(fill->files, mc, fill->coll, fill->why, out);

	if (rc < 0)
		return rc;
	collection_add_old(fill->coll, *out);
	rc = catalogue_load_gen(&fill->s->catalogue, *out);
	if (rc == 0 && manifest_is_held(mc))
		rc = checkpoint_hold(&fill->s->checkpoint, *out);
	if (rc < 0) {
		generation_unref(*out);
		*out = NULL;
	}
	return rc;
}

/* A generation and its snapshots. */
static int load_one(struct fill *fill, const struct manifest_collection *mc)
{
	struct generation *g = NULL;
	int rc;

	if (fill->files->dirfd < 0 && mc->version.n_parts > 0) {
		snprintf(fill->why, 256,
			"c/ is missing: copy it back, or restore the "
			"directory as a whole");
		return -ENOENT;
	}
	if (manifest_is_past(mc)) {
		rc = load_past(fill, mc, &g);
	} else {
		rc = load_collection(fill, mc);
		if (rc == 0)
			g = collection_gen(fill->coll);
	}
	for (uint32_t i = 0; i < mc->n_snaps && rc == 0; i++)
		rc = load_snap(fill, g, &mc->snap[i]);
	generation_unref(g);
	return rc;
}

/* Says whose the generation is that fill->why is about. */
static void say_whose(struct fill *fill, const char *name)
{
	char why[256];

	snprintf(why, sizeof(why), "%s", fill->why);
	snprintf(fill->why, 256, "snapshots of collection '%.80s': %.140s",
		name, why);
}

/* Of a collection that cannot be had its snapshots cannot either. */
static int load_or_note(struct fill *fill, const struct manifest_collection *mc,
	const char *name, enum whole whole)
{
	char what[VG_ID_MAX + 32];
	int rc;

	assert(name[0] && fill->why[0] == '\0');

	if (!manifest_is_past(mc)) {
		collection_unref(fill->coll);
		fill->coll = NULL;
	} else if (!fill->coll) {
		return 0;
	}
	rc = load_one(fill, mc);
	if (manifest_is_held(mc) && rc < 0 && rc != -ENOMEM) {
		log_warn("what open files of collection '%s' showed before a "
			 "crash is lost: %s",
			name, fill->why);
		fill->why[0] = '\0';
		return 0;
	}
	if (rc < 0 && whole < PARTS && manifest_is_past(mc) && fill->why[0])
		say_whose(fill, name);
	if (rc == 0 || rc == -ENOMEM || whole < PARTS)
		return rc;
	snprintf(what, sizeof(what), "%s%s", name,
		manifest_is_past(mc) ? "/.snap" : "");
	store_note_loss(fill->s, what, fill->why);
	fill->why[0] = '\0';
	return 0;
}

/* The state that m describes, into an empty store. */
int checkpoint_fill(struct store *s, const struct manifest *m,
	const struct collection_files *files, enum whole whole, char why[256])
{
	struct fill fill = {.s = s, .files = files, .why = why};
	struct catalogue *cat = &s->catalogue;
	const char *name = "";
	int rc = catalogue_load(cat, m);

	assert(whole < PARTS || s->is_recovery);
	for (uint32_t i = 0; i < m->n_colls && rc == 0; i++) {
		if (!manifest_is_past(&m->coll[i]))
			name = m->coll[i].name;
		rc = load_or_note(&fill, &m->coll[i], name, whole);
	}
	collection_unref(fill.coll);
	for (uint32_t i = 0; i < m->n_aliases && rc == 0; i++) {
		const struct manifest_alias *ma = &m->alias[i];
		struct vg_id id = {ma->name, ma->name_len};
		struct alias alias = {
			.target = {ma->target, ma->target_len},
			.mtime_ns = ma->mtime_ns,
		};

		rc = catalogue_load_alias(cat, &alias, id, ma->cursor);
	}
	return rc;
}
