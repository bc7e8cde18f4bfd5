/* SPDX-License-Identifier: Apache-2.0 */
/* fields.c: which fields are indexed: found, extended, dropped. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"

int fields_new(size_t bytes_max, uint32_t n_max, struct fields **out)
{
	struct fields *f = calloc(1, sizeof(*f));

	assert(n_max > 0);
	if (!f)
		return -ENOMEM;
	if (pthread_rwlock_init(&f->lock, NULL) != 0) {
		free(f);
		return -ENOMEM;
	}
	f->bytes_max = bytes_max;
	f->n_max = n_max;
	atomic_init(&f->clock, 1);
	*out = f;
	return 0;
}

int fields_entry_new(struct vg_id field, struct fields_runs *runs,
	struct fields_entry **out)
{
	struct fields_entry *e = malloc(sizeof(*e) + field.len);

	assert(field.len > 0 && field.len <= FILTER_FIELD_MAX);
	if (!e)
		return -ENOMEM;
	if (pthread_mutex_init(&e->build, NULL) != 0) {
		free(e);
		return -ENOMEM;
	}
	atomic_init(&e->refs, 1);
	atomic_init(&e->used, 0);
	e->runs = runs;
	e->saved = 0;
	e->is_in = false;
	e->name_len = field.len;
	memcpy(e->name, field.bytes, field.len);
	*out = e;
	return 0;
}

static struct fields_entry *entry_ref(struct fields_entry *e)
{
	atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
	return e;
}

void fields_entry_unref(struct fields_entry *e)
{
	if (!e || atomic_fetch_sub_explicit(&e->refs, 1,
		memory_order_acq_rel) > 1)
		return;
	fields_runs_unref(e->runs);
	pthread_mutex_destroy(&e->build);
	free(e);
}

void fields_free(struct fields *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->n; i++)
		fields_entry_unref(f->at[i]);
	free(f->at);
	pthread_rwlock_destroy(&f->lock);
	free(f);
}

size_t fields_bytes(struct fields *f)
{
	size_t bytes;

	pthread_rwlock_rdlock(&f->lock);
	bytes = sizeof(*f) + f->bytes;
	pthread_rwlock_unlock(&f->lock);
	return bytes;
}

uint32_t fields_count(struct fields *f)
{
	uint32_t n = 0;

	pthread_rwlock_rdlock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++)
		n += f->at[i]->runs != NULL;
	pthread_rwlock_unlock(&f->lock);
	return n;
}

uint64_t fields_read(struct fields *f)
{
	return atomic_load_explicit(&f->n_read, memory_order_relaxed);
}

uint64_t fields_unsaved(struct fields *f, uint64_t *all)
{
	uint64_t unsaved = 0;

	*all = 0;
	pthread_rwlock_rdlock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct fields_entry *e = f->at[i];
		uint32_t covered = e->runs ? e->runs->covered : 0;
		assert(e->saved <= covered);
		*all += covered;
		unsaved += covered - e->saved;
	}
	pthread_rwlock_unlock(&f->lock);
	return unsaved;
}

void fields_unsave(struct fields *f)
{
	pthread_rwlock_wrlock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++)
		f->at[i]->saved = 0;
	pthread_rwlock_unlock(&f->lock);
}

static int compare_names(const void *a, const void *b)
{
	const struct vg_id *x = a, *y = b;

	return fields_compare((const uint8_t *)x->bytes, x->len,
		(const uint8_t *)y->bytes, y->len);
}

/* Copies what there is, as far as it fits; what would is in *n and *len. */
static void copy_names(
	struct fields *f, struct vg_id *names, uint32_t *n, size_t *len)
{
	uint32_t cap = *n;
	size_t room = *len, used = 0;
	char *bytes = (char *)(names + cap);

	pthread_rwlock_rdlock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++) {
		const struct fields_entry *e = f->at[i];

		if (i < cap && e->name_len <= room - VG_MIN(used, room)) {
			memcpy(bytes + used, e->name, e->name_len);
			names[i] = (struct vg_id){bytes + used, e->name_len};
		}
		used += e->name_len;
	}
	*n = f->n;
	pthread_rwlock_unlock(&f->lock);
	*len = used;
}

int fields_names(struct fields *f, struct vg_id **out, uint32_t *n)
{
	struct vg_id *names = NULL;
	uint32_t cap = 0;
	size_t room = 0, len = 0;

	*n = 0;
	copy_names(f, NULL, n, &len);
	/* Ends: there are at most n_max of them, so they stop coming. */
	while (!names || *n > cap || len > room) {
		free(names);
		cap = *n;
		room = len;
		names = malloc(cap * sizeof(*names) + room + 1);
		if (!names)
			return -ENOMEM;
		copy_names(f, names, n, &len);
	}
	qsort(names, *n, sizeof(*names), compare_names);
	*out = names;
	return 0;
}

