/* SPDX-License-Identifier: Apache-2.0 */
/* handle.c: see handle.h. */
#include "fs/handle.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "fs/import.h"
#include "fs/inflight.h"
#include "fs/kept.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "fs/rowfile.h"

/* What the arena is told of a handle. Its file's serial is the number's upper
 * part, its uuid the collection's. Of the machine that wrote it. */
struct kept_handle {
	uint64_t ino, made_by;
	uint64_t stage; /* serial */
	int64_t mtime_ns;
	uint64_t len; /* BYTES: the answer's; RUN: the request's */
	uint64_t run_end, run_base, run_last;
	int32_t pid;
	uint32_t uid;
	uint8_t kind, view, flags, pad[5];
	struct import_mark mark;
};

enum {
	KEPT_SYNC = 1,
	KEPT_WRITER = 2,
	KEPT_PARTIAL = 4,
	KEPT_ASKED = 8,
	KEPT_BODY = 16,	 /* the body has what it reads as */
	KEPT_ROWS = 32,	 /* the body has its moment */
	KEPT_LEAF = 64,	 /* it is one of its node's open answers */
	KEPT_LOST = 128, /* IMPORT: it cannot go on */
};

#define KEPT_ALWAYS (1u << 20) /* bytes of an answer */

/* What rows and listings are rendered from: the file's body. */
struct kept_look {
	uint32_t gen, pad;
	uint64_t seq[VG_SEQS];
};

/* What a record's open file reads, whatever its number is: the file's body,
 * with the id behind it. */
struct kept_version {
	uint64_t begin;
};

static_assert(sizeof(struct kept_handle) <= KEPT_LEN_MAX,
	"a handle fits where names do");

struct handle *handle_new(
	struct fs *fs, enum handle_kind kind, struct collection *coll)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->kind = kind;
	h->coll = coll ? collection_ref(coll) : NULL;
	h->file = KEPT_NONE;
	h->chunks_end = &h->chunks;
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_lock(&fs->handles_lock);
	h->next = fs->handles;
	h->link = &fs->handles;
	if (h->next)
		h->next->link = &h->next;
	fs->handles = h;
	pthread_mutex_unlock(&fs->handles_lock);
	return h;
}

/* Takes the handle off its leaf's list of open answers. */
static void leave_node(struct handle *h)
{
	struct query_open **link = &h->node->opens;

	pthread_mutex_lock(&h->node->lock);
	while (*link != h->opened)
		link = &(*link)->next;
	*link = h->opened->next;
	pthread_mutex_unlock(&h->node->lock);
	answer_unref(h->opened->answer);
	free(h->opened);
}

