/* SPDX-License-Identifier: Apache-2.0 */
/* op.c: each type of op is encoded as it is on disk for ever, and read back. */
#include "src/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static const struct op_place many[3] = {{0, 5}, {270, 6}, {271, UINT64_MAX}};
static const float vec[2] = {1.0f, -2.5f};

#define ID(s) ((struct vg_id){(s), sizeof(s) - 1})

/* One op of each type with every field it has. */
static struct op sample(enum op_type type)
{
	struct op op = {
		.type = type,
		.epoch = 1,
		.time_ns = -2,
		.commit_ns = 0x0102030405060708,
		.origin = {.session = 3, .request = 4, .result = -5},
		.n_places = 1,
		.places = {{.partition = 9, .seq = 0x1122}},
	};

	if (type != OP_ALIAS && type != OP_UNALIAS)
		memset(op.uuid, 0xaa, sizeof(op.uuid));
	if (type == OP_PUT || type == OP_SET || type == OP_DEL ||
		type == OP_RENAME)
		op.id = ID("a");
	if (type == OP_PUT || type == OP_SET || type == OP_RENAME) {
		op.meta = "{}";
		op.meta_len = 2;
	}
	if (type == OP_PUT) {
		op.vec = vec;
		op.vec_len = sizeof(vec);
		op.source = OP_SOURCE_TEXT;
		op.body_len = 7;
	}
	if (type == OP_RENAME) {
		op.id2 = ID("bc");
		op.n_places = 2;
		op.places[1] = (struct op_place){270, 1};
	}
	if (type == OP_CLEAR) {
		op.meta = "a.eq=1";
		op.meta_len = 6;
		op.n_places = 3;
		op.more = many;
		memset(op.places, 0, sizeof(op.places));
	}
	if (type == OP_CREATE || type == OP_MOVE || type == OP_ALIAS ||
		type == OP_UNALIAS || type == OP_SNAP || type == OP_UNSNAP)
		op.name = ID("docs");
	if (type == OP_SNAP) {
		memset(op.snap, 0xbb, sizeof(op.snap));
		op.n_seen = 3;
		op.more = many;
	}
	if (type == OP_ALIAS)
		op.target = ID("v2");
	if (type == OP_CREATE || type == OP_CONFIG)
		op.config = (struct op_config){.dim = 384,
			.m = 16,
			.ef_construction = 200,
			.metric = VG_COSINE,
			.dtype = VG_F32,
			.index = VG_HNSW,
			.dim_source = OP_SOURCE_RAW,
			.dim_body_len = 1536,
			.quant = VG_QUANT_SQ8};
	if (type == OP_CREATE || type == OP_ATTR)
		op.attr = (struct op_attr){01777, 1000, 100};
	return op;
}

#define HEAD(type) HEAD_OF(type, "01")
#define HEAD2(type) HEAD_OF(type, "02")
#define HEAD_OF(type, version)                                                \
	type version "0000" "0100000000000000" "feffffffffffffff"                   \
	"0807060504030201" "0300000000000000" "0400000000000000" "fbffffff"
#define PLACE "01000000" "0900" "2211000000000000"
#define MANY                                                                  \
	"03000000" "0000" "0500000000000000" "0e01" "0600000000000000"        \
	"0f01" "ffffffffffffffff"
#define UUID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CONFIG                                                                \
	"80010000" "10000000" "c8000000" "64000000" "02" "01" "01" "01"       \
	"00060000" "02"
#define ATTR "ff030000" "e8030000" "64000000"

static const struct golden {
	enum op_type type;
	const char *name;
	const char *hex;
} goldens[] = {
	{OP_PUT, "put", HEAD("01") PLACE UUID "0100000061" "0207000000"
			"08000000" "0000803f" "000020c0" "020000007b7d"},
	{OP_SET, "set", HEAD("02") PLACE UUID "0100000061" "020000007b7d"},
	{OP_DEL, "del", HEAD("03") PLACE UUID "0100000061"},
	{OP_RENAME, "rename",
		HEAD("04") "02000000" "0900" "2211000000000000" "0e01"
			"0100000000000000" UUID "0100000061" "020000006263"
			"020000007b7d"},
	{OP_CLEAR, "clear", HEAD("05") MANY UUID "06000000612e65713d31"},
	{OP_CREATE, "create",
		HEAD("10") PLACE UUID "04000000646f6373" CONFIG ATTR},
	{OP_DROP, "drop", HEAD("11") PLACE UUID},
	{OP_MOVE, "move", HEAD("12") PLACE UUID "04000000646f6373"},
	{OP_ALIAS, "alias",
		HEAD("13") PLACE "04000000646f6373" "020000007632"},
	{OP_UNALIAS, "unalias", HEAD("14") PLACE "04000000646f6373"},
	{OP_CONFIG, "config", HEAD("15") PLACE UUID CONFIG},
	{OP_ATTR, "attr", HEAD("16") PLACE UUID ATTR},
	{OP_SNAP, "snap",
		HEAD("17") PLACE UUID "04000000646f6373"
			"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" MANY},
	{OP_UNSNAP, "unsnap", HEAD("18") PLACE UUID "04000000646f6373"},
};