static size_t entry_bytes(const struct fields_entry *e)
{
	return sizeof(*e) + e->name_len + (e->runs ? e->runs->bytes : 0);
}

static uint64_t tick(struct fields *f)
{
	return atomic_fetch_add_explicit(&f->clock, 1, memory_order_relaxed);
}

/* The lock is held, for whichever access. */
static struct fields_entry *find_locked(struct fields *f, struct vg_id field)
{
	for (uint32_t i = 0; i < f->n; i++) {
		struct fields_entry *e = f->at[i];
		if (e->name_len == field.len &&
			memcmp(e->name, field.bytes, field.len) == 0)
			return e;
	}
	return NULL;
}

/* Takes it out of the table; the caller unrefs it without the lock. */
static struct fields_entry *remove_locked(struct fields *f, uint32_t i)
{
	struct fields_entry *e = f->at[i];

	assert(i < f->n && e->is_in && f->bytes >= entry_bytes(e));
	e->is_in = false;
	f->bytes -= entry_bytes(e);
	f->at[i] = f->at[--f->n];
	return e;
}

/* Room for n more. -ENOMEM. */
static int reserve_locked(struct fields *f, uint32_t n)
{
	struct fields_entry **at = filter_grow(f->at, &f->cap, f->n + n,
		sizeof(struct fields_entry *));

	if (!at)
		return -ENOMEM;
	f->at = at;
	return 0;
}

/* Takes a reference. There is room. */
static void put_locked(struct fields *f, struct fields_entry *e)
{
	assert(!e->is_in && f->n < f->cap);
	e->is_in = true;
	f->bytes += entry_bytes(e);
	f->at[f->n++] = e;
}

/* The least recently used field with an index, but not keep, if there is too
 * much; out of the table already. NULL: there is not. */
static struct fields_entry *drop_one(struct fields *f,
	const struct fields_entry *keep)
{
	struct fields_entry *out = NULL;
	uint64_t oldest = UINT64_MAX;
	uint32_t n = 0, at = 0;

	pthread_rwlock_wrlock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++) {
		uint64_t used = atomic_load_explicit(&f->at[i]->used,
			memory_order_relaxed);
		n += f->at[i]->runs != NULL;
		if (f->at[i] == keep || !f->at[i]->runs || used >= oldest)
			continue;
		oldest = used;
		at = i;
	}
	if (oldest < UINT64_MAX && (n > f->n_max || f->bytes > f->bytes_max))
		out = remove_locked(f, at);
	pthread_rwlock_unlock(&f->lock);
	return out;
}

/* Drops until it is not too much any more. */
static void drop(struct fields *f, const struct fields_entry *keep)
{
	struct fields_entry *e;

	/* Each turn there is one less. */
	while ((e = drop_one(f, keep)))
		fields_entry_unref(e);
}

int fields_add(struct fields *f, struct fields_entry **entries, uint32_t n)
{
	int rc;

	pthread_rwlock_wrlock(&f->lock);
	rc = reserve_locked(f, n);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct vg_id field = {entries[i]->name, entries[i]->name_len};
		if (find_locked(f, field))
			continue;
		atomic_store_explicit(&entries[i]->used, tick(f),
			memory_order_relaxed);
		put_locked(f, entry_ref(entries[i]));
	}
	pthread_rwlock_unlock(&f->lock);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < n; i++)
		fields_entry_unref(entries[i]);
	drop(f, NULL);
	return 0;
}

/* The field's entry, referenced, and its runs as far as they are. */
static struct fields_entry *find_entry(struct fields *f, struct vg_id field,
	struct fields_runs **runs)
{
	struct fields_entry *e;

	pthread_rwlock_rdlock(&f->lock);
	e = find_locked(f, field);
	*runs = e ? e->runs : NULL;
	if (e)
		entry_ref(e);
	if (*runs)
		atomic_fetch_add_explicit(&(*runs)->refs, 1,
			memory_order_relaxed);
	pthread_rwlock_unlock(&f->lock);
	if (e)
		atomic_store_explicit(&e->used, tick(f), memory_order_relaxed);
	return e;
}

/* The same, made without runs if there is none. */
static int get_entry(struct fields *f, struct vg_id field,
	struct fields_entry **out, struct fields_runs **runs)
{
	struct fields_entry *new, *e = find_entry(f, field, runs);
	int rc;