void handle_forget(struct fs *fs, struct handle *h)
{
	pthread_mutex_lock(&fs->handles_lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	pthread_mutex_unlock(&fs->handles_lock);
	if (h->opened)
		leave_node(h);
	if (h->node)
		nodes_unref(&fs->nodes, h->node);
	if (h->leaf) {
		atomic_fetch_sub_explicit(
			&h->leaf->n_writers, 1, memory_order_relaxed);
		nodes_unref(&fs->nodes, h->leaf);
	}
	if (h->stage && h->is_writer)
		atomic_fetch_sub_explicit(
			&h->stage->n_open, 1, memory_order_relaxed);
	if (h->stage)
		stages_unref(&fs->stages, h->stage);
	hold_fini(&h->hold);
	answer_unref(h->answer);
	answer_unref(h->run.answer);
	free(h->run.request);
	import_free(h->import);
	while (h->chunks) {
		struct chunk *next = h->chunks->next;

		free(h->chunks);
		h->chunks = next;
	}
	look_fini(&h->look);
	generation_unref(h->gen);
	collection_unref(h->coll);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handle_keep_version(struct fs *fs, struct handle *h,
	struct generation *gen, uint32_t version)
{
	hold_init(&h->hold, gen, version);
	pthread_mutex_lock(&fs->handles_lock);
	h->gen = generation_ref(gen);
	h->version = generation_version(gen, version);
	pthread_mutex_unlock(&fs->handles_lock);
}

void handle_write_leaf(struct fs *fs, struct handle *h, struct qnode *leaf)
{
	assert(h->stage && h->kind == HANDLE_STAGE);
	atomic_fetch_add_explicit(&leaf->n_writers, 1, memory_order_relaxed);
	pthread_mutex_lock(&fs->handles_lock);
	h->leaf = leaf;
	pthread_mutex_unlock(&fs->handles_lock);
}

struct stage *handle_find_writer(struct fs *fs, struct qnode *leaf, int pid)
{
	struct stage *st = NULL;
	uint64_t serial = 0;
	bool is_own = false, is_done;

	if (atomic_load_explicit(&leaf->n_writers, memory_order_relaxed) == 0)
		return NULL;
	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !is_own; h = h->next) {
		if (h->leaf != leaf)
			continue;
		is_own = h->pid == pid;
		if (is_own || !serial)
			serial = h->stage->serial;
	}
	pthread_mutex_unlock(&fs->handles_lock);
	if (serial)
		st = stages_get(&fs->stages, serial);
	if (!st)
		return NULL;
	pthread_mutex_lock(&st->lock);
	is_done = st->is_committed && !st->is_dirty;
	pthread_mutex_unlock(&st->lock);
	if (is_own || !is_done)
		return st;
	stages_unref(&fs->stages, st);
	return NULL;
}

struct generation *handle_find_gen(struct fs *fs, uint32_t no)
{
	struct generation *g = NULL;

	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !g; h = h->next)
		if (h->gen && h->gen->no == no)
			g = generation_ref(h->gen);
	pthread_mutex_unlock(&fs->handles_lock);
	return g;
}

struct generation *handle_find_version(
	struct fs *fs, uint64_t ino, const struct version **out)
{
	struct generation *g = NULL;

	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !g; h = h->next)
		if (h->version && h->ino == ino) {
			g = generation_ref(h->gen);
			*out = h->version;
		}
	pthread_mutex_unlock(&fs->handles_lock);
	return g;
}

struct collection *handle_find_snap(struct fs *fs, uint32_t no)
{
	struct collection *snap = NULL;

	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !snap; h = h->next)
		if (h->coll && h->coll->of && h->coll->no == no)
			snap = collection_ref(h->coll);
	pthread_mutex_unlock(&fs->handles_lock);
	return snap;
}

void handle_free(struct fs *fs, struct handle *h)
{
	uint32_t file;

	if (!h)
		return;
	file = h->file;
	for (struct chunk *c = h->chunks; c; c = c->next)
		arena_file_del(fs->arena, c->file);
	if (file != KEPT_NONE)
		atomic_store_explicit(
			&fs->open[file], NULL, memory_order_release);
	handle_forget(fs, h);
	if (file != KEPT_NONE)
		arena_file_del(fs->arena, file);
}

/* ---- requests ---- */

static int grow_request(struct run_state *run, size_t len)
{
	size_t cap = VG_MAX(len, 2 * run->cap);
	char *grown;

	if (len <= run->cap)
		return 0;
	grown = realloc(run->request, cap);
	if (!grown)
		return -ENOMEM;
	run->request = grown;
	run->cap = cap;
	return 0;
}

int handle_add_request(struct fs *fs, struct handle *h, const char *buf,
	size_t size, uint64_t off, size_t max)
{
	struct run_state *run = &h->run;
	int rc;

	if (run->last == loop_unique().unique)
		return 0;
	if (run->is_asked) {
		run->is_asked = false;
		run->len = 0;
	}
	assert(run->len <= max);
	if (size > max - run->len)
		return -EFBIG;
	rc = grow_request(run, run->len + size);
	if (rc < 0)
		return rc;
	memcpy(run->request + run->len, buf, size);
	rc = arena_pwrite(fs->arena, h->file, ARENA_BODY, run->len, buf, size);
	if (rc < 0)
		return rc;
	run->len += size;
	run->end = off + size;
	run->last = loop_unique().unique;
	handle_save(fs, h);
	return 0;
}

