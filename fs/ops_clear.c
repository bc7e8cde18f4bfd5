/* SPDX-License-Identifier: Apache-2.0 */
/* ops_clear.c: .delete-where: a line, in however many writes it comes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/loop.h"
#include "fs/ops.h"
#include "src/filter.h"

/*
 * A filter that is cut off means other records, and those would be gone. So
 * nothing is deleted before the newline is there: writes are gathered, and the
 * one that brings it is answered with the outcome, as shells do not look at
 * what close() says. `all` alone needs none: close deletes all. Behind a refusal
 * nothing more is taken of the handle: the rest of a line, from a program that
 * goes on, could be a filter as well.
 */
#define LINE_MAX_LEN (FILTER_LEN_MAX + 1)
#define END_NONE UINT64_MAX /* run.end of a handle that takes no more... */
#define OFF_END END_NONE    /* ...and where a write is that appends */

static const char where[] = ".delete-where";

/* What a request brought, and what is to be done of it. */
struct clear {
	struct meta whole; /* borrowed of the request or of h; len 0: nothing */
	const char *why;   /* it is refused */
};

static int refuse(struct clear *c, int rc, const char *why)
{
	c->why = why;
	return rc;
}

/* h->lock is held, as in all that follows. */
static int take(struct fs *fs, struct handle *h, struct meta piece,
	uint64_t off, struct clear *c)
{
	struct run_state *run = &h->run;
	uint64_t unique = loop_unique().unique;
	bool is_again = run->last == unique; /* for the daemon before us */
	bool is_line = piece.json[piece.len - 1] == '\n';
	int rc = 0;

	if (off == OFF_END)
		off = run->end;
	if (!is_again && !run->is_asked &&
		run->len + piece.len > LINE_MAX_LEN)
		return refuse(c, -EFBIG,
			"a filter has at most 1048576 bytes: nothing was "
			"deleted");
	if (run->end == END_NONE ||
		(run->last && !is_again && off != run->end))
		return refuse(c, -EINVAL,
			"this does not go on where the last write ended, or "
			"that was refused: open it again and write all of it");
	if (memchr(piece.json, '\n', piece.len - 1))
		return refuse(c, -EINVAL,
			"write one line at a time: nothing was deleted");
	if (is_line && (run->len == 0 || (run->is_asked && !is_again))) {
		/* Nothing is kept of what is whole: there may be no room. */
		run->len = 0;
		run->is_asked = false;
		run->end = off + piece.len;
		run->last = unique;
		handle_save(fs, h);
		c->whole = piece;
		return 0;
	}
	if (!is_again)
		rc = handle_add_request(fs, h, piece.json, piece.len, off,
			LINE_MAX_LEN);
	if (rc < 0)
		return rc;
	if (is_line) {
		run->is_asked = true;
		handle_save(fs, h);
		c->whole = (struct meta){run->request, (uint32_t)run->len};
	}
	return 0;
}

/* What is left without a newline at close; which says once more that something
 * was refused: of a write in parts the kernel may tell the first part alone. */
static int take_rest(struct fs *fs, struct handle *h, struct clear *c)
{
	struct run_state *run = &h->run;
	uint64_t unique = loop_unique().unique;

	if (run->end == END_NONE)
		return -EINVAL;
	if (run->len == 0 || (run->is_asked && run->last != unique))
		return 0;
	if (run->len != 3 || memcmp(run->request, "all", 3) != 0)
		return refuse(c, -EINVAL,
			"a filter without a newline may be cut off: end it "
			"with one; nothing was deleted");
	run->is_asked = true;
	run->last = unique;
	handle_save(fs, h);
	c->whole = (struct meta){run->request, (uint32_t)run->len};
	return 0;
}

static void take_no_more(struct fs *fs, struct handle *h)
{
	h->run.end = END_NONE;
	handle_save(fs, h);
}

/* ctx is the handle, which the request that waits keeps open; aux the bytes
 * that were written, 0 at close. */
static void finish_clear(struct fs_change *fc, int rc)
{
	struct handle *h = fc->ctx;

	if (rc < 0) {
		pthread_mutex_lock(&h->lock);
		take_no_more(fc->fs, h);
		pthread_mutex_unlock(&h->lock);
	}
	if (rc < 0 || fc->aux == 0)
		fuse_reply_err(fc->req, fs_errno(rc));
	else
		fuse_reply_write(fc->req, fc->aux);
}

static int change_new(fuse_req_t req, struct handle *h, struct meta text,
	struct fs_change **out)
{
	struct fs_change *fc = fs_change_new(req, OP_CLEAR, h->coll);

	if (fc)
		fc->bytes = malloc(text.len);
	if (!fc || !fc->bytes) {
		fs_change_free(fc);
		return -ENOMEM;
	}
	memcpy(fc->bytes, text.json, text.len);
	fc->change.meta = (struct meta){fc->bytes, text.len};
	fs_path(fc->fs, h->coll, ops_id(where), fc->path, sizeof(fc->path));
	fc->finish = finish_clear;
	fc->ctx = h;
	*out = fc;
	return 0;
}

/* piece: of a write at off; len 0: it is a close. */
static void clear(fuse_req_t req, struct handle *h, struct meta piece,
	uint64_t off)
{
	struct fs *fs = fs_of(req);
	struct fs_change *fc = NULL;
	struct clear c = {{NULL, 0}, NULL};
	int rc;

	assert(h->view == VIEW_DELETE_WHERE);
	pthread_mutex_lock(&h->lock);
	rc = piece.len ? take(fs, h, piece, off, &c) : take_rest(fs, h, &c);
	if (rc == 0 && c.whole.len)
		rc = change_new(req, h, c.whole, &fc);
	if (rc < 0)
		take_no_more(fs, h);
	pthread_mutex_unlock(&h->lock);
	if (rc < 0) {
		fs_refuse(req, h->coll, ops_id(where), rc, c.why);
	} else if (fc) {
		fc->aux = piece.len;
		fs_change_run(fc);
	} else if (piece.len) {
		fuse_reply_write(req, piece.len);
	} else {
		fuse_reply_err(req, 0);
	}
}

void clear_write(fuse_req_t req, struct handle *h, const char *buf,
	size_t size, uint64_t off, bool is_append)
{
	assert(size > 0 && size <= UINT32_MAX);
	/* Where the file ends is what the kernel last heard of another open. */
	clear(req, h, (struct meta){buf, (uint32_t)size},
		is_append ? OFF_END : off);
}

void clear_flush(fuse_req_t req, struct handle *h)
{
	clear(req, h, (struct meta){NULL, 0}, 0);
}
