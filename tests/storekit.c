/* SPDX-License-Identifier: Apache-2.0 */
/* storekit.c: see storekit.h. */
#include "tests/storekit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/collection_file.h"
#include "src/fields.h"
#include "src/match.h"
#include "tests/logkit.h"
#include "tests/tap.h"

struct vg_id sk_id(const char *s)
{
	return (struct vg_id){.bytes = s, .len = (uint32_t)strlen(s)};
}

int sk_search(struct store *s, struct collection *c, const struct search *q,
	struct search_hit *hits, uint32_t *n)
{
	struct look look;
	int rc;

	look_init(&look, c, store_moments(s));
	rc = store_search(s, &look, q, hits, n);
	look_fini(&look);
	return rc;
}

struct store *sk_open(const char *dir, const struct store_config *cfg)
{
	struct store_config own = cfg ? *cfg : (struct store_config){0};
	struct store_report rep;
	struct store *s = NULL;
	int rc;

	own.dir = dir;
	rc = store_open(&own, &rep, &s);
	if (rc < 0)
		diag("open: %d %s", rc, rep.error);
	must(rc == 0);
	return s;
}

int sk_run(struct store *s, struct change *ch)
{
	struct commit commit = {.changes = ch, .n = 1};

	return store_commit_wait(s, &commit);
}

struct collection *sk_get(struct store *s, const char *name)
{
	struct entry_info info;

	if (catalogue_get(store_catalogue(s), sk_id(name), &info) < 0)
		return NULL;
	return info.coll;
}

struct collection *sk_make(struct store *s, const char *name)
{
	struct change ch = {.type = OP_CREATE, .name = sk_id(name),
		.attr = {.mode = 0755}};
	struct collection *c;

	must(sk_run(s, &ch) == 0);
	c = sk_get(s, name);
	must(c);
	return c;
}

int sk_snap(struct store *s, struct collection *c, const char *name)
{
	struct change ch = {.type = OP_SNAP, .coll = c, .name = sk_id(name)};

	return sk_run(s, &ch);
}

int sk_unsnap(struct store *s, struct collection *c, const char *name)
{
	struct change ch = {.type = OP_UNSNAP, .coll = c, .name = sk_id(name)};

	return sk_run(s, &ch);
}

int sk_config(struct store *s, struct collection *c, const char *key,
	const char *value)
{
	struct change ch = {.type = OP_CONFIG, .coll = c, .id = sk_id(key),
		.meta = {value, (uint32_t)strlen(value)}};

	return sk_run(s, &ch);
}

const float *sk_vec(unsigned n, unsigned dim, float out[SK_DIM_MAX])
{
	uint64_t x = n * 0x9e3779b97f4a7c15u + 1;

	must(dim <= SK_DIM_MAX);
	for (unsigned i = 0; i < dim; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		out[i] = (float)(x >> 40) / 8388608.0f - 1.0f;
	}
	out[0] += (float)n / 65536.0f;
	return out;
}

int sk_put(struct store *s, struct collection *c, struct sk_put put)
{
	float vec[SK_DIM_MAX];
	struct change ch = {.type = OP_PUT, .coll = c, .id = sk_id(put.id),
		.vec = sk_vec(put.n, put.dim, vec), .dim = put.dim,
		.source = OP_SOURCE_RAW, .body_len = put.dim * 4,
		.flags = put.flags};

	return sk_run(s, &ch);
}

int sk_del(struct store *s, struct collection *c, const char *id)
{
	struct change ch = {.type = OP_DEL, .coll = c, .id = sk_id(id)};

	return sk_run(s, &ch);
}

int sk_rename(struct store *s, struct collection *c, const char *from,
	const char *to)
{
	struct change ch = {.type = OP_RENAME, .coll = c, .id = sk_id(from),
		.id2 = sk_id(to)};

	return sk_run(s, &ch);
}

int sk_meta(struct store *s, struct collection *c, const char *id,
	enum change_meta mode, const char *json)
{
	struct change ch = {.type = OP_SET, .coll = c, .id = sk_id(id),
		.meta_mode = mode,
		.meta = {json, json ? (uint32_t)strlen(json) : 0}};

	return sk_run(s, &ch);
}

uint32_t sk_find(struct store *s, struct collection *c, const char *id)
{
	struct look look;
	uint32_t no;

	look_init(&look, c, store_moments(s));
	no = generation_find(look.gen, sk_id(id), look.moment);
	look_fini(&look);
	return no;
}

