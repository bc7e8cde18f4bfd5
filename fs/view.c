/* SPDX-License-Identifier: Apache-2.0 */
/* view.c: see view.h. */
#include "fs/view.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/boards.h"
#include "fs/change.h"
#include "fs/explain.h"
#include "fs/help.h"
#include "index/dist.h"
#include "src/config.h"
#include "src/indexer.h"
#include "src/json.h"

#define DIR_R (S_IFDIR | 0555)
#define DIR_RW (S_IFDIR | 0777)
#define FILE_R (S_IFREG | 0444)
#define FILE_RW (S_IFREG | 0666)
#define FILE_W (S_IFREG | 0222)

static const struct view_info views[VIEWS] = {
	[VIEW_NONE] = {"", VIEW_NONE, 0},
	[VIEW_ROOT] = {"/", VIEW_NONE, DIR_RW},
	[VIEW_README] = {"README", VIEW_ROOT, FILE_R},
	[VIEW_DOT] = {".vecgridfs", VIEW_ROOT, DIR_R},
	[VIEW_VERSION] = {"version", VIEW_DOT, FILE_R},
	[VIEW_HEALTH] = {"health", VIEW_DOT, FILE_R},
	[VIEW_ERRORS] = {"errors.ndjson", VIEW_DOT, FILE_R},
	[VIEW_COLL] = {"", VIEW_ROOT, DIR_RW},
	[VIEW_QUERY] = {"query", VIEW_COLL, S_IFDIR | 01777},
	[VIEW_AS] = {".as", VIEW_COLL, DIR_R},
	[VIEW_AS_RAW] = {"raw", VIEW_AS, DIR_RW},
	[VIEW_AS_NPY] = {"npy", VIEW_AS, DIR_RW},
	[VIEW_AS_JSON] = {"json", VIEW_AS, DIR_RW},
	[VIEW_AS_TXT] = {"txt", VIEW_AS, DIR_RW},
	[VIEW_META] = {".meta", VIEW_COLL, DIR_RW},
	[VIEW_SNAP] = {".snap", VIEW_COLL, DIR_RW},
	[VIEW_TX] = {".tx", VIEW_COLL, DIR_RW},
	[VIEW_CONFIG] = {".config", VIEW_COLL, DIR_R},
	[VIEW_CONFIG_DIM + CONFIG_DIM] = {"dim", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_METRIC] = {"metric", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_DTYPE] = {"dtype", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_M] = {"m", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_EF_CONSTRUCTION] = {"ef_construction",
		VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_INDEX] = {"index", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_QUANT] = {"quant", VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_EF_SEARCH] = {"ef_search", VIEW_CONFIG,
		FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_TARGET_RECALL] = {"target_recall",
		VIEW_CONFIG, FILE_RW},
	[VIEW_CONFIG_DIM + CONFIG_DIM_SOURCE] = {"dim_source", VIEW_CONFIG,
		FILE_R},
	[VIEW_STATS] = {".stats", VIEW_COLL, DIR_R},
	[VIEW_STATS_COUNT] = {"count", VIEW_STATS, FILE_R},
	[VIEW_STATS_DELETED] = {"deleted", VIEW_STATS, FILE_R},
	[VIEW_STATS_BYTES] = {"bytes", VIEW_STATS, FILE_R},
	[VIEW_STATS_DEAD_RATIO] = {"dead_ratio", VIEW_STATS, FILE_R},
	[VIEW_STATS_INDEXING] = {"indexing", VIEW_STATS, FILE_R},
	[VIEW_STATS_INDEX] = {"index", VIEW_STATS, FILE_R},
	[VIEW_STATS_RECALL] = {"recall", VIEW_STATS, FILE_R},
	[VIEW_STATS_SEARCHES] = {"searches", VIEW_STATS, FILE_R},
	[VIEW_STATS_SNAPSHOTS] = {"snapshots", VIEW_STATS, FILE_R},
	[VIEW_STATS_PINNED_BYTES] = {"pinned_bytes", VIEW_STATS, FILE_R},
	[VIEW_STATS_GRACE_BYTES] = {"grace_bytes", VIEW_STATS, FILE_R},
	[VIEW_STATS_LAST_ERROR] = {"last_error", VIEW_STATS, FILE_R},
	[VIEW_STATS_FACETS] = {"facets", VIEW_STATS, DIR_R},
	[VIEW_IMPORT] = {".import", VIEW_COLL, DIR_R},
	[VIEW_IMPORT_NPY] = {"npy", VIEW_IMPORT, FILE_W},
	[VIEW_IMPORT_FVECS] = {"fvecs", VIEW_IMPORT, FILE_W},
	[VIEW_IMPORT_NDJSON] = {"ndjson", VIEW_IMPORT, FILE_W},
	[VIEW_IMPORT_BVECS] = {"bvecs", VIEW_IMPORT, FILE_W},
	[VIEW_IMPORT_CSV] = {"csv", VIEW_IMPORT, FILE_W},
	[VIEW_IMPORT_STATUS] = {"status", VIEW_IMPORT, FILE_R},
	[VIEW_IMPORT_ERRORS] = {"errors", VIEW_IMPORT, FILE_R},
	[VIEW_EXPORT] = {".export", VIEW_COLL, DIR_R},
	[VIEW_EXPORT_IDS] = {"ids", VIEW_EXPORT, FILE_R},
	[VIEW_EXPORT_NPY] = {"all.npy", VIEW_EXPORT, FILE_R},
	[VIEW_EXPORT_FVECS] = {"all.fvecs", VIEW_EXPORT, FILE_R},
	[VIEW_EXPORT_NDJSON] = {"all.ndjson", VIEW_EXPORT, FILE_R},
	[VIEW_EXPORT_VEC] = {"all.vec", VIEW_EXPORT, FILE_R},
	[VIEW_HELP] = {".help", VIEW_COLL, FILE_R},
	[VIEW_DELETE_WHERE] = {".delete-where", VIEW_COLL, FILE_W},
};

