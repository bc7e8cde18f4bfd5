/* SPDX-License-Identifier: Apache-2.0 */
/* import.c: see import.h. */
#include "fs/import.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/number.h"
#include "src/origins.h"

/* A row's request: above these bits is the number of its stream. */
#define ROW_BITS 40
#define ROW_MASK ((1ull << ROW_BITS) - 1)
#define BAD_TOLD_MAX 1000000ull

#define LOT_TEXT (VG_META_MAX + (64u << 10))

static_assert(IMPORT_VECS >= 4 * VG_DIM_MAX, "any vector fits into an empty lot");
static_assert(LOT_TEXT >= VG_META_MAX + VG_ID_MAX, "and so does a row's text");

#define VEC_ALIGN _Alignof(float)

/* One commit and all that its changes borrow. Pages that are not used are
 * never touched. */
struct lot {
	struct commit commit;
	struct import *im;
	bool is_flying; /* im->lock: between store_commit and done */
	size_t vecs_len, text_len;
	struct rowstream_mark begin; /* before its first row */
	uint64_t n_bad_begin; /* rows that were no rows, before that one */
	uint64_t place[IMPORT_ROWS]; /* the line or row of a change */
	struct change changes[IMPORT_ROWS];
	char text[LOT_TEXT]; /* ids and metadata */
	_Alignas(float) char vecs[IMPORT_VECS]; /* each at a multiple of VEC_ALIGN */
};

struct import {
	struct store *store;	    /* borrowed */
	struct collection *coll;    /* referenced */
	struct import_board *board; /* referenced */
	uint64_t number;	    /* ours on the board */
	struct rowstream stream;
	struct lot *lot[2];
	unsigned filling;     /* the other one may be flying */
	pthread_mutex_t lock; /* a leaf */
	pthread_cond_t cond;  /* a lot has landed */
	uint64_t n_bad, first_bad;
	uint64_t n_refused; /* of n_bad: by the store */
	uint64_t n_rows;    /* that are in */
	struct import_mark mark;
	struct op_origin origin; /* of row 0 */
	bool is_repeat;
	bool is_in_row; /* the stream is giving a row, which is in no lot */
	char first_why[256];
	int rc;		   /* what stopped it, or 0 */
	bool is_flushed;   /* nothing was written since */
	char stopped[320]; /* a sentence, if rc < 0 */
	char error[800];
	uint32_t prefix_len;
	char prefix[VG_ID_MAX];
};

static const char *unit(const struct import *im)
{
	return import_board_unit(im->stream.kind);
}

static void put_bad(struct import *im, uint64_t place, const char *why)
{
	if (im->n_bad == 0 || place < im->first_bad) {
		im->first_bad = place;
		snprintf(im->first_why, sizeof(im->first_why), "%s", why);
	}
	im->n_bad++;
	import_board_put(im->board, im->number, place, why);
}

/* ---- lots ---- */

static void land(struct commit *commit)
{
	struct lot *lot = commit->ctx;
	struct import *im = lot->im;

	pthread_mutex_lock(&im->lock);
	lot->is_flying = false;
	pthread_cond_signal(&im->cond);
	pthread_mutex_unlock(&im->lock);
}

/* Whether no row can go in any more. */
static bool is_fatal(const struct import *im, int rc)
{
	switch (rc) {
	case -ENOSPC:
	case -EDQUOT:
	case -EROFS:
	case -EIO:
	case -ENOMEM:
		return true;
	case -ENOENT:
		return atomic_load(&im->coll->is_dropped);
	default:
		return false;
	}
}

