/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: see config.h. */
#include "src/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
	uint8_t value;
	const char *text;
};

static const struct word metrics[] = {
	{VG_L2, "l2"}, {VG_COSINE, "cosine"}, {VG_IP, "ip"}, {VG_L1, "l1"},
	{VG_HAMMING, "hamming"}, {0, NULL}};
static const struct word dtypes[] = {{VG_F32, "f32"}, {VG_F16, "f16"},
	{VG_I8, "i8"}, {VG_B1, "b1"}, {0, NULL}};
static const struct word indexes[] = {
	{VG_INDEX_AUTO, "auto"}, {VG_HNSW, "hnsw"}, {VG_FLAT, "flat"},
	{VG_IVF_PQ, "ivf_pq"}, {0, NULL}};
static const struct word quants[] = {{VG_QUANT_AUTO, "auto"},
	{VG_QUANT_NONE, "none"}, {VG_QUANT_SQ8, "sq8"},
	{VG_QUANT_QG, "qg"}, {0, NULL}};
static const struct word sources[] = {{OP_SOURCE_RAW, "raw"},
	{OP_SOURCE_TEXT, "text"}, {OP_SOURCE_JSON, "json"},
	{OP_SOURCE_NPY, "npy"}, {OP_SOURCE_FVECS, "fvecs"}, {0, NULL}};

static const struct item {
	const char *name;
	const char *allowed;
} items[CONFIG_ITEMS] = {
	[CONFIG_DIM] = {"dim", "1 to 65535"},
	[CONFIG_METRIC] = {"metric", "l2, cosine, ip, l1 or hamming"},
	[CONFIG_DTYPE] = {"dtype", "f32, f16, i8 or b1"},
	[CONFIG_M] = {"m", "2 to 64"},
	[CONFIG_EF_CONSTRUCTION] = {"ef_construction", "auto, or 1 to 100000"},
	[CONFIG_INDEX] = {"index", "auto, hnsw, ivf_pq or flat"},
	[CONFIG_QUANT] = {"quant", "auto, none, sq8 or qg"},
	[CONFIG_EF_SEARCH] = {"ef_search", "auto, or 1 to 100000"},
	[CONFIG_TARGET_RECALL] = {"target_recall",
		"a decimal above 0 and below 1, of 6 digits at most"},
	[CONFIG_DIM_SOURCE] = {"dim_source", ""},
};

struct op_config config_default(void)
{
	return (struct op_config){
		.m = 16,
		.metric = VG_COSINE,
		.dtype = VG_F32,
		.index = VG_INDEX_AUTO,
	};
}

/*
 * With forward links and alpha (index/hnsw.h) 128 candidates make as good a
 * graph of m 16 as 200 do without: docs/index.md has the figures.
 */
#define AUTO_MIN 128u
#define AUTO_PER_LINK 8u

uint32_t config_ef_construction(const struct op_config *c)
{
	return c->ef_construction ? c->ef_construction
				  : VG_MAX(AUTO_MIN, AUTO_PER_LINK * c->m);
}

#define TARGET_DEFAULT 990000u

unsigned config_ef_class(uint32_t k)
{
	static const uint32_t max[OP_EF_CLASSES] = CONFIG_EF_CLASS_MAX;
	unsigned class = 0;

	while (class < OP_EF_CLASSES - 1 && k > max[class])
		class++;
	return class;
}

uint32_t config_ef_search(const struct op_config *c, uint32_t k)
{
	uint32_t tuned = c->tuned[config_ef_class(k)];

	assert(k > 0);
	if (c->ef_search)
		return c->ef_search;
	return tuned ? tuned : CONFIG_EF_DEFAULT;
}

static uint32_t target_of(const struct op_config *c)
{
	return c->target_recall ? c->target_recall : TARGET_DEFAULT;
}

double config_target_recall(const struct op_config *c)
{
	return (double)target_of(c) / OP_RECALL_ONE;
}

void config_replace(struct op_config *now, const struct op_config *next)
{
	struct op_config was = *now;

	*now = *next;
	assert(next->target_recall < OP_RECALL_ONE);
	if (target_of(&was) == target_of(next))
		memcpy(now->tuned, was.tuned, sizeof(now->tuned));
}

