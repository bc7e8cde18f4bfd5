/* SPDX-License-Identifier: Apache-2.0 */
/* query.c: query paths and requests mean what .help says, or are refused. */
#include "fs/query.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/tap.h"

/* The linker sends the product's allocations here: fail_at 1 fails the next. */
static long fail_at;
void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len);
void *__real_realloc(void *p, size_t len);
void *__wrap_realloc(void *p, size_t len);

static bool fails_now(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t len)
{
	return fails_now() ? NULL : __real_malloc(len);
}

void *__wrap_realloc(void *p, size_t len)
{
	return fails_now() ? NULL : __real_realloc(p, len);
}

/* One record of this test's collection has such a name. */
static bool notes_exists(void *ctx, struct vg_id id)
{
	(void)ctx;
	return id.len == 9 && memcmp(id.bytes, "notes.tsv", 9) == 0;
}

static const struct query_env dim3 = {3, notes_exists, NULL, VG_F32};

/* Number i of q's vector, floats. */
static float number(const struct query *q, size_t i)
{
	return ((const float *)q->vec)[i];
}

/* Parses a path of parameters and a leaf; the last rc. */
static int parse(struct query *q, const char *path, const struct query_env *env)
{
	int rc = -ENOENT;

	query_init(q);
	for (;;) {
		size_t len = strcspn(path, "/");

		rc = query_parse_param(q, path, len);
		if (rc == -ENOENT && !path[len])
			return query_parse_leaf(q, path, len, env);
		if (rc < 0 || !path[len])
			return rc;
		path += len + 1;
	}
}

/* The rc of a path, with a sentence exactly where there is -EINVAL. */
static int rc_of(const char *path)
{
	struct query q;
	int rc = parse(&q, path, &dim3);

	if ((rc == -EINVAL) != (q.error[0] != '\0')) {
		diag("%s: %d and '%s'", path, rc, q.error);
		rc = -EPROTO;
	}
	query_fini(&q);
	return rc;
}

static bool all_are(int rc, const char *const *paths)
{
	bool hold = true;

	for (; *paths; paths++) {
		if (rc_of(*paths) == rc)
			continue;
		diag("%s: %d", *paths, rc_of(*paths));
		hold = false;
	}
	return hold;
}

#define ALL_ARE(rc, ...) all_are(rc, (const char *const[]){__VA_ARGS__, NULL})

static bool sentence_has(const char *path, const char *part)
{
	struct query q;
	int rc = parse(&q, path, &dim3);
	bool has = rc == -EINVAL && strstr(q.error, part);

	if (!has)
		diag("%s: %d '%s'", path, rc, q.error);
	query_fini(&q);
	return has;
}

static void test_defaults(void)
{
	struct query q;

	ok(parse(&q, "q1", &dim3) == 0 && q.src == QUERY_NAME &&
			q.key_len == 2 && memcmp(q.key, "q1", 2) == 0,
		"a word is a named query");
	ok(q.k == 10 && q.ef == 0 && q.offset == 0 && q.timeout_ms == 0 &&
			q.threads == 0 && !q.has_k && !q.fields &&
			q.fmt == ANSWER_NDJSON && isinf(q.max_dist) &&
			isinf(q.min_score) && q.min_score < 0,
		"without parameters k is 10 and nothing else is asked");
	ok(!q.exact && !q.partial && !q.strict && !q.trailer,
		"and no flag is set");
	query_fini(&q);
	query_fini(&q);
	ok(!q.vec && !q.fields, "fini twice is harmless");
}