/* Counts what became of the rows of a lot that landed, and empties it. */
static void settle(struct import *im, struct lot *lot)
{
	uint64_t rows = 0;

	if (lot->commit.n == 0)
		return;
	for (uint32_t i = 0; i < lot->commit.n; i++) {
		const struct change *ch = &lot->changes[i];

		if (ch->rc == 0) {
			rows++;
		} else if (!is_fatal(im, ch->rc)) {
			put_bad(im, lot->place[i], ch->why);
			im->n_refused++;
		} else if (im->rc == 0) {
			im->rc = ch->rc;
			put_bad(im, lot->place[i], ch->why);
			snprintf(im->stopped, sizeof(im->stopped),
				"the import stopped at %s %llu: %s", unit(im),
				(unsigned long long)lot->place[i], ch->why);
		} else {
			/* The same sentence again and again helps nobody. */
			im->n_bad++;
			import_board_put(im->board, im->number, lot->place[i],
				NULL);
		}
	}
	import_board_add(im->board, im->number, rows, 0);
	im->n_rows += rows;
	lot->commit.n = 0;
	lot->vecs_len = lot->text_len = 0;
}

/* The lot before the one that is being filled has landed: all before its first
 * row is settled, or all before the next row if it is empty. */
static void put_mark(struct import *im)
{
	const struct lot *lot = im->lot[im->filling];
	struct import_mark *mark = &im->mark;

	if (im->rc < 0)
		return;
	mark->n_bad = im->n_bad;
	if (lot->commit.n) {
		mark->stream = lot->begin;
		mark->n_bad = im->n_refused + lot->n_bad_begin;
	} else {
		rowstream_get_mark(&im->stream, im->is_in_row, &mark->stream);
	}
	mark->n_rows = im->n_rows;
	mark->first_bad = im->first_bad;
}

static void wait_lot(struct import *im, struct lot *lot)
{
	pthread_mutex_lock(&im->lock);
	while (lot->is_flying)
		pthread_cond_wait(&im->cond, &im->lock);
	pthread_mutex_unlock(&im->lock);
	settle(im, lot);
}

/* Waits for the lot before, sends the one that was filled. Returns what
 * stopped the import; then the filled one is left where it is. */
static int send_lot(struct import *im)
{
	struct lot *lot = im->lot[im->filling];

	wait_lot(im, im->lot[!im->filling]);
	put_mark(im);
	if (im->rc < 0 || lot->commit.n == 0)
		return im->rc;
	lot->is_flying = true;
	lot->commit.hand_over = true; /* what comes next is parsed meanwhile */
	lot->commit.done = land;
	lot->commit.ctx = lot;
	im->filling = !im->filling;
	store_commit(im->store, &lot->commit);
	return 0;
}

/* ---- rows ---- */

static const char *put_text(struct lot *lot, const char *bytes, size_t len)
{
	char *at = lot->text + lot->text_len;

	assert(len <= LOT_TEXT - lot->text_len);
	if (len > 0)
		memcpy(at, bytes, len);
	lot->text_len += len;
	return at;
}

static struct vg_id put_id(const struct import *im, struct lot *lot,
	const struct record *r, uint64_t number)
{
	char digits[NUMBER_UINT_LEN];
	const char *at = lot->text + lot->text_len;

	if (r->id.len > 0) {
		put_text(lot, r->id.bytes, r->id.len);
	} else {
		put_text(lot, im->prefix, im->prefix_len);
		put_text(lot, digits, number_format_uint(number, digits));
	}
	return (struct vg_id){at, (uint32_t)(lot->text + lot->text_len - at)};
}

static void put_row(struct import *im, const struct record *r, uint64_t number,
	uint64_t place)
{
	struct lot *lot = im->lot[im->filling];
	struct change *ch = &lot->changes[lot->commit.n];

	if (lot->commit.n == 0) {
		rowstream_get_mark(&im->stream, true, &lot->begin);
		lot->n_bad_begin = im->n_bad - im->n_refused;
	}
	*ch = (struct change){
		.type = r->vec ? OP_PUT : OP_SET,
		.coll = im->coll,
		.id = put_id(im, lot, r, number),
		.meta_mode = r->meta ? CHANGE_META_MERGE : CHANGE_META_KEEP,
		.origin = im->origin,
		.is_repeat = im->is_repeat,
	};
	ch->origin.request |= number & ROW_MASK;
	if (r->meta)
		ch->meta = (struct meta){put_text(lot, r->meta, r->meta_len),
			r->meta_len};
	if (r->vec) {
		ch->vec = lot->vecs + lot->vecs_len;
		ch->dim = r->dim;
		ch->dtype = im->stream.parser.dtype;
		ch->source = (uint8_t)r->source;
		ch->body_len = (uint32_t)vg_row_len(ch->dtype, r->dim);
		memcpy(lot->vecs + lot->vecs_len, r->vec, ch->body_len);
		lot->vecs_len += VG_ALIGN_UP(ch->body_len, VEC_ALIGN);
	}
	lot->place[lot->commit.n++] = place;
}

