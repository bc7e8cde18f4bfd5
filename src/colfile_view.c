/* SPDX-License-Identifier: Apache-2.0 */
/*
 * colfile_view.c: what a reader holds of a part, and descriptors kept to read.
 *
 * Few are kept: there may be thousands of parts, and as many columns. To open
 * and close one costs what four reads of a cached block cost (measured), much
 * less than one from a disk, and a block is checked once. What is in use is
 * never closed; who finds no place for his closes it himself. All is counted
 * under the lock; opening and closing is outside.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

#include "src/colfile_int.h"

/*
 * Finds a place for one more descriptor: a free one, or that of the one unused
 * for longest, which the caller has to close then (*evicted). NULL: none.
 */
static struct colfile_piece **place_find_locked(
	struct colfile *cf, int *evicted)
{
	struct colfile_piece **oldest = NULL;

	for (uint32_t i = 0; i < COLFILE_KEPT; i++) {
		struct colfile_piece **at = &cf->kept[i];

		if (!*at) {
			if (!cf->cfg.fds)
				return at;
			if (atomic_fetch_sub(cf->cfg.fds, 1) > 0)
				return at;
			atomic_fetch_add(cf->cfg.fds, 1);
			continue;
		}
		if ((*at)->users == 0 &&
			(!oldest || (*at)->used < (*oldest)->used))
			oldest = at;
	}
	if (oldest) {
		*evicted = (*oldest)->fd;
		(*oldest)->fd = -1;
	}
	return oldest;
}

/* Opens a part's rows for the view, and keeps them open if there is place. */
static int view_open(struct colfile_view *v)
{
	struct colfile *cf = v->cf;
	struct io *io = cf->cfg.io;
	int evicted = -1;

	v->fd = colfile_file_open(cf, v->part.number, "", O_RDONLY);
	if (v->fd < 0) /* a missing file is no missing record */
		return v->fd == -ENOENT ? -EIO : v->fd;
	pthread_mutex_lock(&cf->lock);
	if (v->piece->fd < 0) {
		struct colfile_piece **at = place_find_locked(cf, &evicted);

		if (at) {
			*at = v->piece;
			v->piece->fd = v->fd;
			v->piece->users = 1;
			v->piece->used = ++cf->clock;
			v->is_kept = true;
		}
	}
	pthread_mutex_unlock(&cf->lock);
	if (evicted >= 0)
		io->close(io, evicted);
	return 0;
}

/* The view of the part that has the row; it was published. */
static void view_find(struct colfile *cf, uint32_t row, struct colfile_view *v)
{
	pthread_mutex_lock(&cf->lock);
	uint32_t low = 0, high = cf->n_parts;

	while (high - low > 1) { /* ends: the distance halves */
		uint32_t middle = low + (high - low) / 2;

		if (cf->part[middle].first <= row)
			low = middle;
		else
			high = middle;
	}
	assert(low < high);
	assert(row >= cf->part[low].first &&
		row - cf->part[low].first < cf->part[low].n);
	*v = (struct colfile_view){.cf = cf,
		.piece = cf->piece[low],
		.part = cf->part[low],
		.fd = cf->piece[low]->fd,
		.is_kept = cf->piece[low]->fd >= 0};
	if (v->is_kept) {
		v->piece->users++;
		v->piece->used = ++cf->clock;
	}
	pthread_mutex_unlock(&cf->lock);
}

int colfile_view_get(
	struct colfile *cf, uint32_t row, struct colfile_view *v)
{
	view_find(cf, row, v);
	return v->is_kept ? 0 : view_open(v);
}

void colfile_view_put(struct colfile_view *v)
{
	struct io *io = v->cf->cfg.io;

	if (!v->is_kept) {
		io->close(io, v->fd);
		return;
	}
	pthread_mutex_lock(&v->cf->lock);
	assert(v->piece->users > 0);
	v->piece->users--;
	pthread_mutex_unlock(&v->cf->lock);
}

void colfile_kept_close(struct colfile *cf)
{
	for (uint32_t i = 0; i < COLFILE_KEPT; i++) {
		if (!cf->kept[i])
			continue;
		assert(cf->kept[i]->users == 0);
		cf->cfg.io->close(cf->cfg.io, cf->kept[i]->fd);
		cf->kept[i] = NULL;
		if (cf->cfg.fds)
			atomic_fetch_add(cf->cfg.fds, 1);
	}
}
