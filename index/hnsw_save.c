/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_save.c: a graph becomes a stream, while it is searched and grows. */
#include "index/hnsw_stream.h"

struct saver {
	struct hnsw *h;
	const struct hnsw_sink *sink;
	struct set set;
	char *buf; /* BUF_LEN */
	size_t len;
	int rc; /* sticky */
};

static void flush(struct saver *s)
{
	assert(s->len <= BUF_LEN);
	if (s->rc == 0 && s->len > 0)
		s->rc = s->sink->write(s->sink->ctx, s->buf, s->len);
	s->len = 0;
}

/* Where the next len bytes of the stream go. */
static char *add_room(struct saver *s, size_t len)
{
	assert(len <= BUF_LEN);
	if (len > BUF_LEN - s->len)
		flush(s);
	s->len += len;
	return s->buf + s->len - len;
}

static void add_bytes(struct saver *s, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len > 0) {
		size_t n = VG_MIN(len, (size_t)BUF_LEN / 2);

		memcpy(add_room(s, n), from, n);
		from += n;
		len -= n;
	}
}

/* Copies links that a put may be writing, each as it was or will be. */
static void copy_links(char *to, const hnsw_link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t link =
			atomic_load_explicit(&links[i], memory_order_relaxed);

		memcpy(to + i * sizeof(link), &link, sizeof(link));
	}
}

static void save_record(struct saver *s, uint32_t slot, bool is_coded)
{
	const struct hnsw *h = s->h;
	char *to = add_room(s, h->record_len);

	assert(!is_coded || h->code_len > 0);
	/* A code that is being written is no code yet. */
	if (is_coded)
		memcpy(to, hnsw_node(h, slot), h->code_len);
	else
		memset(to, 0, h->code_len);
	/* The term was written before the node was linked. */
	memcpy(to + h->code_len, hnsw_node(h, slot) + h->code_len,
		h->links_at - h->code_len);
	/* Links, and what follows them in words as they do. */
	copy_links(to + h->links_at, hnsw_links(h, slot, 0),
		(h->record_len - h->links_at) / sizeof(hnsw_link));
}

static void save_lists(struct saver *s, uint32_t slot)
{
	const struct hnsw *h = s->h;
	uint32_t n = hnsw_level(h, slot) * h->config.m;

	if (n > 0)
		copy_links(add_room(s, n * sizeof(hnsw_link)),
			hnsw_links(h, slot, 1), n);
}

/* The nodes of the set; takes their marks before it copies. */
static void save_nodes(struct saver *s)
{
	const struct set *set = &s->set;
	uint32_t head[2] = {set->n_words, set->n_nodes};
	struct cursor c = {0};

	add_bytes(s, head, sizeof(head));
	add_bytes(s, set->index, set->n_words * sizeof(*set->index));
	add_bytes(s, set->bits, set->n_words * sizeof(*set->bits));
	for (uint32_t w = 0; w < set->n_words; w++) {
		uint32_t slot = set->index[w] * 64;

		atomic_fetch_and_explicit(hnsw_dirty(s->h, slot),
			~set->bits[w], memory_order_acquire);
		set->coded[w] = set->bits[w] &
				atomic_load_explicit(hnsw_coded(s->h, slot),
					memory_order_acquire);
	}
	add_bytes(s, set->coded, set->n_words * sizeof(*set->coded));
	for (uint32_t w = 0; w < set->n_words && s->rc == 0; w++)
		for (uint64_t bits = set->bits[w]; bits != 0;) {
			uint32_t slot = set_take_bit(set->index[w], &bits);

			save_record(s, slot, set->coded[w] >> slot % 64 & 1);
		}
	for (uint32_t i = 0; i < set->n_nodes && s->rc == 0; i++)
		save_lists(s, set_next(set, &c));
}

static void save_header(struct saver *s, uint32_t kind)
{
	const struct hnsw_config *c = &s->h->config;
	struct header header = {
		.magic = MAGIC,
		.version = STREAM_VERSION,
		.kind = kind,
		.dim = c->dim,
		.metric = header_metric(c),
		.m = c->m,
		.ef_construction = c->ef_construction,
		.seed = c->seed,
		.record_len = s->h->record_len,
		.n_before = kind == KIND_BASE ? 0 : s->h->n_saved,
	};

	add_bytes(s, &header, sizeof(header));
}