/* ---- into the arena ---- */

static void fill_attr(const struct handle *h, struct arena_attr *attr)
{
	struct kept_handle kept = {
		.ino = h->ino,
		.made_by = h->made_by,
		.kind = (uint8_t)h->kind,
		.view = (uint8_t)h->view,
		.pid = h->opened ? h->opened->pid : h->pid,
		.uid = h->opened ? h->opened->uid : 0,
		.len = h->run.len,
		.run_end = h->run.end,
		.run_base = h->run.base,
		.run_last = h->run.last,
		.mark = h->mark,
	};

	kept.flags |= h->is_sync ? KEPT_SYNC : 0;
	kept.flags |= h->is_writer ? KEPT_WRITER : 0;
	kept.flags |= h->run.is_asked ? KEPT_ASKED : 0;
	kept.flags |= h->opened ? KEPT_LEAF : 0;
	kept.flags |= h->is_unkept ? KEPT_LOST : 0;
	kept.flags |= h->has_body ? KEPT_BODY : 0;
	if (h->stage)
		kept.stage = h->stage->serial;
	if (h->answer) {
		kept.len = h->answer->len;
		kept.mtime_ns = h->answer->mtime_ns;
		kept.flags |= h->answer->is_partial ? KEPT_PARTIAL : 0;
		kept.flags |= h->answer->rows ? KEPT_ROWS : 0;
	}
	*attr = (struct arena_attr){
		.serial = h->number >> 16, .area = KEPT_HANDLE};
	if (h->coll)
		memcpy(attr->uuid, h->coll->uuid, sizeof(attr->uuid));
	kept_put(attr, &kept, sizeof(kept));
}

static int save_look(
	struct fs *fs, const struct handle *h, const struct look *look)
{
	struct kept_look kept = {.gen = look->gen->no};

	static_assert(sizeof(kept.seq) == sizeof(look->moment->seq),
		"a moment is kept whole");
	memcpy(kept.seq, look->moment->seq, sizeof(kept.seq));
	return arena_pwrite(
		fs->arena, h->file, ARENA_BODY, 0, &kept, sizeof(kept));
}

static bool save_version(struct fs *fs, const struct handle *h)
{
	struct kept_version kept = {h->version->begin};
	struct vg_id id = version_id(h->version);

	return arena_pwrite(fs->arena, h->file, ARENA_BODY, 0, &kept,
		       sizeof(kept)) == 0 &&
	       arena_pwrite(fs->arena, h->file, ARENA_BODY, sizeof(kept),
		       id.bytes, id.len) == 0;
}

bool handle_has_room(const struct fs *fs, size_t len)
{
	struct arena_stat st;

	if (len <= KEPT_ALWAYS)
		return true;
	arena_stat(fs->arena, &st);
	return len <= VG_BODY_MAX && st.used < st.limit / 2 &&
	       len < st.limit / 2 - st.used;
}

/* What the handle reads as, or what that is rendered from. */
static bool save_body(struct fs *fs, const struct handle *h)
{
	const struct answer_bytes *a = h->answer;

	if (h->kind == HANDLE_VERSION)
		return save_version(fs, h);
	if (h->kind != HANDLE_BYTES)
		return false; /* a listing's look comes with its begin */
	if (a->rows)
		return save_look(fs, h, rowfile_look(a->rows)) == 0;
	return handle_has_room(fs, a->len) &&
	       arena_pwrite(fs->arena, h->file, ARENA_BODY, 0, a->bytes,
		       a->len) == 0;
}

int handle_keep(
	struct fs *fs, struct handle *h, uint64_t ino, uint64_t made_by)
{
	struct arena_attr attr;

