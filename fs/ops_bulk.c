/* SPDX-License-Identifier: Apache-2.0 */
/* ops_bulk.c: imports and exports: long work, done by the pool. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fs/ask.h"
#include "fs/boards.h"
#include "fs/import.h"
#include "fs/loop.h"
#include "fs/ops.h"
#include "fs/rowfile.h"

enum bulk_kind { BULK_OPEN, BULK_GETATTR, BULK_READ, BULK_WRITE, BULK_FLUSH };

/* One request on the pool. */
struct bulk {
	struct job job;
	enum bulk_kind kind;
	fuse_req_t req;
	struct fs *fs;
	struct collection *coll; /* referenced: OPEN, GETATTR */
	enum view view;
	struct handle *h;
	struct fuse_file_info fi;
	uint64_t ino, unique; /* OPEN: of the file, of the request */
	bool is_repeat;	      /* a daemon before us may have done it */
	char *bytes; /* owned: WRITE */
	size_t size;
	uint64_t off;
	_Atomic bool cancel;
};

static void on_interrupt(fuse_req_t req, void *data)
{
	struct bulk *b = data;

	(void)req;
	atomic_store_explicit(&b->cancel, true, memory_order_relaxed);
}

/* Before the reply: an interrupt that is being delivered borrows b. */
static void end_interrupts(struct bulk *b)
{
	fuse_req_interrupt_func(b->req, NULL, NULL);
}

static struct bulk *bulk_new(fuse_req_t req, enum bulk_kind kind)
{
	struct bulk *b = calloc(1, sizeof(*b));

	if (!b) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	b->kind = kind;
	b->req = req;
	b->fs = fs_of(req);
	b->unique = loop_unique().unique;
	b->is_repeat = loop_unique().resent;
	return b;
}

/* ---- exports ---- */

static const enum rowfile_kind export_kinds[] = {
	ROWFILE_IDS, ROWFILE_NPY, ROWFILE_FVECS, ROWFILE_NDJSON, ROWFILE_VEC};

static int export_new(struct bulk *b, struct answer_bytes **out)
{
	struct rowfile_spec spec = {
		.kind = export_kinds[b->view - VIEW_EXPORT_IDS], .pool = &b->fs->pool};
	struct answer_bytes *a = calloc(1, sizeof(*a));
	int rc;

	if (!a)
		return -ENOMEM;
	atomic_init(&a->refs, 1);
	rc = rowfile_open(b->fs->store, b->coll, &spec, &b->cancel, &a->rows);
	if (rc < 0) {
		answer_unref(a);
		return rc;
	}
	a->len = rowfile_size(a->rows);
	a->mtime_ns = rowfile_mtime_ns(a->rows);
	*out = a;
	return 0;
}

static void do_open(struct bulk *b)
{
	struct answer_bytes *a = NULL;
	struct handle *h = NULL;
	int rc = export_new(b, &a);

	if (rc == 0) {
		h = handle_new(b->fs, HANDLE_BYTES, b->coll);
		rc = h ? 0 : -ENOMEM;
	}
	end_interrupts(b);
	if (rc < 0) {
		answer_unref(a);
		fuse_reply_err(b->req, fs_errno(rc));
		return;
	}
	/* A stat of the open file is answered from here: bulk_getattr. */
	pthread_mutex_lock(&b->fs->handles_lock);
	h->answer = a;
	h->view = b->view;
	h->pid = fuse_req_ctx(b->req)->pid;
	pthread_mutex_unlock(&b->fs->handles_lock);
	handle_reply(b->req, h, b->ino, b->unique, &b->fi);
}

static void reply_attr(struct bulk *b, const struct answer_bytes *a)
{
	struct stat st;
	int rc = attr_view(b->fs, b->view, b->coll, 0, &st);

	if (rc < 0) {
		fuse_reply_err(b->req, fs_errno(rc));
		return;
	}
	st.st_size = (off_t)a->len;
	st.st_blocks = (blkcnt_t)((a->len + 511) / 512);
	fuse_reply_attr(b->req, &st, 0);
}

static void do_getattr(struct bulk *b)
{
	struct answer_bytes *a;
	int rc = export_new(b, &a);

	end_interrupts(b);
	if (rc < 0) {
		fuse_reply_err(b->req, fs_errno(rc));
		return;
	}
	reply_attr(b, a);
	answer_unref(a);
}

/* The answer of an export that the caller has open, referenced, or NULL. */
static struct answer_bytes *find_export(
	struct fs *fs, const struct collection *c, enum view view, int pid)
{
	struct answer_bytes *a = NULL;

	pthread_mutex_lock(&fs->handles_lock);
	for (struct handle *h = fs->handles; h && !a; h = h->next)
		if (h->kind == HANDLE_BYTES && h->coll == c &&
			h->view == view && h->pid == pid)
			a = answer_ref(h->answer);
	pthread_mutex_unlock(&fs->handles_lock);
	return a;
}

