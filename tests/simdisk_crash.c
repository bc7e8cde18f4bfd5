/* SPDX-License-Identifier: Apache-2.0 */
/* simdisk_crash.c: what a power cut leaves; simdisk.h has the rules by number. */
#include <assert.h>
#include <string.h>

#include "tests/simdisk_int.h"
#include "tests/tap.h"

/*
 * A file is drawn so: its pending changes in order are p[1..n], p[0] stands
 * for the last sync. The size is that after p[k] (rule 4). Each sector that
 * some change touches is what it was after p[reach]: a change replays onto a
 * sector if it is not behind the sector's reach. Where a cut p[i] took effect,
 * i <= k, the sectors that it cut reach at least as far as it (rule 5). So a
 * sector never has a later write without an earlier one (rule 3), as the page
 * cache writes it whole.
 *
 * SIM_NONE, SIM_ALL and SIM_PREFIX are the same with one reach for all.
 */
struct draw {
	uint64_t random;
	enum sim_mode mode;
	unsigned keep;	/* of 256: how likely a change is kept */
	uint64_t limit; /* for all but SUBSET: the last order that is kept... */
	bool is_torn;	/* ...and this one only in part */
	uint64_t unit;	/* bytes of a sector */
	bool names_in_order;
};

static bool is_subset(const struct draw *d)
{
	return d->mode == SIM_SUBSET || d->mode == SIM_TORN;
}

static bool keeps(struct draw *d)
{
	return sim_draw(&d->random, 256) < d->keep;
}

/* A node's pending changes, oldest first, from 1 on; owned: free. */
static struct sim_pending **collect(const struct sim_node *node, uint32_t *n)
{
	struct sim_pending **all;
	uint32_t i = 0;

	for (struct sim_pending *p = node->last; p; p = p->older)
		i++;
	*n = i;
	all = sim_alloc((i + 1) * sizeof(all[0]));
	for (struct sim_pending *p = node->last; p; p = p->older)
		all[i--] = p;
	return all;
}

/* ---- files ---- */

struct plan {
	struct sim_pending **p;
	uint32_t n;
	uint64_t unit;
	uint64_t from, to; /* the units that have a reach */
	uint32_t *reach;   /* of unit from + i; owned */
	uint32_t k;	   /* whose size it is */
	uint64_t size;
	uint64_t safe_size;
};

static uint64_t size_before(const struct plan *plan, uint32_t i)
{
	return i > 1 ? plan->p[i - 1]->size : plan->safe_size;
}

/* The units that p[i] writes to, or may cut. */
static void touched(const struct plan *plan, uint32_t i, uint64_t *from,
	uint64_t *to)
{
	const struct sim_pending *p = plan->p[i];

	*from = *to = 0;
	if (p->kind == SIM_DATA && p->len > 0) {
		*from = p->offset / plan->unit;
		*to = (p->offset + p->len - 1) / plan->unit + 1;
	} else if (p->kind == SIM_CUT) {
		*from = p->size / plan->unit;
		*to = plan->to;
	}
}

static void plan_range(struct plan *plan, uint64_t end)
{
	uint64_t from, to;
	bool cuts = false;

	plan->from = UINT64_MAX;
	plan->to = 0;
	for (uint32_t i = 1; i <= plan->n; i++) {
		touched(plan, i, &from, &to);
		cuts = cuts || plan->p[i]->kind == SIM_CUT;
		if (to == 0 && plan->p[i]->kind != SIM_CUT)
			continue;
		plan->from = VG_MIN(plan->from, from);
		plan->to = VG_MAX(plan->to, to);
	}
	if (cuts) /* of all that there is */
		plan->to = VG_MAX(plan->to,
			VG_ALIGN_UP(end, plan->unit) / plan->unit);
	plan->from = VG_MIN(plan->from, plan->to);
	plan->reach =
		sim_alloc((plan->to - plan->from + 1) * sizeof(plan->reach[0]));
}

/* Sets the reach of units to at least i. */
static void reach_put(struct plan *plan, uint64_t from, uint64_t to, uint32_t i)
{
	for (uint64_t u = from; u < to; u++)
		plan->reach[u - plan->from] =
			VG_MAX(plan->reach[u - plan->from], i);
}

