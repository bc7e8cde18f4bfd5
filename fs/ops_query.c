/* SPDX-License-Identifier: Apache-2.0 */
/* ops_query.c: answers as files: their stat, open and read, and query/.run. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ask.h"
#include "fs/hits.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "src/clock.h"

/*
 * One search per look: what a stat computed is taken over by the same user's
 * next open within a second if nothing has changed since, and a stat between
 * open and close says what the handle has. Searches that may take long run on
 * the pool, where an interrupt reaches them.
 */
#define KEPT_NS 1000000000LL

/* Names that SRC.hits/ listed resolve for so long after it was closed, whatever
 * has changed: who goes through a listing finds what it has. */
#define LISTING_NS 60000000000LL

enum work_kind { WORK_OPEN, WORK_GETATTR, WORK_LINK, WORK_READ_RUN };

/* A request that needs an answer; on the stack, or on the heap for the pool. */
struct work {
	struct job job;
	enum work_kind kind;
	fuse_req_t req;
	struct fs *fs;
	struct qnode *node; /* referenced: OPEN, GETATTR, LINK */
	char *name;	    /* owned: LINK */
	struct handle *h;   /* READ_RUN */
	size_t size;
	uint64_t off;
	struct fuse_file_info fi; /* OPEN */
	uint64_t unique;	  /* OPEN: the request's number */
	int pid;
	uint32_t uid;
	_Atomic bool cancel;
	bool is_pooled;
};

/* The write number of the named request that a leaf asks; 0: none. */
static uint64_t named_number(struct fs *fs, struct qnode *node)
{
	struct named_key key = {node->coll, node->uid,
		{node->query.key, node->query.key_len}};
	struct named_request *r;
	uint64_t number;

	if (node->query.src != QUERY_NAME)
		return 0;
	r = named_get(&fs->named, &key);
	number = r ? r->number : 0;
	named_unref(r);
	return number;
}

static bool is_fresh(struct fs *fs, struct qnode *node,
	const struct answer_bytes *a)
{
	return a->changes == atomic_load_explicit(&node->coll->changes,
				     memory_order_acquire) &&
	       a->named == named_number(fs, node);
}

/* ---- what is known already ---- */

/* The answer that a stat by this caller left, referenced, or NULL. */
static struct answer_bytes *take_kept(struct work *w)
{
	struct answer_bytes *a = NULL;

	pthread_mutex_lock(&w->node->lock);
	if (w->node->kept && w->node->kept_uid == w->uid) {
		a = w->node->kept;
		w->node->kept = NULL;
		if (clock_now_ns() - w->node->kept_ns > KEPT_NS ||
			!is_fresh(w->fs, w->node, a)) {
			answer_unref(a);
			a = NULL;
		}
	}
	pthread_mutex_unlock(&w->node->lock);
	return a;
}

static void keep(struct work *w, struct answer_bytes *a)
{
	pthread_mutex_lock(&w->node->lock);
	answer_unref(w->node->kept);
	w->node->kept = answer_ref(a);
	w->node->kept_uid = w->uid;
	w->node->kept_ns = clock_now_ns();
	pthread_mutex_unlock(&w->node->lock);
}

/* The answer that a stat by pid should tell of, referenced, or NULL. */
static struct answer_bytes *find_open(
	struct fs *fs, struct qnode *node, int pid)
{
	struct answer_bytes *a = NULL;

	pthread_mutex_lock(&node->lock);
	for (struct query_open *o = node->opens; o && !a; o = o->next)
		if (o->pid == pid)
			a = answer_ref(o->answer);
	/* A thread of who opened it has another pid here. */
	for (struct query_open *o = node->opens; o && !a; o = o->next)
		if (is_fresh(fs, node, o->answer))
			a = answer_ref(o->answer);
	if (!a && node->kept && clock_now_ns() - node->kept_ns <= KEPT_NS &&
		is_fresh(fs, node, node->kept))
		a = answer_ref(node->kept);
	pthread_mutex_unlock(&node->lock);
	return a;
}