static void test_params(void)
{
	struct query q;
	int rc = parse(&q,
		"k=5/ef=300/offset=20/max_dist=0.5/min_score=-1.5/exact=1/"
		"timeout=250/threads=2/partial=1/strict=1/trailer=1/fmt=tsv/"
		"fields=a,b%2Cc%2F%25%20/0.1,-2,3e1",
		&dim3);

	ok(rc == 0 && q.k == 5 && q.ef == 300 && q.offset == 20 &&
			q.max_dist == 0.5f && q.min_score == -1.5f &&
			q.timeout_ms == 250 && q.threads == 2,
		"numbers are taken");
	ok(q.exact && q.partial && q.strict && q.trailer && q.fmt == ANSWER_TSV,
		"flags and a format are taken");
	ok(q.n_fields == 2 && q.fields[0].len == 1 &&
			q.fields[0].bytes[0] == 'a' && q.fields[1].len == 8 &&
			memcmp(q.fields[1].bytes, "b,c/%%20", 8) == 0,
		"fields are split at commas, %%2C %%2F %%25 are read");
	ok(q.n_vec == 1 && q.dim == 3 && number(&q, 0) == 0.1f && number(&q, 1) == -2 &&
			number(&q, 2) == 30,
		"the vector is the leaf");
	query_fini(&q);

	rc = parse(&q, "k=5/exact=1/k=7/exact=0/fields=a/fields=b/q", &dim3);
	ok(rc == 0 && q.k == 7 && !q.exact && q.n_fields == 1 &&
			q.fields[0].bytes[0] == 'b',
		"of parameters given twice the innermost counts");
	query_fini(&q);

	ok(ALL_ARE(-EINVAL, "k=", "k=0", "k=-1", "k=+1", "k=x", "k=1x",
		   "k=10001", "k=99999999999999999999999", "k=1.0", "k= 1",
		   "ef=0", "ef=100001", "offset=-1", "offset=10001",
		   "timeout=0", "timeout=3600001", "threads=0", "threads=257"),
		"a whole number out of its range is refused");
	ok(ALL_ARE(0, "k=1/q", "k=10000/q", "ef=1/q", "ef=100000/q",
		   "offset=0/q", "offset=9990/q", "timeout=1/q",
		   "timeout=3600000/q", "threads=256/q", "k=010/q"),
		"its bounds are taken");
	ok(ALL_ARE(-EINVAL, "max_dist=", "max_dist=x", "max_dist=1,2",
		   "max_dist=nan", "max_dist=inf", "max_dist=1e99",
		   "min_score=1x", "min_score=-"),
		"what is no finite number is refused");
	ok(ALL_ARE(-EINVAL, "exact=", "exact=2", "exact=true", "exact=01",
		   "partial=x", "strict=-1", "trailer=yes"),
		"a flag is 0 or 1");
	ok(ALL_ARE(-EINVAL, "fmt=", "fmt=xml", "fmt=JSON", "fields=",
		   "fields=a,", "fields=,a", "fields=a,,b", "fields=a,a"),
		"a format that is none and a field without a name are refused");
	ok(ALL_ARE(-EINVAL, "snap=", "snap=.a"),
		"a snapshot's name is a directory's");
	ok(ALL_ARE(0, "snap=s/count", "snap=a=b/count"),
		"and takes what a directory may be called");
	ok(sentence_has("k=0", "k=0: k takes a whole number from 1 to 10000"),
		"the sentence names the word, the value and what is allowed");
	ok(sentence_has("fmt=xml/q", "ndjson json tsv ids dist f32 npy"),
		"formats are listed");
	ok(ALL_ARE(-ENOENT, "kk=5", "K=5", "orders=year", "consistency=stale",
		   "doc.contains=a", "facet=", "likes=a,+b", "text=hello",
		   "=", "=5", "q1.hit", "count.hits"),
		"words that are none of ours are not there");
	ok(ALL_ARE(0, "lang.eq=en/count", "a.b.gte=1/lang.in=de,en/all",
		   "where=a.eq=1 and not (b.eq=2)/count",
		   "meta.k.eq=5/1,2,3", "year.gte=2020/k=5/id=a"),
		"filters are directories like others");
	ok(ALL_ARE(0, "facet=lang", "a.eq=1/k=3/facet=a.d.tsv", "facet=meta.k") &&
			ALL_ARE(-EINVAL, "facet=lang.npy", "max_dist=1/facet=a"),
		"a facet is a leaf that has no distances");
	ok(ALL_ARE(-EINVAL, "where=a", "a.foo=1", "where=",
		   "a.gt=true"),
		"one that cannot be is refused");
	ok(sentence_has("k=5/a.foo=1/q", "position 3: 'foo' is no operator"),
		"with the place in it");
}

/* Many fields: one more than there may be. */
static void test_many_fields(void)
{
	char path[4096] = "fields=";
	struct query q;
	size_t n;

	for (int i = 0; i < QUERY_FIELDS_MAX; i++) {
		n = strlen(path);
		snprintf(path + n, sizeof(path) - n, "%sf%d", i ? "," : "", i);
	}
	query_init(&q);
	ok(query_parse_param(&q, path, strlen(path)) == 0 &&
			q.n_fields == QUERY_FIELDS_MAX,
		"as many fields as may be are taken");
	strcat(path, ",more");
	ok(query_parse_param(&q, path, strlen(path)) == -EINVAL &&
			q.n_fields == QUERY_FIELDS_MAX,
		"one more is refused and the others stay");
	strcat(path, ",more,and,more,and,more");
	ok(query_parse_param(&q, path, strlen(path)) == -EINVAL,
		"many more are refused");
	query_fini(&q);
}

static void test_csv(void)
{
	const struct query_env any = {0, NULL, NULL, VG_F32};
	struct query q;

	ok(ALL_ARE(0, "0.1,0.2,0.3", "v=0.1,0.2,0.3", "1,2,3", "-1,+2,3e-5",
		   "v=.5,1.,0", "v=-.5,1,2", "1e-9,2E+3,0"),
		"three numbers are a vector of three");
	ok(ALL_ARE(-ENOENT, "0", "0.", "0.1,", "0.1,0.2", "0.1,0.2,", "-",
		   "1,2,-", "1,2,3e", "1,2,3e-", "v=", "v=1", "v=1,2,"),
		"the beginning of a vector is not there yet");
	ok(ALL_ARE(-EINVAL, "1,2,3,4", "1,2,3,", "1,,3", "v=,", "1,x",
		   "1,2,nan", "v=inf,1,2", "1;2;3", "1 2 3", "1,2,3e99",
		   "1,2,0x3", "v=1,2,3=", "--1", "1,2,3="),
		"what cannot become a vector is refused");
	ok(ALL_ARE(-ENOENT, ",", ".5,1,2", ".run", ".a.swp"),
		"dot names are the caller's");
	ok(sentence_has("1,2,3,4", "the query has 4 numbers, this collection "
				   "has 3 dimensions"),
		"a vector that is too long says so");
	ok(sentence_has("1,2.tsv", "2 numbers"),
		"one that a format ends too early, too");
	ok(parse(&q, "1.5,2", &any) == 0 && q.dim == 2,
		"while dim is not known any vector is taken");
	query_fini(&q);
}

