/* SPDX-License-Identifier: Apache-2.0 */
/* hnsw_load.c: a graph from a stream that nobody need have written well. */
#include <math.h>

#include "index/hnsw_stream.h"

struct loader {
	struct hnsw *h;
	const struct hnsw_source *source;
	const char *why;
	uint32_t n_rows;
	uint32_t dense;	  /* all slots below are known */
	uint64_t *known;  /* bits of n_rows slots: the graph has the node */
	uint64_t *wanted; /* some link names it, and it was not known */
	bool is_last;	  /* no more nodes will come */
	bool is_coded;	  /* some node has a code */
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
	if (header.dim != c->dim || header.metric != header_metric(c) ||
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
		if (index >= set_words_of(l->n_rows) ||
			index * 64 + 63 -
					(uint32_t)__builtin_clzll(
						set->bits[i]) >=
				l->n_rows)
			return fail(l, "it names rows that are not there");
		if ((set->coded[i] & ~set->bits[i]) != 0)
			return fail(l, "one has a code that is none of its nodes");
		l->is_coded = l->is_coded || set->coded[i] != 0;
		n += (uint64_t)__builtin_popcountll(set->bits[i]);
	}
	if (l->is_coded && l->h->code_len == 0)
		return fail(l, "it has codes where none belong");
	return n == set->n_nodes ? 0 : fail(l, "its nodes are not so many");
}

static int load_set(struct loader *l)
{
	struct set *set = &l->set;
	uint32_t head[2];
	int rc = load_bytes(l, head, sizeof(head));

	if (rc < 0)
		return rc;
	if (head[0] > set_words_of(l->n_rows))
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
	if (rc == 0)
		rc = load_bytes(l, set->coded,
			set->n_words * sizeof(*set->coded));
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
		l->n_lists += hnsw_level(h, set_take_bit(index, &bits));
	for (bits = new_bits; bits != 0 && rc == 0;)
		rc = link_slot(l, set_take_bit(index, &bits));
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
	uint32_t w = l->dense / 64, n = set_words_of(l->n_rows);

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
	atomic_fetch_add_explicit(&h->n_uncoded, n, memory_order_relaxed);
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
		memcpy(&term, record + h->code_len, h->links_at - h->code_len);
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

/* A node that had a code has it in each later record, too. */
static int check_coded(struct loader *l)
{
	const struct set *set = &l->set;

	for (uint32_t i = 0; i < set->n_words; i++)
		if ((atomic_load_explicit(hnsw_coded(l->h, set->index[i] * 64),
			     memory_order_relaxed) &
			    set->bits[i] & ~set->coded[i]) != 0)
			return fail(l, "a node has lost its code");
	return 0;
}

/* Once their codes are read. */
static void set_coded(struct loader *l)
{
	const struct set *set = &l->set;

	assert(set->n_words == 0 || l->h->code_len > 0 || !l->is_coded);
	for (uint32_t i = 0; i < set->n_words; i++) {
		uint64_t old = atomic_fetch_or_explicit(
			hnsw_coded(l->h, set->index[i] * 64), set->coded[i],
			memory_order_release);
		uint64_t coded = set->coded[i] & ~old;

		atomic_fetch_sub_explicit(&l->h->n_uncoded,
			(uint32_t)__builtin_popcountll(coded),
			memory_order_release);
	}
}

/* One part `nodes` of the stream; what the part before wanted must be in. */
static int load_nodes(struct loader *l, bool is_last)
{
	int rc = load_set(l);

	l->is_last = is_last;
	if (rc == 0)
		rc = link_set(l);
	for (uint32_t i = 0; i < set_words_of(l->n_rows) && is_last && rc == 0;
		i++)
		if ((l->wanted[i] & ~l->known[i]) != 0)
			rc = fail(l, "I2: a link names a slot that is not "
				     "linked");
	if (rc == 0)
		rc = check_coded(l);
	if (rc == 0)
		rc = load_records(l);
	if (rc == 0)
		set_coded(l);
	return rc == 0 ? load_lists(l) : rc;
}

/* What codes are by: as before, if that was known. */
static int load_quant(struct loader *l, const struct moment *m)
{
	struct hnsw *h = l->h;
	bool had = atomic_load_explicit(&h->quant_state,
			   memory_order_relaxed) != QUANT_NONE;
	struct quant q = {m->lo, m->step, m->codes == CODES_WHOLE};

	if (m->codes == CODES_NONE)
		return m->lo == 0 && m->step == 0 && !l->is_coded && !had
			       ? 0
			       : fail(l, "its codes have no scale");
	if (m->codes > CODES_LEFT || h->code_len == 0 ||
		!quant_is_valid(&q) ||
		(had && (q.lo != h->quant.lo || q.step != h->quant.step ||
				q.is_whole != h->quant.is_whole)))
		return fail(l, "the scale of its codes is none");
	h->quant = q;
	atomic_store_explicit(&h->quant_state,
		m->codes == CODES_LEFT ? QUANT_OFF : QUANT_ON,
		memory_order_release);
	return 0;
}

/* What is taken off rows before they are rotated. */
static int load_centre(struct loader *l)
{
	struct hnsw *h = l->h;
	int rc;

	if (!hnsw_has_near(h))
		return 0;
	rc = load_bytes(l, h->centre, h->config.dim * sizeof(*h->centre));
	for (uint32_t i = 0; i < h->config.dim && rc == 0; i++)
		if (!(fabsf(h->centre[i]) <= NEAR_CENTRE_MAX))
			rc = fail(l, "the centre of its rows is none");
	h->has_centre = atomic_load_explicit(&h->entry,
				memory_order_relaxed) != ENTRY_NONE;
	return rc;
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
	if (memcmp(m.end, END_MAGIC, sizeof(m.end)) != 0)
		return fail(l, "it does not end as it should");
	if (m.linked != linked)
		return fail(l, "I7: the count of linked slots is wrong");
	rc = load_quant(l, &m);
	if (rc < 0)
		return rc;
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
	return load_centre(l);
}

static int loader_init(struct loader *l)
{
	struct hnsw *h = l->h;
	uint64_t entry = atomic_load_explicit(&h->entry, memory_order_acquire);
	size_t n = set_words_of(l->n_rows);

	l->n_rows = VG_MIN(l->n_rows, HNSW_SLOT_MAX);
	l->known = calloc(n + 1, sizeof(*l->known));
	l->wanted = calloc(n + 1, sizeof(*l->wanted));
	l->buf = malloc(BUF_LEN);
	if (!l->known || !l->wanted || !l->buf)
		return -ENOMEM;
	/* A delta: what is there already. */
	for (uint32_t i = 0; i < VG_MIN(n, set_words(h)); i++)
		if (hnsw_has_chunk(h, i * 64))
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
