/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_file.c: a graph as a stream of bytes: saved while it grows, loaded. */
#include <errno.h>
#include <stdlib.h>

#include "index/hnsw_int.h"

/*
 * STREAM. Little-endian, without gaps; format version 1:
 *
 *	base    header | nodes | nodes | moment
 *	delta   header | nodes | moment
 *
 *	header  0   8 bytes  magic, "vghns\r\n\x1a"
 *		8   u32      version: 1
 *		12  u32      kind: 1 base, 2 delta
 *		16  u32 x 4  dim, metric, m, ef_construction
 *		32  u64      seed of the levels
 *		40  u32      bytes of a record: 8 m, and 4 under cosine
 *		44  u32      nodes of the graph before this stream; base: 0
 *
 *	nodes   0   u32      W
 *		4   u32      N
 *		8   u32 x W  words: slot / 64, ascending
 *		    u64 x W  the slots of each: bit slot % 64, none is 0
 *		    N records in order of slots: the node without its pad,
 *			     that is term (under cosine) and 2 m links
 *		    for each of these slots whose level is above 0, in order:
 *			     its lists of levels 1, 2, ..., m links each
 *
 *	moment  0   u64      entry: level << 32 | slot; ~0: no node
 *		8   u32      nodes of the graph now
 *		12  f32      length of the longest row
 *		16  u32      1: some row needs exact kernels; else 0
 *		20  u32      0
 *		24  8 bytes  end, "vgend\r\n\x1a"
 *
 * Nodes, lists and links are those of hnsw.h; the level of a slot follows from
 * seed and m (hnsw_level), so how many lists there are needs not be told. The
 * later of two records of a slot counts. What is in a stream has no sum: who
 * keeps it has one over the whole file.
 *
 * WHY A BASE MAY BE WRITTEN BESIDE PUTS. Its first nodes are those linked when
 * it began. A put that writes one of their lists marks the node afterwards
 * (hnsw_dirty), and the saver takes the mark away before it copies. So a node
 * whose copy misses a write is marked when the puts have stopped, and is in
 * the second nodes with all that were linked meanwhile. A record of the first
 * may have a link to a node that only the second have: a load judges such
 * links when it knows both.
 *
 * WHAT A LOAD BELIEVES. Nothing that a walk relies on: I2 and I3, that lists
 * end once (of I1), that marks are few and on level 0 (of I4), that terms are
 * not negative, I7. It does not look for links that are there twice, nor
 * whether the marks are a tree, since no harm comes of it but to recall (a put
 * gives up its way down a tree that is none), nor at any row.
 */
#define MAGIC "vghns\r\n\x1a"
#define END_MAGIC "vgend\r\n\x1a"
#define STREAM_VERSION 1u
#define KIND_BASE 1u
#define KIND_DELTA 2u
#define BUF_LEN (512u << 10)	 /* what a read or write of many nodes has */
#define LEN_INFINITE 0x7f800000u /* bits of a float; lengths are below */

struct header {
	char magic[8];
	uint32_t version;
	uint32_t kind;
	uint32_t dim, metric, m, ef_construction;
	uint64_t seed;
	uint32_t record_len;
	uint32_t n_before;
};

struct moment {
	uint64_t entry;
	uint32_t linked;
	uint32_t longest;
	uint32_t is_wild;
	uint32_t zero;
	char end[8];
};

static_assert(sizeof(struct header) == 48, "as the table says");
static_assert(sizeof(struct moment) == 32, "as the table says");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"structs and links go to the stream as they lie in memory");
static_assert(BUF_LEN >= HNSW_LEVEL_MAX * VG_M_MAX * sizeof(hnsw_link),
	"all upper lists of a node fit");

/* ---- a set of slots ---- */

struct set {
	uint64_t *bits;	 /* owned; none is 0 */
	uint32_t *index; /* in bits' memory; ascending */
	uint32_t n_words;
	uint32_t n_nodes;
};