static void test_formats(void)
{
	struct query q;
	const struct query_env dim2 = {2, NULL, NULL, VG_F32};
	static const char *const words[] = {"ndjson", "json", "tsv", "ids",
		"dist", "f32", "npy"};
	bool taken = true, cut = true;
	char path[64];

	for (int i = 0; i < ANSWER_FMTS; i++) {
		snprintf(path, sizeof(path), "fmt=json/q1.%s", words[i]);
		taken &= parse(&q, path, &dim3) == 0 && (int)q.fmt == i &&
			 q.key_len == 2;
		query_fini(&q);
		for (size_t n = strlen(path) - 1; path[n] != '.'; n--) {
			path[n] = '\0';
			cut &= rc_of(path) == -ENOENT;
		}
	}
	ok(taken, "a format behind the last dot wins over fmt=");
	ok(cut, "the beginning of a format is not there yet");
	ok(parse(&q, "0.1,0.25", &dim2) == 0 && number(&q, 1) == 0.25f &&
			q.fmt == ANSWER_NDJSON,
		"the dot of a number is no format");
	query_fini(&q);
	ok(parse(&q, "0.1,0.25.f32", &dim2) == 0 && number(&q, 1) == 0.25f &&
			q.fmt == ANSWER_F32,
		"behind a number a format is one");
	query_fini(&q);
	ok(ALL_ARE(-ENOENT, "q1.", "q1.x", "q1.tsv.", "q1.tsv.json", "q1.TSV",
		   "count.tsv", "count.", "countx.y", "1,2,3.t", "1,2,3.f3",
		   "1,2,3.", "1,2,3.5."),
		"other endings are not there");
	ok(ALL_ARE(-EINVAL, "1,2,3.xml", "1,2,3.tsv.json", "1,2.t.tsv",
		   "1,2,3.5.5"),
		"behind a vector they are refused");
	ok(parse(&q, "fmt=npy/count", &dim3) == 0 && q.src == QUERY_COUNT,
		"count has no format");
	query_fini(&q);
}

static bool id_is(const char *path, const char *id, enum answer_fmt fmt)
{
	struct query q;
	int rc = parse(&q, path, &dim3);
	bool is = rc == 0 && q.src == QUERY_ID && q.key_len == strlen(id) &&
		  memcmp(q.key, id, q.key_len) == 0 && q.fmt == fmt;

	if (!is)
		diag("%s: %d, key %.*s, %d", path, rc, (int)q.key_len, q.key,
			q.fmt);
	query_fini(&q);
	return is;
}

static void test_ids(void)
{
	char path[1024] = "id=";

	ok(id_is("id=doc7", "doc7", ANSWER_NDJSON), "id= names a record");
	ok(id_is("id=doc.tsv", "doc", ANSWER_TSV), "a format may follow");
	ok(id_is("id=notes.tsv", "notes.tsv", ANSWER_NDJSON),
		"an id that exists wins over a format");
	ok(id_is("id=notes.tsv.json", "notes.tsv", ANSWER_JSON),
		"and may have a format of its own");
	ok(id_is("fmt=ids/id=notes.tsv", "notes.tsv", ANSWER_IDS),
		"fmt= then still counts");
	ok(id_is("id=a.b.c", "a.b.c", ANSWER_NDJSON) &&
			id_is("id=doc.ts", "doc.ts", ANSWER_NDJSON),
		"other dots belong to the id");
	ok(id_is("id=a%2Fb.tsv", "a/b", ANSWER_TSV) &&
			id_is("id=%2Ex", ".x", ANSWER_NDJSON) &&
			id_is("id=%71uery", "query", ANSWER_NDJSON) &&
			id_is("id=a=b", "a=b", ANSWER_NDJSON),
		"ids are spelled as in a directory");
	ok(ALL_ARE(-ENOENT, "id=", "id=query", "id=.x", "id=%25x", "id=.tsv",
		   "ID=a"),
		"what is no spelling of an id is not there");
	memset(path + 3, 'x', 256);
	ok(rc_of(path) == -ENOENT, "an id of 256 bytes is not there");
	for (int i = 0; i < 255; i++)
		memcpy(path + 3 + 3 * i, "%2F", 3);
	ok(rc_of(path) == 0, "an id that no directory can list is found");
}

/* Whether a leaf of like= means these ids; those from n_plus on are -. */
static bool is_like(const char *leaf, uint32_t n_plus, const char *const *ids)
{
	struct query q;
	bool same = parse(&q, leaf, &dim3) == 0 && q.src == QUERY_LIKE &&
		q.n_plus == n_plus;
	uint32_t n = 0;

	for (; same && n < q.n_like && ids[n]; n++)
		same = q.like[n].len == strlen(ids[n]) &&
			memcmp(q.like[n].bytes, ids[n], q.like[n].len) == 0;
	same = same && n == q.n_like && !ids[n];
	query_fini(&q);
	return same;
}

