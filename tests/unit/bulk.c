/* SPDX-License-Identifier: Apache-2.0 */
/* bulk.c: see bulk.h. */
#include "tests/unit/bulk.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

struct store *bulk_open(const char *name, enum store_durability durability)
{
	char dir[160];
	struct store_config cfg = {.dir = dir, .durability = durability};
	struct store_report rep;
	struct store *s = NULL;

	snprintf(dir, sizeof(dir), "%s/%s", scratch(), name);
	if (store_open(&cfg, &rep, &s) < 0)
		diag("%s", rep.error);
	must(s);
	return s;
}

struct vg_id bulk_id(const char *s)
{
	return (struct vg_id){s, (uint32_t)strlen(s)};
}

int bulk_run(struct store *s, struct change *ch)
{
	return store_commit_wait(s, &(struct commit){.changes = ch, .n = 1});
}

static void configure(struct store *s, struct collection *c, const char *key,
	const char *value)
{
	struct change ch = {.type = OP_CONFIG,
		.coll = c,
		.id = bulk_id(key),
		.meta = {value, (uint32_t)strlen(value)}};

	must(bulk_run(s, &ch) == 0);
}

struct collection *bulk_make(struct store *s, const char *name,
	const char *metric, const char *index)
{
	struct change ch = {.type = OP_CREATE,
		.name = bulk_id(name),
		.attr = {.mode = 0755}};
	struct entry_info info;

	must(bulk_run(s, &ch) == 0);
	must(catalogue_get(store_catalogue(s), bulk_id(name), &info) == 0);
	if (metric)
		configure(s, info.coll, "metric", metric);
	if (index)
		configure(s, info.coll, "index", index);
	return info.coll;
}

int bulk_put(struct store *s, struct collection *c, struct vg_id id,
	const float *vec, uint32_t dim)
{
	struct change ch = {.type = OP_PUT,
		.coll = c,
		.id = id,
		.vec = vec,
		.dim = dim,
		.source = OP_SOURCE_RAW,
		.body_len = dim * 4};

	return bulk_run(s, &ch);
}

int bulk_del(struct store *s, struct collection *c, struct vg_id id)
{
	struct change ch = {.type = OP_DEL, .coll = c, .id = id};

	return bulk_run(s, &ch);
}

int bulk_meta(struct store *s, struct collection *c, struct vg_id id,
	const char *json)
{
	struct change ch = {.type = OP_SET,
		.coll = c,
		.id = id,
		.meta_mode = CHANGE_META_MERGE,
		.meta = {json, (uint32_t)strlen(json)}};

	return bulk_run(s, &ch);
}

const struct version *bulk_find(struct store *s, struct collection *c,
	struct vg_id id)
{
	struct moment *m = moment_get(store_moments(s));
	uint32_t no = generation_find(c->gen, id, m);

	moment_unref(store_moments(s), m);
	return no == VERSION_NONE ? NULL : generation_version(c->gen, no);
}

bool bulk_has_meta(struct store *s, struct collection *c, const char *id,
	const char *json)
{
	const struct version *v = bulk_find(s, c, bulk_id(id));
	size_t len = json ? strlen(json) : 0;

	return v && v->meta_len == len &&
	       (len == 0 || memcmp(version_meta(v).json, json, len) == 0);
}

float bulk_number(uint64_t n, uint32_t i)
{
	uint64_t x = (n + 1) * 0x9e3779b97f4a7c15u + i * 0xd1b54a32d192ed03u;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return ldexpf((float)(int32_t)((x >> 32) | 1), -31);
}

void bulk_vec(uint64_t n, uint32_t dim, float *out)
{
	for (uint32_t i = 0; i < dim; i++)
		out[i] = bulk_number(n, i);
}

void bulk_add(struct bulk *b, const void *bytes, size_t len)
{
	if (b->cap - b->len < len) {
		b->cap = VG_MAX(2 * b->cap, b->len + len);
		b->bytes = realloc(b->bytes, b->cap);
		must(b->bytes);
	}
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
}

void bulk_print(struct bulk *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	must(len >= 0);
	bulk_add(b, text, (size_t)len);
	free(text);
}

static void add_ndjson(struct bulk *b, uint64_t n, uint32_t dim)
{
	bulk_print(b, "{\"id\":\"r%llu\",\"vector\":[", (unsigned long long)n);
	for (uint32_t i = 0; i < dim; i++)
		bulk_print(b, "%s%.9g", i ? "," : "",
			(double)bulk_number(n, i));
	bulk_print(b, "],\"metadata\":{\"n\":%llu}}\n", (unsigned long long)n);
}

void bulk_stream(struct bulk *b, enum rowstream_kind kind, uint64_t n,
	uint64_t rows, uint32_t dim)
{
	char header[RECORD_NPY_HEADER_LEN];
	float *vec = malloc(dim * sizeof(*vec));

	must(vec);
	if (kind == ROWSTREAM_NPY)
		bulk_add(b, header, record_npy_header(header, VG_F32, rows, dim));
	for (uint64_t i = n; i < n + rows; i++) {
		if (kind == ROWSTREAM_NDJSON) {
			add_ndjson(b, i, dim);
			continue;
		}
		if (kind == ROWSTREAM_FVECS)
			bulk_add(b, &dim, sizeof(dim));
		bulk_vec(i, dim, vec);
		bulk_add(b, vec, dim * sizeof(*vec));
	}
	free(vec);
}

int bulk_feed(struct import *im, const struct bulk *b, size_t piece)
{
	static unsigned state;
	size_t at = 0, n;
	int rc = 0;

	if (!state)
		state = (unsigned)seed();
	while (at < b->len && rc == 0) {
		n = piece ? (size_t)rand_r(&state) % piece + 1 : b->len;
		n = VG_MIN(n, b->len - at);
		rc = import_write(im, b->bytes + at, n);
		at += n;
	}
	return rc;
}

int bulk_import(struct store *s, struct collection *c, enum rowstream_kind kind,
	const struct bulk *b, struct import_board *board)
{
	struct import_board *own = NULL;
	struct import *im;
	int rc;

	if (!board)
		must(import_board_new(&own) == 0);
	must(import_new(s, c, kind, (struct vg_id){NULL, 0},
		     board ? board : own, &im) == 0);
	bulk_feed(im, b, 0);
	rc = import_flush(im);
	if (rc < 0)
		diag("%s", import_error(im));
	import_free(im);
	import_board_unref(own);
	return rc;
}

const char *bulk_status(struct import_board *board, const char *key)
{
	static char value[600];
	struct meta_buf buf = {0};
	size_t len = strlen(key);

	value[0] = '\0';
	must(import_board_status(board, &buf) == 0);
	for (char *line = buf.bytes; line && *line;) {
		char *end = strchr(line, '\n');

		must(end);
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			snprintf(value, sizeof(value), "%.*s",
				(int)(end - line) - (int)len - 1,
				line + len + 1);
		line = end + 1;
	}
	free(buf.bytes);
	return value;
}

const char *bulk_errors(struct import_board *board)
{
	static struct meta_buf buf;

	must(import_board_errors(board, &buf) == 0);
	return buf.bytes;
}

size_t bulk_rss(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	unsigned long kb = 0;

	must(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb * 1024;
}