/* What was asked has gone, a snapshot maybe: who opened the answer before reads
 * on. */
static struct answer_bytes *find_any_open(struct qnode *node)
{
	struct answer_bytes *a = NULL;

	pthread_mutex_lock(&node->lock);
	if (node->opens)
		a = answer_ref(node->opens->answer);
	pthread_mutex_unlock(&node->lock);
	return a;
}

bool query_is_open(struct qnode *node, int pid)
{
	bool is_open = false;

	pthread_mutex_lock(&node->lock);
	for (struct query_open *o = node->opens; o; o = o->next)
		is_open = is_open || o->pid == pid;
	pthread_mutex_unlock(&node->lock);
	return is_open;
}

bool query_is_partial(struct qnode *node, int pid)
{
	bool is_partial = false;

	pthread_mutex_lock(&node->lock);
	for (struct query_open *o = node->opens; o; o = o->next)
		is_partial = is_partial ||
			     (o->pid == pid && o->answer->is_partial);
	if (!node->opens && node->kept)
		is_partial = node->kept->is_partial;
	pthread_mutex_unlock(&node->lock);
	return is_partial;
}

/* ---- asking ---- */

static void note(struct work *w, struct collection *c, struct vg_id name,
	int rc, const char *why)
{
	if (why[0])
		fs_note_error(w->req, c, name, rc, why);
}

/* The last component of what is asked, for a sentence about it. */
static struct vg_id name_of(const struct work *w)
{
	struct vg_id name;
	const char *slash;

	if (w->kind == WORK_READ_RUN)
		return (struct vg_id){".run", 4};
	name = (struct vg_id){w->node->path, w->node->path_len};
	if (name.len > 0 && name.bytes[name.len - 1] == '/')
		name.len--; /* hits/ */
	slash = memrchr(name.bytes, '/', name.len);
	if (slash) {
		name.len -= (uint32_t)(slash + 1 - name.bytes);
		name.bytes = slash + 1;
	}
	return name;
}

static int ask(struct work *w, struct collection *c, const struct query *q,
	struct answer_bytes **out)
{
	struct ask a = {.fs = w->fs,
		.coll = c,
		.query = q,
		.uid = w->uid,
		.cancel = &w->cancel};
	int rc = ask_run(&a, out);

	if (rc == -EINVAL || rc == -ENOENT)
		note(w, c, name_of(w), rc, a.why);
	return rc;
}

static int ask_leaf(struct work *w, struct answer_bytes **out)
{
	uint64_t number = named_number(w->fs, w->node);
	int rc = ask(w, w->node->coll, &w->node->query, out);

	if (rc == 0)
		(*out)->named = number;
	return rc;
}

/* The request is about to be answered: an interrupt that libfuse delivers
 * right now borrows w, and is waited for. */
static void end_interrupts(struct work *w)
{
	if (w->is_pooled)
		fuse_req_interrupt_func(w->req, NULL, NULL);
}

static void do_open(struct work *w)
{
	struct query_open *opened = calloc(1, sizeof(*opened));
	struct handle *h = handle_new(w->fs, HANDLE_BYTES, w->node->coll);
	struct answer_bytes *a = NULL;
	int rc = opened && h ? 0 : -ENOMEM;

	if (rc == 0) {
		a = take_kept(w);
		rc = a ? 0 : ask_leaf(w, &a);
	}
	end_interrupts(w);
	if (rc < 0) {
		free(opened);
		handle_free(w->fs, h);
		fuse_reply_err(w->req, fs_errno(rc));
		nodes_unref(&w->fs->nodes, w->node);
		return;
	}
	opened->answer = answer_ref(a);
	opened->pid = w->pid;
	opened->uid = w->uid;
	pthread_mutex_lock(&w->node->lock);
	opened->next = w->node->opens;
	w->node->opens = opened;
	pthread_mutex_unlock(&w->node->lock);
	h->answer = a;
	h->opened = opened;
	h->node = w->node;
	handle_reply(w->req, h, h->node->nodeid, w->unique, &w->fi);
}