const char *config_name(enum config_item item)
{
	assert(item < CONFIG_ITEMS);
	return items[item].name;
}

int config_find(struct vg_id name)
{
	for (int i = 0; i < CONFIG_ITEMS; i++)
		if (strlen(items[i].name) == name.len &&
			memcmp(items[i].name, name.bytes, name.len) == 0)
			return i;
	return -ENOENT;
}

static const char *word_of(const struct word *words, uint8_t value)
{
	while (words->text && words->value != value)
		words++;
	return words->text ? words->text : "";
}

/* 1,234,567 */
static void format_thousands(char out[16], uint32_t n)
{
	char digits[16];
	int len = snprintf(digits, sizeof(digits), "%u", n), o = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out[o++] = ',';
		out[o++] = digits[i];
	}
	out[o] = '\0';
}

static int format_source(const struct op_config *c, char *out, size_t cap)
{
	char bytes[16];

	if (c->dim == 0)
		return snprintf(out, cap, "unknown");
	if (!c->dim_source)
		return snprintf(out, cap, "written");
	format_thousands(bytes, c->dim_body_len);
	return snprintf(out, cap, "%s, %s bytes",
		word_of(sources, c->dim_source), bytes);
}

/* 0.99: no zeros at the end. */
static int format_target(const struct op_config *c, char *out, size_t cap)
{
	uint32_t n = target_of(c);
	int digits = 6;

	for (; n % 10 == 0; n /= 10)
		digits--;
	assert(n > 0 && digits > 0);
	return snprintf(out, cap, "0.%0*u", digits, n);
}

/* A number, of which 0 is auto. */
static int format_auto(uint32_t n, char *out, size_t cap)
{
	return n ? snprintf(out, cap, "%u", n) : snprintf(out, cap, "auto");
}

int config_format(const struct op_config *c, enum config_item item, char *out,
	size_t cap)
{
	switch (item) {
	case CONFIG_DIM:
		if (c->dim == 0)
			return snprintf(out, cap, "%s", "");
		return snprintf(out, cap, "%u", c->dim);
	case CONFIG_METRIC:
		return snprintf(out, cap, "%s", word_of(metrics, c->metric));
	case CONFIG_DTYPE:
		return snprintf(out, cap, "%s", word_of(dtypes, c->dtype));
	case CONFIG_M:
		return snprintf(out, cap, "%u", c->m);
	case CONFIG_EF_CONSTRUCTION:
		return format_auto(c->ef_construction, out, cap);
	case CONFIG_INDEX:
		return snprintf(out, cap, "%s", word_of(indexes, c->index));
	case CONFIG_QUANT:
		return snprintf(out, cap, "%s", word_of(quants, c->quant));
	case CONFIG_EF_SEARCH:
		return format_auto(c->ef_search, out, cap);
	case CONFIG_TARGET_RECALL:
		return format_target(c, out, cap);
	case CONFIG_DIM_SOURCE:
		return format_source(c, out, cap);
	case CONFIG_ITEMS:
		break;
	}
	assert(false && "an item");
	return 0;
}

/* Room for a value, or for what of it a sentence shows. */
#define VALUE_CAP 36
#define VALUE_MAX 31u

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The text without blanks around it, as a string; where it is longer, or has
 * other bytes than text in ASCII, as one that shows it: -EINVAL. */
static int trim(struct meta text, char out[VALUE_CAP])
{
	const char *s = text.json;
	size_t len = text.len, n;
	int rc = 0;

	while (len && is_blank(s[0]))
		s++, len--;
	while (len && is_blank(s[len - 1]))
		len--;
	n = VG_MIN(len, (size_t)VALUE_MAX);
	if (len == 0 || n < len)
		rc = -EINVAL;
	for (size_t i = 0; i < n; i++) {
		out[i] = s[i] >= ' ' && s[i] < 0x7f ? s[i] : '?';
		if (out[i] != s[i])
			rc = -EINVAL;
	}
	strcpy(out + n, n < len ? "..." : "");
	return rc;
}

static int parse_number(const char *text, uint32_t min, uint32_t max,
	uint32_t *out)
{
	char *end;
	unsigned long n;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	n = strtoul(text, &end, 10);
	if (*end || n < min || n > max)
		return -EINVAL;
	*out = (uint32_t)n;
	return 0;
}

