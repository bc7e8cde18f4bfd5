/* SPDX-License-Identifier: Apache-2.0 */
/* ivf_save.c: an inverted file becomes a stream, while it is searched and grows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index/ivf_stream.h"

#define BUF_LEN (512u << 10)

struct saver {
	const struct ivf_core *core;
	const struct ivf_sink *sink;
	uint32_t *until; /* of each list, records up to which it is saved */
	char *buf;
	size_t len;
	int rc; /* sticky */
};

static void flush(struct saver *s)
{
	if (s->rc == 0 && s->len > 0)
		s->rc = s->sink->write(s->sink->ctx, s->buf, s->len);
	s->len = 0;
}

static void add_bytes(struct saver *s, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len > 0) {
		size_t n = VG_MIN(len, BUF_LEN - s->len);

		assert(s->len < BUF_LEN);
		memcpy(s->buf + s->len, from, n);
		s->len += n;
		from += n;
		len -= n;
		if (s->len == BUF_LEN)
			flush(s);
	}
}

static uint32_t saved_of(const struct saver *s, uint32_t list, bool is_delta)
{
	return is_delta ? atomic_load_explicit(&s->core->list[list].n_saved,
				  memory_order_relaxed) :
			  0;
}

static void save_records(struct saver *s, uint32_t no, uint32_t from)
{
	const struct ivf_core *core = s->core;
	const struct ivf_block *block = core->list[no].first;

	assert(from <= s->until[no]);
	for (uint32_t i = 0; i < s->until[no] && s->rc == 0; i++) {
		uint32_t at = i % IVF_BLOCK;

		if (i > 0 && at == 0)
			block = block->next;
		if (i < from)
			continue;
		add_bytes(s, &block->slot[at], sizeof(block->slot[at]));
		if (no == core->n_lists)
			continue;
		add_bytes(s, &block->term[at], sizeof(block->term[at]));
		add_bytes(s, block->code + (size_t)at * core->pq.m, core->pq.m);
	}
}

static void save_lists(struct saver *s, bool is_delta)
{
	const struct ivf_core *core = s->core;

	for (uint32_t i = 0; i <= core->n_lists; i++) {
		uint32_t n = s->until[i] - saved_of(s, i, is_delta);

		assert(n <= s->until[i]);
		add_bytes(s, &n, sizeof(n));
	}
	for (uint32_t i = 0; i <= core->n_lists; i++)
		save_records(s, i, saved_of(s, i, is_delta));
	add_bytes(s, IVF_END, 8);
}

static void save_learnt(struct saver *s)
{
	const struct ivf_core *core = s->core;
	uint32_t groups = core->tree.n_groups;

	if (core->n_lists == 0)
		return;
	assert(core->pq.m > 0);
	if (groups > 0)
		add_bytes(s, core->tree.from,
			(groups + 1) * sizeof(*core->tree.from));
	add_bytes(s, core->centroids,
		(size_t)core->n_lists * core->dim * sizeof(*core->centroids));
	add_bytes(s, core->pq.points, pq_points_len(core->dim, core->pq.m));
}

static void save_all(struct saver *s, const struct ivf *v, bool is_delta,
	uint32_t n_before, uint32_t n)
{
	const struct ivf_core *core = s->core;
	struct ivf_header header = {
		.magic = IVF_MAGIC,
		.version = IVF_STREAM_VERSION,
		.kind = is_delta ? IVF_KIND_DELTA : IVF_KIND_BASE,
		.dim = core->dim,
		.metric = v->config.metric,
		.n_lists = core->n_lists,
		.m = core->pq.m,
		.trained = core->trained,
		.n_before = n_before,
		.n = n,
		.n_groups = core->tree.n_groups,
	};

	add_bytes(s, &header, sizeof(header));
	if (!is_delta)
		save_learnt(s);
	save_lists(s, is_delta);
	flush(s);
}

/* How long each list is now: what is behind it is of the next save. */
static uint32_t look_at_lists(struct saver *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i <= s->core->n_lists; i++) {
		s->until[i] = atomic_load_explicit(&s->core->list[i].n,
			memory_order_acquire);
		n += s->until[i];
	}
	return n;
}

/* core is saved, with n rows; or is not any more. */
static void note_saved(struct ivf *v, struct ivf_core *core, bool is_saved,
	uint32_t n)
{
	pthread_mutex_lock(&v->lock);
	core->is_saved = is_saved;
	core->n_saved = n;
	pthread_mutex_unlock(&v->lock);
}

int ivf_save(struct ivf *v, bool is_base, const struct ivf_sink *sink,
	bool *is_delta)
{
	struct ivf_core *core = ivf_core_get(v);
	struct saver s = {.core = core,
		.sink = sink,
		.buf = malloc(BUF_LEN),
		.until = calloc(core->n_lists + 1, sizeof(*s.until))};
	bool delta = !is_base && core->is_saved;
	uint32_t n, before = delta ? core->n_saved : 0;

	s.rc = s.buf && s.until ? 0 : -ENOMEM;
	if (s.rc == 0) {
		n = look_at_lists(&s);
		assert(before <= n);
		note_saved(v, core, false, 0);
		save_all(&s, v, delta, before, n - before);
	}
	for (uint32_t i = 0; s.rc == 0 && i <= core->n_lists; i++)
		atomic_store_explicit(&core->list[i].n_saved, s.until[i],
			memory_order_relaxed);
	if (s.rc == 0) {
		note_saved(v, core, true, n);
		*is_delta = delta;
	}
	free(s.buf);
	free(s.until);
	ivf_core_put(v, core);
	return s.rc;
}

uint32_t ivf_unsaved(struct ivf *v)
{
	uint32_t n;

	pthread_mutex_lock(&v->lock);
	n = atomic_load_explicit(&v->core->n, memory_order_relaxed);
	if (v->core->is_saved)
		n -= VG_MIN(n, v->core->n_saved);
	pthread_mutex_unlock(&v->lock);
	return n;
}

void ivf_save_cost(struct ivf *v, size_t *delta, size_t *base)
{
	struct ivf_core *core = ivf_core_get(v);
	uint32_t unsaved = ivf_unsaved(v);
	uint32_t n = atomic_load_explicit(&core->n, memory_order_relaxed);
	size_t ends = sizeof(struct ivf_header) + 8 +
		      (core->n_lists + (size_t)1) * sizeof(uint32_t);
	size_t learnt = 0;

	if (core->n_lists > 0)
		learnt = pq_points_len(core->dim, core->pq.m) +
			 (size_t)core->n_lists * core->dim * sizeof(float);
	*base = ends + learnt + n * ivf_record_len(core, 0);
	*delta = unsaved < n ? ends + unsaved * ivf_record_len(core, 0) : *base;
	ivf_core_put(v, core);
}