#define IS_LIKE(leaf, n_plus, ...)                                            \
	is_like(leaf, n_plus, (const char *const[]){__VA_ARGS__, NULL})

/* Whether a leaf is the directory of links of a source. */
static bool is_hits(const char *leaf, enum query_src src, uint32_t key_len)
{
	struct query q;
	bool is = parse(&q, leaf, &dim3) == 0 && q.is_hits && q.src == src &&
		q.fmt == ANSWER_IDS && !q.trailer &&
		(!key_len || q.key_len == key_len);

	query_fini(&q);
	return is;
}

static void test_hits(void)
{
	struct query q;

	ok(is_hits("q1.hits", QUERY_NAME, 2) && is_hits("1,2,3.hits", QUERY_VEC, 0) &&
			is_hits("1,2,3..hits", QUERY_VEC, 0) &&
			is_hits("v=1,2,3.hits", QUERY_VEC, 0) &&
			is_hits("b64=AACAPwAAAEAAAEBA.hits", QUERY_VEC, 0) &&
			is_hits("id=ab.hits", QUERY_ID, 2) &&
			is_hits("like=a,-b.hits", QUERY_LIKE, 0) &&
			is_hits("trailer=1/fmt=tsv/all.hits", QUERY_ALL, 0),
		"hits behind a source is a directory, whatever fmt says");
	ok(ALL_ARE(-ENOENT, "q1.h", "q1.hit", "q1.hitss", "1,2,3.hit", "all.hi",
			"count.hits", "q1.hits.tsv"),
		"its beginnings are nothing");
	ok(parse(&q, "facet=a.hits", &dim3) == 0 && q.src == QUERY_FACET &&
			!q.is_hits && q.fields[0].len == 6,
		"a facet's field may end so");
	query_fini(&q);
	ok(parse(&q, "id=notes.tsv.hits", &dim3) == 0 && q.is_hits &&
			q.key_len == 9,
		"the id before it may have a format's ending");
	query_fini(&q);
}

static void test_like(void)
{
	struct query q;

	ok(IS_LIKE("like=a", 1, "a") && IS_LIKE("like=+a,b", 2, "a", "b") &&
			IS_LIKE("like=-x,a,-y,+b,-z", 2, "a", "b", "x", "y",
				"z") &&
			IS_LIKE("like=-x", 0, "x"),
		"ids have signs, and those with + come first");
	ok(IS_LIKE("like=a%2Cb,%2Bc,+%2Dd,-%2D,a+b-c", 4, "a,b", "+c", "-d",
			"a+b-c", "-"),
		"commas and first signs of ids are encoded");
	ok(IS_LIKE("like=a%252Cb,%252Bc,%25252C,a%2Bb,%71uery,%2Eq,%2F", 7,
			"a%2Cb", "%2Bc", "%252C", "a%2Bb", "query", ".q", "/"),
		"and so is what would read so; all else is as in file names");
	ok(ALL_ARE(-ENOENT, "like=", "like=+", "like=-", "like=a,", "like=a,-",
			"like=query", "like=.a", "like=%25x"),
		"what may go on, or is no name, is not there");
	ok(ALL_ARE(-EINVAL, "like=,a", "like=a,,b", "like=+,a"),
		"nothing is no id");
	ok(parse(&q, "like=a,b.tsv", &dim3) == 0 && q.fmt == ANSWER_TSV &&
			q.n_like == 2 && q.like[1].len == 1,
		"a format may stand behind the last id");
	query_fini(&q);
	ok(IS_LIKE("like=a,notes.tsv", 2, "a", "notes.tsv") &&
			IS_LIKE("like=a,-notes.tsv", 1, "a", "notes.tsv") &&
			IS_LIKE("like=notes.tsv,a.ts", 2, "notes.tsv", "a.ts"),
		"unless that is one");
	query_init(&q);
	ok(query_parse_request(&q, "{\"like\":\"a,-b%2C\"}", 18, VG_F32, 3) == 0 &&
			q.src == QUERY_LIKE && q.n_like == 2 && q.n_plus == 1 &&
			q.like[1].len == 2,
		"a request takes the same text");
	query_fini(&q);
	query_init(&q);
	ok(query_parse_request(&q, "{\"like\":\"a,\"}", 13, VG_F32, 3) == -EINVAL &&
			strstr(q.error, "like takes ids"),
		"and refuses what is none");
	query_fini(&q);
}

