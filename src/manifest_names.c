/* SPDX-License-Identifier: Apache-2.0 */
/* manifest_names.c: which files manifests name. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "src/derived.h"

void manifest_dir_format(const uint8_t uuid[16], char out[33])
{
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", uuid[i]);
}

static bool has_part(const struct manifest_column *column, uint32_t number)
{
	for (uint32_t i = 0; i < column->n_parts; i++)
		if (column->part[i].number == number)
			return true;
	return false;
}

static bool is_file(
	const char *kind, const struct manifest_file *file, const char *name)
{
	char own[DERIVED_NAME_MAX];

	derived_name_format(kind, file->number, own);
	return file->number > 0 && strcmp(own, name) == 0;
}

static bool has_graph(const struct manifest_collection *mc, const char *name)
{
	assert(mc->n_deltas <= MANIFEST_DELTAS_MAX);
	for (uint32_t i = 0; i <= mc->n_deltas; i++) {
		const struct manifest_file *file =
			i == 0 ? &mc->graph : &mc->delta[i - 1];

		if (is_file(DERIVED_GRAPH, file, name))
			return true;
	}
	return false;
}

/* The column that a name is of, or NULL. */
static const struct manifest_column *column_of(
	const struct manifest_collection *mc, const char *name,
	uint32_t *number)
{
	return colfile_is_part(name, "vec", number)	? &mc->vec :
	       colfile_is_part(name, "meta", number)	? &mc->meta :
	       colfile_is_part(name, "version", number) ? &mc->version :
	       colfile_is_part(name, "end", number)	? &mc->end :
							  NULL;
}

bool manifest_is_file(const char *name)
{
	static const struct manifest_collection none;
	uint32_t number;

	return strncmp(name, "graph.", 6) == 0 ||
	       strncmp(name, "fields.", 7) == 0 ||
	       column_of(&none, name, &number) != NULL;
}

static bool is_named_by(const struct manifest_collection *mc, const char *name)
{
	uint32_t number;
	const struct manifest_column *column = column_of(mc, name, &number);

	return column ? has_part(column, number)
		      : has_graph(mc, name) ||
				is_file(DERIVED_FIELDS, &mc->fields, name);
}

bool manifest_names(const struct manifest m[], uint32_t n,
	const char *dir, const char *name)
{
	char uuid[33];

	assert(dir);
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < m[i].n_colls; k++) {
			const struct manifest_collection *mc = &m[i].coll[k];

			manifest_dir_format(mc->uuid, uuid);
			if (strcmp(uuid, dir) == 0 &&
				(!name || is_named_by(mc, name)))
				return true;
		}
	return false;
}
