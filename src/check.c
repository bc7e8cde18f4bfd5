/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c: what is right in a data directory, and what is not; see check.h.
 *
 * The directory is opened as a recovery would (checkpoint_load.c, replay.c):
 * that finds which manifest a mount takes, and what it would not have; the
 * state that comes of it is walked. Then each manifest's files are read in
 * full, the log from the oldest place that is known, and all names looked at.
 */
#include "src/check_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/collection_file_int.h"
#include "src/wal.h"

void check_say(struct check *ck, bool is_finding, const char *fmt, ...)
{
	char text[CHECK_TEXT];
	va_list ap;

	assert(ck->cfg->say && ck->res);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert(text[0]);
	ck->res->findings += is_finding;
	ck->res->notes += !is_finding;
	ck->cfg->say(ck->cfg->ctx, is_finding, text);
}

/* ---- what a mount would not have ---- */

/* What is lost with what a path names; names of collections have no slash. */
static const char *loss_of(const char *path)
{
	return strcmp(path, "wal") == 0
		       ? "what is behind it is lost"
	       : strchr(path, '/')
		       ? "these snapshots are lost, but for copies; -o "
			 "recovery has the rest"
		       : "this collection is lost, but for copies; -o recovery "
			 "has the others";
}

static void check_losses(struct check *ck)
{
	struct store_error e;
	uint32_t n = 0;

	assert(ck->s->is_recovery);
	while (store_error_get(ck->s, n, &e) == 0) /* ends: 1,000 are kept */
		n++;
	while (n-- > 0)
		if (store_error_get(ck->s, n, &e) == 0)
			check_say(ck, true, "%s: %s: %s", e.path, e.why,
				loss_of(e.path));
}

static void check_identity(struct check *ck)
{
	static const char *const note[] = {
		[IDENTITY_COPIED] =
			"IDENTITY: this is a copy; it gets an identity of its "
			"own when it is mounted",
		[IDENTITY_MISSING] =
			"IDENTITY is missing: it is made when this is mounted",
		[IDENTITY_DAMAGED] = "IDENTITY is damaged; derived: it is made "
				     "anew, who it was is lost",
	};
	enum identity_state state = ck->s->identity_state;

	assert(state <= IDENTITY_DAMAGED);
	if (state != IDENTITY_SAME)
		check_say(ck, state == IDENTITY_DAMAGED, "%s", note[state]);
}

/* Whether the indexes of its fields, if a file has some, can be used. */
static bool has_sound_fields(struct check *ck, struct generation *g)
{
	struct fields *f;

	if (g->fields_from && collection_fields(g, &f) < 0)
		ck->rc = -ENOMEM;
	return !collection_fields_lost(g);
}

/* Every invariant of what is in memory now. */
static void check_collection(struct check *ck, struct collection *c)
{
	char name[CATALOGUE_NAME_CAP] = "?";
	struct generation *g = NULL;
	bool is_damaged = false;
	const char *why = "";

	catalogue_name(&ck->s->catalogue, c, name);
	ck->res->collections++;
	ck->res->records += atomic_load(&c->n_live);
	for (bool is_first = true;
		(g = collection_next_gen(c, g, GENS_KEPT)); is_first = false) {
		is_damaged |= generation_damaged(g) > 0;
		if (g->file && g->file->graph_failed)
			check_say(ck, true,
				"collection '%s': %s cannot be used; "
				"derived: it is rebuilt",
				name, is_first ? "its graph" :
				atomic_load(&g->n_snaps) > 0
					? "a graph of its snapshots"
					: "a graph of what open files showed");
		if (!has_sound_fields(ck, g))
			check_say(ck, true,
				"collection '%s': indexes of fields cannot be "
				"used; derived: they are made again",
				name);
	}
	/* A graph does not fit to damaged vectors, which the files' lines tell. */
	if (collection_check(c, &why) < 0 && !is_damaged)
		check_say(ck, true, "collection '%s': %s", name, why);
}

static void check_state(struct check *ck)
{
	struct collection *c;

	for (uint32_t no = 0; (c = catalogue_next_no(&ck->s->catalogue, &no));
		no++) {
		assert(c->no == no && c->gen);
		check_collection(ck, c);
		collection_unref(c);
	}
}

/* ---- manifests and the log ---- */

/* One that cannot be read. */
static void say_unread(struct check *ck, uint64_t number, int rc)
{
	assert(rc < 0 && number > 0 && number != ck->taken);
	check_say(ck, true,
		"MANIFEST.%" PRIu64 " is %s; %s%s", number,
		rc == -VG_ECORRUPT ? "damaged, or another store's" :
		rc == -VG_EFORMAT  ? "of a later version of vecgridfs" :
				     strerror(-rc),
		number < ck->taken ? "a newer one has what it had" :
		ck->taken ? "the one before and the log are used instead" :
			    "the log is used instead",
		rc == -VG_EFORMAT ? ": mount with that version" : "");
}

/* Whether the log has the place of m; the oldest such is where it is read
 * from. */