static void test_b64(void)
{
	struct query q;

	/* 1, 2, 3 as float32: 0000803f 00000040 00004040 */
	ok(parse(&q, "b64=AACAPwAAAEAAAEBA", &dim3) == 0 && q.dim == 3 &&
			number(&q, 0) == 1 && number(&q, 1) == 2 && number(&q, 2) == 3,
		"b64 is the vector's bytes");
	query_fini(&q);

	const struct query_env dim1 = {1, NULL, NULL, VG_F32};
	const struct query_env any = {0, NULL, NULL, VG_F32};

	ok(parse(&q, "b64=AACAPw==.tsv", &dim1) == 0 && number(&q, 0) == 1 &&
			q.fmt == ANSWER_TSV,
		"it may be padded, and have a format");
	query_fini(&q);
	ok(parse(&q, "b64=AACAPw", &dim1) == 0 && number(&q, 0) == 1,
		"or not be padded");
	query_fini(&q);
	ok(parse(&q, "b64=__9_fw", &dim1) == 0 && number(&q, 0) > 3.4e38f,
		"it has the letters of base64url");
	query_fini(&q);
	ok(parse(&q, "b64=AACAPwAAAEA", &any) == 0 && q.dim == 2 &&
			number(&q, 1) == 2,
		"while dim is not known any multiple of four is taken");
	query_fini(&q);
	ok(parse(&q, "b64=AACAPw=", &dim1) == -ENOENT &&
			parse(&q, "b64=AACAPwA", &any) == -ENOENT &&
			parse(&q, "b64=AACAPx", &any) == -ENOENT &&
			ALL_ARE(-ENOENT, "b64=", "b64=A", "b64=AACAPw",
				"b64=AACAPwAAAEAAAEB", "b64=AACAPwAAAEAAAEBA.n",
				"b64=AACAPwAAAEAAAEBA."),
		"the beginning is not there yet");
	query_fini(&q);
	ok(ALL_ARE(-EINVAL, "b64=AACAPwAAAEAAAEBAA", "b64=A+", "b64=AACAPw==",
		   "b64=AACAPwAAAEAAAEBA=", "b64==", "b64=AACAPwAAAEAAAEBA.xml",
		   "b64=AACAPw.tsv", "b64=AAC=PwAAAEAAAEBA",
		   "b64=AAAA fwAAAEAAAEBA"),
		"what cannot become a vector is refused");
	ok(parse(&q, "b64=AACAPw===", &dim1) == -EINVAL, "so is more padding");
	ok(parse(&q, "b64=AACAPx", &dim1) == -EINVAL,
		"so are bits behind the end");
	query_fini(&q);
	ok(parse(&q, "b64=AACAfw", &dim1) == -EINVAL &&
			strstr(q.error, "number 1 is not finite"),
		"an infinity is refused");
	query_fini(&q);
}

static void test_combinations(void)
{
	struct query q;

	ok(ALL_ARE(0, "offset=9990/q", "k=9999/offset=1/q",
		   "k=9999/offset=2/k=1/q"),
		"offset + k may be 10000");
	ok(ALL_ARE(-EINVAL, "offset=9991/q", "k=10000/offset=1/id=a",
		   "offset=10000/1,2,3", "k=1/offset=10000/all"),
		"more is refused");
	ok(parse(&q, "all", &dim3) == 0 && q.src == QUERY_ALL && q.k == 0,
		"all has no default k");
	query_fini(&q);
	ok(parse(&q, "k=10/all.ids", &dim3) == 0 && q.k == 10 &&
			q.fmt == ANSWER_IDS,
		"but takes one");
	query_fini(&q);
	ok(ALL_ARE(-EINVAL, "all.dist", "all.f32", "fmt=npy/all",
		   "max_dist=1/all", "min_score=0/all"),
		"all has no distances");
	ok(ALL_ARE(-EINVAL, "trailer=1/q.npy", "trailer=1/1,2,3.f32") &&
			ALL_ARE(0, "trailer=1/q.json", "trailer=0/q.npy",
				"trailer=1/fmt=npy/count"),
		"an array has no trailer");
	ok(sentence_has("k=10000/offset=5/q", "offset + k is 10005"),
		"the sentence says the sum");
}

static void test_names(void)
{
	char word[70];
	struct vg_id name;

	memset(word, 'x', sizeof(word));
	word[64] = '\0';
	ok(rc_of(word) == 0 && query_parse_name(word, 64, &name) == 0,
		"a name has up to 64 letters");
	word[64] = 'x';
	word[65] = '\0';
	ok(rc_of(word) == -ENOENT && query_parse_name(word, 65, &name) < 0,
		"65 are no name");
	ok(ALL_ARE(0, "_", "a-b_c", "A1", "v", "b64", "id2", "nan"),
		"letters, digits, _ and - make one");
	ok(ALL_ARE(-ENOENT, "k", "ef", "offset", "exact", "fields", "where",
		   "fmt", "order", "group", "snap", "consistency", "a b", "a:b",
		   "New folder", "\xc3\xa4", "a%2Fb"),
		"words of the grammar and other characters do not");
	ok(query_parse_name("q1", 2, &name) == 0 && name.len == 2 &&
			query_parse_name("q1.f32", 6, &name) == 0 &&
			name.len == 2 &&
			query_parse_name("q1.txt", 6, &name) == 0,
		"creating NAME.EXT writes NAME");
	ok(query_parse_name("q1.", 3, &name) < 0 &&
			query_parse_name("q.a.npy", 7, &name) < 0 &&
			query_parse_name("q1.t~", 5, &name) < 0 &&
			query_parse_name("count", 5, &name) < 0 &&
			query_parse_name("all.npy", 7, &name) < 0 &&
			query_parse_name("k", 1, &name) < 0 &&
			query_parse_name("1,2,3", 5, &name) < 0 &&
			query_parse_name("", 0, &name) < 0 &&
			query_parse_name(".q", 2, &name) < 0,
		"any other name cannot be created");
}

