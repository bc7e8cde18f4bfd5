/* SPDX-License-Identifier: Apache-2.0 */
/* op.c: the body of an op: one table says which fields a type has. */
#include "src/op.h"

#include <assert.h>
#include <string.h>

#include "src/wire.h"

/*
 * A body, in the words of wire.h (u8..u64 little-endian; str = u32 length and
 * bytes), version 1:
 *
 *   u8 type  u8 version = 1  u16 zero  u64 epoch
 *   i64 time_ns  i64 commit_ns  u64 session  u64 request  i32 result
 *   u32 n_places  n_places * { u16 partition  u64 seq }
 *
 * (version 2 if CONFIG has MORE)
 * and then those of the following that the table below gives its type, in
 * this order:
 *
 *   UUID    16 bytes           the collection
 *   ID      str 1..255         ID2, NAME, TARGET the same
 *   VEC     u8 source  u32 body_len  str 1..4 * 65535
 *   META    str 0..1 MiB       empty: none; of CLEAR the filter
 *   CONFIG  u32 dim, m, ef_construction, ef_search
 *           u8 metric, dtype, index, dim_source  u32 dim_body_len
 *           u8 quant
 *           MORE, if the top bit of quant is set:
 *           u32 target_recall  OP_EF_CLASSES * u32 tuned
 *   ATTR    u32 mode, uid, gid
 *   SEEN    uuid[16]  u32 n  n * { u16 partition  u64 seq }: in order
 *
 * Without MORE, which is only there if it says something, target_recall and
 * tuned are 0 and an ef_search of 100 is auto, as it was the default when there
 * was no auto; with MORE 0 is auto and 100 is 100.
 *
 * A body ends with its last field. A type, a version, a bit of zero or a
 * number of an enumeration that is not known is a later version's, and its op
 * must not be skipped: whoever applied the ops behind it without it would
 * hold another state than everybody else.
 */
enum {
	UUID = 1 << 0,
	ID = 1 << 1,
	ID2 = 1 << 2,
	NAME = 1 << 3,
	TARGET = 1 << 4,
	VEC = 1 << 5,
	META = 1 << 6,
	CONFIG = 1 << 7,
	ATTR = 1 << 8,
	SEEN = 1 << 9,
};

#define BODY_VERSION 1
#define BODY_VERSION_MORE 2
#define CONFIG_MORE 0x80u    /* of quant */
#define EF_UNWRITTEN 100u    /* what stands for auto without MORE */

struct shape {
	const char *name; /* NULL: no such type */
	unsigned fields;
	uint32_t n_places; /* 0: any number */
};

static const struct shape shapes[] = {
	[OP_PUT] = {"put", UUID | ID | VEC | META, 1},
	[OP_SET] = {"set", UUID | ID | META, 1},
	[OP_DEL] = {"del", UUID | ID, 1},
	[OP_RENAME] = {"rename", UUID | ID | ID2 | META, 2},
	[OP_CLEAR] = {"clear", UUID | META, 0},
	[OP_CREATE] = {"create", UUID | NAME | CONFIG | ATTR, 1},
	[OP_DROP] = {"drop", UUID, 1},
	[OP_MOVE] = {"move", UUID | NAME, 1},
	[OP_ALIAS] = {"alias", NAME | TARGET, 1},
	[OP_UNALIAS] = {"unalias", NAME, 1},
	[OP_CONFIG] = {"config", UUID | CONFIG, 1},
	[OP_ATTR] = {"attr", UUID | ATTR, 1},
	[OP_SNAP] = {"snap", UUID | NAME | SEEN, 1},
	[OP_UNSNAP] = {"unsnap", UUID | NAME, 1},
};

static_assert(VG_ARRAY_LEN(shapes) == OP_UNSNAP + 1, "a type has no shape");
static_assert(4 * VG_DIM_MAX + VG_META_MAX + 3 * (4 + VG_ID_MAX) +
			10 * OP_PLACES_MAX + 256 <= WIRE_PAYLOAD_MAX,
	"the largest op does not fit into a frame");

static const struct shape *shape_find(unsigned type)
{
	return type < VG_ARRAY_LEN(shapes) && shapes[type].name ?
		       &shapes[type] :
		       NULL;
}

const char *op_name(enum op_type type)
{
	const struct shape *shape = shape_find(type);

	return shape ? shape->name : "unknown";
}