	assert(h->file == KEPT_NONE);
	pthread_mutex_lock(&fs->handles_lock);
	h->ino = ino; /* handle_find_version looks at it */
	pthread_mutex_unlock(&fs->handles_lock);
	h->made_by = made_by;
	h->number = arena_number(fs->arena) << 16;
	fill_attr(h, &attr);
	if (arena_file_new(fs->arena, &attr, &h->file) < 0)
		return -ENFILE;
	h->number |= h->file;
	if (h->answer && h->answer->rows)
		hold_init(&h->hold, rowfile_look(h->answer->rows)->gen,
			VERSION_NONE);
	h->has_body = save_body(fs, h);
	if (h->has_body)
		handle_save(fs, h);
	if (h->node && nodes_keep(&fs->nodes, h->node) < 0)
		h->has_body = false;
	atomic_store_explicit(&fs->open[h->file], h, memory_order_release);
	return 0;
}

void handle_save(struct fs *fs, const struct handle *h)
{
	struct arena_attr attr;

	fill_attr(h, &attr);
	arena_file_put(fs->arena, h->file, &attr);
}

void handle_look(struct fs *fs, struct handle *h)
{
	assert(h->kind == HANDLE_DIR);
	look_fini(&h->look);
	look_init(&h->look, h->coll, store_moments(fs->store));
	look_hold(&h->look);
}

void handle_save_look(struct fs *fs, const struct handle *h)
{
	assert(h->kind == HANDLE_DIR);
	/* Where there is no room the listing goes on in the present. */
	if (save_look(fs, h, &h->look) < 0)
		arena_truncate(fs->arena, h->file, ARENA_BODY, 0);
}

void handle_reply(fuse_req_t req, struct handle *h, uint64_t ino,
	uint64_t made_by, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req); /* the reply ends req, also in vain */
	int rc = handle_keep(fs, h, ino, made_by);

	if (rc < 0) {
		handle_free(fs, h);
		fuse_reply_err(req, -rc);
		return;
	}
	fi->fh = h->number;
	if (fuse_reply_open(req, fi) < 0)
		handle_free(fs, h);
}

struct handle *handle_get(struct fs *fs, const struct fuse_file_info *fi)
{
	uint64_t number = fi ? fi->fh : 0;
	struct handle *h;

	if (!number)
		return NULL;
	h = atomic_load_explicit(
		&fs->open[number & 0xffff], memory_order_acquire);
	return h && h->number == number ? h : NULL;
}

/* ---- bytes of imports ---- */

/* What the arena is told of a chunk; its serial is the place in the stream. */
struct kept_chunk {
	uint64_t handle, made_by, len;
};

static void put_chunk(struct handle *h, struct chunk *c)
{
	struct chunk **link = &h->chunks;

	while (*link && (*link)->off < c->off)
		link = &(*link)->next;
	c->next = *link;
	*link = c;
	if (!c->next)
		h->chunks_end = &c->next;
}

int handle_put_chunk(struct fs *fs, struct handle *h, const void *bytes,
	size_t len, uint64_t made_by)
{
	struct kept_chunk kept = {h->number, made_by, len};
	struct arena_attr attr = {.serial = h->import_end, .area = KEPT_CHUNK};
	struct chunk *c = malloc(sizeof(*c));
	int rc = c ? 0 : -ENOMEM;

	kept_put(&attr, &kept, sizeof(kept));
	if (rc == 0)
		rc = arena_file_new(fs->arena, &attr, &c->file);
	if (rc < 0) {
		free(c);
		return rc;
	}
	rc = arena_pwrite(fs->arena, c->file, ARENA_BODY, 0, bytes, len);
	if (rc < 0) {
		arena_file_del(fs->arena, c->file);
		free(c);
		return rc;
	}
	c->off = h->import_end;
	c->len = len;
	c->next = NULL;
	*h->chunks_end = c;
	h->chunks_end = &c->next;
	return 0;
}

