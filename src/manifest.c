/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c: the bytes of a manifest, out and in. */
#include "src/manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "src/wire.h"

/*
 * The body, in the words of wire.h (docs/format.md has it as a table):
 *
 *   u64 number  store[16]  i64 time_ns  u64 lsn, segment, offset
 *   VG_SEQS * u64 seq
 *   u32 next_no, next_gen  u64 next_cursor  i64 root_mtime_ns
 *   u8 has_root_attr, then if it is 1: ATTR
 *   u32 n_colls, then for each: COLLECTION
 *   u32 n_aliases, then for each:
 *           u64 cursor  i64 mtime_ns  str name  str target
 *   u32 n_origins, then for each: u64 session, request  i32 result
 *
 *   COLLECTION  u32 no, gen  uuid[16]  u64 cursor  str name  CONFIG  ATTR
 *               i64 mtime_ns  i64 commit_ns  u32 dim
 *               and if dim is not 0:
 *               u8 metric + 16 (dtype - 1)  u8 index  u8 quant
 *               u32 m, ef_construction, cell
 *               COLUMN vec, version, meta, end
 *               FILE graph  u32 n_deltas  n_deltas * FILE
 *               and in version 2: FILE fields
 *               then in any case u32 n_snaps, and for each: SNAP
 *   SNAP        u32 no  uuid[16]  str name  CONFIG  ATTR
 *               i64 mtime_ns  i64 commit_ns  u64 n_live  u64 meta_bytes
 *               VG_SEQS * u64 seq
 *   CONFIG      as in an op; ATTR  u32 mode, uid, gid
 *   COLUMN      u32 n_parts, then for each: u32 number, first, n
 *               u64 sums_hash, tail_hash
 *   FILE        u32 number  u64 len  u64 hash; all 0: there is none
 *
 * Version 2 is written where some COLLECTION has a FILE fields, and only there:
 * a store that was never asked by a filter is read by programs that know none.
 *
 * A manifest has one encoding: nothing is optional but by a number before it,
 * so that what was decoded is encoded as the same bytes. What it may say is
 * manifest_check's, before it is encoded and after it was decoded.
 *
 * COUNTS. Memory for n things is taken only after n times the fewest bytes
 * that each takes were found to be there; so no file makes us allocate more
 * than a constant times its length.
 */
static const char magic[8] = {'v', 'g', 'm', 'a', 'n', '\r', '\n', '\x1a'};

#define FORMAT_PLAIN 1u
#define FORMAT_MORE 2u /* with indexes of fields, or a CONFIG with MORE */
#define HEAD 32u
#define HEAD_SUMMED 24u /* the hash covers what is before it */

/* The fewest bytes of each; the names in them have one byte. */
#define PART_LEN (3 * 4 + 2 * 8u)
#define COLL_MIN (8 + 16 + 8 + 4 + 25 + 12 + 2 * 8 + 4 + 4u)
#define SNAP_MIN (4 + 16 + 5 + 25 + 12 + 4 * 8 + 8u * VG_SEQS)
#define ALIAS_MIN (2 * 8 + 2 * 5u)
#define ORIGIN_LEN (2 * 8 + 4u)

static_assert(offsetof(struct op_config, quant) == 24 &&
		      sizeof(struct op_config) == 44,
	"COLL_MIN knows what a config takes");
static_assert((MANIFEST_LEN_MAX / COLL_MIN) <
		      SIZE_MAX / sizeof(struct manifest_collection),
	"the memory of as many collections as fit can be counted");

void manifest_collection_fini(struct manifest_collection *c)
{
	free(c->vec.part);
	free(c->version.part);
	free(c->meta.part);
	free(c->end.part);
	free(c->snap);
	*c = (struct manifest_collection){0};
}

void manifest_fini(struct manifest *m)
{
	for (uint32_t i = 0; i < m->n_colls; i++)
		manifest_collection_fini(&m->coll[i]);
	for (uint32_t i = 0; i < m->n_aliases; i++)
		free(m->alias[i].name);
	free(m->coll);
	free(m->alias);
	free(m->origin);
	*m = (struct manifest){0};
}

/* Out. */

static void put_attr(struct wire_out *out, const struct op_attr *attr)
{
	wire_put_u32(out, attr->mode);
	wire_put_u32(out, attr->uid);
	wire_put_u32(out, attr->gid);
}