static void do_getattr(struct work *w)
{
	struct answer_bytes *a = find_open(w->fs, w->node, w->pid);
	struct stat st;
	int rc = 0;

	if (!a) {
		rc = ask_leaf(w, &a);
		if (rc == 0)
			keep(w, a);
		else if (rc == -ENOENT && (a = find_any_open(w->node)))
			rc = 0;
	}
	end_interrupts(w);
	if (rc < 0) {
		fuse_reply_err(w->req, fs_errno(rc));
	} else {
		attr_qnode(w->fs, w->node, a->len, a->mtime_ns, &st);
		fuse_reply_attr(w->req, &st, 0);
		answer_unref(a);
	}
	nodes_unref(&w->fs->nodes, w->node);
}

/* ---- links in SRC.hits/ ---- */

static bool has_row(struct work *w, const struct answer_bytes *a,
	struct hits_row *row)
{
	struct hits hits;

	hits_init(&hits, a->bytes, a->len, w->node->query.offset);
	return hits_find(hits,
		(struct vg_id){w->name, (uint32_t)strlen(w->name)}, row);
}

/* Looks in the listings that are open, and in the last one. *is_sure: one of
 * them is of the present. */
static bool find_listed(struct work *w, struct hits_row *row, bool *is_sure)
{
	struct qnode *node = w->node;
	bool found = false;

	*is_sure = false;
	pthread_mutex_lock(&node->lock);
	for (struct query_open *o = node->opens; o && !found; o = o->next) {
		*is_sure |= is_fresh(w->fs, node, o->answer);
		found = has_row(w, o->answer, row);
	}
	if (!found && node->kept &&
		clock_now_ns() - node->kept_ns <= LISTING_NS) {
		*is_sure |= is_fresh(w->fs, node, node->kept);
		found = has_row(w, node->kept, row);
	}
	pthread_mutex_unlock(&node->lock);
	return found;
}

static int add_link(struct work *w, const struct hits_row *row,
	struct qnode **out)
{
	struct qnode *dir = w->node;
	struct qnode_path path = {.coll = dir->coll,
		.parent = dir->nodeid,
		.uid = dir->uid,
		.kind = QNODE_LINK};
	char *text = malloc(dir->path_len + row->name_len);
	struct query q;
	int rc;

	if (!text)
		return -ENOMEM;
	memcpy(text, dir->path, dir->path_len);
	memcpy(text + dir->path_len, row->name, row->name_len);
	path.path = (struct vg_id){
		text, dir->path_len + (uint32_t)row->name_len};
	query_init(&q);
	q.src = QUERY_ID;
	memcpy(q.key, row->id.bytes, row->id.len);
	q.key_len = row->id.len;
	memcpy(q.snap, dir->query.snap, dir->query.snap_len);
	q.snap_len = dir->query.snap_len;
	rc = nodes_add(&w->fs->nodes, &path, &q, out);
	free(text);
	return rc;
}

/* A link is not kept in the arena: the next daemon is told its name again. */
static void do_link(struct work *w)
{
	struct fuse_entry_param e = {0};
	struct answer_bytes *a = NULL;
	struct hits_row row;
	struct qnode *link;
	bool is_sure, found = find_listed(w, &row, &is_sure);
	int rc = 0;

	if (!found && !is_sure) {
		rc = ask_leaf(w, &a);
		found = rc == 0 && has_row(w, a, &row);
		if (rc == 0)
			keep(w, a);
		answer_unref(a);
	}
	if (rc == 0)
		rc = found ? add_link(w, &row, &link) : -ENOENT;
	end_interrupts(w);
	if (rc < 0) {
		fuse_reply_err(w->req, fs_errno(rc));
	} else {
		attr_qnode(w->fs, link, 0, 0, &e.attr);
		e.ino = link->nodeid;
		if (fuse_reply_entry(w->req, &e) < 0)
			nodes_forget(&w->fs->nodes, e.ino, 1);
		nodes_unref(&w->fs->nodes, link);
	}
	nodes_unref(&w->fs->nodes, w->node);
	free(w->name);
}