static bool id_equal(struct vg_id a, struct vg_id b)
{
	return a.len == b.len && (!a.len || !memcmp(a.bytes, b.bytes, a.len));
}

static bool places_equal(
	const struct op_place *a, const struct op_place *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (a[i].partition != b[i].partition || a[i].seq != b[i].seq)
			return false;
	return true;
}

static bool op_equal(const struct op *a, const struct op *b)
{
	const struct op_place *pa = a->type == OP_CLEAR ? a->more : a->places;
	const struct op_place *pb = b->type == OP_CLEAR ? b->more : b->places;

	if (a->n_places != b->n_places || a->n_seen != b->n_seen ||
		!places_equal(pa, pb, a->n_places) ||
		!places_equal(a->more, b->more, a->n_seen))
		return false;
	return a->type == b->type && a->epoch == b->epoch &&
	       a->time_ns == b->time_ns && a->commit_ns == b->commit_ns &&
	       a->origin.session == b->origin.session &&
	       a->origin.request == b->origin.request &&
	       a->origin.result == b->origin.result &&
	       !memcmp(a->uuid, b->uuid, 16) &&
	       !memcmp(a->snap, b->snap, 16) && id_equal(a->id, b->id) &&
	       id_equal(a->id2, b->id2) && id_equal(a->name, b->name) &&
	       id_equal(a->target, b->target) && a->vec_len == b->vec_len &&
	       (!a->vec_len || !memcmp(a->vec, b->vec, a->vec_len)) &&
	       a->source == b->source && a->body_len == b->body_len &&
	       !a->meta == !b->meta && a->meta_len == b->meta_len &&
	       (!a->meta || !memcmp(a->meta, b->meta, a->meta_len)) &&
	       !memcmp(&a->config, &b->config, sizeof(a->config)) &&
	       !memcmp(&a->attr, &b->attr, sizeof(a->attr));
}

static bool hex_equal(const char *hex, const uint8_t *bytes, size_t len)
{
	if (strlen(hex) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char byte[3];

		snprintf(byte, sizeof(byte), "%02x", bytes[i]);
		if (memcmp(byte, hex + 2 * i, 2) != 0)
			return false;
	}
	return true;
}

/* A copy of its exact length, for the sanitizer; what rc decoding it has. */
static int decode_copy(const uint8_t *bytes, size_t len, struct op *out)
{
	static struct op_place places[OP_PLACES_MAX];
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	must(copy);
	memcpy(copy, bytes, len);
	rc = op_decode(copy, len, places, out);
	free(copy);
	return rc;
}

/* Of a flip: refused, or another op that is encoded as these very bytes. */
static bool flip_is_seen(uint8_t *buf, size_t len, size_t bit)
{
	struct op_place places[OP_PLACES_MAX];
	uint8_t again[512];
	struct op got;
	bool seen = true;

	buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	if (op_decode(buf, len, places, &got) == 0)
		seen = op_encode(&got, again, sizeof(again)) == len &&
		       memcmp(again, buf, len) == 0;
	buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
	return seen;
}