static int request(struct query *q, const char *json, uint32_t dim)
{
	query_init(q);
	return query_parse_request(q, json, strlen(json), VG_F32, dim);
}

static bool refused(const char *json, const char *part)
{
	struct query q;
	int rc = request(&q, json, 3);
	bool is = rc == -EINVAL && strstr(q.error, part);

	if (!is)
		diag("%s: %d '%s'", json, rc, q.error);
	query_fini(&q);
	return is;
}

static void test_request(void)
{
	struct query q;
	int rc = request(&q,
		"{\"vector\":[1, 2.5,-3e0],\"k\":5,\"ef\":50,\"offset\":1,"
		"\"max_dist\":0.5,\"min_score\":-1,\"exact\":true,"
		"\"fields\":[\"a\",\"b,\\u00e4\"],\"timeout\":9,\"fmt\":"
		"\"tsv\","
		"\"partial\":true,\"strict\":false,\"trailer\":true,"
		"\"threads\":4}\n",
		3);

	ok(rc == 0 && q.src == QUERY_VEC && q.n_vec == 1 && q.dim == 3 &&
			number(&q, 0) == 1 && number(&q, 1) == 2.5f && number(&q, 2) == -3,
		"a request has a vector");
	ok(q.k == 5 && q.ef == 50 && q.offset == 1 && q.max_dist == 0.5f &&
			q.min_score == -1 && q.timeout_ms == 9 &&
			q.threads == 4,
		"and numbers");
	ok(q.exact && q.partial && !q.strict && q.trailer &&
			q.fmt == ANSWER_TSV && q.n_fields == 2 &&
			q.fields[1].len == 4 &&
			memcmp(q.fields[1].bytes, "b,\xc3\xa4", 4) == 0,
		"and flags, fields and a format");
	query_fini(&q);
	rc = request(&q, " {\"vectors\":[[1,2,3],[4,5,6]]}", 3);
	ok(rc == 0 && q.n_vec == 2 && number(&q, 3) == 4 && number(&q, 5) == 6,
		"vectors are a batch");
	query_fini(&q);
	rc = request(&q, "{\"id\":\"a/b\\n.tsv\"}", 3);
	ok(rc == 0 && q.src == QUERY_ID && q.key_len == 8 &&
			memcmp(q.key, "a/b\n.tsv", 8) == 0,
		"an id is the id's own bytes");
	query_fini(&q);
	rc = request(&q, "{\"vector\":[1,2]}", 0);
	ok(rc == 0 && q.dim == 2, "while dim is not known any is taken");
	query_fini(&q);

	query_init(&q);
	rc = query_parse_param(&q, "k=7", 3);
	if (rc == 0)
		rc = query_parse_request(&q, "{\"id\":\"a\"}", 10, VG_F32, 3);
	ok(rc == 0 && q.k == 7, "a request stands on its path's parameters");
	rc = query_parse_request(&q, "{\"k\":3,\"vector\":[1,2,3]}", 24, VG_F32, 3);
	ok(rc == 0 && q.k == 3 && q.src == QUERY_VEC,
		"the handle's next request replaces it");
	query_fini(&q);
}

static void test_refused_requests(void)
{
	ok(refused("{}", "needs a vector") && refused("{\"k\":1}", "needs"),
		"a request without a source is refused");
	ok(refused("{\"vector\":[1,2,3],\"id\":\"a\"}", "one of") &&
			refused("{\"id\":\"a\",\"id\":\"b\"}", "one of"),
		"one with two is, too");
	ok(refused("{\"vector\":[1,2]}", "2 numbers") &&
			refused("{\"vector\":[1,2,3,4]}", "4 numbers") &&
			refused("{\"vector\":[]}", "no numbers") &&
			refused("{\"vectors\":[[1,2,3],[1]]}", "vector 2") &&
			refused("{\"vectors\":[]}", "one at least") &&
			refused("{\"vectors\":[1]}", "arrays") &&
			refused("{\"vector\":\"1,2,3\"}", "array") &&
			refused("{\"vector\":[1,\"2\",3]}", "") &&
			refused("{\"vector\":[1,2,1e99]}", ""),
		"vectors of other lengths or kinds are refused");
	ok(refused("{\"id\":7}", "string") && refused("{\"id\":\"\"}", "bytes"),
		"an id is a string of 1 to 255 bytes");
	ok(refused("{\"id\":\"a\",\"K\":1}", "no member K") &&
			refused("{\"id\":\"a\",\"text\":\"x\"}", "no member"),
		"a member that is none of ours is named");
	ok(refused("{\"id\":\"a\",\"k\":0}", "k=0") &&
			refused("{\"id\":\"a\",\"k\":\"5\"}", "string") &&
			refused("{\"id\":\"a\",\"k\":true}", "true") &&
			refused("{\"id\":\"a\",\"k\":1.5}", "whole") &&
			refused("{\"id\":\"a\",\"k\":null}", "value") &&
			refused("{\"id\":\"a\",\"k\":[1]}", "value") &&
			refused("{\"id\":\"a\",\"exact\":1}",
				"true or false") &&
			refused("{\"id\":\"a\",\"fmt\":\"xml\"}", "fmt=xml") &&
			refused("{\"id\":\"a\",\"fields\":\"a\"}", "array") &&
			refused("{\"id\":\"a\",\"fields\":[1]}", "array") &&
			refused("{\"id\":\"a\",\"fields\":[]}", "one or more"),
		"a value of the wrong kind is named");
	ok(refused("{\"id\":\"a\",\"k\":9999,\"offset\":2}", "10001") &&
			refused("{\"id\":\"a\",\"fmt\":\"npy\",\"trailer\":"
				"true}",
				"trailer"),
		"combinations are checked");
	ok(refused("{\"id\":\"a\"", "byte") && refused("{\"id\"}", "byte") &&
			refused("{\"id\":\"a\",}", "byte") &&
			refused("{", "byte"),
		"broken JSON is refused with the place");
	ok(refused("{\"id\":\"a\"}\n{\"id\":\"b\"}", "one request"),
		"so is a second line");
}

