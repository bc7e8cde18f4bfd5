/* SPDX-License-Identifier: Apache-2.0 */
/* rowfile.c: see rowfile.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/rowfile_int.h"
#include "src/element.h"
#include "src/json.h"
#include "src/number.h"
#include "src/record.h"
#include "src/record_npy.h"
#include "src/wire.h"

/* Text of a block, about: what a read at its end renders for nothing. */
#define BLOCK_LEN 65536u
#define BLOCK_ROWS_MAX 256u

static const struct version *row_version(const struct rowfile *rf, uint64_t i)
{
	assert(i < rf->n);
	return generation_version(rf->look.gen, rf->rows[i]);
}

/* ---- one row as text ---- */

struct text {
	const char *bytes; /* borrowed */
	size_t len;
};

/* What rendering needs; a thread's own. */
struct scratch {
	struct answer answer; /* IDS, ALL */
	char *bytes;	      /* NDJSON */
	size_t cap;
};

static int scratch_init(struct scratch *sc, const struct rowfile *rf)
{
	*sc = (struct scratch){0};
	answer_init(&sc->answer);
	return rf->kind == ROWFILE_NDJSON ?
		       0 :
		       answer_open(&sc->answer, &rf->answer);
}

static void scratch_fini(struct scratch *sc)
{
	answer_fini(&sc->answer);
	free(sc->bytes);
}

static int render_answer(const struct rowfile *rf, uint64_t i,
	struct scratch *sc, struct text *out)
{
	const struct version *v = row_version(rf, i);
	struct answer_row row = {.id = version_id(v), .meta = version_meta(v)};
	struct answer *a = &sc->answer;
	int rc;

	/* Rows that were passed on, or never rendered by this thread. */
	a->len = 0;
	a->total = i;
	rc = answer_add(a, 0, &row, 1);
	if (rc == 0)
		*out = (struct text){a->bytes, a->len};
	return rc;
}

static int reserve(struct scratch *sc, size_t cap)
{
	char *bytes;

	if (cap <= sc->cap)
		return 0;
	bytes = realloc(sc->bytes, 2 * cap);
	if (!bytes)
		return -ENOMEM;
	sc->bytes = bytes;
	sc->cap = 2 * cap;
	return 0;
}

static int render_record(const struct rowfile *rf, uint64_t i,
	struct scratch *sc, struct text *out)
{
	static const char begin[] = "{\"id\":";
	static const char rest[] = "{\"vector\":[],\"metadata\":}\n";
	const struct version *v = row_version(rf, i);
	struct meta meta = version_meta(v);
	struct record_meta record_meta = {meta.json, meta.len};
	struct vg_id id = version_id(v);
	size_t at = sizeof(begin) - 1, room;
	int rc;

	rc = reserve(sc, at + JSON_STRING_MAX(id.len) + sizeof(rest) +
				 (NUMBER_LEN + 1) * (size_t)rf->dim + meta.len);
	if (rc < 0)
		return rc;
	memcpy(sc->bytes, begin, at);
	at += json_string_encode(id.bytes, id.len, sc->bytes + at);
	room = sc->cap - at;
	struct record_row row = {version_vec(v), rf->dim, rf->dtype};
	size_t len = record_format(RECORD_JSON, &row, &record_meta,
		sc->bytes + at, room);
	assert(len <= room && sc->bytes[at] == '{');
	rc = cell_check_row(v->cell, v->slot);
	if (rc < 0)
		return rc;
	sc->bytes[at] = ','; /* of an object the rest of another */
	*out = (struct text){sc->bytes, at + len};
	return 0;
}

/* Row i as text, borrowed from sc until its next use. */
static int render(const struct rowfile *rf, uint64_t i, struct scratch *sc,
	struct text *out)
{
	return rf->kind == ROWFILE_NDJSON ? render_record(rf, i, sc, out) :
					    render_answer(rf, i, sc, out);
}

/* ---- reading ---- */

/* The part of the file that a read wants. */
struct window {
	uint64_t begin, end;
	char *buf;
};

/* Copies what of bytes[len], which stand at `at` in the file, is wanted. */
static void show(const struct window *w, uint64_t at, const void *bytes,
	size_t len)
{
	uint64_t begin = VG_MAX(w->begin, at), end = VG_MIN(w->end, at + len);

	if (begin < end)
		memcpy(w->buf + (begin - w->begin),
			(const char *)bytes + (begin - at), end - begin);
}