static void plan_subset(struct plan *plan, struct draw *d)
{
	uint64_t from, to;

	for (uint32_t i = 1; i <= plan->n; i++) {
		const struct sim_pending *p = plan->p[i];

		touched(plan, i, &from, &to);
		if (p->kind == SIM_CUT) /* the unit that keeps a part */
			to = from + (p->size % plan->unit > 0);
		for (uint64_t u = from; u < VG_MIN(to, plan->to); u++)
			if (keeps(d))
				plan->reach[u - plan->from] = i;
		if (p->size != size_before(plan, i) && keeps(d))
			plan->k = i;
	}
	if (plan->k > 0)
		plan->size = plan->p[plan->k]->size;
	for (uint32_t i = 1; i <= plan->k; i++) {
		const struct sim_pending *p = plan->p[i];

		if (p->kind == SIM_CUT)
			reach_put(plan,
				VG_ALIGN_UP(p->size, plan->unit) / plan->unit,
				plan->to, i);
	}
}

/* Everything up to the limit; the one at the limit up to some sector. */
static void plan_prefix(struct plan *plan, struct draw *d)
{
	uint64_t from, to, cut;
	uint32_t i = 0;

	while (i < plan->n && plan->p[i + 1]->order <= d->limit)
		i++;
	plan->k = i;
	plan->size = i > 0 ? plan->p[i]->size : plan->safe_size;
	reach_put(plan, plan->from, plan->to, i);
	if (i == 0 || !d->is_torn || plan->p[i]->order != d->limit ||
		plan->p[i]->kind != SIM_DATA)
		return;
	touched(plan, i, &from, &to);
	cut = from + sim_draw(&d->random, to - from + 1);
	for (uint64_t u = cut; u < to; u++)
		plan->reach[u - plan->from] = i - 1;
	if (cut < to)
		plan->size = VG_MIN(plan->size,
			VG_MAX(size_before(plan, i), cut * plan->unit));
}

/* Applies p[i] to the units from..to, all within its reach. */
static void replay_units(struct sim_node *node, const struct plan *plan,
	uint32_t i, uint64_t from, uint64_t to)
{
	static const uint8_t zeros[SIM_PAGE];
	const struct sim_pending *p = plan->p[i];
	uint64_t at = from * plan->unit, end = to * plan->unit;

	if (p->kind == SIM_DATA) {
		at = VG_MAX(at, p->offset);
		end = VG_MIN(end, p->offset + p->len);
		sim_bytes_put(node, at, p->bytes + (at - p->offset),
			(size_t)(end - at));
		return;
	}
	for (at = VG_MAX(at, p->size); at < end;) {
		size_t n = (size_t)VG_MIN(end - at, SIM_PAGE - at % SIM_PAGE);
		size_t page = (size_t)(at / SIM_PAGE);

		if (page < node->n_pages && node->page[page].now)
			sim_bytes_put(node, at, zeros, n);
		at += n;
	}
}

static void replay(struct sim_node *node, const struct plan *plan)
{
	for (uint32_t i = 1; i <= plan->n; i++) {
		uint64_t u, to, run;

		touched(plan, i, &u, &to);
		for (; u < to; u = run) { /* ends: each run has a unit */
			bool is_in = plan->reach[u - plan->from] >= i;

			for (run = u + 1; run < to; run++)
				if ((plan->reach[run - plan->from] >= i) !=
					is_in)
					break;
			if (is_in)
				replay_units(node, plan, i, u, run);
		}
	}
}

/* A new file that looks like what was last synced. */
static struct sim_node *file_safe(const struct sim_node *from)
{
	struct sim_node *node = sim_node_new(false);

	node->size = from->safe_size;
	if (from->n_pages == 0)
		return node;
	node->page = sim_alloc(from->n_pages * sizeof(node->page[0]));
	node->n_pages = node->cap_pages = from->n_pages;
	for (size_t i = 0; i < from->n_pages; i++) {
		struct sim_chunk *chunk = from->page[i].safe;

		if (chunk)
			atomic_fetch_add_explicit(&chunk->refs, 1,
				memory_order_relaxed);
		node->page[i].now = chunk;
	}
	return node;
}

/* What shows is all there is; space is what was allocated or has bytes. */
static void file_settle(struct sim_node *node, const struct sim_node *from)
{
	sim_taken_copy(&node->taken, &from->safe_taken);
	for (size_t i = 0; i < node->n_pages; i++) {
		struct sim_page *page = &node->page[i];

		if (!page->now)
			continue;
		sim_taken_put(&node->taken, i, i + 1);
		page->is_dirty = true;
	}
	node->dirty_from = 0;
	node->dirty_to = node->n_pages;
	sim_node_sync(node);
}

