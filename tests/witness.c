/* SPDX-License-Identifier: Apache-2.0 */
/* witness.c: see witness.h. */
#include "tests/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

#define SHARED "shared"

struct choice {
	uint64_t n; /* files to go before the chosen one */
	struct witness *w;
};

static int choose(void *ctx, const char *path, bool is_dir,
	const struct io_stat *st)
{
	struct choice *c = ctx;

	if (is_dir || strncmp(path, "c/", 2) != 0 || st->links > 1)
		return 0;
	if (c->n-- > 0)
		return 0;
	snprintf(c->w->path, sizeof(c->w->path), "%s", path);
	return 1;
}

void witness_put(struct witness *w, struct sim *sim, uint64_t dice)
{
	struct choice c = {.n = dice % 40, .w = w};

	if (w->bytes || sim_each(sim, choose, &c) == 0)
		return;
	if (sim_link(sim, w->path, SHARED) < 0)
		return;
	w->bytes = sim_load(sim, SHARED, &w->len);
	must(w->bytes);
}

bool witness_check(struct witness *w, struct sim *sim)
{
	size_t len;
	char *bytes = w->bytes ? sim_load(sim, SHARED, &len) : NULL;
	bool is_same;

	if (!bytes) {
		witness_fini(w);
		return true;
	}
	is_same = len == w->len && memcmp(bytes, w->bytes, len) == 0;
	free(bytes);
	return is_same;
}

void witness_fini(struct witness *w)
{
	free(w->bytes);
	w->bytes = NULL;
}