static void test_raw_request(void)
{
	float rows[2][3] = {{1, 2, 3}, {4, 5, 6}};
	struct query q;
	int rc;

	query_init(&q);
	rc = query_parse_request(&q, rows[0], sizeof(rows[0]), VG_F32, 3);
	ok(rc == 0 && q.n_vec == 1 && number(&q, 2) == 3, "raw bytes are a vector");
	rc = query_parse_request(&q, rows, sizeof(rows), VG_F32, 3);
	ok(rc == 0 && q.n_vec == 2 && number(&q, 5) == 6, "or several");
	memcpy(rows, "{", 1);
	rc = query_parse_request(&q, rows, sizeof(rows), VG_F32, 3);
	ok(rc == 0 && q.n_vec == 2 && memcmp(q.vec, rows, sizeof(rows)) == 0,
		"also where they begin with the byte of a brace");
	rc = query_parse_request(&q, "1,2,3\n", 6, VG_F32, 3);
	ok(rc == 0 && q.n_vec == 1 && number(&q, 1) == 2, "text is a vector");
	rc = query_parse_request(&q, "[[1,2,3],[4,5,6]]", 17, VG_F32, 3);
	ok(rc == 0 && q.n_vec == 2 && number(&q, 4) == 5, "JSON arrays are, too");
	rc = query_parse_request(&q, rows, 13, VG_F32, 3);
	ok(rc == -EINVAL && q.error[0], "other lengths are refused");
	rows[1][1] = NAN;
	rc = query_parse_request(&q, rows, sizeof(rows), VG_F32, 3);
	ok(rc == -EINVAL && q.error[0], "so is a NaN");
	rc = query_parse_request(&q, "", 0, VG_F32, 3);
	ok(rc == -EINVAL && q.error[0], "so is nothing");
	query_fini(&q);
}

static void test_put_vectors(void)
{
	float rows[4] = {1, 2, 3, 4};
	struct record_batch batch = {rows, 2, 2, VG_F32};
	struct query q;

	query_init(&q);
	ok(query_put_vectors(&q, &batch) == 0 && q.src == QUERY_VEC &&
			q.n_vec == 2 && q.dim == 2 && number(&q, 3) == 4,
		"vectors of a named request are put");
	rows[2] = -INFINITY;
	ok(query_put_vectors(&q, &batch) == -EINVAL &&
			strstr(q.error, "number 3") && number(&q, 2) == 3,
		"an infinity is named and nothing changes");
	query_fini(&q);
}

/* The normal form of a path's parameters. */
static const char *normal(const char *path)
{
	static char out[256];
	struct query q;
	size_t n;

	if (parse(&q, path, &dim3) < 0)
		return "refused";
	n = query_format_params(&q, out, sizeof(out) - 1);
	out[VG_MIN(n, sizeof(out) - 1)] = '\0';
	query_fini(&q);
	return out;
}