/* Where a walk over a set stands; zeroed: before the first slot. */
struct cursor {
	uint32_t word;
	uint64_t left;
};

/* Room for max words. */
static int set_init(struct set *set, uint32_t max)
{
	size_t len = sizeof(*set->bits) + sizeof(*set->index);

	*set = (struct set){.bits = malloc(((size_t)max + 1) * len)};
	if (!set->bits)
		return -ENOMEM;
	set->index = (uint32_t *)(void *)(set->bits + max);
	return 0;
}

static void set_fini(struct set *set)
{
	free(set->bits);
	*set = (struct set){.n_words = 0};
}

static void set_add(struct set *set, uint32_t index, uint64_t bits)
{
	if (bits == 0)
		return;
	set->index[set->n_words] = index;
	set->bits[set->n_words++] = bits;
	set->n_nodes += (uint32_t)__builtin_popcountll(bits);
}

/* The slot of the lowest bit, which goes. */
static uint32_t take_bit(uint32_t index, uint64_t *bits)
{
	uint32_t slot = index * 64 + (uint32_t)__builtin_ctzll(*bits);

	assert(*bits != 0);
	*bits &= *bits - 1;
	return slot;
}

/* The next slot of the set: there must be one. */
static uint32_t set_next(const struct set *set, struct cursor *c)
{
	if (c->left == 0) {
		assert(c->word < set->n_words);
		c->left = set->bits[c->word++];
	}
	return take_bit(set->index[c->word - 1], &c->left);
}

/* Words of 64 slots that have them all. */
static uint32_t n_words_of(uint32_t n_slots)
{
	return n_slots / 64 + (n_slots % 64 != 0);
}

static uint32_t n_words(const struct hnsw *h)
{
	return n_words_of(
		atomic_load_explicit(&h->bound, memory_order_acquire));
}

static bool has_chunk(const struct hnsw *h, uint32_t slot)
{
	return atomic_load_explicit(&h->chunk[slot >> h->shift],
		       memory_order_acquire) != NULL;
}

/* ---- saving ---- */

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
static void copy_links(char *to, const hnsw_link *links, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t link =
			atomic_load_explicit(&links[i], memory_order_relaxed);

		memcpy(to + i * sizeof(link), &link, sizeof(link));
	}
}

static void save_record(struct saver *s, uint32_t slot)
{
	const struct hnsw *h = s->h;
	char *to = add_room(s, h->record_len);

	/* The term was written before the node was linked. */
	memcpy(to, hnsw_node(h, slot), h->links_at);
	copy_links(to + h->links_at, hnsw_links(h, slot, 0), 2 * h->config.m);
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
	for (uint32_t w = 0; w < set->n_words && s->rc == 0; w++) {
		uint32_t index = set->index[w];

		atomic_fetch_and_explicit(hnsw_dirty(s->h, index * 64),
			~set->bits[w], memory_order_acquire);
		for (uint64_t bits = set->bits[w]; bits != 0;)
			save_record(s, take_bit(index, &bits));
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
		.metric = c->metric,
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

	h->n_saved = moment.linked;
	add_bytes(s, &moment, sizeof(moment));
}

/* The set of nodes that are linked, or of those to be saved again. */
static int collect(const struct hnsw *h, bool is_all, struct set *set)
{
	uint32_t n = n_words(h);
	int rc = set_init(set, n);

	for (uint32_t i = 0; i < n && rc == 0; i++)
		if (has_chunk(h, i * 64))
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
	size_t word_len = sizeof(uint32_t) + sizeof(uint64_t);
	size_t ends = sizeof(struct header) + sizeof(struct moment) + 8;
	size_t list_len = h->config.m * sizeof(hnsw_link);
	uint32_t n = n_words(h);

	*delta = ends;
	*base = ends + 8 + n * word_len +
		(size_t)atomic_load_explicit(&h->linked, memory_order_relaxed) *
			h->record_len +
		(size_t)atomic_load_explicit(&h->n_lists,
			memory_order_relaxed) *
			list_len;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t bits = 0;

		if (has_chunk(h, i * 64))
			bits = atomic_load_explicit(hnsw_dirty(h, i * 64),
				memory_order_relaxed);
		*delta += bits != 0 ? word_len : 0;
		while (bits != 0)
			*delta += h->record_len +
				  hnsw_level(h, take_bit(i, &bits)) * list_len;
	}
	if (atomic_load_explicit(&h->next_save, memory_order_relaxed) !=
		SAVE_DELTA)
		*delta = *base;
}