static void put_column(struct wire_out *out, const struct manifest_column *c)
{
	wire_put_u32(out, c->n_parts);
	for (uint32_t i = 0; i < c->n_parts; i++) {
		wire_put_u32(out, c->part[i].number);
		wire_put_u32(out, c->part[i].first);
		wire_put_u32(out, c->part[i].n);
		wire_put_u64(out, c->part[i].sums_hash);
		wire_put_u64(out, c->part[i].tail_hash);
	}
}

static void put_file(struct wire_out *out, const struct manifest_file *f)
{
	wire_put_u32(out, f->number);
	wire_put_u64(out, f->len);
	wire_put_u64(out, f->hash);
}

static bool has_fields(const struct manifest *m)
{
	bool has = false;

	for (uint32_t i = 0; i < m->n_colls && !has; i++)
		has = m->coll[i].fields.number > 0;
	return has;
}

static void put_rows(struct wire_out *out, const struct manifest_collection *c,
	uint32_t version)
{
	assert(c->metric < 16 && c->dtype >= VG_F32 && c->dtype <= VG_B1);
	wire_put_u8(out, (uint8_t)(c->metric + 16 * (c->dtype - 1)));
	wire_put_u8(out, c->index);
	wire_put_u8(out, c->quant);
	wire_put_u32(out, c->m);
	wire_put_u32(out, c->ef_construction);
	wire_put_u32(out, c->cell);
	put_column(out, &c->vec);
	put_column(out, &c->version);
	put_column(out, &c->meta);
	put_column(out, &c->end);
	put_file(out, &c->graph);
	wire_put_u32(out, c->n_deltas);
	for (uint32_t i = 0; i < c->n_deltas; i++)
		put_file(out, &c->delta[i]);
	if (version == FORMAT_MORE)
		put_file(out, &c->fields);
}

static void put_snap(struct wire_out *out, const struct manifest_snap *s)
{
	wire_put_u32(out, s->no);
	wire_put_bytes(out, s->uuid, sizeof(s->uuid));
	wire_put_str(out, s->name, s->name_len);
	op_config_put(out, &s->config);
	put_attr(out, &s->attr);
	wire_put_u64(out, (uint64_t)s->mtime_ns);
	wire_put_u64(out, (uint64_t)s->commit_ns);
	wire_put_u64(out, s->n_live);
	wire_put_u64(out, s->meta_bytes);
	for (uint32_t i = 0; i < VG_SEQS; i++)
		wire_put_u64(out, s->seq[i]);
}

static void put_collection(struct wire_out *out,
	const struct manifest_collection *c, uint32_t version)
{
	wire_put_u32(out, c->no);
	wire_put_u32(out, c->gen);
	wire_put_bytes(out, c->uuid, sizeof(c->uuid));
	wire_put_u64(out, c->cursor);
	wire_put_str(out, c->name, c->name_len);
	op_config_put(out, &c->config);
	put_attr(out, &c->attr);
	wire_put_u64(out, (uint64_t)c->mtime_ns);
	wire_put_u64(out, (uint64_t)c->commit_ns);
	wire_put_u32(out, c->dim);
	if (c->dim > 0)
		put_rows(out, c, version);
	wire_put_u32(out, c->n_snaps);
	for (uint32_t i = 0; i < c->n_snaps; i++)
		put_snap(out, &c->snap[i]);
}

static void put_body(
	struct wire_out *out, const struct manifest *m, uint32_t version)
{
	wire_put_u64(out, m->number);
	wire_put_bytes(out, m->store, sizeof(m->store));
	wire_put_u64(out, (uint64_t)m->time_ns);
	wire_put_u64(out, m->lsn);
	wire_put_u64(out, m->segment);
	wire_put_u64(out, m->offset);
	for (uint32_t i = 0; i < VG_SEQS; i++)
		wire_put_u64(out, m->seq[i]);
	wire_put_u32(out, m->next_no);
	wire_put_u32(out, m->next_gen);
	wire_put_u64(out, m->next_cursor);
	wire_put_u64(out, (uint64_t)m->root_mtime_ns);
	wire_put_u8(out, m->has_root_attr);
	if (m->has_root_attr)
		put_attr(out, &m->root_attr);
	wire_put_u32(out, m->n_colls);
	for (uint32_t i = 0; i < m->n_colls; i++)
		put_collection(out, &m->coll[i], version);
	wire_put_u32(out, m->n_aliases);
	for (uint32_t i = 0; i < m->n_aliases; i++) {
		const struct manifest_alias *a = &m->alias[i];

		wire_put_u64(out, a->cursor);
		wire_put_u64(out, (uint64_t)a->mtime_ns);
		wire_put_str(out, a->name, a->name_len);
		wire_put_str(out, a->target, a->target_len);
	}
	wire_put_u32(out, m->n_origins);
	for (uint32_t i = 0; i < m->n_origins; i++) {
		wire_put_u64(out, m->origin[i].session);
		wire_put_u64(out, m->origin[i].request);
		wire_put_u32(out, (uint32_t)m->origin[i].result);
	}
}