static void test_type(const struct golden *g)
{
	struct op op = sample(g->type), got = {.type = OP_DROP};
	struct op_place places[OP_PLACES_MAX];
	uint8_t buf[512];
	size_t len = op_encode(&op, buf, sizeof(buf));
	bool refused = true, seen = true;

	if (!ok(hex_equal(g->hex, buf, len), "%s: its bytes are these",
		    g->name)) {
		for (size_t i = 0; i < len; i++)
			fprintf(stderr, "%02x", buf[i]);
		fputc('\n', stderr);
	}
	ok(op_size(&op) == len && op_encode(&op, buf, len) == len &&
			op_encode(&op, buf, len - 1) == 0,
		"%s: its size is known before, and one byte less is refused",
		g->name);
	len = op_encode(&op, buf, sizeof(buf));
	ok(op_decode(buf, len, places, &got) == 0 && op_equal(&op, &got),
		"%s: what was encoded is decoded", g->name);
	for (size_t cut = 0; cut < len; cut++)
		refused = refused &&
			  decode_copy(buf, cut, &got) == -VG_ECORRUPT;
	ok(refused, "%s: each prefix of it is refused", g->name);
	buf[len] = 0;
	ok(op_decode(buf, len + 1, places, &got) == -VG_ECORRUPT,
		"%s: with a byte more it is refused", g->name);
	for (size_t bit = 0; bit < len * 8; bit++)
		seen = seen && flip_is_seen(buf, len, bit);
	ok(seen, "%s: no bit of it is without meaning", g->name);
	ok(strcmp(op_name(g->type), g->name) == 0, "%s: has its name", g->name);
}

/* Decodes what op would be with a u8, u16 or u32 at `at` replaced. */
static int decode_with(
	const struct op *op, size_t at, uint64_t value, size_t width)
{
	uint8_t buf[512];
	struct op got = {.epoch = 77};
	size_t len = op_encode(op, buf, sizeof(buf));
	int rc;

	must(at + width <= len);
	memcpy(buf + at, &value, width); /* tests run on little-endian only */
	rc = decode_copy(buf, len, &got);
	if (rc < 0 && got.epoch != 77)
		return 1; /* *out was written */
	return rc;
}

/* Offsets in a body with one place. */
#define AT_PLACES 48
#define AT_PARTITION 52
#define AT_SEQ 54
#define AT_UUID 62
#define AT_ID 78
#define AT_CONFIG 86 /* of OP_CREATE "docs" */
#define AT_ATTR (AT_CONFIG + 25)
#define AT_N_SEEN (AT_CONFIG + 16) /* of OP_SNAP "docs" */
#define AT_SEEN (AT_N_SEEN + 4)    /* partitions 0, 270, 271 */

static void test_later(void)
{
	struct op put = sample(OP_PUT), create = sample(OP_CREATE);

	ok(decode_with(&put, 0, 6, 1) == -VG_EFORMAT &&
			decode_with(&put, 0, 0, 1) == -VG_EFORMAT &&
			decode_with(&put, 0, 255, 1) == -VG_EFORMAT,
		"a type that is not known is a later version's");
	ok(decode_with(&put, 1, 2, 1) == -VG_EFORMAT &&
			decode_with(&create, 1, 2, 1) == -VG_EFORMAT &&
			decode_with(&put, 1, 0, 1) == -VG_EFORMAT &&
			decode_with(&put, 1, 3, 1) == -VG_EFORMAT &&
			decode_with(&put, 2, 1, 2) == -VG_EFORMAT,
		"so is another body version, and a bit in its zero");
	ok(decode_with(&put, AT_ID + 5, 6, 1) == -VG_EFORMAT &&
			decode_with(&put, AT_ID + 5, 0, 1) == -VG_EFORMAT,
		"so is a source of vectors that is not known");
	ok(decode_with(&create, AT_CONFIG + 16, 6, 1) == -VG_EFORMAT &&
			decode_with(&create, AT_CONFIG + 17, 5, 1) ==
				-VG_EFORMAT &&
			decode_with(&create, AT_CONFIG + 18, 5, 1) ==
				-VG_EFORMAT &&
			decode_with(&create, AT_CONFIG + 24, 4, 1) ==
				-VG_EFORMAT &&
			decode_with(&create, AT_CONFIG + 19, 6, 1) ==
				-VG_EFORMAT,
		"so is a metric, dtype, index, quant or source that is not known");
}