static void test_normal_form(void)
{
	char out[8] = "xxxxxxx";
	struct query q, copy;

	ok(!strcmp(normal("q"), "") && !strcmp(normal("exact=0/q"), ""),
		"defaults have no normal form");
	ok(!strcmp(normal("ef=30/k=5/q"), "k=5/ef=30/") &&
			!strcmp(normal("k=9/k=05/ef=30/q"), "k=5/ef=30/"),
		"order, repetition and leading zeros make no difference");
	ok(!strcmp(normal("k=10/q"), "k=10/"), "a given k is told from none");
	ok(!strcmp(normal("fmt=json/q.tsv"), "fmt=tsv/"),
		"the format that counts is in it");
	ok(!strcmp(normal("trailer=1/strict=1/partial=1/threads=2/timeout=5/"
			  "exact=1/min_score=0.50/max_dist=1e0/offset=1/"
			  "fields=b,a%2C%2F%25%2/q"),
		   "offset=1/max_dist=1/min_score=0.5/exact=1/"
		   "fields=b,a%2C%2F%25%252/timeout=5/threads=2/partial=1/"
		   "strict=1/trailer=1/"),
		"each parameter has one");
	ok(!strcmp(normal("a.eq=1/k=5/q"), "k=5/where=a.eq=1/") &&
			!strcmp(normal("where=(b.eq=x%2Fy) and a.eq=1/q"),
				"where=a.eq=1 and b.eq=\"x%2Fy\"/") &&
			!strcmp(normal("b.eq=x%2Fy/a.eq=1/q"),
				"where=a.eq=1 and b.eq=\"x%2Fy\"/"),
		"filters have one: %s", normal("b.eq=x%2Fy/a.eq=1/q"));
	ok(!strcmp(normal("group=a/order=x/order=meta.b:desc/q"),
		   "order=b:desc/group=a/") &&
			!strcmp(normal("order=b:desc/order=b/q"), "order=b/"),
		"so have order and group");
	ok(!strcmp(normal("order=meta.meta.%61%2F%25%3Adesc%3Ax/q"),
		   "order=meta.meta.a%2F%25%3Adesc%3Ax/"),
		"whose fields may have any bytes");
	query_init(&q);
	must(query_parse_param(&q, "k=1234", 6) == 0);
	ok(query_format_params(&q, out, 4) == 7 && !memcmp(out, "k=12xxx", 7),
		"what does not fit is cut and counted");
	must(query_parse_param(&q, "a.eq=1", 6) == 0);
	must(query_parse_param(&q, "fields=a,b", 10) == 0);
	must(query_parse_param(&q, "order=a:desc", 12) == 0);
	must(query_parse_param(&q, "group=bc", 8) == 0);
	must(query_parse_param(&q, "max_dist=2", 10) == 0);
	must(query_parse_leaf(&q, "1,2,3", 5, &dim3) == 0);
	ok(query_init_from(&copy, &q) == 0 && copy.k == 1234 && copy.has_k &&
			copy.max_dist == 2 && copy.n_fields == 2 &&
			copy.fields != q.fields && !copy.vec &&
			copy.filter && copy.filter != q.filter &&
			copy.order.len == 1 && copy.is_desc &&
			copy.group.len == 2 &&
			copy.group.bytes != q.group.bytes &&
			copy.src == QUERY_NONE,
		"a copy has the parameters and no source");
	query_fini(&q);
	ok(copy.fields[1].bytes[0] == 'b' && copy.order.bytes[0] == 'a' &&
			copy.group.bytes[1] == 'c',
		"a copy stands alone");
	query_fini(&copy);
}

static void test_hash(void)
{
	const struct vg_id ab = {"ab", 2}, a = {"a", 1}, b = {"b", 1},
			   none = {"", 0};
	uint64_t h = query_hash(1, 2, a, b);

	ok(h == query_hash(1, 2, a, b), "a hash stays");
	ok(h != query_hash(2, 2, a, b) && h != query_hash(1, 3, a, b) &&
			h != query_hash(1, 2, b, b) &&
			h != query_hash(1, 2, a, a),
		"each part changes it");
	ok(query_hash(1, 2, ab, none) != query_hash(1, 2, a, b) &&
			query_hash(1, 2, none, ab) != query_hash(1, 2, a, b),
		"so does where one part ends");
}

/* Takes text as a request if it is JSON, else as a path, the nth allocation
 * failing; then its parameters again. */
static int take_failing(const char *text, long n)
{
	struct query q, copy;
	int rc;

	fail_at = n;
	rc = *text == '{' ? request(&q, text, 3) : parse(&q, text, &dim3);
	if (rc == 0) {
		rc = query_init_from(&copy, &q);
		query_fini(&copy);
	}
	query_fini(&q);
	fail_at = 0;
	return rc;
}

static void test_faults(void)
{
	static const char *const texts[] = {"1,2,3", "b64=AACAPwAAAEAAAEBA",
		"fields=a,b/k=5/fields=c/q1", "k=5/id=a",
		"order=a:desc/group=b/a.eq=1/group=c/q1", "like=a,-b.tsv",
		"{\"id\":\"a\",\"order\":\"b\",\"group\":\"c\"}",
		"{\"vectors\":[[1,2,3],[1,2,3],[1,2,3]],\"fields\":[\"a\"]}",
		"{\"id\":\"a\"}"};
	bool told = true, ends = true;

	for (size_t i = 0; i < VG_ARRAY_LEN(texts); i++) {
		int rc = -ENOMEM;

		for (long n = 1; rc < 0 && n < 100; n++) {
			rc = take_failing(texts[i], n);
			told &= rc == 0 || rc == -ENOMEM;
		}
		ends &= rc == 0;
	}
	ok(told, "an allocation that fails is told as such");
	ok(ends, "once there is memory each is taken");
}

int main(void)
{
	plan(129);
	test_defaults();
	test_params();
	test_many_fields();
	test_csv();
	test_formats();
	test_ids();
	test_like();
	test_hits();
	test_b64();
	test_combinations();
	test_names();
	test_request();
	test_refused_requests();
	test_raw_request();
	test_put_vectors();
	test_normal_form();
	test_hash();
	test_faults();
	return done();
}