/* What was open at a crash is rendered again, from the moment it had. */
static int reopen(struct bulk *b)
{
	struct handle *h = b->h;
	struct rowfile_spec spec = {.pool = &b->fs->pool, .look = &h->look};
	struct rowfile *rows = NULL;
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	if (!h->answer->rows) {
		if (h->node) {
			rc = ask_open_rows(b->fs, h->node, &spec, &rows);
		} else {
			spec.kind = export_kinds[h->view - VIEW_EXPORT_IDS];
			rc = rowfile_open(
				b->fs->store, h->coll, &spec, NULL, &rows);
		}
		h->answer->rows = rows;
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static void do_read(struct bulk *b)
{
	char *buf = malloc(b->size);
	int64_t n = buf ? 0 : -ENOMEM;

	if (n == 0 && b->h->look.gen)
		n = reopen(b);
	if (n == 0)
		n = answer_read(b->h->answer, b->off, buf, b->size);
	if (n < 0)
		fuse_reply_err(b->req, fs_errno((int)n));
	else
		fuse_reply_buf(b->req, buf, (size_t)n);
	free(buf);
}

/* ---- imports ---- */

/* What errors of an import are told of. */
static const struct vg_id import_name = {".import", 7};

/* What the former daemon was given and had not settled goes in once more; rows
 * that it had applied are known by their origins. */
static int feed_again_locked(struct bulk *b)
{
	struct handle *h = b->h;
	uint64_t from = h->mark.stream.passed;
	int rc = 0;

	if (!h->is_cut)
		return 0;
	h->is_cut = false;
	import_put_origin(h->import, b->fs->session, h->number >> 16, true);
	for (struct chunk *c = h->chunks; c && rc == 0; c = c->next) {
		size_t len, skip = 0;
		const char *bytes = arena_bytes(
			b->fs->arena, c->file, ARENA_BODY, &len);

		if (c->off < from)
			skip = (size_t)VG_MIN(from - c->off, (uint64_t)len);
		rc = import_write(h->import, bytes + skip, len - skip);
	}
	return rc;
}

/* Where the arena is full, what is under way is settled and leaves it; if that
 * is not enough, the import does not outlive a crash. */
static void keep_chunk_locked(struct bulk *b)
{
	struct handle *h = b->h;
	int rc;

	if (h->is_unkept)
		return;
	rc = handle_put_chunk(b->fs, h, b->bytes, b->size, b->unique);
	if (rc == -ENOSPC) {
		import_settle(h->import);
		handle_drop_chunks(b->fs, h);
		rc = handle_put_chunk(b->fs, h, b->bytes, b->size, b->unique);
	}
	if (rc < 0) {
		h->is_unkept = true;
		handle_save(b->fs, h);
	}
}

static void do_write(struct bulk *b)
{
	struct handle *h = b->h;
	const char *why = "";
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = feed_again_locked(b);
	if (b->is_repeat && b->off + b->size <= h->import_end) {
		why = import_error(h->import); /* it was among the chunks */
	} else if (b->off != h->import_end) {
		rc = -EINVAL;
		why = "an import is a stream: write it from front to back";
	} else {
		keep_chunk_locked(b);
		import_put_origin(
			h->import, b->fs->session, h->number >> 16, false);
		rc = import_write(h->import, b->bytes, b->size);
		h->import_end += b->size;
		if (rc < 0)
			why = import_error(h->import);
	}
	handle_drop_chunks(b->fs, h);
	if (rc < 0)
		fs_note_error(b->req, h->coll, import_name, rc, why);
	pthread_mutex_unlock(&h->lock);
	if (rc < 0)
		fuse_reply_err(b->req, fs_errno(rc));
	else
		fuse_reply_write(b->req, b->size);
}

static void do_flush(struct bulk *b)
{
	struct handle *h = b->h;
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	feed_again_locked(b); /* the flush says what became of it */
	if (h->import_end)
		rc = import_flush(h->import);
	handle_drop_chunks(b->fs, h);
	if (rc < 0)
		fs_note_error(b->req, h->coll, import_name, rc,
			import_error(h->import));
	pthread_mutex_unlock(&h->lock);
	fuse_reply_err(b->req, fs_errno(rc));
}

static void run(struct job *job)
{
	struct bulk *b = (struct bulk *)job;

	switch (b->kind) {
	case BULK_OPEN:
		do_open(b);
		break;
	case BULK_GETATTR:
		do_getattr(b);
		break;
	case BULK_READ:
		do_read(b);
		break;
	case BULK_WRITE:
		do_write(b);
		break;
	case BULK_FLUSH:
		do_flush(b);
		break;
	}
	collection_unref(b->coll);
	free(b->bytes);
	free(b);
}

static void start(struct bulk *b)
{
	b->job.run = run;
	if (b->kind == BULK_OPEN || b->kind == BULK_GETATTR)
		fuse_req_interrupt_func(b->req, on_interrupt, b);
	pool_put(&b->fs->pool, &b->job);
}

void bulk_open_export(fuse_req_t req, struct collection *c, enum view view,
	struct fuse_file_info *fi)
{
	struct bulk *b;

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EACCES);
		return;
	}
	b = bulk_new(req, BULK_OPEN);
	if (!b)
		return;
	b->coll = collection_ref(c);
	b->view = view;
	b->ino = node_encode((struct node_ref){
		.kind = NODE_VIEW, .coll = c->no, .low = view});
	b->fi = *fi;
	b->fi.direct_io = 1;
	b->fi.noflush = 1;
	start(b);
}