/* Readers that do not know what more is are told that they do not. */
static uint32_t format_version(const struct manifest *m)
{
	bool more = has_fields(m);

	for (uint32_t i = 0; i < m->n_colls && !more; i++) {
		const struct manifest_collection *c = &m->coll[i];

		more = op_config_has_more(&c->config);
		for (uint32_t j = 0; j < c->n_snaps && !more; j++)
			more = op_config_has_more(&c->snap[j].config);
	}
	return more ? FORMAT_MORE : FORMAT_PLAIN;
}

/* Before the body, which stands already at bytes + HEAD. */
static void put_head(uint8_t *bytes, size_t body_len, uint32_t version)
{
	struct wire_out out = wire_out_init(bytes, HEAD);

	wire_put_bytes(&out, magic, sizeof(magic));
	wire_put_u32(&out, version);
	wire_put_u32(&out, 0);
	wire_put_u64(&out, body_len);
	assert(out.len == HEAD_SUMMED);
	wire_put_u64(&out,
		wire_hash_pair(bytes, HEAD_SUMMED, bytes + HEAD, body_len));
	assert(!out.failed && out.len == HEAD);
}

int manifest_encode(const struct manifest *m, uint8_t **bytes, size_t *len)
{
	struct wire_out body = wire_out_init(NULL, 0);
	uint32_t version = format_version(m);
	int rc = manifest_check(m);
	uint8_t *buf;
	size_t body_len;

	assert(rc == 0 || rc == -ENOMEM);
	if (rc < 0)
		return rc;
	put_body(&body, m, version);
	body_len = body.len;
	if (body_len > MANIFEST_LEN_MAX - HEAD)
		return -EFBIG;
	buf = malloc(HEAD + body_len);
	if (!buf)
		return -ENOMEM;
	body = wire_out_init(buf + HEAD, body_len);
	put_body(&body, m, version);
	assert(!body.failed && body.len == body_len);
	put_head(buf, body_len, version);
	*bytes = buf;
	*len = HEAD + body_len;
	return 0;
}

/*
 * In. What the cursor lacks sticks to it and is looked at once, at the end;
 * a return value says only that there is no memory, or that a count cannot be.
 */

/* How many follow, each of at least `least` bytes. */
static int get_count(struct wire_in *in, size_t least, uint32_t *n)
{
	uint32_t count = wire_get_u32(in);

	assert(least > 0);
	if (in->failed || count > in->left / least)
		return -VG_ECORRUPT;
	*n = count;
	return 0;
}

static void get_attr(struct wire_in *in, struct op_attr *attr)
{
	attr->mode = wire_get_u32(in);
	attr->uid = wire_get_u32(in);
	attr->gid = wire_get_u32(in);
}

static void get_uuid(struct wire_in *in, uint8_t uuid[16])
{
	const void *bytes = wire_get_bytes(in, 16);

	if (bytes)
		memcpy(uuid, bytes, 16);
}

static int get_column(struct wire_in *in, struct manifest_column *c)
{
	uint32_t n;
	int rc = get_count(in, PART_LEN, &n);

	if (rc < 0 || n == 0)
		return rc;
	c->part = calloc(n, sizeof(*c->part));
	if (!c->part)
		return -ENOMEM;
	c->n_parts = n;
	for (uint32_t i = 0; i < n; i++) {
		c->part[i].number = wire_get_u32(in);
		c->part[i].first = wire_get_u32(in);
		c->part[i].n = wire_get_u32(in);
		c->part[i].sums_hash = wire_get_u64(in);
		c->part[i].tail_hash = wire_get_u64(in);
	}
	assert(!in->failed);
	return 0;
}