/* Without its header the rest of a stream means nothing. */
static void keep_head(struct fs *fs, struct handle *h)
{
	struct meta head = import_get_head(h->import);

	if (h->has_body || head.len == 0)
		return;
	h->has_body = arena_pwrite(fs->arena, h->file, ARENA_BODY, 0, head.json,
			      head.len) == 0;
	h->is_unkept |= !h->has_body;
}

void handle_drop_chunks(struct fs *fs, struct handle *h)
{
	uint64_t passed = h->mark.stream.passed;

	import_get_mark(h->import, &h->mark);
	if (h->mark.stream.passed == passed)
		return;
	keep_head(fs, h);
	handle_save(fs, h); /* first: then nobody asks for them */
	while (h->chunks &&
		h->chunks->off + h->chunks->len <= h->mark.stream.passed) {
		struct chunk *c = h->chunks;

		h->chunks = c->next;
		if (!h->chunks)
			h->chunks_end = &h->chunks;
		arena_file_del(fs->arena, c->file);
		free(c);
	}
}

/* One whose bytes are not all there was not fed: its write comes again. */
static int load_chunk(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	struct fs *fs = ctx;
	struct kept_chunk kept;
	struct handle *h = NULL;
	struct chunk *c;
	size_t len;

	if (attr->area != KEPT_CHUNK)
		return 0;
	if (kept_get(attr, &kept, sizeof(kept)))
		h = handle_get(fs,
			&(struct fuse_file_info){.fh = kept.handle});
	arena_bytes(fs->arena, idx, ARENA_BODY, &len);
	if (!h || h->kind != HANDLE_IMPORT || len != kept.len ||
		attr->serial + len <= h->mark.stream.passed) {
		arena_file_del(fs->arena, idx);
		return 0;
	}
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct chunk){.off = attr->serial, .len = len, .file = idx};
	put_chunk(h, c);
	h->is_cut = true;
	h->import_end = VG_MAX(h->import_end, c->off + len);
	return 0;
}

/* ---- out of the arena ---- */

/*
 * The generation that a look was of. One that no manifest knows was made by a
 * compaction that the crash undid: the collection has the one before again,
 * which has all that any moment since shows. NULL: it was compacted away.
 */
static struct generation *find_looked_at(
	struct fs *fs, struct collection *c, uint32_t no)
{
	struct generation *g =
		catalogue_find_gen(store_catalogue(fs->store), no);

	if (g || no < GENERATION_FIRST)
		return g;
	g = collection_gen(c);
	if (g->no < GENERATION_FIRST || g->no < no)
		return g;
	generation_unref(g);
	return NULL;
}

/* -ESTALE: what it looked at was compacted away since. */
static int load_look(struct fs *fs, struct handle *h)
{
	const struct collection *of = h->coll->of ? h->coll->of : h->coll;
	struct look look = {.moments = store_moments(fs->store)};
	struct kept_look kept;
	const void *body;
	size_t len;
	int rc;

	body = arena_bytes(fs->arena, h->file, ARENA_BODY, &len);
	if (len != sizeof(kept))
		return -ESTALE;
	memcpy(&kept, body, sizeof(kept));
	look.gen = find_looked_at(fs, h->coll, kept.gen);
	if (!look.gen)
		return -ESTALE;
	rc = look.gen->coll == of ? moment_new(look.moments, &look.moment)
				  : -ESTALE;
	if (rc < 0) {
		generation_unref(look.gen);
		return rc;
	}
	/* What a crash undid is not looked for again. */
	if (look.gen->no != kept.gen) {
		kept.gen = look.gen->no;
		arena_pwrite(fs->arena, h->file, ARENA_BODY, 0, &kept,
			sizeof(kept));
	}
	memcpy(look.moment->seq, kept.seq, sizeof(kept.seq));
	look.coll = collection_ref(h->coll);
	look.cell = atomic_load(&look.gen->cell);
	if (look.cell)
		look.tail_from = atomic_load(&look.cell->tail_from);
	h->look = look;
	look_hold(&h->look);
	return 0;
}