static bool has_room(const struct import *im, const struct record *r)
{
	const struct lot *lot = im->lot[im->filling];
	size_t len = vg_row_len(im->stream.parser.dtype, r->dim);

	return lot->commit.n < IMPORT_ROWS &&
	       IMPORT_VECS - lot->vecs_len >= VG_ALIGN_UP(len, VEC_ALIGN) &&
	       LOT_TEXT - lot->text_len >= VG_ID_MAX + r->meta_len;
}

/* What the stream calls for each row. */
static int take_row(void *ctx, const struct record *r, uint64_t number)
{
	struct import *im = ctx;
	uint64_t place =
		rowstream_has_lines(im->stream.kind) ? im->stream.line : number;
	char digits[NUMBER_UINT_LEN];
	int rc;

	if (r->id.len == 0 &&
		im->prefix_len + number_format_uint(number, digits) >
			VG_ID_MAX) {
		put_bad(im, place,
			"the prefix and the row's number are longer "
			"than 255 bytes");
		return 0;
	}
	if (!has_room(im, r)) {
		im->is_in_row = true;
		rc = send_lot(im);
		im->is_in_row = false;
		if (rc < 0)
			return rc;
		assert(has_room(im, r));
	}
	put_row(im, r, number, place);
	return 0;
}

static void take_bad(void *ctx, uint64_t place, const char *why)
{
	put_bad(ctx, place, why);
}

/* ---- life ---- */

/* The dimension that rows must have; 0: the first one says it. A collection
 * that was emptied takes another one, unless somebody wrote .config/dim. */
static uint32_t known_dim(struct collection *c)
{
	struct op_config config = collection_config(c);

	return config.dim_source && atomic_load(&c->n_live) == 0 ? 0 :
								   config.dim;
}

static int lot_new(struct import *im, struct lot **out)
{
	struct lot *lot = malloc(sizeof(*lot));

	if (!lot)
		return -ENOMEM;
	lot->commit = (struct commit){.changes = lot->changes};
	lot->im = im;
	lot->is_flying = false;
	lot->vecs_len = lot->text_len = 0;
	*out = lot;
	return 0;
}

int import_new(struct store *s, struct collection *c, enum rowstream_kind kind,
	struct vg_id prefix, struct import_board *board, struct import **out)
{
	struct import *im = calloc(1, sizeof(*im));

	assert(prefix.len <= VG_ID_MAX);
	if (!im)
		return -ENOMEM;
	if (lot_new(im, &im->lot[0]) < 0 || lot_new(im, &im->lot[1]) < 0) {
		free(im->lot[0]);
		free(im);
		return -ENOMEM;
	}
	im->store = s;
	im->coll = collection_ref(c);
	im->board = import_board_ref(board);
	im->number = import_board_open(board, kind);
	pthread_mutex_init(&im->lock, NULL);
	pthread_cond_init(&im->cond, NULL);
	im->prefix_len = prefix.len;
	if (prefix.len > 0)
		memcpy(im->prefix, prefix.bytes, prefix.len);
	rowstream_init(&im->stream, kind,
		(enum vg_dtype)collection_config(c).dtype, known_dim(c),
		&(struct rowstream_calls){take_row, take_bad, im});
	im->mark.stream.line = 1;
	im->mark.stream.dim = im->stream.dim;
	*out = im;
	return 0;
}