const char *sk_meta_of(struct store *s, struct collection *c, const char *id)
{
	static char text[256];
	uint32_t no = sk_find(s, c, id);
	struct meta meta;

	if (no == VERSION_NONE)
		return "?";
	meta = version_meta(generation_version(c->gen, no));
	snprintf(text, sizeof(text), "%.*s", (int)meta.len,
		meta.json ? meta.json : "");
	return text;
}

const char *sk_nearest(struct store *s, struct collection *c, unsigned n,
	unsigned dim, bool exact)
{
	static char name[VG_ID_MAX + 1];
	float vec[SK_DIM_MAX];
	struct search q = {.vec = sk_vec(n, dim, vec), .dim = dim, .k = 1,
		.exact = exact};
	struct search_hit hit;
	struct vg_id id;
	uint32_t found;

	if (sk_search(s, c, &q, &hit, &found) < 0 || found == 0)
		return "";
	id = version_id(hit.version);
	snprintf(name, sizeof(name), "%.*s", (int)id.len, id.bytes);
	return name;
}

void sk_wait_linked(struct store *s)
{
	struct timespec pause = {.tv_nsec = 1000000};
	struct store_stat st;

	for (store_stat(s, &st); st.pending; store_stat(s, &st))
		nanosleep(&pause, NULL);
}

void sk_is_sound(struct store *s)
{
	const char *why = NULL;

	if (!ok(store_check(s, &why) == 0, "the store is sound"))
		diag("%s", why ? why : "?");
}

/* ---- the model ---- */

unsigned sk_draw(struct sk_model *m, unsigned below)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return (unsigned)(m->random >> 33) % below;
}

/* What was expected of a change; the model takes it if it was to succeed. */
static bool expect(struct sk_model *m, int rc, int wanted)
{
	m->n_changes += wanted == 0;
	if (rc != wanted)
		diag("a change gave %d instead of %d", rc, wanted);
	return rc == wanted;
}

static bool step_put(struct sk_model *m, struct store *s, struct collection *c,
	unsigned i)
{
	unsigned n = m->next_n++, flags = sk_draw(m, 8) ? 0 : CHANGE_EXCL;
	int wanted = flags && m->of[i].exists ? -EEXIST : 0;
	char id[8];
	int rc;

	snprintf(id, sizeof(id), "%u", i);
	rc = sk_put(s, c, (struct sk_put){id, n, SK_DIM, flags});
	if (wanted == 0) {
		m->of[i].y = m->of[i].exists ? m->of[i].y : 0;
		m->of[i].exists = true;
		m->of[i].n = n;
	}
	return expect(m, rc, wanted);
}

static bool step_meta(struct sk_model *m, struct store *s,
	struct collection *c, unsigned i)
{
	unsigned y = sk_draw(m, 4) ? 1 + sk_draw(m, 1000) : 0;
	char id[8], json[32];
	int rc;

	snprintf(id, sizeof(id), "%u", i);
	snprintf(json, sizeof(json), "{\"y\":%u}", y);
	rc = sk_meta(s, c, id, CHANGE_META_MERGE, y ? json : "{\"y\":null}");
	if (m->of[i].exists)
		m->of[i].y = y;
	return expect(m, rc, m->of[i].exists ? 0 : -ENOENT);
}

static bool step_rename(struct sk_model *m, struct store *s,
	struct collection *c, unsigned i)
{
	unsigned j = sk_draw(m, SK_IDS);
	bool exists = m->of[i].exists;
	char id[8], id2[8];
	int rc;

	snprintf(id, sizeof(id), "%u", i);
	snprintf(id2, sizeof(id2), "%u", j);
	rc = sk_rename(s, c, id, id2);
	if (exists && i != j) {
		m->of[j] = m->of[i];
		m->of[i].exists = false;
	}
	if (i == j)
		return rc == (exists ? 0 : -ENOENT);
	return expect(m, rc, exists ? 0 : -ENOENT);
}

static bool step_clear(
	struct sk_model *m, struct store *s, struct collection *c)
{
	struct change ch = {.type = OP_CLEAR, .coll = c};
	bool exists = false;

	for (unsigned i = 0; i < SK_IDS; i++) {
		exists = exists || m->of[i].exists;
		m->of[i].exists = false;
	}
	/* Clearing nothing succeeds and is not logged. */
	if (!exists)
		return sk_run(s, &ch) == 0;
	return expect(m, sk_run(s, &ch), 0);
}