/* A number of which 0 is `auto`. */
static int parse_auto(const char *text, uint32_t max, uint32_t *out)
{
	if (strcmp(text, "auto") != 0)
		return parse_number(text, 1, max, out);
	*out = 0;
	return 0;
}

/* .9, 0.99, 0.990: zeros at the end beyond the sixth digit are refused as any
 * digit there is. */
static int parse_target(const char *text, uint32_t *out)
{
	uint32_t n = 0, unit = OP_RECALL_ONE;

	if (*text == '0')
		text++;
	if (*text++ != '.' || !*text)
		return -EINVAL;
	for (; *text; text++) {
		unit /= 10;
		if (*text < '0' || *text > '9' || unit == 0)
			return -EINVAL;
		n += (uint32_t)(*text - '0') * unit;
	}
	if (n == 0)
		return -EINVAL;
	*out = n == TARGET_DEFAULT ? 0 : n;
	return 0;
}

static int parse_word(
	const char *text, const struct word *words, uint8_t *out)
{
	while (words->text && strcmp(words->text, text))
		words++;
	if (!words->text)
		return -EINVAL;
	*out = words->value;
	return 0;
}

/* A dim that was inferred is that of vectors that are no more. */
static int parse_dtype(struct op_config *c, const char *text)
{
	uint8_t dtype = c->dtype;
	int rc = parse_word(text, dtypes, &dtype);

	if (dtype != c->dtype && c->dim_source) {
		c->dim = c->dim_body_len = 0;
		c->dim_source = 0;
	}
	c->dtype = dtype;
	return rc;
}

static int parse_item(
	struct op_config *c, enum config_item item, const char *text)
{
	uint32_t dim;
	int rc;

	switch (item) {
	case CONFIG_DIM:
		rc = parse_number(text, 1, VG_DIM_MAX, &dim);
		if (rc == 0 && (dim != c->dim || !c->dim)) {
			c->dim = dim;
			c->dim_source = 0;
			c->dim_body_len = 0;
		}
		return rc;
	case CONFIG_METRIC:
		return parse_word(text, metrics, &c->metric);
	case CONFIG_DTYPE:
		return parse_dtype(c, text);
	case CONFIG_M:
		return parse_number(text, 2, VG_M_MAX, &c->m);
	case CONFIG_EF_CONSTRUCTION:
		return parse_auto(text, VG_EF_MAX, &c->ef_construction);
	case CONFIG_INDEX:
		return parse_word(text, indexes, &c->index);
	case CONFIG_QUANT:
		return parse_word(text, quants, &c->quant);
	case CONFIG_EF_SEARCH:
		return parse_auto(text, VG_EF_MAX, &c->ef_search);
	case CONFIG_TARGET_RECALL:
		return parse_target(text, &c->target_recall);
	default:
		return -EACCES;
	}
}

static bool is_same_fixed(const struct op_config *a, const struct op_config *b)
{
	return a->dim == b->dim && a->dtype == b->dtype;
}

/* Bits have one metric, which comes and goes with them. */
static void fit_metric(struct op_config *c)
{
	if (!vg_has((enum vg_dtype)c->dtype, (enum vg_metric)c->metric))
		c->metric = c->dtype == VG_B1 ? VG_HAMMING : VG_COSINE;
}

/* Whether the settings go together. */
static int check_whole(const struct op_config *c, char why[192])
{
	if (c->dtype == VG_B1 && c->metric != VG_HAMMING)
		snprintf(why, 192,
			"metric %s is of numbers, vectors of dtype b1 are "
			"bits: their metric is hamming",
			word_of(metrics, c->metric));
	else if (c->dtype != VG_B1 && c->metric == VG_HAMMING)
		snprintf(why, 192,
			"metric hamming counts bits that differ, dtype is %s: "
			"write b1 to dtype, which brings hamming with it",
			word_of(dtypes, c->dtype));
	else if (c->dtype == VG_B1 && c->dim % 8 != 0)
		snprintf(why, 192,
			"dim cannot be %u with dtype b1: bits fill whole "
			"bytes, so it is a multiple of 8",
			c->dim);
	else if (c->index == VG_IVF_PQ &&
		 !vg_has_lists((enum vg_dtype)c->dtype,
			 (enum vg_metric)c->metric))
		snprintf(why, 192,
			"index ivf_pq is for dtype f32 under l2, cosine or "
			"ip, this is %s under %s: write auto, hnsw or flat to "
			"index",
			word_of(dtypes, c->dtype),
			word_of(metrics, c->metric));
	else
		return 0;
	return -EINVAL;
}