/* ---- loading ---- */

struct loader {
	struct hnsw *h;
	const struct hnsw_source *source;
	const char *why;
	uint32_t n_rows;
	uint32_t dense;	  /* all slots below are known */
	uint64_t *known;  /* bits of n_rows slots: the graph has the node */
	uint64_t *wanted; /* some link names it, and it was not known */
	bool is_last;	  /* no more nodes will come */
	struct set set;	  /* whose records and lists are read */
	uint64_t n_lists; /* upper ones, of the set */
	uint64_t top;	  /* the highest level of any node */
	char *buf;	  /* BUF_LEN */
};

/* Things of one length, read many at a time into the loader's buffer. */
struct items {
	size_t len;
	uint64_t left; /* not read yet */
	size_t at, end;
};

static int fail(struct loader *l, const char *why)
{
	assert(why);
	l->why = why;
	return -VG_ECORRUPT;
}

static int load_bytes(struct loader *l, void *buf, size_t len)
{
	return len > 0 ? l->source->read(l->source->ctx, buf, len) : 0;
}

/* The next item, borrowed until the one after it. There must be one. */
static int items_next(struct loader *l, struct items *it, const char **item)
{
	if (it->at == it->end) {
		size_t n = (size_t)VG_MIN(it->left, BUF_LEN / it->len);
		int rc = load_bytes(l, l->buf, n * it->len);

		if (rc < 0)
			return rc;
		assert(n > 0);
		it->left -= n;
		it->at = 0;
		it->end = n * it->len;
	}
	*item = l->buf + it->at;
	it->at += it->len;
	return 0;
}

static int load_header(struct loader *l, uint32_t kind)
{
	const struct hnsw_config *c = &l->h->config;
	struct header header;
	int rc = load_bytes(l, &header, sizeof(header));

	if (rc < 0)
		return rc;
	if (memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0)
		return fail(l, "it is not a saved graph");
	if (header.version != STREAM_VERSION)
		return fail(l, "it is a graph of another version");
	if (header.kind != kind)
		return fail(l, "a base is where a delta belongs, or a delta "
			       "where a base does");
	if (header.dim != c->dim || header.metric != c->metric ||
		header.m != c->m ||
		header.ef_construction != c->ef_construction ||
		header.seed != c->seed || header.record_len != l->h->record_len)
		return fail(l, "it is a graph of other settings");
	if (header.n_before != l->h->n_saved)
		return fail(l, "it is not the delta that comes next");
	return 0;
}

static int check_set(struct loader *l)
{
	const struct set *set = &l->set;
	uint64_t n = 0;

	for (uint32_t i = 0; i < set->n_words; i++) {
		uint32_t index = set->index[i];

		if (i > 0 && index <= set->index[i - 1])
			return fail(l, "its slots are in no order");
		if (set->bits[i] == 0)
			return fail(l, "a word has no slots");
		if (index >= n_words_of(l->n_rows) ||
			index * 64 + 63 -
					(uint32_t)__builtin_clzll(
						set->bits[i]) >=
				l->n_rows)
			return fail(l, "it names rows that are not there");
		n += (uint64_t)__builtin_popcountll(set->bits[i]);
	}
	return n == set->n_nodes ? 0 : fail(l, "its nodes are not so many");
}