static void note_place(struct check *ck, const struct manifest *m)
{
	struct wal_config cfg = {.dirfd = ck->s->waldirfd,
		.from = {m->lsn, m->segment, m->offset},
		.io = ck->s->io};
	char why[256];

	assert(m->lsn > 0);
	memcpy(cfg.uuid, ck->s->uuid, sizeof(cfg.uuid));
	if (wal_check_place(&cfg, why) == 0)
		ck->oldest = cfg.from;
	else if (m->number != ck->taken)
		check_say(ck, false, "MANIFEST.%" PRIu64 " is not used: %s",
			m->number, why);
}

static void check_manifests(struct check *ck)
{
	uint64_t *number = NULL;
	uint32_t n = 0;
	int rc = manifest_list(ck->s->io, ck->s->dirfd, &number, &n);

	ck->m = calloc(VG_MAX(n, 1u), sizeof(*ck->m));
	if (rc == 0 && !ck->m)
		rc = -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct manifest *m = &ck->m[ck->n];

		rc = manifest_load(ck->s->io, ck->s->dirfd, number[i], m);
		if (rc == 0 && memcmp(m->store, ck->s->uuid, 16) != 0) {
			manifest_fini(m);
			rc = -VG_ECORRUPT;
		}
		if (rc == 0)
			ck->n++;
		else if (rc != -ENOMEM)
			say_unread(ck, number[i], rc);
		rc = rc == -ENOMEM ? rc : 0;
	}
	free(number);
	ck->rc = rc;
	assert(rc < 0 || ck->n <= n);
	for (uint32_t i = 0; i < ck->n && ck->rc == 0; i++) {
		note_place(ck, &ck->m[i]);
		check_manifest(ck, &ck->m[i]);
	}
}

static int see_frame(void *ctx, const struct wal_frame *frame)
{
	(void)ctx;
	(void)frame; /* without assertions nobody reads it */
	assert(frame->lsn > 0);
	return 0;
}

/* The log before the place that a mount would replay it from: copies that are
 * under way, and older manifests, need it. */
static void check_log(struct check *ck)
{
	struct wal_config cfg = {.dirfd = ck->s->waldirfd,
		.from = ck->oldest,
		.is_read_only = true,
		.takes_damaged = true,
		.io = ck->s->io};
	struct wal_report rep;
	struct wal_stat st;
	struct wal *wal;
	int rc;

	wal_stat(ck->s->wal, &st);
	ck->res->lsn = st.appended_lsn;
	cfg.is_copy = ck->s->identity_state != IDENTITY_SAME;
	memcpy(cfg.uuid, ck->s->uuid, sizeof(cfg.uuid));
	rc = wal_open(&cfg, see_frame, NULL, &rep, &wal);
	if (rc < 0) {
		ck->rc = rc;
		return;
	}
	wal_close(wal);
	assert(rep.is_damaged || rep.last_lsn >= ck->oldest.lsn - 1 ||
		ck->oldest.lsn == 0);
	if (rep.is_damaged && rep.last_lsn < st.appended_lsn)
		check_say(ck, true,
			"wal: %s: MANIFEST.%" PRIu64 " has what is there, "
			"nothing is lost",
			rep.error, ck->taken);
	else if (rep.is_begun)
		check_say(ck, false,
			"wal: this copy ends where segment %" PRIu64 " was "
			"begun: right if changes went on while it was made; "
			"if it was interrupted, copy again",
			rep.last_segment + 1);
	else if (rep.cut_len > 0)
		check_say(ck, false,
			"wal: a torn tail of %" PRIu64 " bytes in segment "
			"%" PRIu64 ": nobody was told that it is safe, the "
			"next mount cuts it",
			rep.cut_len, rep.cut_segment);
}

/* ---- all of it ---- */

/* Opens it; 1: it can be looked at, 0: a finding says why not, or an error. */
static int open_it(struct check *ck)
{
	const struct check_config *cfg = ck->cfg;
	struct store_config sc = {.dir = cfg->dir,
		.io = cfg->io,
		.has_dirfd = cfg->has_dirfd,
		.dirfd = cfg->dirfd,
		.no_uring = true,
		.is_recovery = true,
		.is_check = true};
	struct store_report rep;
	int rc = store_open(&sc, &rep, &ck->s);

	if (rc == 0) {
		ck->taken = ck->res->manifest = rep.manifest;
		return 1;
	}
	snprintf(ck->res->error, sizeof(ck->res->error), "%s", rep.error);
	if (rc != -VG_ECORRUPT)
		return rc;
	check_say(ck, true, "nothing can be opened: %s", rep.error);
	return 0;
}

int check_each(const struct check_config *cfg, struct check_result *res)
{
	struct check ck = {.cfg = cfg, .res = res};
	int rc;

	assert(cfg->say && (cfg->dir || cfg->has_dirfd));
	*res = (struct check_result){0};
	rc = open_it(&ck);
	if (rc <= 0)
		return rc;
	check_identity(&ck);
	check_losses(&ck);
	check_manifests(&ck);
	if (ck.rc == 0)
		check_state(&ck);
	if (ck.rc == 0)
		check_log(&ck);
	if (ck.rc == 0)
		check_names(&ck);
	for (uint32_t i = 0; i < ck.n; i++)
		manifest_fini(&ck.m[i]);
	free(ck.m);
	if (ck.rc < 0)
		snprintf(res->error, sizeof(res->error),
			"it could not be looked at in full: %s",
			strerror(-ck.rc));
	store_close(ck.s);
	assert(ck.rc <= 0);
	return ck.rc;
}