/* Whether the rows are float32 whatever the dtype. */
static bool has_floats(enum rowfile_kind kind)
{
	return kind == ROWFILE_FVECS || kind == ROWFILE_VEC;
}

/* The numbers of a row that stand at `at`, as floats. */
static void show_floats(const struct rowfile *rf, const struct window *w,
	uint64_t at, const void *vec)
{
	uint32_t i =
		w->begin > at ? (uint32_t)((w->begin - at) / sizeof(float)) : 0;

	for (at += i * sizeof(float); i < rf->dim && at < w->end; i++) {
		float f = element_get(rf->dtype, vec, i);

		show(w, at, &f, sizeof(f));
		at += sizeof(f);
	}
}

static int read_numbers(const struct rowfile *rf, const struct window *w)
{
	size_t prefix = rf->kind == ROWFILE_FVECS ? sizeof(rf->dim) : 0;
	uint64_t i = w->begin > rf->head_len ?
			     (w->begin - rf->head_len) / rf->row_len :
			     0;
	uint32_t ahead = 0;
	int rc;

	for (; i < rf->n; i++) {
		uint64_t at = rf->head_len + i * rf->row_len;

		const struct version *v = row_version(rf, i);

		if (at >= w->end)
			break;
		column_fetch_ahead(&v->cell->vec, v->slot, &ahead);
		show(w, at, &rf->dim, prefix);
		if (has_floats(rf->kind) && rf->dtype != VG_F32)
			show_floats(rf, w, at + prefix, version_vec(v));
		else
			show(w, at + prefix, version_vec(v),
				rf->row_len - prefix);
		rc = cell_check_row(v->cell, v->slot);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The last block that begins at `at` bytes of text or before. */
static uint64_t find_block(const struct rowfile *rf, uint64_t at)
{
	uint64_t low = 0, high = rf->n_blocks;

	/* Ends: offset[low] <= at < offset[high], which come closer. */
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (rf->offset[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static int read_text(const struct rowfile *rf, const struct window *w)
{
	uint64_t body = w->begin > rf->head_len ? w->begin - rf->head_len : 0;
	uint64_t at, i;
	struct scratch sc;
	struct text text;
	int rc;

	if (rf->n == 0 || body >= rf->offset[rf->n_blocks])
		return 0;
	rc = scratch_init(&sc, rf);
	i = find_block(rf, body);
	at = rf->head_len + rf->offset[i];
	i *= rf->block_rows;
	for (; i < rf->n && at < w->end && rc == 0; i++) {
		assert(i % rf->block_rows != 0 ||
			at == rf->head_len + rf->offset[i / rf->block_rows]);
		rc = render(rf, i, &sc, &text);
		if (rc == 0) {
			show(w, at, text.bytes, text.len);
			at += text.len;
		}
	}
	scratch_fini(&sc);
	return rc;
}

int rowfile_read(const struct rowfile *rf, uint64_t off, void *buf, size_t len,
	size_t *n)
{
	struct window w = {.buf = buf};
	int rc = 0;

	w.begin = VG_MIN(off, rf->size);
	w.end = w.begin + VG_MIN((uint64_t)len, rf->size - w.begin);
	show(&w, 0, rf->head, rf->head_len);
	show(&w, rf->size - rf->tail_len, rf->tail, rf->tail_len);
	if (rf->row_len)
		rc = read_numbers(rf, &w);
	else
		rc = read_text(rf, &w);
	if (rc == 0)
		*n = (size_t)(w.end - w.begin);
	return rc;
}

/* ---- opening ---- */

/* Which rows: a moment of the collection and what of it was asked for. */
static int choose_rows(struct rowfile *rf, const struct rowfile_spec *spec,
	const struct rowfile_help *help)
{
	uint64_t end;
	uint32_t *rows;
	int rc = rowfile_put_rows(rf, help);

	if (rc == 0 && spec->filter)
		rc = rowfile_keep_matches(rf, spec->filter);
	if (rc < 0)
		return rc;
	if (rf->kind == ROWFILE_ALL) {
		rc = rowfile_sort(rf, help);
		if (rc == 0 && spec->group.len)
			rc = rowfile_collapse(rf, spec->group, help);
		if (rc == 0 && spec->order.len)
			rc = rowfile_order(rf, spec, help);
		if (rc < 0)
			return rc;
		end = spec->k ? (uint64_t)spec->offset + spec->k : rf->n;
		end = VG_MIN(end, rf->n);
		rf->n = end - VG_MIN((uint64_t)spec->offset, end);
		if (rf->n > 0)
			memmove(rf->rows, rf->rows + (end - rf->n),
				rf->n * sizeof(*rf->rows));
	}
	rows = realloc(rf->rows, (rf->n + 1) * sizeof(*rows));
	rf->rows = rows ? rows : rf->rows;
	return 0;
}

/* Names of fields with their bytes behind them, in one block. */
static int copy_fields(struct rowfile *rf, const struct rowfile_spec *spec)
{
	size_t len = 0;
	struct vg_id *fields;
	char *at;

	if (!spec->fields)
		return 0;
	for (uint32_t i = 0; i < spec->n_fields; i++)
		len += spec->fields[i].len;
	fields = malloc(spec->n_fields * sizeof(*fields) + len + 1);
	if (!fields)
		return -ENOMEM;
	at = (char *)(fields + spec->n_fields);
	for (uint32_t i = 0; i < spec->n_fields; i++) {
		memcpy(at, spec->fields[i].bytes, spec->fields[i].len);
		fields[i] = (struct vg_id){at, spec->fields[i].len};
		at += fields[i].len;
	}
	rf->answer.fields = fields;
	rf->answer.n_fields = spec->n_fields;
	return 0;
}

static size_t put_vec_header(struct rowfile *rf)
{
	struct wire_out out = wire_out_init(rf->head, sizeof(rf->head));

	wire_put_u32(&out, 0x56454354);
	wire_put_u32(&out, 1);
	wire_put_u64(&out, rf->n);
	wire_put_u32(&out, rf->dim);
	wire_put_u32(&out, 0);
	assert(!out.failed);
	return out.len;
}

/* Numbers have a header at most, and rows of one length. */
static void plan_numbers(struct rowfile *rf)
{
	struct op_config config = collection_config(rf->coll);

	if (rf->n == 0) {
		rf->dim = VG_MAX(config.dim, 1u);
		rf->dtype = (enum vg_dtype)config.dtype;
	}
	rf->row_len = vg_row_len(
		has_floats(rf->kind) ? VG_F32 : rf->dtype, rf->dim);
	if (rf->kind == ROWFILE_FVECS)
		rf->row_len += sizeof(rf->dim);
	if (rf->kind == ROWFILE_NPY)
		rf->head_len =
			record_npy_header(rf->head, rf->dtype, rf->n, rf->dim);
	if (rf->kind == ROWFILE_VEC)
		rf->head_len = put_vec_header(rf);
	rf->size = rf->head_len + rf->n * rf->row_len;
}

struct counting {
	struct rowfile *rf;
	const struct rowfile_help *help;
};

/* How long block number item is: its end, as long as nobody adds them up. */
static int count_block(void *ctx, size_t item)
{
	struct counting *counting = ctx;
	struct rowfile *rf = counting->rf;
	uint64_t i = (uint64_t)item * rf->block_rows, len = 0;
	uint64_t end = VG_MIN(rf->n, i + rf->block_rows);
	struct scratch sc;
	struct text text;
	int rc = scratch_init(&sc, rf);

	for (; i < end && rc == 0; i++) {
		rc = render(rf, i, &sc, &text);
		if (rc == 0)
			len += text.len;
	}
	scratch_fini(&sc);
	rf->offset[item + 1] = len;
	return rc < 0 ? rc : rowfile_check_cancel(counting->help);
}

static uint32_t block_rows(const struct rowfile *rf)
{
	bool is_line =
		rf->answer.fmt == ANSWER_IDS || rf->answer.fmt == ANSWER_TSV;
	size_t about = is_line ? 24 : 128;

	if (rf->kind == ROWFILE_NDJSON)
		about = 64 + 12 * (size_t)rf->dim;
	return (uint32_t)VG_MAX(1, VG_MIN(BLOCK_LEN / about, BLOCK_ROWS_MAX));
}

/* Text is as long as it turns out to be. */
static int plan_text(struct rowfile *rf, const struct rowfile_help *help)
{
	struct counting counting = {rf, help};
	int rc;

	rf->block_rows = block_rows(rf);
	rf->n_blocks = (rf->n + rf->block_rows - 1) / rf->block_rows;
	rf->offset = calloc(rf->n_blocks + 1, sizeof(*rf->offset));
	if (!rf->offset)
		return -ENOMEM;
	rc = pool_each(help->pool, rf->n_blocks, help->threads, count_block,
		&counting);
	for (uint64_t b = 0; b < rf->n_blocks; b++)
		rf->offset[b + 1] += rf->offset[b];
	rf->size = rf->head_len + rf->offset[rf->n_blocks] + rf->tail_len;
	return rc;
}

/* What stands before and after the rows of an answer. */
static int plan_answer(struct rowfile *rf)
{
	struct answer a;
	int rc;

	answer_init(&a);
	rc = answer_open(&a, &rf->answer);
	if (rc < 0)
		goto fini_answer;
	assert(a.len <= sizeof(rf->head));
	memcpy(rf->head, a.bytes, a.len);
	rf->head_len = a.len;
	a.len = 0;
	a.total = rf->n;
	rc = answer_close(&a, false);
	if (rc < 0)
		goto fini_answer;
	assert(a.len <= sizeof(rf->tail));
	if (a.len > 0)
		memcpy(rf->tail, a.bytes, a.len);
	rf->tail_len = a.len;
fini_answer:
	answer_fini(&a);
	return rc;
}

static int plan(struct rowfile *rf, const struct rowfile_spec *spec,
	const struct rowfile_help *help)
{
	int rc = choose_rows(rf, spec, help);

	if (rc < 0)
		return rc;
	switch (rf->kind) {
	case ROWFILE_NPY:
	case ROWFILE_FVECS:
	case ROWFILE_VEC:
		plan_numbers(rf);
		return 0;
	case ROWFILE_NDJSON:
		break;
	case ROWFILE_IDS:
	case ROWFILE_ALL:
		rc = copy_fields(rf, spec);
		if (rc == 0)
			rc = plan_answer(rf);
	}
	return rc < 0 ? rc : plan_text(rf, help);
}

/* The time first: a file may show more than its time says, and gets a later
 * one when it is opened again. The other way it would stay behind for good. */
static void take_moment(struct rowfile *rf, const struct rowfile_spec *spec)
{
	struct collection *c = rf->coll;

	pthread_mutex_lock(&c->lock);
	rf->mtime_ns = c->commit_ns ? c->commit_ns : c->mtime_ns;
	pthread_mutex_unlock(&c->lock);
	if (!spec->look) {
		look_init(&rf->look, c, store_moments(rf->store));
		return;
	}
	rf->look = *spec->look;
	rf->look.hold = (struct hold){0};
	collection_ref(rf->look.coll);
	generation_ref(rf->look.gen);
	moment_ref(rf->look.moment);
}

int rowfile_open(struct store *s, struct collection *c,
	const struct rowfile_spec *spec, const _Atomic bool *cancel,
	struct rowfile **out)
{
	struct rowfile_help help = {spec->pool,
		spec->threads ? spec->threads : POOL_EACH_MAX, cancel};
	struct rowfile *rf = calloc(1, sizeof(*rf));
	int rc;

	assert(spec->kind != ROWFILE_ALL || spec->fmt <= ANSWER_IDS);
	if (!rf)
		return -ENOMEM;
	rf->store = s;
	rf->coll = collection_ref(c);
	rf->kind = spec->kind;
	rf->answer = (struct answer_spec){
		.fmt = rf->kind == ROWFILE_ALL ? spec->fmt : ANSWER_IDS,
		.n = 1,
		.trailer = rf->kind == ROWFILE_ALL && spec->trailer,
	};
	take_moment(rf, spec);
	rc = plan(rf, spec, &help);
	if (rc < 0) {
		rowfile_close(rf);
		return rc;
	}
	*out = rf;
	return 0;
}

void rowfile_close(struct rowfile *rf)
{
	if (!rf)
		return;
	look_fini(&rf->look);
	collection_unref(rf->coll);
	free((void *)(uintptr_t)rf->answer.fields);
	free(rf->offset);
	free(rf->rows);
	free(rf);
}

uint64_t rowfile_size(const struct rowfile *rf)
{
	return rf->size;
}

uint64_t rowfile_rows(const struct rowfile *rf)
{
	return rf->n;
}

const struct look *rowfile_look(const struct rowfile *rf)
{
	return &rf->look;
}

int64_t rowfile_mtime_ns(const struct rowfile *rf)
{
	return rf->mtime_ns;
}