void import_get_mark(const struct import *im, struct import_mark *out)
{
	*out = im->mark;
}

void import_put_mark(struct import *im, const struct import_mark *mark)
{
	im->mark = *mark;
	im->n_rows = mark->n_rows;
	im->n_bad = im->n_refused = mark->n_bad;
	im->first_bad = mark->first_bad;
	if (mark->n_bad)
		snprintf(im->first_why, sizeof(im->first_why),
			"what was wrong with it is no longer known");
	rowstream_put_mark(&im->stream, &mark->stream);
	import_board_add(
		im->board, im->number, mark->n_rows, mark->stream.passed);
	for (uint64_t i = 0; i < VG_MIN(mark->n_bad, BAD_TOLD_MAX); i++)
		import_board_put(im->board, im->number, 0, NULL);
}

struct meta import_get_head(const struct import *im)
{
	return rowstream_get_head(&im->stream);
}

int import_put_head(struct import *im, struct meta head)
{
	return head.len ? rowstream_put_head(&im->stream, head) : 0;
}

void import_put_origin(struct import *im, uint64_t session, uint64_t stream,
	bool is_repeat)
{
	im->origin = (struct op_origin){.session = session,
		.request = ORIGIN_IS_ROW |
			   (stream << ROW_BITS & (ORIGIN_IS_ROW - 1))};
	im->is_repeat = is_repeat;
}

/* Says why in im->error and returns rc, which a stream or the store gave. */
static int fail(struct import *im, int rc)
{
	const char *why = strerror(-rc);

	if (im->rc < 0)
		why = im->stopped;
	else if (rc == -EINVAL)
		why = im->stream.error;
	snprintf(im->error, sizeof(im->error), "%s", why);
	return rc;
}

int import_write(struct import *im, const void *bytes, size_t len)
{
	int rc;

	im->error[0] = '\0';
	if (im->rc < 0)
		return fail(im, im->rc);
	im->is_flushed = false;
	import_board_add(im->board, im->number, 0, len);
	rc = rowstream_feed(&im->stream, bytes, len);
	return rc < 0 ? fail(im, rc) : 0;
}

/* Gets all that was parsed into the store, or learns why it cannot. */
static void drain(struct import *im)
{
	if (send_lot(im) == 0)
		wait_lot(im, im->lot[!im->filling]);
	put_mark(im);
}

/* Why the stream ended in the middle, was unreadable or was stopped: into
 * im->error. */
static int end(struct import *im)
{
	int rc = rowstream_end(&im->stream);

	drain(im);
	rc = im->rc < 0 ? im->rc : rc;
	return rc < 0 ? fail(im, rc) : 0;
}

int import_flush(struct import *im)
{
	int rc;

	im->error[0] = '\0';
	rc = end(im);
	if (!im->is_flushed)
		import_board_close(im->board, im->number,
			rc < 0 ? im->error : NULL);
	im->is_flushed = true;
	if (im->n_bad == 0 || im->rc < 0)
		return rc;
	size_t len = strlen(im->error);
	snprintf(im->error + len, sizeof(im->error) - len,
		"%s%llu bad row%s; the first is %s %llu: %s", len ? "; " : "",
		(unsigned long long)im->n_bad, im->n_bad == 1 ? "" : "s",
		unit(im), (unsigned long long)im->first_bad, im->first_why);
	return rc < 0 ? rc : -EINVAL;
}

void import_settle(struct import *im)
{
	drain(im);
}

const char *import_error(const struct import *im)
{
	return im->error;
}

void import_free(struct import *im)
{
	if (!im)
		return;
	if (!im->is_flushed)
		import_flush(im);
	for (int i = 0; i < 2; i++) {
		assert(!im->lot[i]->is_flying);
		free(im->lot[i]);
	}
	rowstream_fini(&im->stream);
	pthread_cond_destroy(&im->cond);
	pthread_mutex_destroy(&im->lock);
	import_board_unref(im->board);
	collection_unref(im->coll);
	free(im);
}
