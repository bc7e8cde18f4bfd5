/* SPDX-License-Identifier: Apache-2.0 */
/* format_log.c: makes a data directory and prints what a reader should say of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/op.h"
#include "src/wal.h"
#include "tests/tap.h"

static char text[3000];
static float vec[500];
static const struct op_place many[3] = {{0, 5}, {270, 6}, {271, UINT64_MAX}};

#define ID(s) ((struct vg_id){(s), sizeof(s) - 1})

/* Op number i of 48: each type several times, lengths that differ. */
static struct op sample(uint64_t i)
{
	static const enum op_type types[] = {OP_CREATE, OP_PUT, OP_SET,
		OP_RENAME, OP_DEL, OP_CLEAR, OP_MOVE, OP_CONFIG, OP_ATTR,
		OP_ALIAS, OP_UNALIAS, OP_DROP, OP_SNAP, OP_UNSNAP};
	enum op_type type = types[i % VG_ARRAY_LEN(types)];

	return (struct op){
		.type = type,
		.epoch = 1,
		.time_ns = -(int64_t)i,
		.commit_ns = 1700000000000000000 + (int64_t)i,
		.origin = {i * i, i, -(int32_t)i},
		.uuid = {1, 2, 3, (uint8_t)i},
		.n_places = type == OP_RENAME ? 2 : type == OP_CLEAR ? 3 : 1,
		.places = {{(uint16_t)(i % 271), i + 1}, {7, UINT64_MAX}},
		.more = many,
		.n_seen = type == OP_SNAP ? (uint32_t)i / 14 * 3 % 4 : 0,
		.snap = {9, 8, 7, (uint8_t)i},
		.id = {text, 1 + (uint32_t)(i * 53 % 255)},
		.id2 = ID("z\303\274rich"),
		.name = ID("docs"),
		.target = ID("docs-v2"),
		.vec = vec,
		.vec_len = 4 * (1 + (uint32_t)(i * 97 % 500)),
		.source = (uint8_t)(1 + i % 5),
		.body_len = 77,
		.meta = text,
		.meta_len = (uint32_t)(i * 611 % 3000),
		/* Every third one as before there was more. */
		.config = {384, 16, 200, i % 3 ? 100 : 0, VG_COSINE, VG_F32,
			VG_HNSW, 1, 1536, VG_QUANT_SQ8, {0},
			i % 3 ? 950000 : 0, {0, 0, i % 3 ? (uint32_t)i : 0}},
		.attr = {01755, 1000, (uint32_t)i},
	};
}

static void print_id(const char *key, struct vg_id id)
{
	printf(", \"%s\": \"%.*s\"", key, (int)id.len, id.bytes);
}

