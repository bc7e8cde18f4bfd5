/* SPDX-License-Identifier: Apache-2.0 */
/* boards.c: see boards.h. */
#include "fs/boards.h"

#include <errno.h>
#include <stdlib.h>

struct board_entry {
	struct board_entry *next;
	uint32_t coll_no;
	struct import_board *board; /* referenced */
};

void boards_init(struct boards *bs)
{
	*bs = (struct boards){0};
	pthread_mutex_init(&bs->lock, NULL);
}

void boards_fini(struct boards *bs)
{
	while (bs->list) {
		struct board_entry *next = bs->list->next;

		import_board_unref(bs->list->board);
		free(bs->list);
		bs->list = next;
	}
	pthread_mutex_destroy(&bs->lock);
	*bs = (struct boards){0};
}

static struct board_entry *add_locked(
	struct boards *bs, const struct collection *c)
{
	struct board_entry *e = calloc(1, sizeof(*e));

	if (!e || import_board_new(&e->board) < 0) {
		free(e);
		return NULL;
	}
	e->coll_no = c->no;
	e->next = bs->list;
	bs->list = e;
	return e;
}

int boards_get(struct boards *bs, const struct collection *c,
	struct import_board **out)
{
	struct board_entry *e;

	pthread_mutex_lock(&bs->lock);
	e = bs->list;
	while (e && e->coll_no != c->no)
		e = e->next;
	if (!e)
		e = add_locked(bs, c);
	if (e)
		*out = import_board_ref(e->board);
	pthread_mutex_unlock(&bs->lock);
	return e ? 0 : -ENOMEM;
}

void boards_print(struct boards *bs, const struct collection *c,
	bool is_errors, FILE *out)
{
	struct import_board *board;
	struct meta_buf text = {0};
	int rc = boards_get(bs, c, &board);

	if (rc < 0)
		return;
	rc = is_errors ? import_board_errors(board, &text)
		       : import_board_status(board, &text);
	if (rc == 0)
		fwrite(text.bytes, 1, text.len, out);
	free(text.bytes);
	import_board_unref(board);
}