static void get_file(struct wire_in *in, struct manifest_file *f)
{
	f->number = wire_get_u32(in);
	f->len = wire_get_u64(in);
	f->hash = wire_get_u64(in);
}

static int get_rows(struct wire_in *in, struct manifest_collection *c,
	uint32_t version)
{
	struct manifest_column *columns[] = {&c->vec, &c->version, &c->meta,
		&c->end};
	int rc = 0;

	c->metric = wire_get_u8(in);
	c->dtype = (uint8_t)(c->metric / 16 + 1);
	c->metric %= 16;
	c->index = wire_get_u8(in);
	c->quant = wire_get_u8(in);
	c->m = wire_get_u32(in);
	c->ef_construction = wire_get_u32(in);
	c->cell = wire_get_u32(in);
	for (size_t i = 0; rc == 0 && i < VG_ARRAY_LEN(columns); i++)
		rc = get_column(in, columns[i]);
	if (rc < 0)
		return rc;
	get_file(in, &c->graph);
	c->n_deltas = wire_get_u32(in);
	if (in->failed || c->n_deltas > MANIFEST_DELTAS_MAX)
		return -VG_ECORRUPT;
	for (uint32_t i = 0; i < c->n_deltas; i++)
		get_file(in, &c->delta[i]);
	if (version == FORMAT_MORE)
		get_file(in, &c->fields);
	return 0;
}

static void get_snap(struct wire_in *in, struct manifest_snap *s)
{
	const char *name;

	s->no = wire_get_u32(in);
	get_uuid(in, s->uuid);
	name = wire_get_str(in, 1, VG_ID_MAX, &s->name_len);
	if (name)
		memcpy(s->name, name, s->name_len);
	op_config_get(in, &s->config);
	get_attr(in, &s->attr);
	s->mtime_ns = (int64_t)wire_get_u64(in);
	s->commit_ns = (int64_t)wire_get_u64(in);
	s->n_live = wire_get_u64(in);
	s->meta_bytes = wire_get_u64(in);
	for (uint32_t i = 0; i < VG_SEQS; i++)
		s->seq[i] = wire_get_u64(in);
}

static int get_snaps(struct wire_in *in, struct manifest_collection *c)
{
	uint32_t n;
	int rc = get_count(in, SNAP_MIN, &n);

	assert(!c->snap && c->n_snaps == 0);
	if (rc < 0 || n == 0)
		return rc;
	c->snap = calloc(n, sizeof(*c->snap));
	if (!c->snap)
		return -ENOMEM;
	c->n_snaps = n;
	for (uint32_t i = 0; i < n; i++)
		get_snap(in, &c->snap[i]);
	return 0;
}

static int get_collection(struct wire_in *in, struct manifest_collection *c,
	uint32_t version)
{
	const char *name;
	int rc;

	c->no = wire_get_u32(in);
	c->gen = wire_get_u32(in);
	get_uuid(in, c->uuid);
	c->cursor = wire_get_u64(in);
	name = wire_get_str(in, 0, VG_ID_MAX, &c->name_len);
	if (name)
		memcpy(c->name, name, c->name_len);
	op_config_get(in, &c->config);
	get_attr(in, &c->attr);
	c->mtime_ns = (int64_t)wire_get_u64(in);
	c->commit_ns = (int64_t)wire_get_u64(in);
	c->dim = wire_get_u32(in);
	rc = c->dim > 0 ? get_rows(in, c, version) : 0;
	return rc == 0 ? get_snaps(in, c) : rc;
}

static int get_alias(struct wire_in *in, struct manifest_alias *a)
{
	const char *name, *target;

	a->cursor = wire_get_u64(in);
	a->mtime_ns = (int64_t)wire_get_u64(in);
	name = wire_get_str(in, 1, VG_ID_MAX, &a->name_len);
	target = wire_get_str(in, 1, VG_ID_MAX, &a->target_len);
	if (!name || !target)
		return -VG_ECORRUPT;
	a->name = calloc(1, (size_t)a->name_len + a->target_len + 2);
	if (!a->name)
		return -ENOMEM;
	a->target = a->name + a->name_len + 1;
	memcpy(a->name, name, a->name_len);
	memcpy(a->target, target, a->target_len);
	return 0;
}

static int get_collections(
	struct wire_in *in, struct manifest *m, uint32_t version)
{
	uint32_t n;
	int rc = get_count(in, COLL_MIN, &n);