bool sk_step(struct sk_model *m, struct store *s, struct collection *c)
{
	unsigned i = sk_draw(m, SK_IDS), what = sk_draw(m, 100);
	bool exists = m->of[i].exists;
	char id[8];

	if (what < 50)
		return step_put(m, s, c, i);
	if (what < 65)
		return step_meta(m, s, c, i);
	if (what < 80)
		return step_rename(m, s, c, i);
	if (what < 81)
		return step_clear(m, s, c);
	snprintf(id, sizeof(id), "%u", i);
	m->of[i].exists = false;
	return expect(m, sk_del(s, c, id), exists ? 0 : -ENOENT);
}

static bool is_record(const struct sk_record *r, unsigned i, struct store *s,
	struct collection *c)
{
	float vec[SK_DIM_MAX];
	char id[8], json[32] = "";
	uint32_t no;

	snprintf(id, sizeof(id), "%u", i);
	no = sk_find(s, c, id);
	if (!r->exists)
		return no == VERSION_NONE;
	if (no == VERSION_NONE)
		return false;
	if (r->y)
		snprintf(json, sizeof(json), "{\"y\":%u}", r->y);
	sk_vec(r->n, SK_DIM, vec);
	return memcmp(version_vec(generation_version(c->gen, no)), vec,
		       SK_DIM * sizeof(float)) == 0 &&
	       strcmp(sk_meta_of(s, c, id), json) == 0;
}

static bool is_empty(const struct sk_model *m)
{
	for (unsigned i = 0; i < SK_IDS; i++)
		if (m->of[i].exists)
			return false;
	return true;
}

void sk_steps(struct sk_model *m, struct store *s, struct collection *c,
	unsigned n)
{
	for (unsigned i = 0; i < n || is_empty(m); i++)
		must(sk_step(m, s, c));
}

bool sk_is_model(
	const struct sk_model *m, struct store *s, struct collection *c)
{
	uint32_t listed = 0, exists = 0;
	bool is_same = true;
	struct look look;

	look_init(&look, c, store_moments(s));
	for (uint32_t no = generation_next(look.gen, 0, look.moment);
		no != VERSION_NONE;
		no = generation_next(look.gen, no + 1, look.moment))
		listed++;
	look_fini(&look);
	for (unsigned i = 0; i < SK_IDS; i++) {
		exists += m->of[i].exists;
		if (is_record(&m->of[i], i, s, c))
			continue;
		diag("record %u differs; the model says exists=%d n=%u y=%u", i,
			m->of[i].exists, m->of[i].n, m->of[i].y);
		is_same = false;
	}
	if (listed != exists || atomic_load(&c->n_live) != exists)
		diag("%u listed, %u counted, %u exist", listed,
			(unsigned)atomic_load(&c->n_live), exists);
	return is_same && listed == exists &&
	       atomic_load(&c->n_live) == exists;
}

/* ---- filters ---- */

static struct filter *where_of(const char *text)
{
	struct filter_why why;
	struct filter *f;

	must(filter_parse_where(text, (uint32_t)strlen(text), &why, &f) == 0);
	return f;
}

void sk_index(struct store *s, struct collection *c)
{
	uint64_t n = 0, all = 0;
	char where[32] = "y.gte=100";
	struct look look;

	look_init(&look, c, store_moments(s));
	for (unsigned i = 0; i < 250 && n <= VG_MAX(10000u, all / 4); i++) {
		struct filter *f = where_of(where);
		struct match *m;
		struct fields *fields;

		must(match_new(&look, f, &m) == 0);
		match_free(m);
		filter_free(f);
		must(collection_fields(look.gen, &fields) == 0);
		n = fields_unsaved(fields, &all);
		snprintf(where, sizeof(where), "f%u.exists=1", i);
	}
	look_fini(&look);
}

bool sk_is_filtered(struct store *s, struct collection *c)
{
	static const char *const wheres[] = {"y.gte=100", "y.exists=0",
		"y.lt=50 or not y.ne=77", "f1.exists=1"};
	unsigned differs = 0;
	struct look look;

	look_init(&look, c, store_moments(s));
	for (size_t i = 0; i < VG_ARRAY_LEN(wheres); i++) {
		struct filter *f = where_of(wheres[i]);
		struct match *m;

		must(match_new(&look, f, &m) == 0);
		for (uint32_t no = generation_next(look.gen, 0, look.moment);
			no != VERSION_NONE;
			no = generation_next(look.gen, no + 1, look.moment))
			differs += match_has(m, no) !=
				(filter_matches(f, version_meta(
					generation_version(look.gen, no))) > 0);
		match_free(m);
		filter_free(f);
	}
	look_fini(&look);
	if (differs)
		diag("filters say of %u versions what is not so", differs);
	return differs == 0;
}

