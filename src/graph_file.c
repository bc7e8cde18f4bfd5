/* SPDX-License-Identifier: Apache-2.0 */
/* graph_file.c: see graph_file.h. */
#include "src/graph_file.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void graph_loaded_free(struct graph_loaded *g)
{
	hnsw_free(g->hnsw);
	ivf_free(g->ivf);
	*g = (struct graph_loaded){0};
}

static int load_graph(const struct graph_files *files, struct derived_in *in,
	const char **what, struct hnsw **h)
{
	struct hnsw_source source = {.read = derived_read, .ctx = in};

	return *h ? hnsw_load_delta(*h, files->n_rows, &source, what)
		  : hnsw_load_base(&files->config, files->rows, files->n_rows,
			    &source, what, h);
}

static int load_ivf(const struct graph_files *files, struct derived_in *in,
	const char **what, struct ivf **v)
{
	struct ivf_source source = {.read = derived_read, .ctx = in};

	return *v ? ivf_load_delta(*v, files->n_rows, &source, what)
		  : ivf_load_base(&files->lists, files->rows, files->n_rows, &source,
			    what, v);
}

static int load_one(const struct graph_files *files,
	const struct manifest_file *file, const char **what,
	struct graph_loaded *g)
{
	struct derived_in in;
	int rc = derived_in_open(
		&in, files->io, files->dirfd, DERIVED_GRAPH, file);

	*what = "it is damaged";
	if (rc == 0)
		rc = files->is_ivf ? load_ivf(files, &in, what, &g->ivf)
				   : load_graph(files, &in, what, &g->hnsw);
	if (rc == 0)
		rc = derived_in_check(&in, file->hash);
	derived_in_fini(&in);
	return rc;
}

int graph_load(const struct graph_files *files, char why[256],
	struct graph_loaded *out)
{
	const struct manifest_file *file = files->base;
	char name[DERIVED_NAME_MAX];
	struct graph_loaded graph = {0};
	const char *what = NULL;
	int rc = 0;

	assert(files->base->number > 0);
	for (uint32_t i = 0; i <= files->n_deltas && rc == 0; i++) {
		file = i == 0 ? files->base : &files->delta[i - 1];
		rc = load_one(files, file, &what, &graph);
	}
	if (rc == 0) {
		*out = graph;
		return 0;
	}
	graph_loaded_free(&graph);
	derived_name_format(DERIVED_GRAPH, file->number, name);
	snprintf(why, 256, "%s: %s", name,
		rc == -VG_ECORRUPT ? what : strerror(-rc));
	return rc;
}