static struct sim_node *file_draw(struct draw *d, const struct sim_node *from)
{
	struct plan plan = {.unit = d->unit,
		.size = from->safe_size,
		.safe_size = from->safe_size};
	struct sim_node *node = file_safe(from);

	plan.p = collect(from, &plan.n);
	plan_range(&plan, (uint64_t)from->n_pages * SIM_PAGE);
	if (is_subset(d))
		plan_subset(&plan, d);
	else
		plan_prefix(&plan, d);
	replay(node, &plan);
	node->size = plan.size;
	sim_tail_clear(node, node->size);
	sim_pages_cut(node,
		(size_t)VG_ALIGN_UP(node->size, SIM_PAGE) / SIM_PAGE);
	file_settle(node, from);
	free(plan.p);
	free(plan.reach);
	return node;
}

/* ---- directories ---- */

/* Rule 6: the names of changes that are lost stay as they were. */
static bool is_blocked(const struct sim_names *lost,
	const struct sim_pending *p)
{
	const struct sim_entry *entry = (const struct sim_entry *)p->bytes;

	for (uint32_t i = 0; i < p->n_names; i++)
		if (sim_names_find(lost, entry[i].name))
			return true;
	return false;
}

static bool names_kept(struct draw *d, const struct sim_pending *p)
{
	return is_subset(d) ? keeps(d) : p->order <= d->limit;
}

static struct sim_node *dir_draw(struct draw *d, const struct sim_node *from)
{
	struct sim_node *node = sim_node_new(true);
	struct sim_names lost = {0};
	uint32_t n;
	struct sim_pending **p = collect(from, &n);
	bool is_over = false;

	for (uint32_t i = 0; i < from->safe.n; i++) {
		sim_names_put(&node->now, &from->safe.entry[i]);
		sim_names_put(&node->safe, &from->safe.entry[i]);
	}
	for (uint32_t i = 1; i <= n; i++) {
		const struct sim_entry *entry =
			(const struct sim_entry *)p[i]->bytes;
		bool is_kept = !is_over && !is_blocked(&lost, p[i]) &&
			       names_kept(d, p[i]);

		is_over = is_over || (d->names_in_order && !is_kept);
		for (uint32_t j = 0; j < p[i]->n_names; j++) {
			struct sim_entry name = entry[j];

			if (is_kept) {
				sim_names_put(&node->now, &name);
				sim_names_put(&node->safe, &name);
			} else {
				name.ino = 1; /* any but none */
				sim_names_put(&lost, &name);
			}
		}
	}
	free(lost.entry);
	free(p);
	return node;
}

/* ---- the whole ---- */

/* Some change that is pending now: all up to it are kept. */
static void limit_draw(struct draw *d, const struct sim *sim)
{
	uint64_t n = 1; /* so far: the first is none at all */

	for (uint32_t i = 1; i < sim->n_inodes; i++) {
		struct sim_pending *p =
			sim->inode[i].node ? sim->inode[i].node->last : NULL;

		for (; p; p = p->older)
			if (sim_draw(&d->random, ++n) == 0)
				d->limit = p->order;
	}
	d->is_torn = true;
}

static struct draw draw_init(const struct sim *sim, uint64_t seed,
	enum sim_mode mode)
{
	static const unsigned keep[] = {16, 64, 128, 192, 240};
	struct draw d = {.random = seed * 0x9e3779b97f4a7c15ull | 1,
		.mode = mode,
		.unit = mode == SIM_TORN ? 512 : sim->cfg.sector,
		.names_in_order = sim->cfg.names_in_order};

	assert(mode < SIM_MODES);
	sim_draw(&d.random, 2); /* small seeds differ in few bits */
	d.keep = keep[sim_draw(&d.random, VG_ARRAY_LEN(keep))];
	if (mode == SIM_ALL)
		d.limit = UINT64_MAX;
	else if (mode == SIM_PREFIX)
		limit_draw(&d, sim);
	return d;
}

static void inodes_reach(struct sim *sim, const struct sim *from)
{
	sim->inode = sim_alloc(from->n_inodes * sizeof(sim->inode[0]));
	sim->n_inodes = sim->cap_inodes = from->n_inodes;
}