static_assert(VIEW_CONFIG_LAST == VIEW_CONFIG_DIM + CONFIG_ITEMS - 1,
	"every setting has a view");

const struct view_info *view_get(enum view view)
{
	assert(view < VIEWS);
	return &views[view];
}

enum view view_find(enum view parent, const char *name, size_t len)
{
	for (int v = VIEW_README; v < VIEWS; v++)
		if (views[v].parent == parent && v != VIEW_COLL &&
			strlen(views[v].name) == len &&
			memcmp(views[v].name, name, len) == 0)
			return (enum view)v;
	return VIEW_NONE;
}

bool view_is_in(enum view view, const struct collection *c)
{
	if (!c || !c->of)
		return true;
	switch (view) {
	case VIEW_SNAP:
	case VIEW_TX:
	case VIEW_IMPORT:
	case VIEW_DELETE_WHERE:
	case VIEW_STATS_DELETED:
	case VIEW_STATS_DEAD_RATIO:
	case VIEW_STATS_RECALL:
	case VIEW_STATS_SEARCHES:
	case VIEW_STATS_SNAPSHOTS:
	case VIEW_STATS_PINNED_BYTES:
	case VIEW_STATS_GRACE_BYTES:
		return false;
	default:
		return true;
	}
}

bool view_is_text(enum view view)
{
	return S_ISREG(views[view].mode) && (views[view].mode & 0444) &&
	       views[view].parent != VIEW_EXPORT;
}

enum record_form view_form(enum view view)
{
	switch (view) {
	case VIEW_AS_RAW:
		return RECORD_RAW;
	case VIEW_AS_NPY:
		return RECORD_NPY;
	case VIEW_AS_JSON:
		return RECORD_JSON;
	case VIEW_AS_TXT:
		return RECORD_TEXT;
	default:
		return RECORD_ANY;
	}
}

static void print_version(FILE *out)
{
	fprintf(out,
		"vecgridfs %s\nkernels %s\nfuse %s\nfeatures hnsw ivf_pq flat wal "
		"io_uring\n",
		PACKAGE_VERSION, dist_kernel_name(), fuse_pkgversion());
}

int view_version(char **bytes, size_t *len)
{
	FILE *out = open_memstream(bytes, len);

	if (!out)
		return -ENOMEM;
	print_version(out);
	return fclose(out) ? -ENOMEM : 0;
}

static void print_errors(struct fs *fs, uint32_t uid, FILE *out)
{
	struct store_error e;
	char path[JSON_STRING_MAX(sizeof(e.path))];
	char why[JSON_STRING_MAX(sizeof(e.why))];
	uint32_t n = 0;

	while (store_error_get(fs->store, n, &e) == 0)
		n++;
	while (n-- > 0) {
		if (store_error_get(fs->store, n, &e) < 0)
			continue;
		if (uid != 0 && uid != e.uid)
			continue;
		path[json_string_encode(e.path, strlen(e.path), path)] = '\0';
		why[json_string_encode(e.why, strlen(e.why), why)] = '\0';
		fprintf(out,
			"{\"time\":%" PRId64 ".%03d,\"pid\":%u,\"uid\":%u,"
			"\"path\":%s,\"errno\":\"%s\",\"error\":%s}\n",
			e.time_ns / 1000000000,
			(int)(e.time_ns / 1000000 % 1000), e.pid, e.uid, path,
			strerrorname_np(fs_errno(e.rc)), why);
	}
}

static void print_kept(
	struct fs *fs, enum view view, struct collection *c, FILE *out)
{
	struct store_kept kept = {0};

	store_kept(fs->store, c, &kept);
	fprintf(out, "%" PRIu64 "\n",
		view == VIEW_STATS_SNAPSHOTS	  ? kept.snapshots
		: view == VIEW_STATS_PINNED_BYTES ? kept.pinned_bytes
						  : kept.grace_bytes);
}