static void save_moment(struct saver *s)
{
	struct hnsw *h = s->h;
	uint32_t state;
	struct moment moment = {
		.entry = atomic_load_explicit(&h->entry, memory_order_acquire),
		.linked =
			atomic_load_explicit(&h->linked, memory_order_relaxed),
		.longest =
			atomic_load_explicit(&h->longest, memory_order_relaxed),
		.is_wild =
			atomic_load_explicit(&h->is_wild, memory_order_relaxed),
		.end = END_MAGIC,
	};

	state = atomic_load_explicit(&h->quant_state, memory_order_acquire);
	if (state != QUANT_NONE) {
		moment.codes = state == QUANT_OFF     ? CODES_LEFT
			       : h->quant.is_whole ? CODES_WHOLE
						   : CODES_ROUGH;
		moment.lo = h->quant.lo;
		moment.step = h->quant.step;
	}
	h->n_saved = moment.linked;
	add_bytes(s, &moment, sizeof(moment));
	if (hnsw_has_near(h))
		add_bytes(s, h->centre, h->config.dim * sizeof(*h->centre));
}

/* The set of nodes that are linked, or of those to be saved again. */
static int collect(const struct hnsw *h, bool is_all, struct set *set)
{
	uint32_t n = set_words(h);
	int rc = set_init(set, n);

	for (uint32_t i = 0; i < n && rc == 0; i++)
		if (hnsw_has_chunk(h, i * 64))
			set_add(set, i,
				atomic_load_explicit(is_all ? hnsw_linked(h,
								      i * 64) :
							      hnsw_dirty(h,
								      i * 64),
					memory_order_acquire));
	return rc;
}

/* The step of a save that `step` names; the next is `next` if it is done. */
static int save(struct hnsw *h, const struct hnsw_sink *sink,
	enum hnsw_save step, enum hnsw_save next)
{
	struct saver s = {.h = h, .sink = sink, .buf = malloc(BUF_LEN)};

	atomic_store_explicit(&h->next_save, SAVE_BASE, memory_order_relaxed);
	s.rc = s.buf ? collect(h, step == SAVE_BASE, &s.set) : -ENOMEM;
	if (s.rc < 0)
		goto free_buf;
	if (step != SAVE_REST)
		save_header(&s, step == SAVE_BASE ? KIND_BASE : KIND_DELTA);
	save_nodes(&s);
	if (step != SAVE_BASE)
		save_moment(&s);
	flush(&s);
	if (s.rc == 0)
		atomic_store_explicit(&h->next_save, next,
			memory_order_relaxed);
free_buf:
	set_fini(&s.set);
	free(s.buf);
	return s.rc;
}

int hnsw_save_base(struct hnsw *h, const struct hnsw_sink *sink)
{
	return save(h, sink, SAVE_BASE, SAVE_REST);
}

int hnsw_save_rest(struct hnsw *h, const struct hnsw_sink *sink)
{
	if (atomic_load_explicit(&h->next_save, memory_order_relaxed) !=
		SAVE_REST)
		return -EINVAL;
	return save(h, sink, SAVE_REST, SAVE_DELTA);
}

int hnsw_save_delta(struct hnsw *h, const struct hnsw_sink *sink)
{
	if (atomic_load_explicit(&h->next_save, memory_order_relaxed) !=
		SAVE_DELTA)
		return -EINVAL;
	return save(h, sink, SAVE_DELTA, SAVE_DELTA);
}

void hnsw_save_cost(const struct hnsw *h, size_t *delta, size_t *base)
{
	size_t word_len = sizeof(uint32_t) + 2 * sizeof(uint64_t);
	size_t ends = sizeof(struct header) + sizeof(struct moment) + 8 +
		      (hnsw_has_near(h) ? h->config.dim * sizeof(float) : 0);
	size_t list_len = h->config.m * sizeof(hnsw_link);
	uint32_t n = set_words(h);

	*delta = ends;
	*base = ends + 8 + n * word_len +
		(size_t)atomic_load_explicit(&h->linked, memory_order_relaxed) *
			h->record_len +
		(size_t)atomic_load_explicit(&h->n_lists,
			memory_order_relaxed) *
			list_len;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t bits = 0;

		if (hnsw_has_chunk(h, i * 64))
			bits = atomic_load_explicit(hnsw_dirty(h, i * 64),
				memory_order_relaxed);
		*delta += bits != 0 ? word_len : 0;
		while (bits != 0)
			*delta += h->record_len +
				  hnsw_level(h, set_take_bit(i, &bits)) * list_len;
	}
	if (atomic_load_explicit(&h->next_save, memory_order_relaxed) !=
		SAVE_DELTA)
		*delta = *base;
}