uint16_t op_partition(struct vg_id id)
{
	assert(id.len > 0 && id.len <= VG_ID_MAX);
	return (uint16_t)(wire_hash(id.bytes, id.len) % VG_PARTITIONS);
}

static bool places_are_valid(const struct op_place *place, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (place[i].partition >= VG_SEQS || place[i].seq == 0)
			return false;
	return true;
}

bool op_config_has_more(const struct op_config *c)
{
	bool more = c->target_recall || c->ef_search == EF_UNWRITTEN;

	for (uint32_t i = 0; i < OP_EF_CLASSES; i++)
		more = more || c->tuned[i];
	return more;
}

/* Readers that do not know what more is are told that they do not. */
static uint8_t body_version(const struct op *op)
{
	return (shapes[op->type].fields & CONFIG) &&
			       op_config_has_more(&op->config)
		       ? BODY_VERSION_MORE
		       : BODY_VERSION;
}

int op_config_check(const struct op_config *c)
{
	if (c->metric < VG_L2 || c->metric > VG_HAMMING ||
		c->dtype < VG_F32 || c->dtype > VG_B1 ||
		c->index < VG_HNSW || c->index > VG_IVF_PQ ||
		c->quant > VG_QUANT_QG ||
		c->dim_source > OP_SOURCE_FVECS)
		return -VG_EFORMAT;
	if (!vg_has((enum vg_dtype)c->dtype, (enum vg_metric)c->metric) ||
		(c->index == VG_IVF_PQ &&
			!vg_has_lists((enum vg_dtype)c->dtype,
				(enum vg_metric)c->metric)) ||
		(c->dtype == VG_B1 && c->dim % 8 != 0))
		return -VG_ECORRUPT;
	if (c->dim > VG_DIM_MAX || c->m == 0 || c->m > VG_M_MAX ||
		c->ef_construction > VG_EF_MAX ||
		c->ef_search > VG_EF_MAX ||
		c->target_recall >= OP_RECALL_ONE ||
		c->dim_body_len > VG_BODY_MAX)
		return -VG_ECORRUPT;
	for (uint32_t i = 0; i < OP_EF_CLASSES; i++)
		if (c->tuned[i] > VG_EF_MAX)
			return -VG_ECORRUPT;
	return 0;
}

/* Places in order of their partitions, none twice. */
static bool seen_is_valid(const struct op *op)
{
	if (op->n_seen > OP_PLACES_MAX)
		return false;
	for (uint32_t i = 1; i < op->n_seen; i++)
		if (op->more[i].partition <= op->more[i - 1].partition)
			return false;
	return places_are_valid(op->more, op->n_seen);
}

static int vec_check(const struct op *op)
{
	if (op->source < OP_SOURCE_RAW || op->source > OP_SOURCE_FVECS)
		return -VG_EFORMAT;
	if (op->body_len > VG_BODY_MAX)
		return -VG_ECORRUPT;
	return 0;
}

/* The limits of what is not a string; strings have theirs where they stand. */
static int values_check(const struct op *op, unsigned fields)
{
	const struct op_place *place =
		op->type == OP_CLEAR ? op->more : op->places;
	int rc = 0;

	if (!places_are_valid(place, op->n_places))
		return -VG_ECORRUPT;
	if (fields & VEC)
		rc = vec_check(op);
	if (rc == 0 && fields & CONFIG)
		rc = op_config_check(&op->config);
	if (rc == 0 && fields & ATTR && op->attr.mode > 07777)
		rc = -VG_ECORRUPT;
	if (rc == 0 && fields & SEEN && !seen_is_valid(op))
		rc = -VG_ECORRUPT;
	return rc;
}

static void put_id(struct wire_out *out, const struct vg_id *id)
{
	assert(id->len > 0 && id->len <= VG_ID_MAX);
	wire_put_str(out, id->bytes, id->len);
}

static void put_places(
	struct wire_out *out, const struct op_place *place, uint32_t n)
{
	wire_put_u32(out, n);
	for (uint32_t i = 0; i < n; i++) {
		wire_put_u16(out, place[i].partition);
		wire_put_u64(out, place[i].seq);
	}
}