static int load_set(struct loader *l)
{
	struct set *set = &l->set;
	uint32_t head[2];
	int rc = load_bytes(l, head, sizeof(head));

	if (rc < 0)
		return rc;
	if (head[0] > n_words_of(l->n_rows))
		return fail(l, "it names rows that are not there");
	set_fini(set);
	rc = set_init(set, head[0]);
	if (rc < 0)
		return rc;
	set->n_words = head[0];
	set->n_nodes = head[1];
	rc = load_bytes(l, set->index, set->n_words * sizeof(*set->index));
	if (rc == 0)
		rc = load_bytes(l, set->bits,
			set->n_words * sizeof(*set->bits));
	return rc < 0 ? rc : check_set(l);
}

/* Makes the slot a node on its level; counts its lists. */
static int link_slot(struct loader *l, uint32_t slot)
{
	uint32_t level = hnsw_level(l->h, slot), place = PLACE_BASE, first;
	int rc;

	if (level > 0) {
		rc = hnsw_add_lists(l->h, level, &first);
		if (rc < 0)
			return rc;
		place = PLACE_BASE + 1 + first;
	}
	l->top = VG_MAX(l->top, level);
	l->n_lists += level;
	atomic_store_explicit(hnsw_place(l->h, slot), place,
		memory_order_release);
	return 0;
}

/* One word of the set: its new slots become nodes; counts their lists. */
static int link_word(struct loader *l, uint32_t index, uint64_t bits)
{
	struct hnsw *h = l->h;
	uint64_t new_bits = bits & ~l->known[index];
	int rc = hnsw_add_chunk(h, index * 64);

	for (bits &= l->known[index]; bits != 0 && rc == 0;)
		l->n_lists += hnsw_level(h, take_bit(index, &bits));
	for (bits = new_bits; bits != 0 && rc == 0;)
		rc = link_slot(l, take_bit(index, &bits));
	if (rc < 0 || new_bits == 0)
		return rc;
	atomic_fetch_or_explicit(hnsw_linked(h, index * 64), new_bits,
		memory_order_release);
	hnsw_raise(&h->bound,
		index * 64 + 64 - (uint32_t)__builtin_clzll(new_bits));
	l->known[index] |= new_bits;
	return 0;
}

static void find_dense(struct loader *l)
{
	uint32_t w = l->dense / 64, n = n_words_of(l->n_rows);

	while (w < n && l->known[w] == UINT64_MAX)
		w++;
	l->dense = w * 64;
	if (w < n)
		l->dense += (uint32_t)__builtin_ctzll(~l->known[w]);
}

/* Makes nodes of all slots of the set that are none. */
static int link_set(struct loader *l)
{
	const struct set *set = &l->set;
	struct hnsw *h = l->h;
	uint32_t n = 0, claimed;
	int rc = 0;

	for (uint32_t i = 0; i < set->n_words; i++)
		n += (uint32_t)__builtin_popcountll(
			set->bits[i] & ~l->known[set->index[i]]);
	claimed =
		atomic_fetch_add_explicit(&h->claimed, n, memory_order_relaxed);
	/* From here on new chunks have huge pages; old ones get them. */
	if (claimed < h->huge_at && claimed + n >= h->huge_at)
		hnsw_use_huge(h);
	l->n_lists = 0;
	for (uint32_t i = 0; i < set->n_words && rc == 0; i++)
		rc = link_word(l, set->index[i], set->bits[i]);
	atomic_fetch_add_explicit(&h->linked, n, memory_order_relaxed);
	find_dense(l);
	return rc;
}

/* Whether a link may name the slot: now, or as it will be known. */
static bool may_name(struct loader *l, uint32_t slot)
{
	uint64_t bit = 1ull << slot % 64;

	if (slot >= l->n_rows)
		return false;
	if ((l->known[slot / 64] & bit) != 0)
		return true;
	l->wanted[slot / 64] |= bit;
	return !l->is_last;
}