static void print_hex(const char *key, const void *bytes, size_t len)
{
	printf(", \"%s\": \"", key);
	for (size_t i = 0; i < len; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	putchar('"');
}

static void print_places(
	const char *key, const struct op_place *p, uint32_t n)
{
	printf(", \"%s\": [", key);
	for (uint32_t i = 0; i < n; i++)
		printf("%s[%u, %llu]", i ? ", " : "", p[i].partition,
			(unsigned long long)p[i].seq);
	putchar(']');
}

static void print_config(const struct op_config *c)
{
	printf(", \"config\": [%u, %u, %u, %u, %u, %u, %u, %u, %u, "
	       "%u, %u, %u, %u, %u]",
		c->dim,
		c->m, c->ef_construction, c->ef_search, c->metric, c->dtype,
		c->index, c->dim_source, c->dim_body_len, c->quant,
		c->target_recall, c->tuned[0], c->tuned[1], c->tuned[2]);
}

static void print_op(uint64_t lsn, const struct op *op)
{
	enum op_type t = op->type;
	bool record = t <= OP_RENAME;

	printf("{\"lsn\": %llu, \"op\": \"%s\", \"epoch\": %llu, "
	       "\"time_ns\": %lld, \"commit_ns\": %lld, \"session\": %llu, "
	       "\"request\": %llu, \"result\": %d",
		(unsigned long long)lsn, op_name(t),
		(unsigned long long)op->epoch, (long long)op->time_ns,
		(long long)op->commit_ns,
		(unsigned long long)op->origin.session,
		(unsigned long long)op->origin.request, op->origin.result);
	print_places("places", t == OP_CLEAR ? op->more : op->places,
		op->n_places);
	if (t != OP_ALIAS && t != OP_UNALIAS)
		print_hex("uuid", op->uuid, 16);
	if (record)
		print_id("id", op->id);
	if (t == OP_RENAME)
		print_id("id2", op->id2);
	if (t == OP_CREATE || t == OP_MOVE || t == OP_ALIAS ||
		t == OP_UNALIAS || t >= OP_SNAP)
		print_id("name", op->name);
	if (t == OP_ALIAS)
		print_id("target", op->target);
	if (t == OP_PUT) {
		printf(", \"source\": %u, \"body_len\": %u", op->source,
			op->body_len);
		print_hex("vec", op->vec, op->vec_len);
	}
	if ((record && t != OP_DEL) || t == OP_CLEAR)
		print_id("meta", (struct vg_id){op->meta, op->meta_len});
	if (t == OP_CREATE || t == OP_CONFIG)
		print_config(&op->config);
	if (t == OP_CREATE || t == OP_ATTR)
		printf(", \"attr\": [%u, %u, %u]", op->attr.mode, op->attr.uid,
			op->attr.gid);
	if (t == OP_SNAP) {
		print_hex("snap", op->snap, 16);
		print_places("seen", op->more, op->n_seen);
	}
	puts("}");
}

static int ignore(void *ctx, const struct wal_frame *frame)
{
	(void)ctx;
	(void)frame;
	return 0;
}

static void write_format(int dir, const uint8_t uuid[16])
{
	char line[64] = "vecgridfs 1\nuuid ";
	size_t len = strlen(line);
	int fd = openat(dir, "FORMAT", O_WRONLY | O_CREAT | O_EXCL, 0600);

	for (int i = 0; i < 16; i++)
		len += (size_t)snprintf(line + len, 3, "%02x", uuid[i]);
	line[len++] = '\n';
	must(fd >= 0 && write(fd, line, len) == (ssize_t)len);
	close(fd);
}

/* A frame of two ops that count together: the same one twice. */
static void append_two(struct wal *wal, const struct wal_part *op)
{
	uint32_t n = 2, len = (uint32_t)op->len;
	struct wal_part parts[] = {
		{&n, 4}, {&len, 4}, *op, {&len, 4}, *op};

	/* tests run on little-endian only */
	must(wal_append(wal, WAL_OPS, parts, VG_ARRAY_LEN(parts), false) == 0);
}

int main(int argc, char **argv)
{
	struct wal_config cfg = {.segment_size = 9000, .no_uring = true};
	struct wal_report rep;
	struct wal *wal;
	static uint8_t body[8192];

	must(argc == 2);
	memset(text, 'm', sizeof(text));
	for (size_t i = 0; i < VG_ARRAY_LEN(vec); i++)
		vec[i] = (float)i / 7;
	memcpy(cfg.uuid, "0123456789abcdef", 16);
	must(mkdir(argv[1], 0700) == 0);
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY);

	must(dir >= 0 && mkdirat(dir, "wal", 0700) == 0);
	write_format(dir, cfg.uuid);
	cfg.dirfd = openat(dir, "wal", O_RDONLY | O_DIRECTORY);
	must(wal_open(&cfg, ignore, NULL, &rep, &wal) == 0);
	for (uint64_t i = 0; i < 48; i++) {
		struct op op = sample(i);
		struct wal_part part = {
			body, op_encode(&op, body, sizeof(body))};

		must(part.len > 0);
		if (i % 8 == 5)
			append_two(wal, &part);
		else
			must(wal_append(wal, WAL_OP, &part, 1, false) == 0);
		if (i % 3 == 0)
			must(wal_write(wal, i < 44) == 0);
		print_op(i + 1, &op);
		if (i % 8 == 5)
			print_op(i + 1, &op);
	}
	must(wal_write(wal, false) == 0);
	wal_close(wal);
	close(cfg.dirfd);
	close(dir);
	return 0;
}