static int load_answer(struct fs *fs, struct handle *h,
	const struct kept_handle *kept)
{
	struct answer_bytes *a = calloc(1, sizeof(*a));
	const void *body;
	size_t len;

	if (!a)
		return -ENOMEM;
	atomic_init(&a->refs, 1);
	h->answer = a;
	a->mtime_ns = kept->mtime_ns;
	a->is_partial = kept->flags & KEPT_PARTIAL;
	a->changes = UINT64_MAX; /* of another daemon's count: never fresh */
	a->len = kept->len;
	body = arena_bytes(fs->arena, h->file, ARENA_BODY, &len);
	if (kept->flags & KEPT_ROWS)
		return load_look(fs, h);
	if (!(kept->flags & KEPT_BODY) || len != kept->len)
		return -ESTALE;
	a->bytes = malloc(len ? len : 1);
	if (!a->bytes)
		return -ENOMEM;
	memcpy(a->bytes, body, len);
	return 0;
}

static int load_leaf(struct handle *h, const struct kept_handle *kept)
{
	struct query_open *opened = calloc(1, sizeof(*opened));

	if (!opened)
		return -ENOMEM;
	opened->answer = answer_ref(h->answer);
	opened->pid = kept->pid;
	opened->uid = kept->uid;
	opened->next = h->node->opens;
	h->node->opens = opened;
	h->opened = opened;
	return 0;
}

static int load_request(struct fs *fs, struct handle *h,
	const struct kept_handle *kept)
{
	struct run_state *run = &h->run;
	const void *body;
	size_t len;

	run->end = kept->run_end;
	run->base = kept->run_base;
	run->last = kept->run_last;
	body = arena_bytes(fs->arena, h->file, ARENA_BODY, &len);
	if (kept->len > len)
		return -ESTALE;
	run->request = malloc(kept->len + 1);
	if (!run->request)
		return -ENOMEM;
	memcpy(run->request, body, kept->len);
	run->len = run->cap = kept->len;
	return 0;
}

static int load_run(struct fs *fs, struct handle *h,
	const struct kept_handle *kept)
{
	struct run_state *run = &h->run;
	struct answer_bytes *a;
	const void *body;
	size_t len;
	int rc = load_request(fs, h, kept);

	if (rc < 0 || !(kept->flags & KEPT_ASKED))
		return rc;
	/* Without its answer it is asked again by the next read. */
	body = arena_bytes(fs->arena, h->file, ARENA_META, &len);
	if (!len)
		return 0;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	atomic_init(&a->refs, 1);
	run->answer = a;
	a->bytes = malloc(len);
	if (!a->bytes)
		return -ENOMEM;
	memcpy(a->bytes, body, len);
	a->len = len;
	run->is_asked = true;
	return 0;
}

/* A listing that was begun goes on where it was, or in the present. */
static int load_dir(struct fs *fs, struct handle *h)
{
	if (h->coll && load_look(fs, h) < 0)
		handle_look(fs, h);
	return 0;
}

/* A version by its id and begin: its number was in a generation that a crash
 * undid. VERSION_NONE: g has it not. */
static uint32_t find_kept_version(
	struct fs *fs, const struct handle *h, const struct generation *g)
{
	struct kept_version kept;
	struct vg_id id;
	const char *body;
	size_t len;

	body = arena_bytes(fs->arena, h->file, ARENA_BODY, &len);
	if (!h->has_body || len <= sizeof(kept))
		return VERSION_NONE;
	memcpy(&kept, body, sizeof(kept));
	id = (struct vg_id){
		body + sizeof(kept), (uint32_t)(len - sizeof(kept))};
	return generation_find_begun(g, id, kept.begin);
}

/* Its nodeid says which it is, or, where that is of no generation that is
 * there, its id and begin. */