void bulk_getattr(fuse_req_t req, struct collection *c, enum view view,
	struct handle *h)
{
	struct bulk *b = bulk_new(req, BULK_GETATTR);
	struct answer_bytes *a;

	if (!b)
		return;
	b->coll = collection_ref(c);
	b->view = view;
	a = h && h->kind == HANDLE_BYTES
		    ? answer_ref(h->answer)
		    : find_export(b->fs, c, view, fuse_req_ctx(req)->pid);
	if (!a) {
		start(b);
		return;
	}
	reply_attr(b, a);
	answer_unref(a);
	collection_unref(b->coll);
	free(b);
}

/* Begins the import that h is: of a view, or of one with a prefix. */
static int new_import(struct fs *fs, struct handle *h, enum view view)
{
	static const enum rowstream_kind kinds[] = {
		ROWSTREAM_NPY, ROWSTREAM_FVECS, ROWSTREAM_NDJSON,
		ROWSTREAM_BVECS, ROWSTREAM_CSV};
	struct import_board *board;
	struct vg_id prefix = {0};
	const char *at;
	int rc = boards_get(fs->boards, h->coll, &board);

	if (rc < 0)
		return rc;
	if (h->node) {
		at = memchr(h->node->path, '@', h->node->path_len);
		assert(at);
		view = view_find(VIEW_IMPORT, h->node->path,
			(size_t)(at - h->node->path));
		prefix = (struct vg_id){at + 1,
			(uint32_t)(h->node->path + h->node->path_len - at - 1)};
	}
	h->view = view;
	rc = import_new(fs->store, h->coll, kinds[view - VIEW_IMPORT_NPY],
		prefix, board, &h->import);
	import_board_unref(board);
	return rc;
}

int bulk_load_import(struct fs *fs, struct handle *h)
{
	struct meta head = {0};
	size_t len;
	int rc = new_import(fs, h, h->view);

	if (rc < 0)
		return rc;
	import_put_mark(h->import, &h->mark);
	/* Before its end it is fed again. */
	if (h->has_body && h->mark.stream.passed > 0) {
		head.json = arena_bytes(fs->arena, h->file, ARENA_BODY, &len);
		head.len = (uint32_t)len;
	}
	return import_put_head(h->import, head);
}

void bulk_open_import(fuse_req_t req, struct ops_node *node,
	struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct handle *h = handle_new(fs, HANDLE_IMPORT, node->coll);
	fuse_ino_t ino = node->qnode ? node->qnode->nodeid
				     : node_encode(node->ref);
	int rc = h ? 0 : -ENOMEM;

	if (rc == 0 && (fi->flags & O_ACCMODE) != O_WRONLY)
		rc = -EACCES;
	if (rc == 0) {
		h->node = node->qnode;
		node->qnode = NULL;
		rc = new_import(fs, h, (enum view)node->ref.low);
	}
	if (rc < 0) {
		handle_free(fs, h);
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	import_get_mark(h->import, &h->mark);
	fi->direct_io = 1;
	handle_reply(req, h, ino, loop_unique().unique, fi);
}

void bulk_write(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, uint64_t off)
{
	struct bulk *b = bulk_new(req, BULK_WRITE);

	if (!b)
		return;
	b->bytes = malloc(size ? size : 1);
	if (!b->bytes) {
		free(b);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(b->bytes, buf, size);
	b->h = h;
	b->size = size;
	b->off = off;
	start(b);
}

void bulk_flush(fuse_req_t req, struct handle *h)
{
	struct bulk *b = bulk_new(req, BULK_FLUSH);

	if (!b)
		return;
	b->h = h;
	start(b);
}

void bulk_read(fuse_req_t req, struct handle *h, size_t size, uint64_t off)
{
	struct bulk *b = bulk_new(req, BULK_READ);

	if (!b)
		return;
	b->h = h;
	b->size = size;
	b->off = off;
	start(b);
}
