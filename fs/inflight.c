/* SPDX-License-Identifier: Apache-2.0 */
/* inflight.c: see inflight.h. */
#include "fs/inflight.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/kept.h"
#include "src/clock.h"
#include "src/log.h"

#define BUCKETS 1024u
#define INTERRUPT_BIT 1ull	   /* of an INTERRUPT's number */
#define UNIQUE_RESENT (1ull << 63) /* the kernel sent it again */
#define INIT_MAX 4000u

/* In the arena's small region. */
struct kept_init {
	_Atomic uint32_t len; /* 0: none; stored after the bytes */
	_Atomic uint32_t n_slots; /* were ever used; only grows */
	char bytes[INIT_MAX];
};

static_assert(sizeof(struct kept_init) <= 4096, "stages' part follows it");

struct slot {
	char *mem; /* borrowed of the arena; lock: its first setting */
	_Atomic uint64_t unique; /* relaxed: of the request being served */
	_Atomic bool is_answered; /* set once; parked under the lock if not */
};

/* A parked request. */
struct parked {
	struct parked *next; /* lock: of the bucket */
	uint64_t unique;
	uint32_t file;
};

struct inflight {
	struct arena *arena; /* borrowed */
	struct kept_init *init;
	struct slot slot[ARENA_LARGE_MAX];
	pthread_mutex_t lock;
	pthread_cond_t answered; /* somebody may wait for it */
	struct parked *bucket[BUCKETS]; /* lock */

	uint64_t *found; /* owned: what a recovery found, in order */
	size_t n_found, next;
};

static _Thread_local struct slot *serving;

int inflight_open(struct arena *a, struct inflight **out)
{
	struct inflight *fl = calloc(1, sizeof(*fl));
	void *small;
	int rc = fl ? arena_get_region(a, ARENA_SMALL, 0, &small) : -ENOMEM;

	if (rc < 0) {
		free(fl);
		return rc;
	}
	fl->arena = a;
	fl->init = small;
	pthread_mutex_init(&fl->lock, NULL);
	pthread_cond_init(&fl->answered, NULL);
	*out = fl;
	return 0;
}

void inflight_close(struct inflight *fl)
{
	if (!fl)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (fl->bucket[i]) {
			struct parked *next = fl->bucket[i]->next;

			free(fl->bucket[i]);
			fl->bucket[i] = next;
		}
	}
	pthread_mutex_destroy(&fl->lock);
	pthread_cond_destroy(&fl->answered);
	free(fl->found);
	free(fl);
}

static struct fuse_in_header *head_of(const struct slot *s)
{
	return (struct fuse_in_header *)(void *)s->mem;
}

static int map_slot(struct inflight *fl, unsigned slot)
{
	void *mem;
	int rc;

	assert(slot < ARENA_LARGE_MAX);
	rc = arena_get_region(fl->arena, ARENA_LARGE, slot, &mem);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&fl->lock);
	fl->slot[slot].mem = mem;
	pthread_mutex_unlock(&fl->lock);
	return 0;
}

void *inflight_slot(struct inflight *fl, unsigned slot)
{
	struct slot *s = &fl->slot[slot];

	if (map_slot(fl, slot) < 0)
		return NULL;
	memset(head_of(s), 0, sizeof(struct fuse_in_header));
	if (slot >= atomic_load(&fl->init->n_slots))
		atomic_store(&fl->init->n_slots, slot + 1);
	return s->mem;
}

static bool is_forget(const struct fuse_in_header *head)
{
	return head->opcode == FUSE_FORGET || head->opcode == FUSE_BATCH_FORGET;
}

/* Whether the kernel awaits an answer to such a request. */
static bool is_answerable(const struct fuse_in_header *head)
{
	return head->unique != 0 && !is_forget(head) &&
	       head->opcode != FUSE_INTERRUPT &&
	       head->opcode != FUSE_NOTIFY_REPLY;
}

/* ---- parking ---- */

static struct parked **bucket_of(struct inflight *fl, uint64_t unique)
{
	return &fl->bucket[unique / 2 % BUCKETS];
}

static struct parked **find_locked(struct inflight *fl, uint64_t unique)
{
	struct parked **link = bucket_of(fl, unique);

	while (*link && (*link)->unique != unique)
		link = &(*link)->next;
	return link;
}

static void insert_locked(struct inflight *fl, struct parked *p)
{
	struct parked **bucket = bucket_of(fl, p->unique);

	p->next = *bucket;
	*bucket = p;
}

/* A request's bytes in a file of the arena; begun: how often. NULL: there is
 * no memory. */
