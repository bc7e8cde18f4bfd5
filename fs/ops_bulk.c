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
	return b;
}

/* ---- exports ---- */

static int export_new(struct bulk *b, struct answer_bytes **out)
{
	static const enum rowfile_kind kinds[] = {ROWFILE_IDS, ROWFILE_NPY,
		ROWFILE_FVECS, ROWFILE_NDJSON};
	struct rowfile_spec spec = {
		.kind = kinds[b->view - VIEW_EXPORT_IDS], .pool = &b->fs->pool};
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
	b->fi.fh = (uint64_t)(uintptr_t)h;
	if (fuse_reply_open(b->req, &b->fi) < 0)
		handle_free(b->fs, h);
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

static void do_read(struct bulk *b)
{
	char *buf = malloc(b->size);
	int64_t n = -ENOMEM;

	if (buf)
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

static void do_write(struct bulk *b)
{
	struct handle *h = b->h;
	const char *why = "";
	int rc;

	pthread_mutex_lock(&h->lock);
	if (b->off != h->import_end) {
		rc = -EINVAL;
		why = "an import is a stream: write it from front to back";
	} else {
		rc = import_write(h->import, b->bytes, b->size);
		h->import_end += b->size;
		if (rc < 0)
			why = import_error(h->import);
	}
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
	if (h->import_end)
		rc = import_flush(h->import);
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

void bulk_open_import(fuse_req_t req, const struct ops_node *node,
	struct fuse_file_info *fi)
{
	static const enum rowstream_kind kinds[] = {
		ROWSTREAM_NPY, ROWSTREAM_FVECS, ROWSTREAM_NDJSON};
	struct fs *fs = fs_of(req);
	struct handle *h = handle_new(fs, HANDLE_IMPORT, node->coll);
	struct import_board *board = NULL;
	struct vg_id prefix = {0};
	enum view view = (enum view)node->ref.low;
	const char *at;
	int rc = h ? boards_get(fs->boards, node->coll, &board) : -ENOMEM;

	if (node->qnode) {
		at = memchr(node->qnode->path, '@', node->qnode->path_len);
		assert(at);
		view = view_find(VIEW_IMPORT, node->qnode->path,
			(size_t)(at - node->qnode->path));
		prefix = (struct vg_id){at + 1,
			(uint32_t)(node->qnode->path + node->qnode->path_len -
				   at - 1)};
	}
	if (rc == 0 && (fi->flags & O_ACCMODE) != O_WRONLY)
		rc = -EACCES;
	if (rc == 0)
		rc = import_new(fs->store, node->coll,
			kinds[view - VIEW_IMPORT_NPY], prefix, board,
			&h->import);
	import_board_unref(board);
	if (rc < 0) {
		handle_free(fs, h);
		fuse_reply_err(req, fs_errno(rc));
		return;
	}
	fi->direct_io = 1;
	fi->fh = (uint64_t)(uintptr_t)h;
	if (fuse_reply_open(req, fi) < 0)
		handle_free(fs, h);
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