static void put_head(struct wire_out *out, const struct op *op)
{
	const struct op_place *place =
		op->type == OP_CLEAR ? op->more : op->places;

	wire_put_u8(out, (uint8_t)op->type);
	wire_put_u8(out, body_version(op));
	wire_put_u16(out, 0);
	wire_put_u64(out, op->epoch);
	wire_put_u64(out, (uint64_t)op->time_ns);
	wire_put_u64(out, (uint64_t)op->commit_ns);
	wire_put_u64(out, op->origin.session);
	wire_put_u64(out, op->origin.request);
	wire_put_u32(out, (uint32_t)op->origin.result);
	put_places(out, place, op->n_places);
}

void op_config_put(struct wire_out *out, const struct op_config *c)
{
	bool more = op_config_has_more(c);

	wire_put_u32(out, c->dim);
	wire_put_u32(out, c->m);
	wire_put_u32(out, c->ef_construction);
	wire_put_u32(out, more || c->ef_search ? c->ef_search : EF_UNWRITTEN);
	wire_put_u8(out, c->metric);
	wire_put_u8(out, c->dtype);
	wire_put_u8(out, c->index);
	wire_put_u8(out, c->dim_source);
	wire_put_u32(out, c->dim_body_len);
	wire_put_u8(out, (uint8_t)(c->quant | (more ? CONFIG_MORE : 0)));
	if (!more)
		return;
	wire_put_u32(out, c->target_recall);
	for (uint32_t i = 0; i < OP_EF_CLASSES; i++)
		wire_put_u32(out, c->tuned[i]);
}

static void put_body(struct wire_out *out, const struct op *op)
{
	const struct shape *shape = shape_find(op->type);

	assert(shape);
	assert(shape->n_places ? op->n_places == shape->n_places :
				 op->n_places <= OP_PLACES_MAX);
	assert(values_check(op, shape->fields) == 0);
	put_head(out, op);
	if (shape->fields & UUID)
		wire_put_bytes(out, op->uuid, sizeof(op->uuid));
	if (shape->fields & ID)
		put_id(out, &op->id);
	if (shape->fields & ID2)
		put_id(out, &op->id2);
	if (shape->fields & NAME)
		put_id(out, &op->name);
	if (shape->fields & TARGET)
		put_id(out, &op->target);
	if (shape->fields & VEC) {
		assert(op->vec_len >= 1 && op->vec_len <= 4 * VG_DIM_MAX);
		wire_put_u8(out, op->source);
		wire_put_u32(out, op->body_len);
		wire_put_str(out, op->vec, op->vec_len);
	}
	if (shape->fields & META) {
		assert(op->meta_len <= VG_META_MAX);
		wire_put_str(out, op->meta, op->meta ? op->meta_len : 0);
	}
	if (shape->fields & CONFIG)
		op_config_put(out, &op->config);
	if (shape->fields & ATTR) {
		wire_put_u32(out, op->attr.mode);
		wire_put_u32(out, op->attr.uid);
		wire_put_u32(out, op->attr.gid);
	}
	if (shape->fields & SEEN) {
		wire_put_bytes(out, op->snap, sizeof(op->snap));
		put_places(out, op->more, op->n_seen);
	}
}

size_t op_size(const struct op *op)
{
	struct wire_out out = wire_out_init(NULL, 0);

	put_body(&out, op);
	return out.len;
}

size_t op_encode(const struct op *op, void *out, size_t cap)
{
	struct wire_out w = wire_out_init(out, cap);

	assert(out);
	put_body(&w, op);
	return w.failed ? 0 : w.len;
}

static struct vg_id get_id(struct wire_in *in)
{
	struct vg_id id;

	id.bytes = wire_get_str(in, 1, VG_ID_MAX, &id.len);
	return id;
}

static void get_places(
	struct wire_in *in, struct op_place *place, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		place[i].partition = wire_get_u16(in);
		place[i].seq = wire_get_u64(in);
	}
}

static void get_uuid(struct wire_in *in, uint8_t uuid[16])
{
	const void *bytes = wire_get_bytes(in, 16);

	if (bytes)
		memcpy(uuid, bytes, 16);
}

/* More than there are partitions are too many for values_check as well. */
static void get_seen(
	struct wire_in *in, struct op_place *places, struct op *op)
{
	get_uuid(in, op->snap);
	op->n_seen = wire_get_u32(in);
	op->more = places;
	if (op->n_seen <= OP_PLACES_MAX)
		get_places(in, places, op->n_seen);
}