static int parse_one(struct op_config *c, enum config_item item,
	struct meta text, bool is_filled, char why[192])
{
	struct op_config next = *c;
	char value[VALUE_CAP] = "";
	int rc = item == CONFIG_DIM_SOURCE ? -EACCES : trim(text, value);

	if (rc == 0)
		rc = parse_item(&next, item, value);
	if (rc == 0 && item == CONFIG_DIM && !is_filled) {
		/* Written, if only to what it was inferred as: it stays. */
		next.dim_source = 0;
		next.dim_body_len = 0;
	}
	if (rc == -EACCES) {
		snprintf(why, 192, "%s cannot be written", items[item].name);
	} else if (rc < 0) {
		snprintf(why, 192, "%s cannot be '%s'; allowed: %s",
			items[item].name, value, items[item].allowed);
	} else if (is_filled && !is_same_fixed(&next, c)) {
		config_format(c, item, value, sizeof(value));
		snprintf(why, 192,
			"%s is fixed at %s while the collection has vectors; "
			"make a new collection instead",
			items[item].name, value);
		rc = -EBUSY;
	}
	if (rc == 0)
		*c = next;
	return rc;
}

int config_format_json(const struct op_config *c, char *out, size_t cap)
{
	char dim[24] = "", ef[16] = "\"auto\"", target[16];

	if (c->ef_construction)
		format_auto(c->ef_construction, ef, sizeof(ef));
	if (c->dim)
		snprintf(dim, sizeof(dim), "\"dim\":%u,", c->dim);
	format_target(c, target, sizeof(target));
	return snprintf(out, cap,
		"{%s\"metric\":\"%s\",\"dtype\":\"%s\",\"m\":%u,"
		"\"ef_construction\":%s,\"index\":\"%s\",\"quant\":\"%s\","
		"\"target_recall\":%s}",
		dim, word_of(metrics, c->metric), word_of(dtypes, c->dtype),
		c->m, ef, word_of(indexes, c->index),
		word_of(quants, c->quant), target);
}

int config_parse(struct op_config *c, enum config_item item, struct meta text,
	bool is_filled, char why[192])
{
	struct op_config next = *c;
	int rc = parse_one(&next, item, text, is_filled, why);

	if (rc == 0 && item == CONFIG_DTYPE)
		fit_metric(&next);
	if (rc == 0)
		rc = check_whole(&next, why);
	if (rc == 0)
		*c = next;
	return rc;
}

struct each_ctx {
	struct op_config *c;
	bool is_filled;
	bool has_metric;
	char *why;
};

static int set_member(void *ctx, struct vg_id key, struct meta value)
{
	struct each_ctx *e = ctx;
	int item = config_find(key);

	if (item < 0) {
		snprintf(e->why, 192,
			"no setting is called '%.*s': .config lists them",
			(int)VG_MIN(key.len, 64u), key.bytes);
		return -EINVAL;
	}
	if (value.len >= 2 && value.json[0] == '"') {
		value.json++;
		value.len -= 2;
	}
	e->has_metric |= item == CONFIG_METRIC;
	return parse_one(e->c, (enum config_item)item, value, e->is_filled,
		e->why);
}

int config_parse_json(struct op_config *c, struct meta text, bool is_filled,
	char why[192])
{
	struct op_config next = *c;
	struct each_ctx ctx = {.c = &next, .is_filled = is_filled, .why = why};
	struct meta_buf buf = {0};
	const char *sentence = NULL;
	int rc = meta_parse(text.json, text.len, &buf, &sentence);

	if (rc == -EINVAL)
		snprintf(why, 192, "%s", sentence);
	if (rc == 0)
		rc = meta_each((struct meta){buf.bytes, (uint32_t)buf.len},
			set_member, &ctx);
	if (rc == 0 && !ctx.has_metric)
		fit_metric(&next);
	if (rc == 0)
		rc = check_whole(&next, why);
	if (rc == 0)
		*c = next;
	free(buf.bytes);
	return rc;
}