	*out = e;
	if (e)
		return 0;
	rc = fields_entry_new(field, NULL, &new);
	if (rc < 0)
		return rc;
	pthread_rwlock_wrlock(&f->lock);
	e = find_locked(f, field);
	if (!e)
		rc = reserve_locked(f, 1);
	if (!e && rc == 0) {
		e = new;
		put_locked(f, entry_ref(e));
	} else if (e) {
		entry_ref(e);
	}
	pthread_rwlock_unlock(&f->lock);
	if (e != new)
		fields_entry_unref(new);
	if (e)
		atomic_store_explicit(&e->used, tick(f), memory_order_relaxed);
	*out = e;
	return rc;
}

/* Makes runs the entry's, which takes a reference. */
static void publish(struct fields *f, struct fields_entry *e,
	struct fields_runs *runs)
{
	struct fields_runs *old;

	atomic_fetch_add_explicit(&runs->refs, 1, memory_order_relaxed);
	pthread_rwlock_wrlock(&f->lock);
	old = e->runs;
	if (e->is_in)
		f->bytes -= entry_bytes(e);
	e->runs = runs;
	if (e->is_in)
		f->bytes += entry_bytes(e);
	pthread_rwlock_unlock(&f->lock);
	fields_runs_unref(old);
	drop(f, e);
}

/* An entry that got no runs is as if it had not been asked for. */
static void withdraw(struct fields *f, struct fields_entry *e)
{
	bool is_out = false;

	pthread_rwlock_wrlock(&f->lock);
	for (uint32_t i = 0; i < f->n && !is_out; i++) {
		if (f->at[i] == e && !e->runs) {
			remove_locked(f, i);
			is_out = true;
		}
	}
	pthread_rwlock_unlock(&f->lock);
	if (is_out)
		fields_entry_unref(e);
}

/* What e has now, referenced, and extended if it does not cover rows. */
static int extend(struct fields *f, struct fields_entry *e,
	const struct fields_rows *rows, struct fields_runs **out)
{
	struct vg_id field = {e->name, e->name_len};
	struct fields_runs *old, *runs = NULL;
	int rc = 0;

	pthread_mutex_lock(&e->build);
	pthread_rwlock_rdlock(&f->lock);
	old = e->runs; /* nobody but us changes it now */
	pthread_rwlock_unlock(&f->lock);
	if (old && old->covered >= rows->n) {
		atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
		runs = old;
	} else {
		rc = fields_runs_extend(old, field, rows, &runs);
		if (rc == 0) {
			atomic_fetch_add_explicit(&f->n_read,
				rows->n - (old ? old->covered : 0),
				memory_order_relaxed);
			publish(f, e, runs);
		}
	}
	pthread_mutex_unlock(&e->build);
	if (rc == 0)
		*out = runs;
	return rc;
}

int fields_view(struct fields *f, struct vg_id field,
	const struct fields_rows *rows, struct fields_runs **out)
{
	struct fields_entry *e;
	struct fields_runs *runs = NULL;
	int rc = get_entry(f, field, &e, &runs);

	assert(rows->n > 0);
	if (rc < 0)
		return rc;
	if (runs && runs->covered >= rows->n) {
		*out = runs;
	} else {
		fields_runs_unref(runs);
		rc = extend(f, e, rows, out);
		if (rc < 0)
			withdraw(f, e);
	}
	fields_entry_unref(e);
	return rc;
}

int fields_index_like(struct fields *f, struct fields *like, uint32_t nth,
	const struct fields_rows *rows)
{
	struct fields_entry *e = NULL;
	struct fields_runs *runs;
	int rc;

	pthread_rwlock_rdlock(&like->lock);
	if (nth < like->n)
		e = entry_ref(like->at[nth]);
	pthread_rwlock_unlock(&like->lock);
	if (!e)
		return 0;
	rc = fields_view(f, (struct vg_id){e->name, e->name_len}, rows, &runs);
	fields_entry_unref(e);
	if (rc < 0)
		return rc;
	fields_runs_unref(runs);
	return 1;
}

int fields_check(struct fields *f, const char **why)
{
	int rc = 0;

	pthread_rwlock_rdlock(&f->lock);
	for (uint32_t i = 0; i < f->n && rc == 0; i++) {
		struct fields_runs *runs = f->at[i]->runs;
		uint32_t end = 0;
		for (uint32_t k = 0; runs && k < runs->n && rc == 0; k++) {
			*why = fields_run_check(runs->at[k]);
			if (!*why && runs->at[k]->begin != end)
				*why = "a run does not follow the one before";
			end = runs->at[k]->end;
			rc = *why ? -VG_ECORRUPT : 0;
		}
	}
	pthread_rwlock_unlock(&f->lock);
	return rc;
}
