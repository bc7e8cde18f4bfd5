/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c: a manifest is these bytes for ever, and says what may be said. */
#include "src/manifest.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/catalogue.h"
#include "src/wire.h"
#include "tests/manifestkit.h"
#include "tests/tap.h"

/* kit_manifest's bytes. "|" stands for the seqs 0, 1, 2, ...; "/" for their
 * halves, "_" for as many zeros. */
#define ATTR "ed010000" "e8030000" "64000000"
#define PAST_CONFIG                                                           \
	"03000000" "08000000" "32000000" "3c000000" "03010202" "09000000" "01"
static const char golden[] =
	"76676d616e0d0a1a" "01000000" "00000000" "7c26000000000000"
	"564229dcb979e907"
	"0700000000000000" "66656463626139383736353433323130"
	"0807060504030201" "2211000000000000" "0300000000000000"
	"0010000000000000" "|" "09000000" "05008000" "0c00000000000000"
	"feffffffffffffff" "01" "ff030000" "01000000" "02000000"
	"03000000" /* collections */
	"00000000" "02008000" "30313233343536373839616263646530"
	"0100000000000000"
	"04000000" "646f6373"
	"80010000" "10000000" "c8000000" "64000000" "02010101" "00060000" "02"
	"ed010000" "e8030000" "64000000" "fbffffffffffffff"
	"0600000000000000" "80010000" "02" "01" "02" "10000000" "c8000000"
	"03000000"
	"02000000" /* vec */
	"01000000" "00000000" "e8030000" "0b00000000000000"
	"0c00000000000000"
	"03000000" "e8030000" "f4010000" "0d00000000000000"
	"0000000000000000"
	"01000000" /* version */
	"01000000" "00000000" "40060000" "0000000000000000"
	"0000000000000000"
	"01000000" /* meta */
	"02000000" "00000000" "bc020000" "0000000000000000"
	"0000000000000000"
	"01000000" /* end */
	"05000000" "00000000" "64000000" "0000000000000000"
	"0000000000000000"
	"01000000" "8813000000000000" "1500000000000000"
	"02000000" /* deltas */
	"02000000" "3c00000000000000" "1600000000000000"
	"04000000" "4600000000000000" "0000000000000000"
	"01000000" /* snapshots */
	"03000000" "30313233343536373839616263646534" "04000000" "6e6f6f6e"
	"80010000" "10000000" "c8000000" "63000000" "02010100" "00000000" "02"
	"c0010000" "07000000" "08000000" "1e00000000000000"
	"e1ffffffffffffff" "7805000000000000" "8813000000000000" "|"
	"00000000" "01008000" "30313233343536373839616263646530" /* past */
	"0000000000000000" "00000000" PAST_CONFIG ATTR "fbffffffffffffff"
	"0600000000000000" "03000000" "03" "02" "01" "08000000" "32000000"
	"01000000"
	"01000000" /* vec */
	"04000000" "00000000" "03000000" "0000000000000000"
	"0e00000000000000"
	"01000000" /* version */
	"06000000" "00000000" "03000000" "0000000000000000"
	"0f00000000000000"
	"00000000" "00000000" /* meta, end */
	"00000000" "0000000000000000" "0000000000000000" "00000000"
	"02000000" /* snapshots */
	"01000000" "30313233343536373839616263646532" "04000000" "6461776e"
	PAST_CONFIG ATTR "0a00000000000000"
	"0000000000000000" "0000000000000000" "0000000000000000" "_"
	"02000000" "30313233343536373839616263646533" "04000000" "6475736b"
	PAST_CONFIG ATTR "1400000000000000"
	"1300000000000000" "0300000000000000" "0600000000000000" "/"
	"08000000" "04008000" "30313233343536373839616263646531"
	"0c00000000000000"
	"04000000" "646f637a"
	"00000000" "40000000" "01000000" "02000000" "01010200" "00000000" "00"
	"00000000" "00000000" "00000000" "0000000000000000"
	"0000000000000000" "00000000" "00000000"
	"02000000" /* aliases */
	"0500000000000000" "0900000000000000" "04000000" "646f6378"
	"04000000" "646f6373"
	"0600000000000000" "ffffffffffffffff" "04000000" "6c696e6b"
	"07000000" "2e2e2f2e2e2f78"
	"02000000" /* origins */
	"3412000000000000" "0800000000000000" "00000000"
	"3412000000000000" "0300000000000040" "fbffffff";

/* The seqs that one of these stands for. */
static bool is_seqs(char stands, const uint8_t *bytes)
{
	for (uint64_t i = 0; i < VG_SEQS; i++) {
		uint64_t seq = stands == '|' ? i : stands == '/' ? i / 2 : 0;

		/* tests run on little-endian only */
		if (memcmp(bytes + 8 * i, &seq, 8) != 0)
			return false;
	}
	return true;
}