/* Why these are no links of slot on level 0, or NULL. */
static const char *find_fault(struct loader *l, uint32_t slot,
	const uint32_t *links)
{
	uint32_t cap = 2 * l->h->config.m, i = 0, marked = 0;

	for (; i < cap && links[i] != LINK_END; i++) {
		uint32_t to = links[i] & LINK_SLOT;

		marked += links[i] >> 31;
		if (to >= l->dense && !may_name(l, to))
			return "I2: a link names a slot that is not linked";
		if (to == slot)
			return "I1: a link names its own node";
	}
	for (; i < cap; i++)
		if (links[i] != LINK_END)
			return "I1: links follow the end of a list";
	if (marked > l->h->tree_max)
		return "I4: a node has too many marked links";
	return NULL;
}

/* The same for a list above. */
static const char *find_upper_fault(struct loader *l, uint32_t slot,
	uint32_t level, const uint32_t *links)
{
	uint32_t cap = l->h->config.m, i = 0;

	assert(level > 0);
	for (; i < cap && links[i] != LINK_END; i++) {
		if ((links[i] & LINK_TREE) != 0)
			return "I4: an upper link is marked";
		if (links[i] >= l->dense && !may_name(l, links[i]))
			return "I2: a link names a slot that is not linked";
		if (hnsw_level(l->h, links[i]) < level)
			return "I2: a link leads above a node's level";
		if (links[i] == slot)
			return "I1: a link names its own node";
	}
	for (; i < cap; i++)
		if (links[i] != LINK_END)
			return "I1: links follow the end of a list";
	return NULL;
}

static const uint32_t *links_of(const char *bytes)
{
	assert((uintptr_t)bytes % sizeof(uint32_t) == 0);
	return (const uint32_t *)(const void *)bytes;
}

static int load_records(struct loader *l)
{
	struct hnsw *h = l->h;
	struct items it = {.len = h->record_len, .left = l->set.n_nodes};
	struct cursor c = {0};
	const char *record;
	int rc = 0;

	for (uint32_t i = 0; i < l->set.n_nodes && rc == 0; i++) {
		uint32_t slot = set_next(&l->set, &c);
		const char *why;
		float term = 0;

		rc = items_next(l, &it, &record);
		if (rc < 0)
			break;
		memcpy(&term, record, h->links_at);
		if (!(term >= 0))
			return fail(l, "I6: a term is not a norm's inverse");
		why = find_fault(l, slot, links_of(record + h->links_at));
		if (why)
			return fail(l, why);
		memcpy(hnsw_node(h, slot), record, h->record_len);
	}
	return rc;
}

static int load_lists(struct loader *l)
{
	struct hnsw *h = l->h;
	size_t len = h->config.m * sizeof(hnsw_link);
	struct items it = {.len = len, .left = l->n_lists};
	struct cursor c = {0};
	const char *list;
	int rc = 0;

	for (uint32_t i = 0; i < l->set.n_nodes && rc == 0; i++) {
		uint32_t slot = set_next(&l->set, &c);
		uint32_t top = hnsw_level(h, slot);

		for (uint32_t level = 1; level <= top && rc == 0; level++) {
			const char *why;

			rc = items_next(l, &it, &list);
			if (rc < 0)
				break;
			why = find_upper_fault(l, slot, level, links_of(list));
			if (why)
				return fail(l, why);
			memcpy((void *)hnsw_links(h, slot, level), list, len);
		}
	}
	assert(rc < 0 || (it.left == 0 && it.at == it.end));
	return rc;
}

/* One part `nodes` of the stream; what the part before wanted must be in. */
static int load_nodes(struct loader *l, bool is_last)
{
	int rc = load_set(l);

	l->is_last = is_last;
	if (rc == 0)
		rc = link_set(l);
	for (uint32_t i = 0; i < n_words_of(l->n_rows) && is_last && rc == 0;
		i++)
		if ((l->wanted[i] & ~l->known[i]) != 0)
			rc = fail(l, "I2: a link names a slot that is not "
				     "linked");
	if (rc == 0)
		rc = load_records(l);
	return rc == 0 ? load_lists(l) : rc;
}