static void test_limits(void)
{
	struct op put = sample(OP_PUT), create = sample(OP_CREATE);
	struct op snap = sample(OP_SNAP), unsnap = sample(OP_UNSNAP);
	const struct {
		const struct op *op;
		size_t at;
		uint64_t value;
		size_t width;
		const char *what;
	} limits[] = {
		{&put, AT_PLACES, 0, 4, "no place"},
		{&put, AT_PLACES, 2, 4, "two places for one id"},
		{&put, AT_PARTITION, VG_SEQS, 2, "a partition over 271"},
		{&put, AT_SEQ, 0, 8, "a seq of 0"},
		{&put, AT_ID, 0, 4, "an empty id"},
		{&put, AT_ID, 256, 4, "an id of 256 bytes"},
		{&put, AT_ID, UINT32_MAX, 4, "an id of 4 GiB"},
		{&put, AT_ID + 6, VG_BODY_MAX + 1, 4, "a body over 256 MiB"},
		{&put, AT_ID + 10, 0, 4, "a vector without a number"},
		{&put, AT_ID + 10, 6, 4, "a vector of one and a half numbers"},
		{&put, AT_ID + 10, 262144, 4, "a vector of 65,536 numbers"},
		{&put, AT_ID + 22, VG_META_MAX + 1, 4, "metadata over 1 MiB"},
		{&create, AT_CONFIG, VG_DIM_MAX + 1, 4, "dim 65,536"},
		{&create, AT_CONFIG + 4, 0, 4, "m 0"},
		{&create, AT_CONFIG + 4, VG_M_MAX + 1, 4, "m 65"},
		{&create, AT_CONFIG + 8, VG_EF_MAX + 1, 4, "a large one"},
		{&create, AT_CONFIG + 12, 0, 4, "ef_search 0 without more"},
		{&create, AT_CONFIG + 12, VG_EF_MAX + 1, 4, "a large one"},
		{&create, AT_CONFIG + 20, VG_BODY_MAX + 1, 4, "its body"},
		{&create, AT_ATTR, 010000, 4, "a mode with other bits"},
		{&snap, AT_PLACES, 0, 4, "a snapshot without a place"},
		{&snap, AT_SEQ, 0, 8, "one with a place of seq 0"},
		{&snap, AT_ID, 0, 4, "one without a name"},
		{&snap, AT_ID, 256, 4, "one with a name of 256 bytes"},
		{&snap, AT_N_SEEN, 4, 4, "one that sees more than it says"},
		{&snap, AT_N_SEEN, 2, 4, "one that sees less"},
		{&snap, AT_N_SEEN, VG_SEQS + 1, 4, "one that sees 273 places"},
		{&snap, AT_N_SEEN, UINT32_MAX, 4, "2^32 - 1 of them"},
		{&snap, AT_SEEN, 270, 2, "one that sees a place twice"},
		{&snap, AT_SEEN + 10, 0, 2, "the first two the same"},
		{&snap, AT_SEEN + 10, 271, 2, "the last two the same"},
		{&snap, AT_SEEN, 271, 2, "one that sees them out of order"},
		{&snap, AT_SEEN + 20, VG_SEQS, 2, "partition 272 seen"},
		{&snap, AT_SEEN + 20, UINT16_MAX, 2, "partition 65,535 seen"},
		{&snap, AT_SEEN + 2, 0, 8, "seq 0 seen first"},
		{&snap, AT_SEEN + 22, 0, 8, "seq 0 seen last"},
		{&unsnap, AT_PLACES, 2, 4, "the end of one with two places"},
		{&unsnap, AT_ID, 0, 4, "the end of one without a name"},
		{&unsnap, AT_ID, 256, 4, "or with one of 256 bytes"},
	};

	for (size_t i = 0; i < VG_ARRAY_LEN(limits); i++)
		ok(decode_with(limits[i].op, limits[i].at, limits[i].value,
			   limits[i].width) == -VG_ECORRUPT,
			"%s is refused", limits[i].what);
}