static bool is_golden(const uint8_t *bytes, size_t len)
{
	const char *hex = golden;
	size_t at = 0;

	while (*hex && at < len) {
		if (strchr("|/_", *hex)) {
			if (at + 8 * VG_SEQS > len || !is_seqs(*hex, bytes + at))
				return false;
			at += 8 * VG_SEQS;
			hex++;
			continue;
		}
		char pair[3] = {hex[0], hex[1], 0};

		if (bytes[at++] != strtoul(pair, NULL, 16))
			return false;
		hex += 2;
	}
	return !*hex && at == len;
}

/* A copy of its exact length, for the sanitizer. 1: *out was written though
 * it was refused. */
static int decode_copy(const uint8_t *bytes, size_t len)
{
	struct manifest got = {.number = 77};
	uint8_t *copy = malloc(len ? len : 1);
	int rc;

	must(copy);
	memcpy(copy, bytes, len);
	rc = manifest_decode(copy, len, &got);
	free(copy);
	if (rc < 0)
		return got.number == 77 ? rc : 1;
	manifest_fini(&got);
	return 0;
}

static void test_bytes(void)
{
	struct manifest m = kit_manifest(), got;
	uint8_t *bytes, *again;
	size_t len, again_len;

	must(manifest_encode(&m, &bytes, &len) == 0);
	ok(len == AT_END && is_golden(bytes, len),
		"a manifest's bytes are these");
	ok(manifest_decode(bytes, len, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"what was encoded is decoded");
	must(manifest_encode(&got, &again, &again_len) == 0);
	ok(again_len == len && memcmp(again, bytes, len) == 0,
		"and is encoded as the same bytes");
	free(bytes);
	free(again);
	manifest_fini(&got);
	manifest_fini(&got);
	ok(!got.coll && got.n_colls == 0, "it can be freed twice");
}

/* A file of indexes is what a generation has behind its deltas, in version 2. */
static void test_fields(void)
{
	static const uint8_t file[2 * FILE_LEN] = {3, 0, 0, 0, 0x84, 3, 0, 0, 0,
		0, 0, 0, 31};
	const size_t at = AT_FULL + IN_N_SNAPS, past = AT_PAST + PAST_N_SNAPS;
	struct manifest plain = kit_manifest(), m = kit_manifest_fields(), got;
	uint8_t *bytes, *with;
	size_t len, with_len;

	must(manifest_encode(&plain, &bytes, &len) == 0);
	must(manifest_encode(&m, &with, &with_len) == 0);
	ok(with_len == len + 2 * FILE_LEN && with[AT_VERSION] == 2 &&
			memcmp(with + AT_NUMBER, bytes + AT_NUMBER,
				at - AT_NUMBER) == 0 &&
			memcmp(with + at, file, FILE_LEN) == 0 &&
			memcmp(with + at + FILE_LEN, bytes + at, past - at) ==
				0 &&
			memcmp(with + past + FILE_LEN, file + FILE_LEN,
				FILE_LEN) == 0 &&
			memcmp(with + past + 2 * FILE_LEN, bytes + past,
				len - past) == 0,
		"indexes of fields stand behind deltas, in version 2 only");
	ok(manifest_decode(with, with_len, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"and are decoded");
	manifest_fini(&got);
	memset(with + at + 4, 0, 8);
	kit_manifest_fix(with, with_len);
	ok(decode_copy(with, with_len) == -VG_ECORRUPT,
		"a file of them without a byte: refused");
	memset(with + at, 0, FILE_LEN);
	kit_manifest_fix(with, with_len);
	ok(decode_copy(with, with_len) == -VG_ECORRUPT,
		"version 2 without any: refused");
	bytes[AT_VERSION] = 2;
	kit_manifest_fix(bytes, len);
	ok(decode_copy(bytes, len) == -VG_ECORRUPT,
		"version 1 that says it is 2: refused");
	ok(manifest_is_file("fields.0003") &&
			manifest_names(&m, 1, "30313233343536373839616263646530",
				"fields.0003") &&
			!manifest_names(&m, 1,
				"30313233343536373839616263646530",
				"fields.0004") &&
			!manifest_names(&plain, 1,
				"30313233343536373839616263646530",
				"fields.0003"),
		"a manifest names its file");
	free(bytes);
	free(with);
}

/* Whether m is encoded as of this version, decoded as it is, and refused as of
 * the other. */
static bool is_of_version(const struct manifest *m, uint8_t version)
{
	struct manifest got = {0};
	uint8_t *bytes;
	uint64_t hash;
	size_t len;
	bool is;

	must(manifest_encode(m, &bytes, &len) == 0);
	is = bytes[AT_VERSION] == version &&
	     manifest_decode(bytes, len, &got) == 0 &&
	     kit_manifest_equal(m, &got);
	manifest_fini(&got);
	bytes[AT_VERSION] = (uint8_t)(3 - version);
	hash = wire_hash_pair(bytes, 24, bytes + 32, len - 32);
	memcpy(bytes + 24, &hash, sizeof(hash));
	is = is && manifest_decode(bytes, len, &got) < 0;
	free(bytes);
	return is;
}

/* A config that an earlier version cannot read, of a collection or of a
 * snapshot. */
static void test_more(void)
{
	struct manifest m = kit_manifest();
	struct op_config *config = &m.coll[0].config, was = *config;

	ok(is_of_version(&m, 1), "what was there before is of version 1");
	config->tuned[1] = 60;
	ok(is_of_version(&m, 2), "with a tuned ef it is of version 2");
	*config = was;
	config->ef_search = 100;
	ok(is_of_version(&m, 2), "also with an ef_search of 100 that is one");
	*config = was;
	must(m.coll[0].n_snaps > 0);
	config = &m.coll[0].snap[m.coll[0].n_snaps - 1].config;
	was = *config;
	config->target_recall = 1;
	ok(is_of_version(&m, 2), "and with a snapshot's target_recall");
	*config = was;
}

/* The least that there is, and the most of each thing. */
static void test_extremes(void)
{
	static struct manifest_collection c[2];
	static struct manifest_snap snap;
	struct manifest_alias a = {.cursor = 1};
	struct manifest m = {.number = 1, .lsn = 1, .segment = 1, .offset = 64,
		.next_gen = GENERATION_FIRST};
	struct manifest full = kit_manifest(), got;
	struct colfile_part part = {.number = 1, .n = UINT32_MAX};
	char name[VG_ID_MAX + 1], target[VG_ID_MAX + 1] = "";
	uint8_t *bytes;
	size_t len;

	must(manifest_encode(&m, &bytes, &len) == 0);
	ok(manifest_decode(bytes, len, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"a new store's is decoded");
	manifest_fini(&got);
	free(bytes);

	m.number = m.lsn = m.segment = m.next_cursor = 1ull << 62;
	m.offset = (1ull << 62);
	for (int i = 0; i < VG_SEQS; i++)
		m.seq[i] = 1ull << 62;
	m.next_no = CATALOGUE_MAX;
	m.next_gen = GENERATION_END;
	m.time_ns = m.root_mtime_ns = INT64_MIN;
	c[0] = full.coll[0];
	c[0].no = c[0].gen = CATALOGUE_MAX - 1;
	c[0].cursor = 1ull << 62;
	c[0].name_len = VG_ID_MAX;
	memset(c[0].name, 0xff, VG_ID_MAX);
	c[0].dim = VG_DIM_MAX;
	c[0].m = VG_M_MAX;
	c[0].ef_construction = VG_EF_MAX;
	c[0].vec = c[0].version = c[0].meta = c[0].end =
		(struct manifest_column){&part, 1};
	c[0].n_deltas = MANIFEST_DELTAS_MAX;
	for (uint32_t i = 0; i < c[0].n_deltas; i++)
		c[0].delta[i] = (struct manifest_file){UINT32_MAX - 63 + i,
			1ull << 62, UINT64_MAX};
	snap = full.coll[0].snap[0];
	snap.no = CATALOGUE_MAX - 2;
	snap.name_len = VG_ID_MAX;
	memset(snap.name, 0xff, VG_ID_MAX);
	snap.mtime_ns = snap.commit_ns = INT64_MIN;
	snap.n_live = UINT32_MAX;
	snap.meta_bytes = 1ull << 62;
	memcpy(snap.seq, m.seq, sizeof(snap.seq));
	c[0].snap = &snap;
	c[1] = full.coll[1];
	c[1].no = c[0].no;
	c[1].gen = GENERATION_END - 1;
	m.coll = c;
	m.n_colls = 2;
	memset(name, 'n', VG_ID_MAX);
	name[VG_ID_MAX] = '\0';
	memset(target, '/', VG_ID_MAX);
	a.name = name;
	a.target = target;
	a.name_len = a.target_len = VG_ID_MAX;
	m.alias = &a;
	m.n_aliases = 1;
	must(manifest_encode(&m, &bytes, &len) == 0);
	ok(manifest_decode(bytes, len, &got) == 0 &&
			kit_manifest_equal(&m, &got),
		"the largest of everything is decoded");
	manifest_fini(&got);
	free(bytes);
}

/* Up to three changes of an encoded manifest: width bytes at `at`. */
struct change {
	const char *what;
	struct {
		size_t at;
		uint64_t value;
		size_t width;
	} to[3];
};

/* rc of decoding kit_manifest with them, its sum made right again. */
static int decode_with(const struct change *change)
{
	struct manifest m = kit_manifest();
	uint8_t *bytes;
	size_t len;
	int rc;

	must(manifest_encode(&m, &bytes, &len) == 0);
	for (size_t i = 0; i < VG_ARRAY_LEN(change->to); i++) {
		must(change->to[i].at + change->to[i].width <= len);
		/* tests run on little-endian only */
		memcpy(bytes + change->to[i].at, &change->to[i].value,
			change->to[i].width);
	}
	kit_manifest_fix(bytes, len);
	rc = decode_copy(bytes, len);
	free(bytes);
	return rc;
}

#define OVER ((1ull << 62) + 1)
#define FULL(in) (AT_FULL + (in))
#define BARE(in) (AT_BARE + (in))

static const struct change head_changes[] = {
	{"number 0", {{AT_NUMBER, 0, 8}}},
	{"a number over 2^62", {{AT_NUMBER, OVER, 8}}},
	{"lsn 0", {{AT_LSN, 0, 8}}},
	{"an lsn over 2^62", {{AT_LSN, OVER, 8}}},
	{"segment 0", {{AT_SEGMENT, 0, 8}}},
	{"a segment over 2^62", {{AT_SEGMENT, UINT64_MAX, 8}}},
	{"an offset in the header", {{AT_OFFSET, 56, 8}}},
	{"an offset between frames", {{AT_OFFSET, 4100, 8}}},
	{"an offset over 2^62", {{AT_OFFSET, OVER + 7, 8}}},
	{"the first seq over 2^62", {{AT_SEQ, OVER, 8}}},
	{"the last seq over 2^62", {{AT_SEQ + 8 * 271, OVER, 8}}},
	{"over 2^23 collections", {{AT_NEXT_NO, CATALOGUE_MAX + 1, 4}}},
	{"a next generation that is a collection's",
		{{AT_NEXT_GEN, GENERATION_FIRST - 1, 4}}},
	{"over 2^24 generations", {{AT_NEXT_GEN, GENERATION_END + 1, 4}}},
	{"a last cursor over 2^62", {{AT_NEXT_CURSOR, OVER, 8}}},
	{"a truth that is 2", {{AT_HAS_ROOT, 2, 1}}},
	{"a root's mode with other bits", {{AT_ROOT_MODE, 010000, 4}}},
	{"2^32 - 1 collections", {{AT_N_COLLS, UINT32_MAX, 4}}},
	{"a collection more than there is", {{AT_N_COLLS, 4, 4}}},
	{"a collection less than there is", {{AT_N_COLLS, 2, 4}}},
	{"2^32 - 1 aliases", {{AT_N_ALIASES, UINT32_MAX, 4}}},
	{"an alias more than there is", {{AT_N_ALIASES, 3, 4}}},
	{"an alias less than there is", {{AT_N_ALIASES, 1, 4}}},
	{"an alias with cursor 0", {{AT_ALIAS, 0, 8}}},
	{"an alias with a later cursor", {{AT_ALIAS, 13, 8}}},
	{"an alias without a name", {{AT_ALIAS + 16, 0, 4}}},
	{"an alias called a/b", {{AT_ALIAS + 21, '/', 1}}},
	{"an alias with a NUL", {{AT_ALIAS + 23, 0, 1}}},
	{"an alias without a target", {{AT_ALIAS + 24, 0, 4}}},
	{"2^32 - 1 origins", {{AT_N_ORIGINS, UINT32_MAX, 4}}},
	{"an origin more than there is", {{AT_N_ORIGINS, 3, 4}}},
	{"an origin less than there is", {{AT_N_ORIGINS, 1, 4}}},
	{"an origin of nobody", {{AT_ORIGIN, 0, 8}}},
	{"a target of 256 bytes", {{AT_ALIAS + 24, 256, 4}}},
	{"a target with a NUL", {{AT_ALIAS + 28, 0, 1}}},
	{"two aliases with one cursor", {{AT_ALIAS, 6, 8}}},
};

static const struct change collection_changes[] = {
	{"a number that is not given yet", {{BARE(0), 9, 4}}},
	{"two with one number", {{BARE(0), 0, 4}}},
	{"two with one generation",
		{{BARE(IN_GEN), GENERATION_FIRST + 2, 4}}},
	{"a generation that is not made yet",
		{{BARE(IN_GEN), GENERATION_FIRST + 5, 4}}},
	{"a generation with another collection's number",
		{{BARE(IN_GEN), 5, 4}}},
	{"two with one uuid", {{BARE(IN_UUID + 15), '0', 1}}},
	{"cursor 0", {{FULL(IN_CURSOR), 0, 8}}},
	{"a cursor over the last", {{BARE(IN_CURSOR), 13, 8}}},
	{"two with one cursor", {{BARE(IN_CURSOR), 1, 8}}},
	{"one with an alias' cursor", {{BARE(IN_CURSOR), 5, 8}}},
	{"an empty name", {{FULL(IN_NAME), 0, 4}}},
	{"a name of 256 bytes", {{FULL(IN_NAME), 256, 4}}},
	{"a name of 4 GiB", {{FULL(IN_NAME), UINT32_MAX, 4}}},
	{"a name with a slash", {{FULL(IN_NAME + 4), '/', 1}}},
	{"a name with a NUL", {{FULL(IN_NAME + 7), 0, 1}}},
	{"two with one name", {{BARE(IN_NAME + 7), 's', 1}}},
	{"one with an alias' name", {{BARE(IN_NAME + 7), 'x', 1}}},
	{"a dim over 65,535", {{FULL(IN_CONFIG), 65536, 4}}},
	{"m 0", {{BARE(IN_CONFIG + 4), 0, 4}}},
	{"m 65", {{BARE(IN_CONFIG + 4), VG_M_MAX + 1, 4}}},
	{"a large ef_construction",
		{{BARE(IN_CONFIG + 8), VG_EF_MAX + 1, 4}}},
	{"a large ef_search", {{BARE(IN_CONFIG + 12), VG_EF_MAX + 1, 4}}},
	{"a body over 256 MiB", {{BARE(IN_CONFIG + 20), VG_BODY_MAX + 1, 4}}},
	{"a mode with other bits", {{FULL(IN_MODE), 010000, 4}}},
	{"rows without a dim", {{FULL(IN_DIM), 0, 4}}},
	{"rows of a dim over 65,535", {{FULL(IN_DIM), 65536, 4}}},
	{"a dim without rows", {{BARE(IN_DIM), 384, 4}}},
	{"rows of whatever index", {{FULL(IN_INDEX), VG_INDEX_AUTO, 1}}},
	{"rows linked with m 0", {{FULL(IN_M), 0, 4}}},
	{"rows linked with m 65", {{FULL(IN_M), VG_M_MAX + 1, 4}}},
	{"rows linked with ef 0", {{FULL(IN_EF), 0, 4}}},
	{"rows linked with a large ef", {{FULL(IN_EF), VG_EF_MAX + 1, 4}}},
};

static const struct change file_changes[] = {
	{"2^32 - 1 parts", {{FULL(IN_VEC), UINT32_MAX, 4}}},
	{"part number 0", {{FULL(IN_PARTS), 0, 4}}},
	{"part numbers that stay", {{FULL(IN_PARTS + 28), 1, 4}}},
	{"part numbers that fall", {{FULL(IN_PARTS), 4, 4}}},
	{"vectors not from row 0", {{FULL(IN_PARTS + 4), 1, 4}}},
	{"versions not from row 0", {{FULL(IN_VERSION + 8), 1, 4}}},
	{"metadata not from row 0", {{FULL(IN_META + 8), 1, 4}}},
	{"ends not from row 0", {{FULL(IN_END + 8), 1, 4}}},
	{"a gap between parts", {{FULL(IN_PARTS + 32), 1001, 4}}},
	{"parts that overlap", {{FULL(IN_PARTS + 32), 999, 4}}},
	{"a part of no row", {{FULL(IN_PARTS + 36), 0, 4}}},
	{"over 2^32 - 1 rows",
		{{FULL(IN_PARTS + 36), UINT32_MAX - 1000 + 1, 4}}},
	{"a graph without a byte", {{FULL(IN_GRAPH + 4), 0, 8}}},
	{"a graph over 2^62 bytes", {{FULL(IN_GRAPH + 4), OVER, 8}}},
	{"no graph, with a length", {{FULL(IN_GRAPH), 0, 4}}},
	{"deltas without a graph",
		{{FULL(IN_GRAPH), 0, 4}, {FULL(IN_GRAPH + 4), 0, 8},
			{FULL(IN_GRAPH + 12), 0, 8}}},
	{"a graph of a flat index", {{FULL(IN_INDEX), VG_FLAT, 1}}},
	{"65 deltas", {{FULL(IN_N_DELTAS), 65, 4}}},
	{"2^32 - 1 deltas", {{FULL(IN_N_DELTAS), UINT32_MAX, 4}}},
	{"delta number 0", {{FULL(IN_DELTAS), 0, 4}}},
	{"a delta in the graph's file", {{FULL(IN_DELTAS), 1, 4}}},
	{"two deltas in one file", {{FULL(IN_DELTAS + 20), 2, 4}}},
	{"a delta without a byte", {{FULL(IN_DELTAS + 4), 0, 8}}},
};

#define NOON(in) (AT_NOON + (in))
#define DAWN(in) (AT_DAWN + (in))
#define DUSK(in) (AT_DUSK + (in))
#define PAST(in) (AT_PAST + (in))

static const struct change snap_changes[] = {
	{"a number that is not given yet", {{NOON(0), 9, 4}}},
	{"its collection's number", {{NOON(0), 0, 4}}},
	{"another collection's number", {{NOON(0), 8, 4}}},
	{"another snapshot's number", {{NOON(0), 1, 4}}},
	{"its collection's uuid", {{NOON(SNAP_UUID + 15), '0', 1}}},
	{"another collection's uuid", {{NOON(SNAP_UUID + 15), '1', 1}}},
	{"another snapshot's uuid", {{NOON(SNAP_UUID + 15), '3', 1}}},
	{"an empty name", {{NOON(SNAP_NAME), 0, 4}}},
	{"a name of 256 bytes", {{NOON(SNAP_NAME), 256, 4}}},
	{"a name of 4 GiB", {{NOON(SNAP_NAME), UINT32_MAX, 4}}},
	{"a name with a slash", {{NOON(SNAP_NAME + 4), '/', 1}}},
	{"a name with a NUL", {{NOON(SNAP_NAME + 7), 0, 1}}},
	{"the name of one of the same generation",
		{{DAWN(SNAP_NAME + 4), 0x6b737564, 4}}},
	{"the name of one of another generation",
		{{DAWN(SNAP_NAME + 4), 0x6e6f6f6e, 4}}},
	{"m 0", {{NOON(SNAP_CONFIG + 4), 0, 4}}},
	{"a mode with other bits", {{NOON(SNAP_MODE), 010000, 4}}},
	{"2^32 records", {{NOON(SNAP_LIVE), 1ull << 32, 8}}},
	{"metadata over 2^62 bytes", {{NOON(SNAP_META), OVER, 8}}},
	{"a first seq to come", {{NOON(SNAP_SEQ), 1, 8}}},
	{"a last seq to come", {{NOON(SNAP_SEQ + 8 * 271), 272, 8}}},
	{"a seq to come in a past generation",
		{{DUSK(SNAP_SEQ + 8 * 9), 10, 8}}},
	{"more of them than there are", {{FULL(IN_N_SNAPS), 2, 4}}},
	{"less of them than there are", {{FULL(IN_N_SNAPS), 0, 4}}},
	{"2^32 - 1 of them", {{FULL(IN_N_SNAPS), UINT32_MAX, 4}}},
	{"less of them than a past generation has",
		{{PAST(PAST_N_SNAPS), 1, 4}}},
};

static const struct change past_changes[] = {
	{"with its present's number", {{PAST(IN_GEN), GENERATION_FIRST + 2, 4}}},
	{"with another collection's",
		{{PAST(IN_GEN), GENERATION_FIRST + 4, 4}}},
	{"that is not made yet", {{PAST(IN_GEN), GENERATION_FIRST + 5, 4}}},
	{"of another collection", {{PAST(PAST_NO), 8, 4}}},
	{"of another uuid", {{PAST(IN_UUID + 15), '1', 1}}},
	{"with a cursor", {{PAST(IN_CURSOR), 2, 8}}},
	{"with rows and no dim", {{PAST(PAST_DIM), 0, 4}}},
	{"with vectors not from row 0", {{PAST(PAST_VEC + 8), 1, 4}}},
	{"with versions not from row 0", {{PAST(PAST_VERSION + 8), 1, 4}}},
};

static const struct change later_changes[] = {
	{"another version", {{AT_VERSION, 3, 4}}},
	{"version 0", {{AT_VERSION, 0, 4}}},
	{"a bit of the zero", {{AT_ZERO, 1u << 31, 4}}},
	{"a metric", {{FULL(IN_CONFIG + 16), 6, 1}}},
	{"a dtype", {{FULL(IN_CONFIG + 17), 5, 1}}},
	{"an index", {{BARE(IN_CONFIG + 18), 5, 1}}},
	{"a quant", {{FULL(IN_CONFIG + 24), 4, 1}}},
	{"a source", {{FULL(IN_CONFIG + 19), 6, 1}}},
	{"a metric of rows", {{FULL(IN_METRIC), 6, 1}}},
	{"a dtype of rows", {{FULL(IN_METRIC), VG_L2 + 16 * VG_B1, 1}}},
	{"an index of rows", {{FULL(IN_INDEX), 5, 1}}},
	{"a quant of rows", {{FULL(IN_QUANT), 4, 1}}},
	{"a metric of a snapshot", {{NOON(SNAP_CONFIG + 16), 6, 1}}},
};

static void test_refused(const char *of, const struct change *change, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ok(decode_with(&change[i]) == -VG_ECORRUPT, "%s%s: refused",
			of, change[i].what);
}

static void test_later(void)
{
	struct change none = {"nothing", {{0}}};

	for (size_t i = 0; i < VG_ARRAY_LEN(later_changes); i++)
		ok(decode_with(&later_changes[i]) == -VG_EFORMAT,
			"%s that is not known is a later version's",
			later_changes[i].what);
	memcpy(&none.to[0].value, "vgman\r\n\x1a", 8);
	none.to[0].width = 8;
	ok(decode_with(&none) == 0, "without a change it is decoded");
	none.to[0].value++;
	ok(decode_with(&none) == -VG_ECORRUPT, "another magic: refused");
}

/* What no bytes can say, but who fills in a manifest; each test changes one
 * thing of `full`, collection 0 of kit_manifest, or of its alias. */
static void test_check(void)
{
	static struct colfile_part part = {.number = 1, .n = 1};
	static struct manifest_collection c[3];
	struct manifest_alias a[2];
	struct manifest m = kit_manifest();
	const struct manifest_collection *coll = m.coll;
	const struct manifest_alias *alias = m.alias;
	struct manifest_column *columns[] = {
		&c[2].vec, &c[2].version, &c[2].meta, &c[2].end};
	bool refused = true;

#define FRESH()                                                               \
	(memcpy(c, coll, sizeof(c)), memcpy(a, alias, sizeof(a)), m.coll = c, \
		m.alias = a)
#define REFUSED() (manifest_check(&m) == -VG_ECORRUPT)

	FRESH();
	c[0].name_len = 0;
	ok(REFUSED(), "a collection without a name has one before it");
	FRESH();
	memset(c[0].name, 'n', sizeof(c[0].name));
	c[0].name_len = VG_ID_MAX + 1;
	ok(REFUSED(), "nor is one whose name has 256 bytes");
	FRESH();
	a[1].target_len = 0;
	ok(REFUSED(), "a link leads somewhere");
	FRESH();
	a[1].target = c[0].name;
	a[1].target_len = VG_ID_MAX + 1;
	memset(c[0].name, 'n', sizeof(c[0].name));
	c[0].name_len = 1;
	ok(REFUSED(), "but not by 256 bytes");
	for (size_t i = 0; i < VG_ARRAY_LEN(columns); i++) {
		FRESH();
		*columns[i] = (struct manifest_column){&part, 1};
		refused = refused && REFUSED();
	}
	ok(refused, "without a dim there are no rows of any kind");
	FRESH();
	c[2].graph = c[0].graph;
	ok(REFUSED(), "nor is there a graph");
	FRESH();
	c[2].n_deltas = 1;
	ok(REFUSED(), "nor a delta");
	FRESH();
	c[2].fields = c[0].graph;
	ok(REFUSED(), "nor indexes of fields");
	FRESH();
	c[0].vec = c[0].version = (struct manifest_column){0};
	c[0].fields = c[0].graph;
	ok(REFUSED(), "which there are not without versions either");
	FRESH();
	c[0].n_deltas = MANIFEST_DELTAS_MAX + 1;
	ok(REFUSED(), "there are at most 64 deltas");

	FRESH();
	c[0].graph = (struct manifest_file){0};
	c[0].n_deltas = 0;
	ok(manifest_check(&m) == 0, "rows need no graph");
	c[0].graph.len = 1;
	ok(REFUSED(), "a graph that is not there has no length");
	c[0].graph = (struct manifest_file){.hash = 1};
	ok(REFUSED(), "and no hash");
	FRESH();
	memcpy(c[2].name, "docsa", 6);
	c[2].name_len = 5;
	a[0].name_len = 3;
	ok(manifest_check(&m) == 0, "a name may begin with another");
	FRESH();
	c[0].vec = c[0].version = (struct manifest_column){0};
	ok(manifest_check(&m) == 0, "a column may have no rows yet");
#undef FRESH
#undef REFUSED
}

/* The same of snapshots and past generations: where these stand. */
static void test_check_snaps(void)
{
	static struct manifest_collection c[4];
	static struct manifest_snap own, many[100];
	struct manifest m = kit_manifest();
	const struct manifest_collection *coll = m.coll;

#define FRESH()                                                               \
	(memcpy(c, coll, 3 * sizeof(c[0])), own = *coll[0].snap, m.coll = c, \
		m.n_colls = 3)
#define REFUSED() (manifest_check(&m) == -VG_ECORRUPT)

	FRESH();
	c[1].n_snaps = 0;
	ok(manifest_check(&m) == 0 && manifest_is_held(&c[1]) &&
			manifest_count_held(&m) == 1,
		"a past generation without snapshots is one for open files");
	FRESH();
	c[1].no = 8;
	ok(REFUSED(), "it is of the collection that stands before it");
	FRESH();
	m.coll = &c[1];
	m.n_colls = 1;
	ok(REFUSED(), "which is there");
	FRESH();
	c[0] = coll[1];
	c[1] = coll[0];
	ok(REFUSED(), "and not behind it");
	FRESH();
	c[1] = coll[2];
	c[2] = coll[1];
	ok(REFUSED(), "nor another between them");
	FRESH();
	c[3] = coll[2];
	c[2] = coll[1];
	c[2].gen = GENERATION_FIRST;
	c[2].snap = &coll[1].snap[1];
	c[1].n_snaps = c[2].n_snaps = 1;
	m.n_colls = 4;
	ok(manifest_check(&m) == 0, "there may be several");
	c[2].gen = c[2].no;
	ok(manifest_check(&m) == 0, "down to the collection's first");
	FRESH();
	c[1].dim = 0;
	c[1].vec = c[1].version = (struct manifest_column){0};
	ok(manifest_check(&m) == 0, "one may have no rows");
	FRESH();
	own.no = 4;
	own.uuid[15] = '5';
	c[2].snap = &own;
	c[2].n_snaps = 1;
	ok(manifest_check(&m) == 0,
		"snapshots of two collections may have one name");
	FRESH();
	memcpy(own.name, "docs", 4);
	c[0].snap = &own;
	ok(manifest_check(&m) == 0, "or their collection's");
	FRESH();
	for (uint32_t i = 0; i < VG_ARRAY_LEN(many); i++) {
		many[i] = own;
		many[i].no = 9 + i;
		many[i].uuid[0] = (uint8_t)i;
		many[i].name[0] = (char)('0' + i);
	}
	m.next_no = 9 + VG_ARRAY_LEN(many);
	c[0].snap = many;
	c[0].n_snaps = VG_ARRAY_LEN(many);
	ok(manifest_check(&m) == 0, "a collection may have a hundred");
#undef FRESH
#undef REFUSED
}

/* 40 million parts, all of one array. */
static void test_too_large(void)
{
	static struct manifest_collection c[10];
	uint32_t n = 1u << 20;
	struct colfile_part *part = calloc(n, sizeof(*part));
	struct manifest full = kit_manifest(), m = full;
	uint8_t *bytes = NULL;
	size_t len = 5;

	must(part);
	for (uint32_t i = 0; i < n; i++)
		part[i] = (struct colfile_part){
			.number = i + 1, .first = i, .n = 1};
	for (uint32_t i = 0; i < VG_ARRAY_LEN(c); i++) {
		c[i] = full.coll[0];
		c[i].no = c[i].gen = i;
		c[i].n_snaps = 0;
		c[i].cursor = i + 1;
		c[i].uuid[0] = (uint8_t)i;
		c[i].name[0] = (char)('a' + i);
		c[i].vec = c[i].version = c[i].meta = c[i].end =
			(struct manifest_column){part, n};
	}
	m.coll = c;
	m.n_colls = VG_ARRAY_LEN(c);
	m.next_no = 10;
	m.n_aliases = 0;
	ok(manifest_encode(&m, &bytes, &len) == -EFBIG && !bytes && len == 5,
		"over 1 GiB: refused before any memory is taken for it");
	free(part);
}

int main(void)
{
	plan((int)(4 + 6 + 2 + VG_ARRAY_LEN(head_changes) +
		   VG_ARRAY_LEN(collection_changes) +
		   VG_ARRAY_LEN(file_changes) + VG_ARRAY_LEN(snap_changes) +
		   VG_ARRAY_LEN(past_changes) + VG_ARRAY_LEN(later_changes) +
		   2 + 15 + 1 + 9 + 6));
	test_bytes();
	test_fields();
	test_more();
	test_extremes();
	test_refused("", head_changes, VG_ARRAY_LEN(head_changes));
	test_refused("", collection_changes, VG_ARRAY_LEN(collection_changes));
	test_refused("", file_changes, VG_ARRAY_LEN(file_changes));
	test_refused("a snapshot with ", snap_changes,
		VG_ARRAY_LEN(snap_changes));
	test_refused("a past generation ", past_changes,
		VG_ARRAY_LEN(past_changes));
	test_later();
	test_check();
	test_check_snaps();
	test_too_large();
	return done();
}
