/* SPDX-License-Identifier: Apache-2.0 */
/* help.c: see help.h. */
#include "fs/help.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "fs/answer.h"
#include "fs/query.h"
#include "src/config.h"
#include "src/element.h"

/* A vector this long is still read at a glance. */
#define SHORT_DIM 8

/* Bytes of either text: a name in quotes can take a kilobyte each time. */
#define TEXT_MAX (16u << 10)

/* A line here is a line there. */
/* clang-format off */
static const char readme[] =
	"vecgridfs: a directory is a collection, a file in it is a vector, a file under\n"
	"query/ is a search. cp, cat, echo, rm, mv, rsync and tar are its clients.\n"
	"\n"
	"BEGIN\n"
	"    mkdir docs                            # a collection\n"
	"    echo 384 > docs/.config/dim           # or the first vector says it\n"
	"    echo cosine > docs/.config/metric     # cosine (default), l2, ip, l1\n"
	"    cp doc42.f32 docs/doc42               # a vector, its id is doc42\n"
	"    cat docs/query/k=5/id=doc42           # more like this one\n"
	"    cp question.f32 docs/query/q1         # a vector to ask with: written once,\n"
	"    cat docs/query/q1                     # read as often as you like\n"
	"    cat docs/query/k=20/exact=1/q1.tsv    # parameters are directories\n"
	"    cat docs/.help                        # all of them\n"
	"\n"
	"THE TREE\n"
	"    /README                         this text; listed while nothing else is\n"
	"    /.vecgridfs/                    version, health, errors.ndjson\n"
	"    /C/                             a collection: mkdir, mv, rmdir when empty;\n"
	"                                    ln -s makes an alias, ln -sfn switches it\n"
	"    /C/ID                           a vector\n"
	"    /C/query/...                    searches\n"
	"    /C/.as/{raw,npy,json,txt}/ID    the same in one format, to read and write\n"
	"    /C/.meta/ID                     its metadata, a JSON object\n"
	"    /C/.config/NAME                 dim dtype, until a vector is in; metric m\n"
	"                                    ef_construction index quant: written later\n"
	"                                    they link it anew; ef_search, auto: so\n"
	"                                    that target_recall is met; dim_source;\n"
	"                                    index: auto hnsw ivf_pq (of f32) flat;\n"
	"                                    quant: auto none sq8 qg (of long f32:\n"
	"                                    faster, of more memory)\n"
	"    /C/.stats/NAME                  count deleted bytes index recall ...\n"
	"    /C/.stats/facets/FIELD          its values, and how many records have each\n"
	"    /C/.snap/NAME/                  a snapshot: mkdir takes it, rmdir drops it;\n"
	"                                    all of /C/ as it was, to read and search\n"
	"    /C/.tx/NAME/                    a transaction: mkdir begins, files in it are\n"
	"                                    staged, mv to NAME.commit makes all of them\n"
	"                                    true, rmdir none; ESTALE: another changed\n"
	"                                    what it read or wrote\n"
	"    /C/.if=VERSION/ID               a record, to write, rm or setfattr if it is\n"
	"                                    that version (user.vecgridfs.version; 0: not\n"
	"                                    there), else ESTALE\n"
	"    /C/.import/{npy,fvecs,bvecs,ndjson,csv}\n"
	"                                    write a stream to load many; status, errors\n"
	"    /C/.export/{ids,all.npy,all.fvecs,all.vec,all.ndjson}\n"
	"    /C/.delete-where                write `all`, or a line as where= has it\n"
	"    /C/.help                        queries, with this collection's numbers\n"
	"query and the dot names are opened by name and not listed.\n"
	"\n"
	"VECTORS\n"
	"A file is written as .npy (one row), as JSON ({\"vector\":[...],\"metadata\":{...}}\n"
	"or [...]), as text (numbers with comma, semicolon or space between them), or as\n"
	"dim x 4 bytes: float32, little-endian. It reads back as those bytes.\n"
	".config/dtype, written before the first vector, takes others: f16 (2 bytes each,\n"
	"rounded to the nearest), i8 (a byte each: whole numbers from -128 to 127), b1 (a\n"
	"bit each, 0 or 1, packed as by numpy.packbits; dim is a multiple of 8, and the\n"
	"metric hamming). Queries are written as vectors are; what does not fit the dtype\n"
	"is refused.\n"
	"Beware of float64: numpy computes in it, and 384 such numbers have the size of\n"
	"768 float32. Write dim first and save np.float32; .config/dim_source says what\n"
	"dim was taken from.\n"
	"What is no vector of the collection is refused with EINVAL; the reason is in\n"
	".stats/last_error and /.vecgridfs/errors.ndjson. When close() has returned 0 the\n"
	"vector is on disk (mount option durability=close, the default), and every later\n"
	"query sees it.\n"
	"\n"
	"IDS are 1 to 255 bytes. In file names / is %2F, a leading . is %2E, the id\n"
	"query is %71uery, and a % that would read as one of these is %25. Other names\n"
	"with a leading dot are staging: not indexed until they are renamed, gone after\n"
	"24 hours.\n"
	"\n"
	"METADATA\n"
	"    setfattr -n user.year -v 2020 docs/doc42\n"
	"    getfattr -d docs/doc42\n"
	"    cat docs/.meta/doc42\n"
	"    cat rows.ndjson > docs/.import/ndjson\n"
	"                                    # {\"id\":\"a\",\"vector\":[...],\"metadata\":{...}}\n"
	"    cp rows.csv docs/.import/csv        # a header: id,vector,year or id,v0,v1\n"
	"\n"
	"DISTANCES: l2 sqrt(sum((a-b)^2)); cosine 1 - a.b/(|a||b|); ip -(a.b); l1\n"
	"sum(|a-b|); hamming, of b1 alone: how many bits differ. Rows ascend by dist;\n"
	"score is -dist, the cosine, or a.b. Ties are in order of ids.\n";

