/* SPDX-License-Identifier: Apache-2.0 */
/* import_board.c: see import_board.h. */
#include "fs/import_board.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/clock.h"

enum state { IDLE, RUNNING, DONE, FAILED };

static const char *const state_words[] = {
	[IDLE] = "idle",
	[RUNNING] = "running",
	[DONE] = "done",
	[FAILED] = "failed",
};

static const char *const kind_words[] = {
	[ROWSTREAM_NPY] = "npy",
	[ROWSTREAM_FVECS] = "fvecs",
	[ROWSTREAM_NDJSON] = "ndjson",
	[ROWSTREAM_BVECS] = "bvecs",
	[ROWSTREAM_CSV] = "csv",
};

struct bad {
	uint64_t place;
	char *why; /* owned */
};

struct import_board {
	_Atomic uint32_t refs; /* acq_rel: the last one frees */
	pthread_mutex_t lock;  /* all below */
	uint64_t import;       /* who writes here: 1, 2, ... */
	enum state state;
	enum rowstream_kind kind;
	uint64_t rows, errors, bytes;
	int64_t begin_ns, end_ns;	  /* end_ns: of the last close */
	struct bad bad[IMPORT_BOARD_MAX]; /* by place */
	uint32_t n_bad;
	char error[512];
};

int import_board_new(struct import_board **out)
{
	struct import_board *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	atomic_init(&b->refs, 1);
	pthread_mutex_init(&b->lock, NULL);
	*out = b;
	return 0;
}

struct import_board *import_board_ref(struct import_board *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

static void clear(struct import_board *b)
{
	while (b->n_bad > 0)
		free(b->bad[--b->n_bad].why);
	b->rows = b->errors = b->bytes = 0;
	b->error[0] = '\0';
}

void import_board_unref(struct import_board *b)
{
	if (!b || atomic_fetch_sub_explicit(&b->refs, 1,
			  memory_order_acq_rel) != 1)
		return;
	clear(b);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

const char *import_board_unit(enum rowstream_kind kind)
{
	return rowstream_has_lines(kind) ? "line" : "row";
}

uint64_t import_board_open(struct import_board *b, enum rowstream_kind kind)
{
	uint64_t import;

	pthread_mutex_lock(&b->lock);
	clear(b);
	b->kind = kind;
	b->state = RUNNING;
	b->begin_ns = clock_now_ns();
	import = ++b->import;
	pthread_mutex_unlock(&b->lock);
	return import;
}

void import_board_add(struct import_board *b, uint64_t import, uint64_t rows,
	uint64_t bytes)
{
	pthread_mutex_lock(&b->lock);
	if (import == b->import) {
		b->rows += rows;
		b->bytes += bytes;
		b->state = RUNNING;
		b->error[0] = '\0';
	}
	pthread_mutex_unlock(&b->lock);
}

/* Puts a line in its place, near the end: only rows of the few commits that
 * are under way are not told in order. The last one makes room. */
static void insert_bad(struct import_board *b, uint64_t place, const char *why)
{
	uint32_t at = b->n_bad;
	char *copy;

	while (at > 0 && b->bad[at - 1].place > place)
		at--;
	if (at == IMPORT_BOARD_MAX)
		return;
	copy = strdup(why);
	if (!copy)
		return; /* it is counted */
	if (b->n_bad == IMPORT_BOARD_MAX)
		free(b->bad[--b->n_bad].why);
	memmove(&b->bad[at + 1], &b->bad[at],
		(b->n_bad - at) * sizeof(b->bad[0]));
	b->bad[at] = (struct bad){place, copy};
	b->n_bad++;
	assert(b->n_bad <= IMPORT_BOARD_MAX);
}

void import_board_put(struct import_board *b, uint64_t import, uint64_t place,
	const char *why)
{
	pthread_mutex_lock(&b->lock);
	if (import == b->import) {
		b->errors++;
		if (why)
			insert_bad(b, place, why);
	}
	pthread_mutex_unlock(&b->lock);
}

void import_board_close(struct import_board *b, uint64_t import,
	const char *error)
{
	pthread_mutex_lock(&b->lock);
	if (import == b->import) {
		b->end_ns = clock_now_ns();
		b->state = error || b->errors ? FAILED : DONE;
		snprintf(b->error, sizeof(b->error), "%s", error ? error : "");
	}
	pthread_mutex_unlock(&b->lock);
}

/* A line break in a sentence, from a key that it names, would make two lines
 * of one. */
static void put_sentence(FILE *f, const char *sentence)
{
	for (; *sentence; sentence++)
		fputc(*sentence == '\n' || *sentence == '\r' ? ' ' : *sentence,
			f);
	fputc('\n', f);
}

static void put_status_locked(struct import_board *b, FILE *f)
{
	int64_t end_ns = b->state == RUNNING ? clock_now_ns() : b->end_ns;
	int64_t ms = VG_MAX((end_ns - b->begin_ns) / 1000000, (int64_t)1);

	fprintf(f, "state %s\n", state_words[b->state]);
	if (b->state != IDLE)
		fprintf(f, "kind %s\n", kind_words[b->kind]);
	fprintf(f, "rows %llu\nerrors %llu\nbytes %llu\nrate %.0f rows/s\n",
		(unsigned long long)b->rows, (unsigned long long)b->errors,
		(unsigned long long)b->bytes,
		b->state == IDLE ? 0 : (double)b->rows * 1e3 / (double)ms);
	if (b->error[0]) {
		fputs("error ", f);
		put_sentence(f, b->error);
	}
}

static void put_errors_locked(struct import_board *b, FILE *f)
{
	const char *unit = import_board_unit(b->kind);

	for (uint32_t i = 0; i < b->n_bad; i++) {
		fprintf(f, "%s %llu: ", unit,
			(unsigned long long)b->bad[i].place);
		put_sentence(f, b->bad[i].why);
	}
	if (b->errors > b->n_bad)
		fprintf(f, "and %llu more bad rows\n",
			(unsigned long long)(b->errors - b->n_bad));
	if (b->error[0])
		put_sentence(f, b->error);
}

static int format(struct import_board *b, struct meta_buf *out,
	void (*put_locked)(struct import_board *b, FILE *f))
{
	char *bytes = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&bytes, &len);
	bool failed;

	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&b->lock);
	put_locked(b, f);
	pthread_mutex_unlock(&b->lock);
	failed = ferror(f);
	failed |= fclose(f) != 0;
	if (failed) {
		free(bytes);
		return -ENOMEM;
	}
	free(out->bytes);
	*out = (struct meta_buf){.bytes = bytes, .len = len, .cap = len};
	return 0;
}

int import_board_status(struct import_board *b, struct meta_buf *out)
{
	return format(b, out, put_status_locked);
}

int import_board_errors(struct import_board *b, struct meta_buf *out)
{
	return format(b, out, put_errors_locked);
}