static struct parked *parked_new(struct inflight *fl, uint64_t unique,
	const void *bytes, size_t len, uint32_t begun)
{
	struct parked *p = malloc(sizeof(*p));
	struct arena_attr attr = {.serial = unique,
		.mode = begun,
		.area = KEPT_REQUEST,
		.name_len = 1};

	if (!p)
		return NULL;
	p->unique = unique;
	if (arena_file_new(fl->arena, &attr, &p->file) < 0) {
		free(p);
		return NULL;
	}
	if (arena_pwrite(fl->arena, p->file, ARENA_BODY, 0, bytes, len) < 0) {
		arena_file_del(fl->arena, p->file);
		free(p);
		return NULL;
	}
	return p;
}

static void parked_free(struct inflight *fl, struct parked *p)
{
	if (!p)
		return;
	arena_file_del(fl->arena, p->file);
	free(p);
}

void inflight_begin(struct inflight *fl, unsigned slot)
{
	struct slot *s = &fl->slot[slot];
	uint64_t unique = head_of(s)->unique & ~UNIQUE_RESENT;

	atomic_store_explicit(&s->is_answered, false, memory_order_relaxed);
	atomic_store_explicit(&s->unique, unique, memory_order_relaxed);
	serving = s;
}

static bool is_answered(struct slot *s)
{
	return atomic_load_explicit(&s->is_answered, memory_order_relaxed);
}

static void park(struct inflight *fl, struct slot *s)
{
	const struct fuse_in_header *head = head_of(s);
	struct parked *p = parked_new(
		fl, head->unique & ~UNIQUE_RESENT, s->mem, head->len, 1);

	pthread_mutex_lock(&fl->lock);
	while (!p && !is_answered(s))
		pthread_cond_wait(&fl->answered, &fl->lock);
	if (!is_answered(s)) {
		insert_locked(fl, p);
		p = NULL;
	}
	atomic_store_explicit(&s->unique, 0, memory_order_relaxed);
	pthread_mutex_unlock(&fl->lock);
	parked_free(fl, p);
}

void inflight_end(struct inflight *fl, unsigned slot)
{
	struct slot *s = &fl->slot[slot];
	struct fuse_in_header *head = head_of(s);

	assert(serving == s);
	serving = NULL;
	if (is_answerable(head) && !is_answered(s))
		park(fl, s);
	else
		atomic_store_explicit(&s->unique, 0, memory_order_relaxed);
	/* What is read next is a request only once its number is there. */
	memset(head, 0, sizeof(*head));
}

static bool answered_in_slot_locked(struct inflight *fl, uint64_t unique)
{
	for (unsigned i = 0; i < ARENA_LARGE_MAX; i++) {
		struct slot *s = &fl->slot[i];

		if (!s->mem || atomic_load_explicit(&s->unique,
				       memory_order_relaxed) != unique)
			continue;
		atomic_store_explicit(
			&s->is_answered, true, memory_order_relaxed);
		return true;
	}
	return false;
}

void inflight_answered(struct inflight *fl, uint64_t unique)
{
	struct parked **link, *p = NULL;

	unique &= ~UNIQUE_RESENT;
	if (serving && atomic_load_explicit(&serving->unique,
			       memory_order_relaxed) == unique) {
		atomic_store_explicit(
			&serving->is_answered, true, memory_order_relaxed);
		return;
	}
	pthread_mutex_lock(&fl->lock);
	if (!answered_in_slot_locked(fl, unique)) {
		link = find_locked(fl, unique);
		p = *link;
		if (p)
			*link = p->next;
	}
	pthread_cond_broadcast(&fl->answered);
	pthread_mutex_unlock(&fl->lock);
	parked_free(fl, p);
}

/* ---- INIT ---- */

int inflight_put_init(struct inflight *fl, const void *bytes, size_t len)
{
	if (len == 0 || len > INIT_MAX)
		return -EINVAL;
	memcpy(fl->init->bytes, bytes, len);
	atomic_store(&fl->init->len, (uint32_t)len);
	return 0;
}

const void *inflight_get_init(const struct inflight *fl, size_t *len)
{
	*len = atomic_load(&fl->init->len);
	return *len && *len <= INIT_MAX ? fl->init->bytes : NULL;
}

/* ---- after a crash ---- */

static bool is_waiting(int fd, uint64_t unique)
{
	struct fuse_out_header out = {.len = sizeof(out),
		.error = -EAGAIN,
		.unique = unique | INTERRUPT_BIT};

	return write(fd, &out, sizeof(out)) == (ssize_t)sizeof(out) ||
	       errno == EINVAL;
}

static void refuse(int fd, uint64_t unique)
{
	struct fuse_out_header out = {
		.len = sizeof(out), .error = -EIO, .unique = unique};

	if (write(fd, &out, sizeof(out)) < 0)
		log_warn("request=%llu was begun twice without an answer and "
			 "is gone", (unsigned long long)unique);
	else
		log_err("request=%llu was at work at two crashes: refused "
			"with an input/output error",
			(unsigned long long)unique);
}