void query_keep_listing(struct handle *h)
{
	struct qnode *node = h->node;

	pthread_mutex_lock(&node->lock);
	answer_unref(node->kept);
	node->kept = answer_ref(h->answer);
	node->kept_uid = h->opened->uid;
	node->kept_ns = clock_now_ns();
	pthread_mutex_unlock(&node->lock);
}

/* ---- .run ---- */

int query_write_run(struct fs *fs, struct handle *h, const char *buf, size_t size,
	uint64_t off)
{
	int rc;

	/* Held while the pool searches for a read of this handle: a thread that
	 * serves requests does not wait for that. */
	if (pthread_mutex_trylock(&h->lock) != 0)
		return -EBUSY;
	rc = handle_add_request(fs, h, buf, size, off, VG_BODY_MAX);
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* Parses the request on top of the path's parameters. */
static int parse_run(struct work *w, struct query *q)
{
	struct handle *h = w->h;
	struct op_config config = collection_config(h->coll);
	int rc = query_init_from(q, &h->node->query);

	if (rc == 0)
		rc = query_parse_request(q, h->run.request, h->run.len,
			(enum vg_dtype)config.dtype, config.dim);
	if (rc == -EINVAL)
		note(w, h->coll, name_of(w), rc, q->error);
	return rc;
}

/* Tells the arena what was answered: the next read goes on in that. */
static void keep_run(struct work *w, const struct answer_bytes *a)
{
	struct arena *arena = w->fs->arena;
	uint32_t file = w->h->file;

	if (arena_truncate(arena, file, ARENA_META, 0) == 0 && a && a->bytes &&
		handle_has_room(w->fs, a->len) &&
		arena_pwrite(arena, file, ARENA_META, 0, a->bytes, a->len) < 0)
		arena_truncate(arena, file, ARENA_META, 0);
	handle_save(w->fs, w->h);
}

static int ask_run_locked(struct work *w)
{
	struct run_state *run = &w->h->run;
	struct answer_bytes *a = NULL;
	struct query q;
	int rc;

	answer_unref(run->answer);
	run->answer = NULL;
	run->is_asked = true;
	run->base = w->off >= run->end ? run->end : 0;
	if (run->len == 0)
		return 0;
	query_init(&q);
	rc = parse_run(w, &q);
	if (rc == 0)
		rc = ask(w, w->h->coll, &q, &a);
	query_fini(&q);
	run->answer = a;
	keep_run(w, a);
	return rc;
}

/* Once a reply is out the client may close the file, and the handle goes: so
 * the answer is held by a reference of our own, and the lock given back. */
static void do_read_run(struct work *w)
{
	struct run_state *run = &w->h->run;
	struct answer_bytes *a = NULL;
	uint64_t at = 0;
	int64_t n = 0;
	char *buf = NULL;
	int rc = 0;

	pthread_mutex_lock(&w->h->lock);
	if (!run->is_asked && run->len)
		rc = ask_run_locked(w);
	if (w->off < run->base)
		run->base = 0;
	at = w->off - run->base;
	if (rc == 0 && run->answer)
		a = answer_ref(run->answer);
	pthread_mutex_unlock(&w->h->lock);
	end_interrupts(w);
	if (a && a->rows) {
		buf = malloc(w->size);
		n = buf ? answer_read(a, at, buf, w->size) : -ENOMEM;
		rc = n < 0 ? (int)n : 0;
	} else if (a && at < a->len) {
		n = (int64_t)VG_MIN(w->size, a->len - (size_t)at);
	}
	if (rc < 0)
		fuse_reply_err(w->req, fs_errno(rc));
	else
		fuse_reply_buf(
			w->req, buf || !n ? buf : a->bytes + at, (size_t)n);
	free(buf);
	answer_unref(a);
}

/* ---- here or on the pool ---- */

static void on_interrupt(fuse_req_t req, void *data)
{
	struct work *w = data;

	(void)req;
	atomic_store_explicit(&w->cancel, true, memory_order_relaxed);
}

static void run_work(struct work *w)
{
	switch (w->kind) {
	case WORK_OPEN:
		do_open(w);
		break;
	case WORK_GETATTR:
		do_getattr(w);
		break;
	case WORK_LINK:
		do_link(w);
		break;
	case WORK_READ_RUN:
		do_read_run(w);
		break;
	}
}

static void run_pooled(struct job *job)
{
	struct work *w = (struct work *)job;

	run_work(w);
	free(w);
}

static void start(struct work *w, bool is_long)
{
	struct work *pooled;

	w->fs = fs_of(w->req);
	w->pid = fuse_req_ctx(w->req)->pid;
	w->uid = fuse_req_ctx(w->req)->uid;
	w->unique = loop_unique().unique;
	pooled = is_long ? malloc(sizeof(*pooled)) : NULL;
	if (!pooled) {
		run_work(w);
		return;
	}
	*pooled = *w;
	pooled->is_pooled = true;
	pooled->job.run = run_pooled;
	fuse_req_interrupt_func(w->req, on_interrupt, pooled);
	pool_put(&pooled->fs->pool, &pooled->job);
}

static bool is_long(fuse_req_t req, struct collection *c,
	const struct query *q)
{
	struct ask a = {.fs = fs_of(req),
		.coll = c,
		.query = q,
		.uid = fuse_req_ctx(req)->uid};

	return ask_is_long(&a);
}

void query_open_leaf(fuse_req_t req, struct qnode *node,
	struct fuse_file_info *fi)
{
	struct work w = {
		.kind = WORK_OPEN, .req = req, .node = node, .fi = *fi};

	/* The handle's reference: the operation gives its own back. */
	w.node = nodes_get(&fs_of(req)->nodes, node->nodeid);
	assert(w.node == node);
	start(&w, is_long(req, node->coll, &node->query));
}

void query_lookup_link(fuse_req_t req, struct qnode *hits, const char *name)
{
	struct work w = {.kind = WORK_LINK, .req = req, .node = hits};
	struct vg_id id = {name, (uint32_t)strlen(name)};
	struct fs *fs = fs_of(req); /* an answer ends req */
	int err = ENOENT;

	if (hits_is_name(id)) {
		w.name = strdup(name);
		err = ENOMEM;
	}
	if (!w.name) {
		fuse_reply_err(req, err);
		nodes_unref(&fs->nodes, hits);
		return;
	}
	start(&w, is_long(req, hits->coll, &hits->query));
}

void query_getattr(fuse_req_t req, struct qnode *node)
{
	struct work w = {.kind = WORK_GETATTR, .req = req, .node = node};

	start(&w, is_long(req, node->coll, &node->query));
}

void query_read_run(
	fuse_req_t req, struct handle *h, size_t size, uint64_t off)
{
	struct work w = {.kind = WORK_READ_RUN,
		.req = req,
		.h = h,
		.size = size,
		.off = off};
	struct run_state *run = &h->run;
	struct query q;
	bool goes_long;

	/* A read beside one that is being answered waits on the pool. */
	if (pthread_mutex_trylock(&h->lock) != 0) {
		start(&w, true);
		return;
	}
	/* A request of one short vector is searched here; what looks like more
	 * is the pool's. */
	query_init(&q);
	q.src = QUERY_VEC;
	goes_long = !run->is_asked && (run->len > 65536 ||
		is_long(req, h->coll, &q));
	if (!goes_long && !run->is_asked && run->len)
		goes_long = memmem(run->request, run->len, "\"exact\"", 7) ||
			    memmem(run->request, run->len, "\"group\"", 7) ||
			    memmem(run->request, run->len, "\"vectors\"", 9);
	pthread_mutex_unlock(&h->lock);
	start(&w, goes_long);
}
