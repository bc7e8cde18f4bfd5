/* SPDX-License-Identifier: Apache-2.0 */
/* boards.h: each collection's import board, made when it is first asked for. */
#ifndef FS_BOARDS_H
#define FS_BOARDS_H

#include <pthread.h>
#include <stdio.h>

#include "fs/import_board.h"
#include "src/collection.h"

struct boards {
	pthread_mutex_t lock; /* a leaf */
	struct board_entry *list;
};

void boards_init(struct boards *bs);
void boards_fini(struct boards *bs);

/* The collection's board, referenced: import_board_unref. -ENOMEM. */
int boards_get(struct boards *bs, const struct collection *c,
	struct import_board **out);

/* Prints .import/status, or .import/errors. */
void boards_print(struct boards *bs, const struct collection *c,
	bool is_errors, FILE *out);

#endif