	if (rc < 0 || n == 0)
		return rc;
	m->coll = calloc(n, sizeof(*m->coll));
	if (!m->coll)
		return -ENOMEM;
	m->n_colls = n;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = get_collection(in, &m->coll[i], version);
	return rc;
}

static int get_aliases(struct wire_in *in, struct manifest *m)
{
	uint32_t n;
	int rc = get_count(in, ALIAS_MIN, &n);

	if (rc < 0 || n == 0)
		return rc;
	m->alias = calloc(n, sizeof(*m->alias));
	if (!m->alias)
		return -ENOMEM;
	m->n_aliases = n;
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		rc = get_alias(in, &m->alias[i]);
	return rc;
}

static int get_origins(struct wire_in *in, struct manifest *m)
{
	uint32_t n;
	int rc = get_count(in, ORIGIN_LEN, &n);

	if (rc < 0 || n == 0)
		return rc;
	m->origin = calloc(n, sizeof(*m->origin));
	if (!m->origin)
		return -ENOMEM;
	m->n_origins = n;
	for (uint32_t i = 0; i < n; i++) {
		m->origin[i].session = wire_get_u64(in);
		m->origin[i].request = wire_get_u64(in);
		m->origin[i].result = (int32_t)wire_get_u32(in);
	}
	assert(!in->failed);
	return 0;
}

static int get_body(struct wire_in *in, struct manifest *m, uint32_t version)
{
	unsigned has_root_attr;
	int rc;

	m->number = wire_get_u64(in);
	get_uuid(in, m->store);
	m->time_ns = (int64_t)wire_get_u64(in);
	m->lsn = wire_get_u64(in);
	m->segment = wire_get_u64(in);
	m->offset = wire_get_u64(in);
	for (uint32_t i = 0; i < VG_SEQS; i++)
		m->seq[i] = wire_get_u64(in);
	m->next_no = wire_get_u32(in);
	m->next_gen = wire_get_u32(in);
	m->next_cursor = wire_get_u64(in);
	m->root_mtime_ns = (int64_t)wire_get_u64(in);
	has_root_attr = wire_get_u8(in);
	if (has_root_attr > 1)
		return -VG_ECORRUPT;
	m->has_root_attr = has_root_attr == 1;
	if (m->has_root_attr)
		get_attr(in, &m->root_attr);
	rc = get_collections(in, m, version);
	if (rc == 0)
		rc = get_aliases(in, m);
	if (rc == 0)
		rc = get_origins(in, m);
	if (rc == 0 && (in->failed || in->left > 0 ||
			       format_version(m) != version))
		rc = -VG_ECORRUPT;
	return rc;
}

/*
 * magic, length and hash stay where they are in every later version, so only
 * a file that is whole is told to be of one.
 */
static int get_head(const uint8_t *bytes, size_t len, uint32_t *version)
{
	struct wire_in in = wire_in_init(bytes, len);
	const void *start = wire_get_bytes(&in, sizeof(magic));
	uint32_t zero;
	uint64_t body_len, hash;

	*version = wire_get_u32(&in);
	zero = wire_get_u32(&in);
	body_len = wire_get_u64(&in);
	hash = wire_get_u64(&in);
	assert(in.failed || in.left == len - HEAD);
	if (in.failed || memcmp(start, magic, sizeof(magic)) != 0 ||
		len > MANIFEST_LEN_MAX || body_len != in.left)
		return -VG_ECORRUPT;
	if (hash != wire_hash_pair(bytes, HEAD_SUMMED, in.at, in.left))
		return -VG_ECORRUPT;
	return *version < FORMAT_PLAIN || *version > FORMAT_MORE || zero != 0
		       ? -VG_EFORMAT
		       : 0;
}

int manifest_decode(const void *bytes, size_t len, struct manifest *out)
{
	struct manifest m = {0};
	uint32_t version;
	int rc = get_head(bytes, len, &version);

	if (rc < 0)
		return rc;

	struct wire_in in =
		wire_in_init((const uint8_t *)bytes + HEAD, len - HEAD);

	rc = get_body(&in, &m, version);
	if (rc == 0)
		rc = manifest_check(&m);
	if (rc < 0) {
		manifest_fini(&m);
		return rc;
	}
	*out = m;
	return 0;
}