/* Counts the names that show, and the space of what they name. */
static void links_count(struct sim *sim)
{
	sim->inode[SIM_ROOT].links = 1;
	for (uint32_t i = 1; i < sim->n_inodes; i++) {
		const struct sim_node *node = sim->inode[i].node;

		for (uint32_t j = 0; node && j < node->now.n; j++)
			sim->inode[node->now.entry[j].ino].links++;
	}
}

static void used_count(struct sim *sim)
{
	sim->used = 0;
	for (uint32_t i = 1; i < sim->n_inodes; i++)
		if (sim->inode[i].node && sim->inode[i].links > 0)
			sim->used +=
				SIM_PAGE *
				sim_taken_count(&sim->inode[i].node->taken);
}

struct sim *sim_crash(struct sim *sim, uint64_t seed, enum sim_mode mode)
{
	pthread_mutex_lock(&sim->lock);
	struct draw d = draw_init(sim, seed, mode);
	struct sim *out = sim_new_like(sim, d.random);

	inodes_reach(out, sim);
	for (uint32_t i = 1; i < sim->n_inodes; i++) {
		struct sim_node *node = sim->inode[i].node;

		if (!node)
			continue;
		if (sim_node_is_clean(node))
			out->inode[i].node = sim_node_ref(node);
		else
			out->inode[i].node = node->is_dir ? dir_draw(&d, node) :
							    file_draw(&d, node);
	}
	pthread_mutex_unlock(&sim->lock);
	sim_sweep(out);
	links_count(out);
	used_count(out);
	return out;
}

struct sim *sim_clone(struct sim *sim)
{
	pthread_mutex_lock(&sim->lock);
	struct sim *out = sim_new_like(sim, sim->random);

	inodes_reach(out, sim);
	out->order = sim->order;
	for (uint32_t i = 1; i < sim->n_inodes; i++) {
		out->inode[i].links = sim->inode[i].links;
		if (sim->inode[i].node)
			out->inode[i].node = sim_node_ref(sim->inode[i].node);
	}
	pthread_mutex_unlock(&sim->lock);
	sim_sweep(out);
	used_count(out);
	return out;
}

/* ---- what nothing leads to ---- */

/* Notes that an inode is led to, and that its names are to be followed. */
struct marks {
	bool *is_marked;
	uint32_t *stack;
	uint32_t n;
};

static void mark(struct marks *m, uint32_t ino)
{
	if (ino == 0 || m->is_marked[ino])
		return;
	m->is_marked[ino] = true;
	m->stack[m->n++] = ino;
}

static void mark_names(struct marks *m, const struct sim_node *node)
{
	for (uint32_t i = 0; i < node->now.n; i++)
		mark(m, node->now.entry[i].ino);
	for (uint32_t i = 0; i < node->safe.n; i++)
		mark(m, node->safe.entry[i].ino);
	for (const struct sim_pending *p = node->last; p; p = p->older) {
		const struct sim_entry *entry =
			(const struct sim_entry *)p->bytes;

		for (uint32_t i = 0; i < p->n_names; i++)
			mark(m, entry[i].ino);
	}
}

static void inode_forget(struct sim *sim, uint32_t ino)
{
	sim_node_unref(sim->inode[ino].node);
	sim->inode[ino] = (struct sim_inode){0};
	for (size_t i = 0; i < SIM_DAMAGES; i++)
		if (sim->damage[i].ino == ino)
			sim->damage[i].ino = 0;
}

void sim_sweep(struct sim *sim)
{
	struct marks m = {.is_marked = sim_alloc(sim->n_inodes),
		.stack = sim_alloc(sim->n_inodes * sizeof(m.stack[0]))};

	mark(&m, SIM_ROOT);
	for (uint32_t i = 1; i < sim->n_inodes; i++)
		if (sim->inode[i].opens > 0)
			mark(&m, i);
	while (m.n > 0) { /* ends: each inode is marked once */
		const struct sim_node *node = sim->inode[m.stack[--m.n]].node;

		assert(node);
		if (node->is_dir)
			mark_names(&m, node);
	}
	for (uint32_t i = 1; i < sim->n_inodes; i++)
		if (!m.is_marked[i] && sim->inode[i].node)
			inode_forget(sim, i);
	free(m.is_marked);
	free(m.stack);
	sim->n_orphans = 0;
}