/*
 * Everything before the type's own fields. A type that is not known says
 * nothing about what follows it, so it is told before anything is read.
 */
static int get_head(struct wire_in *in, struct op_place *places, struct op *op,
	uint8_t *version)
{
	unsigned type = wire_get_u8(in);
	const struct shape *shape = shape_find(type);
	unsigned zero;

	*version = wire_get_u8(in);
	zero = wire_get_u16(in);
	if (in->failed)
		return -VG_ECORRUPT;
	if (!shape || *version < BODY_VERSION || *version > BODY_VERSION_MORE ||
		zero != 0)
		return -VG_EFORMAT;
	op->type = (enum op_type)type;
	op->epoch = wire_get_u64(in);
	op->time_ns = (int64_t)wire_get_u64(in);
	op->commit_ns = (int64_t)wire_get_u64(in);
	op->origin.session = wire_get_u64(in);
	op->origin.request = wire_get_u64(in);
	op->origin.result = (int32_t)wire_get_u32(in);
	op->n_places = wire_get_u32(in);
	if (shape->n_places ? op->n_places != shape->n_places :
			      op->n_places > OP_PLACES_MAX)
		return -VG_ECORRUPT;

	get_places(in, shape->n_places ? op->places : places, op->n_places);
	if (!shape->n_places)
		op->more = places;
	return 0;
}

void op_config_get(struct wire_in *in, struct op_config *c)
{
	c->dim = wire_get_u32(in);
	c->m = wire_get_u32(in);
	c->ef_construction = wire_get_u32(in);
	c->ef_search = wire_get_u32(in);
	c->metric = wire_get_u8(in);
	c->dtype = wire_get_u8(in);
	c->index = wire_get_u8(in);
	c->dim_source = wire_get_u8(in);
	c->dim_body_len = wire_get_u32(in);
	c->quant = wire_get_u8(in);
	if (!(c->quant & CONFIG_MORE)) {
		in->failed |= c->ef_search == 0;
		if (c->ef_search == EF_UNWRITTEN)
			c->ef_search = 0;
		return;
	}
	c->quant &= (uint8_t)~CONFIG_MORE;
	c->target_recall = wire_get_u32(in);
	for (uint32_t i = 0; i < OP_EF_CLASSES; i++)
		c->tuned[i] = wire_get_u32(in);
	/* One encoding for each: what says nothing is not there. */
	in->failed |= !op_config_has_more(c);
}

static void get_fields(struct wire_in *in, unsigned fields,
	struct op_place *places, struct op *op)
{
	if (fields & UUID)
		get_uuid(in, op->uuid);
	if (fields & ID)
		op->id = get_id(in);
	if (fields & ID2)
		op->id2 = get_id(in);
	if (fields & NAME)
		op->name = get_id(in);
	if (fields & TARGET)
		op->target = get_id(in);
	if (fields & VEC) {
		op->source = wire_get_u8(in);
		op->body_len = wire_get_u32(in);
		op->vec = wire_get_str(in, 1, 4 * VG_DIM_MAX, &op->vec_len);
	}
	if (fields & META) {
		op->meta = wire_get_str(in, 0, VG_META_MAX, &op->meta_len);
		if (op->meta_len == 0)
			op->meta = NULL;
	}
	if (fields & CONFIG)
		op_config_get(in, &op->config);
	if (fields & ATTR) {
		op->attr.mode = wire_get_u32(in);
		op->attr.uid = wire_get_u32(in);
		op->attr.gid = wire_get_u32(in);
	}
	if (fields & SEEN)
		get_seen(in, places, op);
}

int op_decode(const void *in, size_t len, struct op_place *places,
	struct op *out)
{
	struct wire_in w = wire_in_init(in, len);
	struct op op = {0};
	uint8_t version = 0;
	int rc = get_head(&w, places, &op, &version);

	if (rc < 0)
		return rc;

	const struct shape *shape = shape_find(op.type);

	assert(shape);
	get_fields(&w, shape->fields, places, &op);
	if (w.failed || w.left != 0)
		return -VG_ECORRUPT;
	rc = values_check(&op, shape->fields);
	if (rc == 0 && version != body_version(&op))
		rc = -VG_EFORMAT;
	if (rc < 0)
		return rc;
	*out = op;
	return 0;
}