static int load_moment(struct loader *l)
{
	struct hnsw *h = l->h;
	struct moment m;
	uint32_t linked =
		atomic_load_explicit(&h->linked, memory_order_relaxed);
	uint32_t entry;
	int rc = load_bytes(l, &m, sizeof(m));

	if (rc < 0)
		return rc;
	if (memcmp(m.end, END_MAGIC, sizeof(m.end)) != 0 || m.zero != 0)
		return fail(l, "it does not end as it should");
	if (m.linked != linked)
		return fail(l, "I7: the count of linked slots is wrong");
	if (m.longest >= LEN_INFINITE || m.is_wild > 1)
		return fail(l, "the measures of its rows are none");
	entry = (uint32_t)m.entry;
	if (linked == 0 ? m.entry != ENTRY_NONE :
			  entry >= l->n_rows || !may_name(l, entry) ||
				  hnsw_level(h, entry) != m.entry >> 32)
		return fail(l, "I3: the entry is not what it says");
	if (linked > 0 && m.entry >> 32 != l->top)
		return fail(l, "I3: a level is above the entry's");
	atomic_store_explicit(&h->entry, m.entry, memory_order_release);
	atomic_store_explicit(&h->longest, m.longest, memory_order_relaxed);
	atomic_store_explicit(&h->is_wild, m.is_wild, memory_order_relaxed);
	atomic_store_explicit(&h->next_save, SAVE_DELTA, memory_order_relaxed);
	h->n_saved = linked;
	return 0;
}

static int loader_init(struct loader *l)
{
	struct hnsw *h = l->h;
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	size_t n = n_words_of(l->n_rows);

	l->n_rows = VG_MIN(l->n_rows, HNSW_SLOT_MAX);
	l->known = calloc(n + 1, sizeof(*l->known));
	l->wanted = calloc(n + 1, sizeof(*l->wanted));
	l->buf = malloc(BUF_LEN);
	if (!l->known || !l->wanted || !l->buf)
		return -ENOMEM;
	/* A delta: what is there already. */
	for (uint32_t i = 0; i < VG_MIN(n, n_words(h)); i++)
		if (has_chunk(h, i * 64))
			l->known[i] =
				atomic_load_explicit(hnsw_linked(h, i * 64),
					memory_order_acquire);
	l->top = entry == ENTRY_NONE ? 0 : entry >> 32;
	find_dense(l);
	return 0;
}

static void loader_fini(struct loader *l)
{
	set_fini(&l->set);
	free(l->known);
	free(l->wanted);
	free(l->buf);
}

static int load(struct loader *l, uint32_t kind, const char **why)
{
	int rc = loader_init(l);

	if (rc == 0)
		rc = load_header(l, kind);
	if (rc == 0 && kind == KIND_BASE)
		rc = load_nodes(l, false);
	if (rc == 0)
		rc = load_nodes(l, true);
	if (rc == 0)
		rc = load_moment(l);
	if (rc == -VG_ECORRUPT && l->why)
		*why = l->why;
	loader_fini(l);
	return rc;
}

int hnsw_load_base(const struct hnsw_config *config, const struct rows *rows,
	uint32_t n_rows, const struct hnsw_source *source, const char **why,
	struct hnsw **out)
{
	struct loader l = {.source = source, .n_rows = n_rows};
	int rc = hnsw_new(config, rows, &l.h);

	if (rc < 0)
		return rc;
	rc = load(&l, KIND_BASE, why);
	if (rc == 0)
		*out = l.h;
	else
		hnsw_free(l.h);
	return rc;
}

int hnsw_load_delta(struct hnsw *h, uint32_t n_rows,
	const struct hnsw_source *source, const char **why)
{
	struct loader l = {.h = h, .source = source, .n_rows = n_rows};

	return load(&l, KIND_DELTA, why);
}