/* Of VG_K_MAX, VG_EF_MAX and QUERY_THREADS_MAX. */
#define GRAMMAR \
	"\n" \
	"query/[PARAM/]*SRC[.FMT], query/[PARAM/]*count, query/[PARAM/]*facet=FIELD[.FMT]\n" \
	"and query/[PARAM/]*SRC.hits/\n" \
	"\n" \
	"PARAM, in any order; of one given twice the last counts:\n" \
	"    FIELD.OP=VALUE records whose metadata is so, and of another the same: OP is\n" \
	"                   eq ne gt gte lt lte in nin exists prefix contains\n" \
	"    where=EXPR     the same with and, or, not, ( ); %%20 is a blank, %%2F a slash\n" \
	"    k=N            rows (10); offset + k at most %u\n" \
	"    offset=N       rows left out before them\n" \
	"    ef=N           candidates of the search, to %u; more find more\n" \
	"    nprobe=N       with index ivf_pq: lists to look through (ef / 4)\n" \
	"    exact=1        look at every row\n" \
	"    max_dist=F     rows up to that distance\n" \
	"    min_score=F    rows from that score on\n" \
	"    fields=a,b     of the metadata only these, in this order\n" \
	"    order=FIELD    the rows, or those of `all`, by a value; order=FIELD:desc\n" \
	"                   the other way round; those without one last; rank stays\n" \
	"    group=FIELD    of the rows with one value only the nearest; k counts those\n" \
	"    snap=NAME      ask the snapshot of that name, in .snap/\n" \
	"    timeout=MS     ETIMEDOUT after so many milliseconds\n" \
	"    partial=1      then what was found so far\n" \
	"    strict=1       EIO instead of an answer that is not whole\n" \
	"    trailer=1      a last line {\"partial\":false,\"rows\":10}\n" \
	"    threads=N      for a batch, to %u\n" \
	"    fmt=FMT        as behind SRC, which wins\n" \
	"SRC:\n" \
	"    id=ID          a record, spelled as its file; itself left out\n" \
	"    like=A,+B,-C   the sum of records, less some; themselves left out. In ids\n" \
	"                   %%2C is a comma, %%2B and %%2D a sign at the beginning; not\n" \
	"                   of dtype b1\n" \
	"    NAME           [A-Za-z_][A-Za-z0-9_-]{0,63}, a file written under query/;\n" \
	"                   yours, and gone an hour after its last use\n" \
	"    0.1,0.2,...    numbers; also v=0.1,0.2,...\n" \
	"    b64=...        the vector's bytes in base64url\n" \
	"    all            every row by id, without rank and dist; no k unless given\n" \
	"SRC.hits/: a link to each record, 0001_doc7 -> ../../../doc7, as ls sorts them\n" \
	"facet=FIELD: its values, {\"value\":\"en\",\"count\":12}, the most frequent first\n" \
	"FMT: " ANSWER_FMT_WORDS "\n" \
	"    ndjson         {\"rank\":1,\"id\":\"doc7\",\"dist\":0.07," \
	"\"score\":0.93,\"meta\":{...}}\n" \
	"    json           the same as one array\n" \
	"    tsv            id and dist; ids: id; dist: dist; in ids tab, newline and\n" \
	"                   backslash are \\t \\n \\\\\n" \
	"    f32, npy       the distances; of a batch n x k, NaN where there are fewer\n" \
	"A batch: ndjson and json have \"q\", tsv a first column; in ids and dist an empty\n" \
	"line is between two queries.\n" \
	"A request to .run: one JSON object with vector, vectors, id or like, and each\n" \
	"PARAM under its name (\"exact\":true, \"fields\":[\"a\"]); or raw vectors.\n" \
	"A name has at most 1,023 bytes on kernels before 6.14 or so, 4,095 after: longer\n" \
	"vectors go by id=, NAME or .run.\n"

/* Of the collection's name and a vector's numbers. */
#define EXAMPLES \
	"\n" \
	"    cat %1$s/query/k=5/id=ID.tsv        # more like ID, itself left out\n" \
	"    cat %1$s/query/lang.eq=en/year.gte=2020/id=ID   # of some records\n" \
	"    cat %1$s/query/lang.in=de,fr/count  # how many; all.ids: which\n" \
	"    cp q.f32 %1$s/query/q1              # a named query: write it once,\n" \
	"    cat %1$s/query/q1                   # read its answer\n" \
	"    cat %1$s/query/k=20/offset=20/q1    # and its next page\n" \
	"    cp batch.npy %1$s/query/b1          # many at once: shape (n, dim)\n" \
	"    exec 3<>%1$s/query/.run             # or a handle, no names:\n" \
	"    echo '{\"vector\":[%2$s],\"k\":5}' >&3; cat <&3\n"