/* Parks what a worker was reading or serving. */
static int recover_slot(struct inflight *fl, int fd, unsigned slot)
{
	const struct fuse_in_header *head;
	struct slot *s = &fl->slot[slot];
	uint64_t unique;
	struct parked *p;
	bool is_due;
	int rc = map_slot(fl, slot);

	if (rc < 0)
		return rc;
	head = head_of(s);
	unique = head->unique & ~UNIQUE_RESENT;
	if (head->len < sizeof(*head) || head->len > INFLIGHT_LEN)
		return 0;
	is_due = is_forget(head) ||
		 (is_answerable(head) && is_waiting(fd, unique));
	p = is_due ? parked_new(fl, unique, s->mem, head->len, 1) : NULL;
	if (p)
		insert_locked(fl, p);
	else if (is_due && !is_forget(head))
		refuse(fd, unique);
	return 0;
}

struct recovery {
	struct inflight *fl;
	int fd;
	size_t n, cap;
};

static int push_found(struct recovery *r, uint64_t unique)
{
	struct inflight *fl = r->fl;

	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 64;
		uint64_t *grown = realloc(fl->found, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		fl->found = grown;
		r->cap = cap;
	}
	fl->found[r->n++] = unique;
	return 0;
}

/* A file that a request was parked in: whole, unless a slot has it too. */
static int recover_file(
	void *ctx, uint32_t idx, const struct arena_attr *attr)
{
	struct recovery *r = ctx;
	struct parked *p;

	if (attr->area != KEPT_REQUEST)
		return 0;
	p = *find_locked(r->fl, attr->serial);
	if (p && p->file == idx)
		return push_found(r, attr->serial);
	if (p || !is_waiting(r->fd, attr->serial)) { /* a forget's as well */
		arena_file_del(r->fl->arena, idx);
		return 0;
	}
	if (attr->mode >= INFLIGHT_TRIES) {
		refuse(r->fd, attr->serial);
		arena_file_del(r->fl->arena, idx);
		return 0;
	}
	p = malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct parked){.unique = attr->serial, .file = idx};
	insert_locked(r->fl, p);
	return push_found(r, attr->serial);
}

static int compare(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

int inflight_recover(struct inflight *fl, int fd)
{
	struct recovery r = {.fl = fl, .fd = fd};
	uint32_t n_slots = atomic_load(&fl->init->n_slots);
	int rc = 0;

	for (unsigned i = 0; i < n_slots && i < ARENA_LARGE_MAX && rc == 0; i++)
		rc = recover_slot(fl, fd, i);
	if (rc == 0)
		rc = arena_each(fl->arena, recover_file, &r);
	if (rc < 0)
		return rc;
	/* Only now: what a slot had is in a file. */
	for (unsigned i = 0; i < n_slots && i < ARENA_LARGE_MAX; i++)
		memset(fl->slot[i].mem, 0, sizeof(struct fuse_in_header));
	fl->n_found = r.n;
	fl->next = 0;
	if (r.n)
		qsort(fl->found, r.n, sizeof(*fl->found), compare);
	return (int)r.n;
}

bool inflight_is_pending(const struct inflight *fl, uint64_t unique)
{
	return fl->n_found && bsearch(&unique, fl->found, fl->n_found,
				      sizeof(*fl->found), compare);
}

int inflight_next(struct inflight *fl, void **bytes, size_t *len)
{
	struct arena_attr attr;
	const void *body;
	struct parked *p;
	void *copy;

	if (fl->next == fl->n_found)
		return -ENOENT;
	pthread_mutex_lock(&fl->lock);
	p = *find_locked(fl, fl->found[fl->next]);
	pthread_mutex_unlock(&fl->lock);
	assert(p); /* nobody else begins it, so nobody answers it */
	body = arena_bytes(fl->arena, p->file, ARENA_BODY, len);
	copy = malloc(*len ? *len : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, body, *len);
	fl->next++;
	*bytes = copy;
	if (is_forget(copy)) {
		/* Nobody awaits an answer; a second time does no harm. */
		inflight_answered(fl, p->unique);
		return 0;
	}
	attr = *arena_file_get(fl->arena, p->file);
	attr.mode++;
	arena_file_put(fl->arena, p->file, &attr);
	return 0;
}

void inflight_wait(struct inflight *fl, uint64_t unique, unsigned ms)
{
	double until = clock_now_s() + ms * 1e-3;

	pthread_mutex_lock(&fl->lock);
	while (*find_locked(fl, unique))
		if (!clock_wait(&fl->answered, &fl->lock, until))
			break;
	pthread_mutex_unlock(&fl->lock);
}