/* ---- who commits when ---- */

static void hold_gate(struct commit *commit)
{
	struct sk_gate *g = commit->ctx;

	pthread_mutex_lock(&g->lock);
	g->is_shut = true;
	pthread_cond_broadcast(&g->cond);
	while (!g->is_open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void *gate_main(void *arg)
{
	struct sk_gate *g = arg;

	store_commit(g->store, &g->commit);
	return NULL;
}

void sk_gate_shut(struct sk_gate *g, struct store *s)
{
	*g = (struct sk_gate){.store = s,
		.commit = {.sync = true, .done = hold_gate, .ctx = g}};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->cond, NULL);
	must(pthread_create(&g->thread, NULL, gate_main, g) == 0);
	pthread_mutex_lock(&g->lock);
	while (!g->is_shut)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

void sk_gate_open(struct sk_gate *g)
{
	pthread_mutex_lock(&g->lock);
	g->is_open = true;
	pthread_cond_broadcast(&g->cond);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
}

static _Atomic uint32_t n_answered;

static void note_answer(struct commit *commit)
{
	struct sk_ask *ask = commit->ctx;
	struct store_stat st;

	store_stat(ask->store, &st);
	ask->lsn_then = st.lsn;
	ask->nth = atomic_fetch_add(&n_answered, 1) + 1;
	atomic_store(&ask->is_done, true);
}

void sk_ask(struct store *s, struct sk_ask *ask, struct change *ch, uint32_t n)
{
	bool sync = ask->commit.sync;

	*ask = (struct sk_ask){.store = s,
		.commit = {.changes = ch, .n = n, .sync = sync,
			.done = note_answer, .ctx = ask}};
	store_commit(s, &ask->commit);
}

int sk_ask_wait(struct sk_ask *ask)
{
	struct timespec pause = {.tv_nsec = 200000};

	while (!atomic_load(&ask->is_done))
		nanosleep(&pause, NULL);
	return ask->commit.rc;
}

/* ---- directories ---- */

static void copy_file(int from, int to, const char *name)
{
	struct kit_file f = kit_load(from, name);

	kit_save(to, name, f.bytes, f.len);
	kit_free(&f);
}

/* Copies one directory and what is in it; the tree is a few levels deep. */
static void copy_tree(int from, int to, unsigned depth)
{
	DIR *dir = fdopendir(dup(from));
	struct dirent *de;

	must(dir && depth < 8);
	while ((de = readdir(dir))) {
		struct stat st;
		int a, b;

		if (de->d_name[0] == '.' || strcmp(de->d_name, "LOCK") == 0)
			continue;
		must(fstatat(from, de->d_name, &st, 0) == 0);
		if (!S_ISDIR(st.st_mode)) {
			copy_file(from, to, de->d_name);
			continue;
		}
		must(mkdirat(to, de->d_name, 0700) == 0);
		a = openat(from, de->d_name, O_RDONLY | O_DIRECTORY);
		b = openat(to, de->d_name, O_RDONLY | O_DIRECTORY);
		must(a >= 0 && b >= 0);
		copy_tree(a, b, depth + 1);
		close(a);
		close(b);
	}
	closedir(dir);
}

static int remove_one(
	const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void sk_copy(const char *from, const char *to)
{
	int a = open(from, O_RDONLY | O_DIRECTORY), b;

	must(nftw(to, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0 ||
		errno == ENOENT);
	must(mkdir(to, 0700) == 0);
	b = open(to, O_RDONLY | O_DIRECTORY);
	must(a >= 0 && b >= 0);
	copy_tree(a, b, 0);
	close(a);
	close(b);
}

bool sk_is_snap(const struct sk_model *m, struct store *s,
	struct collection *c, const char *name)
{
	struct collection *snap = collection_find_snap(c, sk_id(name));
	bool is = snap && sk_is_model(m, s, snap);

	collection_unref(snap);
	return is;
}

void sk_flip(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	uint8_t byte;

	must(fd >= 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 16;
	must(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}