/* clang-format on */

/* Puts what was formatted into out[cap]; returns the bytes needed. */
static size_t finish(const char *text, size_t len, char *out, size_t cap)
{
	if (cap > 0)
		memcpy(out, text, VG_MIN(len, cap));
	return len;
}

size_t help_format_readme(char *out, size_t cap)
{
	return finish(readme, sizeof(readme) - 1, out, cap);
}

/* The name as one word of a shell. out has room for each byte in quotes. */
static void quote(struct vg_id name, char out[4 * VG_ID_MAX + 3])
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789"
				    "._+@:,/";
	bool is_plain = name.len > 0;
	size_t n = 0;

	assert(name.len <= VG_ID_MAX);
	for (uint32_t i = 0; i < name.len; i++)
		is_plain = is_plain &&
			   (name.bytes[i] == '-' ?
					   i > 0 :
					   memchr(plain, name.bytes[i],
						   sizeof(plain) - 1) != NULL);
	if (is_plain) {
		memcpy(out, name.bytes, name.len);
		out[name.len] = '\0';
		return;
	}
	out[n++] = '\'';
	for (uint32_t i = 0; i < name.len; i++) {
		if (name.bytes[i] == '\'') {
			memcpy(out + n, "'\\''", 4);
			n += 4;
		} else {
			out[n++] = name.bytes[i];
		}
	}
	out[n++] = '\'';
	out[n] = '\0';
}

/* What stands for a vector: its numbers, or "..." where they are many. */
static void format_vector(const struct help_env *env, char out[64])
{
	bool is_short = env->dim > 0 && env->dim <= SHORT_DIM;
	uint32_t dim = is_short ? env->dim : 2;
	size_t n = 0;

	for (uint32_t i = 1; i <= dim; i++)
		n += (size_t)snprintf(out + n, 64 - n, "%s%s%u",
			i > 1 ? "," : "",
			env->dtype == VG_F32 || env->dtype == VG_F16 ? "0." :
								       "",
			env->dtype == VG_B1 ? i % 2 : i);
	if (!is_short)
		snprintf(out + n, 64 - n, ",...");
}

/* What the bytes of a vector are: "384 x 4 = 1536 bytes (...)". */
static void format_bytes(const struct help_env *env, char out[96])
{
	size_t len = vg_row_len(env->dtype, env->dim);

	if (env->dtype == VG_B1)
		snprintf(out, 96, "%u bits = %zu bytes (numpy.packbits)",
			env->dim, len);
	else
		snprintf(out, 96, "%u x %zu = %zu bytes (%s%s)", env->dim,
			vg_row_len(env->dtype, 1), len,
			element_word(env->dtype),
			env->dtype == VG_I8 ? "" : ", little-endian");
}

/* The lines on the collection itself. */
static int format_head(const struct help_env *env, const char *name, char *out,
	size_t cap)
{
	const struct op_config config = {.metric = (uint8_t)env->metric};
	char metric[16], bytes[96];

	config_format(&config, CONFIG_METRIC, metric, sizeof(metric));
	if (env->dim == 0)
		return snprintf(out, cap,
			"Queries of %s: metric %s. The dimension is not known "
			"yet: write it to\n%s/.config/dim, or the first vector "
			"says it.\n",
			name, metric, name);
	format_bytes(env, bytes);
	return snprintf(out, cap,
		"Queries of %s: %u dimensions, metric %s.\n"
		"A vector is %s, .npy, JSON or text.\n",
		name, env->dim, metric, bytes);
}

static int format_examples(const struct help_env *env, const char *name,
	char *out, size_t cap)
{
	bool is_short = env->dim > 0 && env->dim <= SHORT_DIM;
	char vector[64];
	int n;

	format_vector(env, vector);
	n = snprintf(out, cap, EXAMPLES, name, vector);
	assert(n > 0 && (size_t)n < cap);
	if (is_short)
		n += snprintf(out + n, cap - (size_t)n,
			"    cat %s/query/%s   # the vector is the name\n",
			name, vector);
	return n;
}

size_t help_format(const struct help_env *env, char *out, size_t cap)
{
	char text[TEXT_MAX], name[4 * VG_ID_MAX + 3];
	int n;

	quote(env->name, name);
	n = format_head(env, name, text, sizeof(text));
	assert(n > 0 && (size_t)n < sizeof(text));
	n += format_examples(env, name, text + n, sizeof(text) - (size_t)n);
	n += snprintf(text + n, sizeof(text) - (size_t)n, GRAMMAR, VG_K_MAX,
		VG_EF_MAX, QUERY_THREADS_MAX);
	assert((size_t)n < sizeof(text));
	return finish(text, (size_t)n, out, cap);
}