/* What stands behind a config only if it says something. */
static void test_more(void)
{
	static const char hex[] = HEAD2("15") PLACE UUID
		"80010000" "10000000" "c8000000" "64000000" "02010101"
		"00060000" "82" "3f420f00" "01000000" "00000000" "a0860100";
	const struct op plain = sample(OP_CONFIG);
	struct op op = plain, got;
	uint8_t buf[512];
	bool refused = true, seen = true;
	size_t len, at = AT_ID;

	op.config.ef_search = 100;
	op.config.target_recall = 999999;
	op.config.tuned[0] = 1;
	op.config.tuned[2] = VG_EF_MAX;
	len = op_encode(&op, buf, sizeof(buf));
	ok(hex_equal(hex, buf, len),
		"a config with more is of version 2, and its bytes are these");
	ok(decode_with(&op, at + 25, 1000000, 4) == -VG_ECORRUPT,
		"a target_recall of 1 is refused");
	ok(decode_copy(buf, len, &got) == 0 && op_equal(&op, &got),
		"it is decoded, an ef_search of 100 as what it is");
	for (size_t cut = 0; cut < len; cut++)
		refused = refused && decode_copy(buf, cut, &got) < 0;
	ok(refused, "each prefix of it is refused");
	for (size_t bit = 0; bit < len * 8; bit++)
		seen = seen && flip_is_seen(buf, len, bit);
	ok(seen, "no bit of it is without meaning");
	ok(decode_with(&op, 1, 1, 1) == -VG_EFORMAT,
		"as version 1 it is refused");
	ok(decode_with(&op, at + 25 + 12, VG_EF_MAX + 1, 4) == -VG_ECORRUPT,
		"so is a large ef");
	op = plain;
	op.config.tuned[1] = 7;
	ok(decode_with(&op, at + 25 + 8, 0, 4) == -VG_ECORRUPT,
		"and more that says nothing");
	len = op_encode(&plain, buf, sizeof(buf));
	ok(buf[at + 12] == 100 && decode_copy(buf, len, &got) == 0 &&
			got.config.ef_search == 0,
		"without more an ef_search of 100 is auto");
}

static void test_extremes(void)
{
	static struct op_place places[OP_PLACES_MAX], got_places[OP_PLACES_MAX];
	static char id[VG_ID_MAX];
	size_t cap = 2u << 20;
	uint8_t *buf = malloc(cap);
	char *large = calloc(1, VG_META_MAX);
	struct op op = sample(OP_PUT), got;
	size_t len;

	must(buf && large);
	memset(id, 0xff, sizeof(id));
	op.id = (struct vg_id){id, sizeof(id)};
	op.vec = large;
	op.vec_len = 4 * VG_DIM_MAX;
	op.meta = large;
	op.meta_len = VG_META_MAX;
	len = op_encode(&op, buf, cap);
	ok(len == op_size(&op) && op_decode(buf, len, places, &got) == 0 &&
			op_equal(&op, &got),
		"the largest put is decoded");
	op.meta = NULL;
	op.meta_len = 0;
	len = op_encode(&op, buf, cap);
	ok(op_decode(buf, len, places, &got) == 0 && !got.meta &&
			got.meta_len == 0,
		"no metadata stays no metadata");
	op = sample(OP_CLEAR);
	for (uint32_t i = 0; i < OP_PLACES_MAX; i++)
		places[i] = (struct op_place){(uint16_t)i, i + 1};
	op.more = places;
	op.n_places = OP_PLACES_MAX;
	len = op_encode(&op, buf, cap);
	ok(op_decode(buf, len, got_places, &got) == 0 && op_equal(&op, &got),
		"a clear of all partitions is decoded");
	uint32_t too_many = OP_PLACES_MAX + 1;

	memcpy(buf + AT_PLACES, &too_many, 4);
	ok(op_decode(buf, cap, got_places, &got) == -VG_ECORRUPT,
		"one place more is refused before it is written anywhere");
	op = sample(OP_SNAP);
	op.name = (struct vg_id){id, sizeof(id)};
	op.more = places;
	op.n_seen = OP_PLACES_MAX;
	len = op_encode(&op, buf, cap);
	ok(len == op_size(&op) &&
			op_decode(buf, len, got_places, &got) == 0 &&
			op_equal(&op, &got),
		"a snapshot that sees all partitions is decoded");
	op.more = NULL;
	op.n_seen = 0;
	len = op_encode(&op, buf, cap);
	ok(op_decode(buf, len, got_places, &got) == 0 && got.n_seen == 0,
		"one of a store without a record sees none");
	free(buf);
	free(large);
}

static void test_partition(void)
{
	ok(op_partition(ID("a")) == 0xe6c632b61e964e1full % 271,
		"the partition of \"a\" is for ever the same");
	ok(op_partition(ID("hello")) == 0x9555e8555c62dcfdull % 271,
		"so is that of \"hello\"");
	ok(strcmp(op_name((enum op_type)6), "unknown") == 0 &&
			strcmp(op_name((enum op_type)-1), "unknown") == 0,
		"a type that is not known has a word, too");
}

int main(void)
{
	plan(7 * (int)VG_ARRAY_LEN(goldens) + 4 + 39 + 9 + 6 + 3);
	for (size_t i = 0; i < VG_ARRAY_LEN(goldens); i++)
		test_type(&goldens[i]);
	test_later();
	test_limits();
	test_more();
	test_extremes();
	test_partition();
	return done();
}