static void print_stat(enum view view, struct collection *c, FILE *out)
{
	struct generation *g = collection_gen(c);
	struct cell *cell =
		atomic_load_explicit(&g->cell, memory_order_acquire);
	uint64_t live = atomic_load_explicit(&c->n_live, memory_order_relaxed);
	uint64_t slots = cell ? atomic_load_explicit(
					&cell->n_slots, memory_order_acquire)
			      : 0;
	uint64_t dead = slots - VG_MIN(live, slots);
	uint64_t row = cell ? cell->vec.rows.stride : 0;

	switch (view) {
	case VIEW_STATS_COUNT:
		fprintf(out, "%" PRIu64 "\n", live);
		break;
	case VIEW_STATS_DELETED:
		fprintf(out, "%" PRIu64 "\n", dead);
		break;
	case VIEW_STATS_BYTES:
		fprintf(out, "%" PRIu64 "\n",
			live * row + atomic_load_explicit(&c->meta_bytes,
					     memory_order_relaxed));
		break;
	case VIEW_STATS_DEAD_RATIO:
		fprintf(out, "%.3f\n",
			slots ? (double)dead / (double)slots : 0.0);
		break;
	case VIEW_STATS_INDEXING:
		fprintf(out, "%u\n", cell ? indexer_pending(cell) : 0);
		break;
	case VIEW_STATS_SEARCHES:
		fprintf(out, "%" PRIu64 "\n",
			atomic_load_explicit(
				&c->searches, memory_order_relaxed));
		break;
	default:
		pthread_mutex_lock(&c->lock);
		fprintf(out, "%s%s", c->last_error,
			c->last_error[0] ? "\n" : "");
		pthread_mutex_unlock(&c->lock);
	}
	generation_unref(g);
}

static void print_config(enum view view, struct collection *c, FILE *out)
{
	struct op_config config = collection_config(c);
	char value[64];

	config_format(&config, (enum config_item)(view - VIEW_CONFIG_DIM),
		value, sizeof(value));
	fprintf(out, "%s%s", value, value[0] ? "\n" : "");
}

static void print_help(struct fs *fs, struct collection *c, FILE *out)
{
	struct op_config config = collection_config(c);
	char name[CATALOGUE_NAME_CAP] = "?";
	struct help_env env = {
		.dim = config.dim,
		.metric = (enum vg_metric)config.metric,
		.dtype = (enum vg_dtype)config.dtype};
	size_t len;
	char *text;

	catalogue_name(store_catalogue(fs->store), c, name);
	env.name = (struct vg_id){name, (uint32_t)strlen(name)};
	len = help_format(&env, NULL, 0);
	text = malloc(len + 1);
	if (!text)
		return;
	help_format(&env, text, len);
	fwrite(text, 1, len, out);
	free(text);
}

static void print_readme(FILE *out)
{
	size_t len = help_format_readme(NULL, 0);
	char *text = malloc(len + 1);

	if (!text)
		return;
	help_format_readme(text, len);
	fwrite(text, 1, len, out);
	free(text);
}

/* The first line is for programs; a second one only where there is more. */
static void print_health(struct fs *fs, FILE *out)
{
	const char *why = store_read_only(fs->store);
	time_t last = (time_t)(fs->crash_ns / 1000000000);
	char when[32];
	struct tm tm;

	fprintf(out, "%s%s\n", why ? "read-only: " : "ok", why ? why : "");
	if (!fs->restarts || !gmtime_r(&last, &tm))
		return;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	fprintf(out, "the daemon crashed and was started again: %u time%s, "
		"last at %s\n", fs->restarts, fs->restarts == 1 ? "" : "s",
		when);
}

int view_render(struct fs *fs, enum view view, struct collection *coll,
	uint32_t uid, char **bytes, size_t *len)
{
	FILE *out = open_memstream(bytes, len);

	if (!out)
		return -ENOMEM;
	assert(view_is_text(view));
	if (views[view].parent == VIEW_CONFIG)
		print_config(view, coll, out);
	else if (view >= VIEW_STATS_SNAPSHOTS && view <= VIEW_STATS_GRACE_BYTES)
		print_kept(fs, view, coll, out);
	else if (view == VIEW_STATS_INDEX)
		explain_index(fs->store, coll, out);
	else if (view == VIEW_STATS_RECALL)
		explain_recall(coll, out);
	else if (views[view].parent == VIEW_STATS)
		print_stat(view, coll, out);
	else if (view == VIEW_IMPORT_STATUS || view == VIEW_IMPORT_ERRORS)
		boards_print(fs->boards, coll, view == VIEW_IMPORT_ERRORS, out);
	else if (view == VIEW_HELP)
		print_help(fs, coll, out);
	else if (view == VIEW_README)
		print_readme(out);
	else if (view == VIEW_VERSION)
		print_version(out);
	else if (view == VIEW_ERRORS)
		print_errors(fs, uid, out);
	else
		print_health(fs, out);
	return fclose(out) ? -ENOMEM : 0;
}