static int load_version(struct fs *fs, struct handle *h)
{
	struct ops_node node;
	struct generation *g = NULL;
	uint32_t no;
	int rc = ops_node_get(fs, h->ino, &node);

	if (rc == 0) {
		if (node.version)
			handle_keep_version(
				fs, h, node.gen, (uint32_t)node.ref.low);
		ops_node_put(fs, &node);
		return h->version ? 0 : -ESTALE;
	}
	if (rc != -ESTALE || !h->coll || h->coll->of)
		return rc;
	while (!h->version &&
		(g = collection_next_gen(h->coll, g, GENS_KEPT))) {
		no = find_kept_version(fs, h, g);
		if (no != VERSION_NONE &&
			!generation_version(g, no)->cell->is_gone)
			handle_keep_version(fs, h, g, no);
	}
	generation_unref(g);
	return h->version ? 0 : -ESTALE;
}

static int load_kind(struct fs *fs, struct handle *h,
	const struct kept_handle *kept)
{
	int rc;

	switch (h->kind) {
	case HANDLE_BYTES:
		rc = load_answer(fs, h, kept);
		if (rc == 0 && (kept->flags & KEPT_LEAF))
			rc = h->node ? load_leaf(h, kept) : -ESTALE;
		return rc;
	case HANDLE_STAGE:
		h->stage = stages_get(&fs->stages, kept->stage);
		if (h->stage && h->is_writer)
			atomic_fetch_add(&h->stage->n_open, 1);
		if (h->stage && h->node) {
			handle_write_leaf(fs, h, h->node);
			h->node = NULL;
		}
		return h->stage ? 0 : -ESTALE;
	case HANDLE_RUN:
		return h->node ? load_run(fs, h, kept) : -ESTALE;
	case HANDLE_DIR:
		return load_dir(fs, h);
	case HANDLE_VERSION:
		return load_version(fs, h);
	case HANDLE_VALUE:
		h->run.is_asked = kept->flags & KEPT_ASKED;
		return load_request(fs, h, kept);
	case HANDLE_IMPORT:
		h->mark = kept->mark;
		h->import_end = kept->mark.stream.passed;
		return kept->flags & KEPT_LOST ? -ESTALE
					       : bulk_load_import(fs, h);
	}
	return -ESTALE;
}

/* One that cannot be had again goes: who uses it is told so. */
static int load_handle(void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	static const uint8_t none[16];
	struct fs *fs = ctx;
	struct collection *coll = NULL;
	struct kept_handle kept;
	struct handle *h;
	int rc = 0;

	if (attr->area != KEPT_HANDLE)
		return 0;
	if (memcmp(attr->uuid, none, sizeof(none)) != 0) {
		coll = catalogue_find_uuid(
			store_catalogue(fs->store), attr->uuid);
		rc = coll ? 0 : -ESTALE;
	}
	if (rc < 0 || !kept_get(attr, &kept, sizeof(kept)) ||
		inflight_is_pending(fs->inflight, kept.made_by)) {
		collection_unref(coll);
		arena_file_del(fs->arena, idx);
		return 0;
	}
	h = handle_new(fs, (enum handle_kind)kept.kind, coll);
	collection_unref(coll);
	if (!h)
		return -ENOMEM;
	h->file = idx;
	h->number = attr->serial << 16 | idx;
	h->ino = kept.ino;
	h->made_by = kept.made_by;
	h->view = (enum view)kept.view;
	h->pid = kept.pid;
	h->is_sync = kept.flags & KEPT_SYNC;
	h->is_writer = kept.flags & KEPT_WRITER;
	h->has_body = kept.flags & KEPT_BODY;
	if (node_decode(h->ino).kind == NODE_QUERY)
		h->node = nodes_get(&fs->nodes, h->ino);
	rc = load_kind(fs, h, &kept);
	if (rc < 0) {
		handle_free(fs, h);
		return rc == -ENOMEM ? rc : 0;
	}
	atomic_store_explicit(&fs->open[idx], h, memory_order_release);
	return 0;
}

int handles_load(struct fs *fs)
{
	int rc = arena_each(fs->arena, load_handle, fs);

	return rc < 0 ? rc : arena_each(fs->arena, load_chunk, fs);
}
