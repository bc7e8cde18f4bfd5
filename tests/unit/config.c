/* SPDX-License-Identifier: Apache-2.0 */
/* config: settings as words: what is taken, what is refused, and why. */
#include "src/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

static char why[192];

static int set(struct op_config *c, enum config_item item, const char *text,
	bool is_filled)
{
	why[0] = '\0';
	return config_parse(c, item, (struct meta){text, (uint32_t)strlen(text)},
		is_filled, why);
}

static int set_json(struct op_config *c, const char *json, bool is_filled)
{
	why[0] = '\0';
	return config_parse_json(c, (struct meta){json, (uint32_t)strlen(json)},
		is_filled, why);
}

static const char *get(const struct op_config *c, enum config_item item)
{
	static char text[64];

	config_format(c, item, text, sizeof(text));
	return text;
}

static bool is_same(const struct op_config *a, const struct op_config *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void test_names(void)
{
	unsigned wrong = 0;

	for (int i = 0; i < CONFIG_ITEMS; i++) {
		const char *name = config_name((enum config_item)i);

		wrong += config_find((struct vg_id){
				 name, (uint32_t)strlen(name)}) != i;
	}
	ok(wrong == 0, "each setting is found by its name");
	ok(config_find((struct vg_id){"di", 2}) == -ENOENT &&
			config_find((struct vg_id){"dims", 4}) == -ENOENT &&
			config_find((struct vg_id){"", 0}) == -ENOENT,
		"and no other name");
}

static void test_default(void)
{
	struct op_config c = config_default();

	ok(strcmp(get(&c, CONFIG_DIM), "") == 0, "dim is not known at first");
	ok(strcmp(get(&c, CONFIG_DIM_SOURCE), "unknown") == 0, "nor from where");
	ok(strcmp(get(&c, CONFIG_METRIC), "cosine") == 0, "metric is cosine");
	ok(strcmp(get(&c, CONFIG_DTYPE), "f32") == 0, "dtype is f32");
	ok(strcmp(get(&c, CONFIG_M), "16") == 0, "m is 16");
	ok(strcmp(get(&c, CONFIG_EF_CONSTRUCTION), "auto") == 0 &&
			config_ef_construction(&c) == 128,
		"ef_construction is auto, which is 128");
	c.m = 64;
	ok(config_ef_construction(&c) == 512, "or more where m is larger");
	c.m = 16;
	ok(strcmp(get(&c, CONFIG_INDEX), "auto") == 0, "index is auto");
	ok(strcmp(get(&c, CONFIG_QUANT), "auto") == 0, "so is quant");
	ok(strcmp(get(&c, CONFIG_EF_SEARCH), "auto") == 0 &&
			config_ef_search(&c, 10) == 100,
		"so is ef_search, which is 100 at first");
	ok(strcmp(get(&c, CONFIG_TARGET_RECALL), "0.99") == 0 &&
			config_target_recall(&c) == .99,
		"target_recall is 0.99");
}

/* What every setting takes, and what it refuses with which sentence. */
static void test_values(void)
{
	static const struct {
		enum config_item item;
		const char *good[5];
		const char *bad[9];
	} cases[] = {
		{CONFIG_DIM, {"1", "65535", " 8\n", "0009"},
			{"0", "65536", "-1", "8.0", "8 8", "", "x", "+8"}},
		{CONFIG_METRIC, {"l2", "cosine", "ip\n", "l1"},
			{"L2", "euclidean", "", "l22", "0"}},
		{CONFIG_DTYPE, {"f32", "f16", "i8", "b1"},
			{"f64", "u8", "", "F32"}},
		{CONFIG_M, {"2", "64"}, {"1", "65", "0", "4294967312", "0x10"}},
		{CONFIG_EF_CONSTRUCTION, {"1", "100000", "auto", " auto\n"},
			{"0", "100001", "Auto", "none"}},
		{CONFIG_INDEX, {"hnsw", "flat", "auto"}, {"ivf", "", "hnsw flat"}},
		{CONFIG_QUANT, {"auto", "none", "sq8", "qg"}, {"pq", "", "8"}},
		{CONFIG_EF_SEARCH, {"1", "100000", "auto"},
			{"0", "100001", "99999999999999999999999"}},
		{CONFIG_TARGET_RECALL,
			{"0.9", ".99", "0.000001", " .999999\n"},
			{"0", "1", ".", "0.", "0.0", "00.5", "0.9999999", "-.5",
				"9e-1"}},
	};

	for (unsigned i = 0; i < VG_ARRAY_LEN(cases); i++) {
		const char *name = config_name(cases[i].item);
		unsigned wrong = 0, changed = 0;

		for (unsigned j = 0; cases[i].good[j]; j++) {
			struct op_config c = config_default();

			wrong += set(&c, cases[i].item, cases[i].good[j],
					 false) != 0;
		}
		for (unsigned j = 0; j < 9 && cases[i].bad[j]; j++) {
			struct op_config c = config_default(), was = c;

			wrong += set(&c, cases[i].item, cases[i].bad[j],
					 false) != -EINVAL;
			wrong += !strstr(why, name) || !strstr(why, "allowed");
			changed += !is_same(&c, &was);
		}
		ok(wrong == 0, "%s takes what it should: %s", name, why);
		ok(changed == 0, "and what is refused changes nothing");
	}
}

static void test_filled(void)
{
	struct op_config c = config_default(), was;

	c.dim = 8;
	c.dim_source = OP_SOURCE_JSON;
	c.dim_body_len = 1234567;
	was = c;
	ok(set(&c, CONFIG_DIM, "9", true) == -EBUSY &&
			strstr(why, "fixed at 8"),
		"with vectors in, dim is fixed: %s", why);
	ok(is_same(&c, &was), "nothing changed");
	ok(set(&c, CONFIG_METRIC, "l2", true) == 0 &&
			set(&c, CONFIG_M, "17", true) == 0 &&
			set(&c, CONFIG_EF_CONSTRUCTION, "1", true) == 0 &&
			set(&c, CONFIG_INDEX, "flat", true) == 0 &&
			set(&c, CONFIG_QUANT, "none", true) == 0,
		"how rows are linked is free");
	ok(c.metric == VG_L2 && c.m == 17 && c.ef_construction == 1 &&
			c.index == VG_FLAT && c.quant == VG_QUANT_NONE,
		"and set");
	c = was;
	ok(set(&c, CONFIG_METRIC, "cosine", true) == 0 &&
			set(&c, CONFIG_DIM, "8", true) == 0 &&
			set(&c, CONFIG_M, "16", true) == 0,
		"each can be set to what it is");
	ok(is_same(&c, &was), "which changes nothing, the source neither");
	ok(set(&c, CONFIG_EF_SEARCH, "7", true) == 0 && c.ef_search == 7,
		"ef_search is free");
	ok(set(&c, CONFIG_DIM_SOURCE, "raw", false) == -EACCES && why[0],
		"dim_source is written by nobody: %s", why);
	ok(strcmp(get(&c, CONFIG_DIM_SOURCE), "json, 1,234,567 bytes") == 0,
		"it says from what dim was read");
	ok(set(&c, CONFIG_DIM, "9", false) == 0 &&
			strcmp(get(&c, CONFIG_DIM_SOURCE), "written") == 0,
		"or that it was written");
}

static void test_ef(void)
{
	struct op_config c = config_default(), next;

	for (unsigned i = 0; i < OP_EF_CLASSES; i++)
		c.tuned[i] = 40 + i;
	ok(config_ef_search(&c, 1) == 40 && config_ef_search(&c, 20) == 40 &&
			config_ef_search(&c, 21) == 41 &&
			config_ef_search(&c, 200) == 41 &&
			config_ef_search(&c, 201) == 42 &&
			config_ef_search(&c, VG_K_MAX) == 42,
		"ef_search auto is what it was tuned to for that k");
	ok(set(&c, CONFIG_EF_SEARCH, "7", true) == 0 &&
			config_ef_search(&c, 1) == 7 &&
			config_ef_search(&c, 500) == 7,
		"one that was written wins");
	next = c;
	memset(next.tuned, 0, sizeof(next.tuned));
	must(set(&next, CONFIG_EF_SEARCH, "auto", true) == 0);
	config_replace(&c, &next);
	ok(config_ef_search(&c, 10) == 40, "and auto is what it was");
	must(set(&next, CONFIG_TARGET_RECALL, ".990", true) == 0);
	config_replace(&c, &next);
	ok(next.target_recall == 0 && config_ef_search(&c, 10) == 40,
		"a target_recall that is what it was changes nothing");
	must(set(&next, CONFIG_TARGET_RECALL, ".95", true) == 0);
	config_replace(&c, &next);
	ok(config_ef_search(&c, 10) == 100 &&
			strcmp(get(&c, CONFIG_TARGET_RECALL), "0.95") == 0,
		"another one begins anew");
	must(set(&c, CONFIG_TARGET_RECALL, "0.000100", true) == 0);
	ok(strcmp(get(&c, CONFIG_TARGET_RECALL), "0.0001") == 0,
		"it reads as a decimal without zeros at its end");
}

/* What goes together, and what comes with what. */
static void test_dtype(void)
{
	struct op_config c = config_default(), was = c;

	ok(set(&c, CONFIG_METRIC, "hamming", false) == -EINVAL &&
			strstr(why, "dtype is f32") && is_same(&c, &was),
		"numbers have no hamming distance: %s", why);
	ok(set(&c, CONFIG_DTYPE, "b1", false) == 0 && c.metric == VG_HAMMING,
		"bits bring it");
	was = c;
	ok(set(&c, CONFIG_METRIC, "l2", false) == -EINVAL &&
			strstr(why, "their metric is hamming") &&
			set(&c, CONFIG_METRIC, "cosine", true) == -EINVAL &&
			is_same(&c, &was),
		"and have no other: %s", why);
	ok(set(&c, CONFIG_DIM, "12", false) == -EINVAL &&
			strstr(why, "a multiple of 8") && is_same(&c, &was) &&
			set(&c, CONFIG_DIM, "16", false) == 0,
		"they fill bytes: %s", why);
	ok(set(&c, CONFIG_DTYPE, "i8", false) == 0 && c.metric == VG_COSINE &&
			c.dim == 16,
		"what is set instead has the default; dim was written, it stays");
	ok(set(&c, CONFIG_METRIC, "l1", false) == 0 &&
			set(&c, CONFIG_DTYPE, "f16", false) == 0 &&
			c.metric == VG_L1,
		"a metric that both have stays");
	c.dim = 12;
	c.dim_source = OP_SOURCE_TEXT;
	c.dim_body_len = 30;
	was = c;
	ok(set(&c, CONFIG_DTYPE, "i8", true) == -EBUSY &&
			strstr(why, "fixed at f16") && is_same(&c, &was),
		"with vectors in, dtype is fixed: %s", why);
	ok(set(&c, CONFIG_DTYPE, "f16", false) == 0 && is_same(&c, &was) &&
			set(&c, CONFIG_DTYPE, "b1", false) == 0 && c.dim == 0 &&
			c.dim_source == 0 && c.dim_body_len == 0,
		"an inferred dim goes with another dtype");
	was = c;
	ok(set_json(&c, "{\"metric\":\"l2\",\"dtype\":\"f32\"}", false) ==
				0 &&
			c.metric == VG_L2 && c.dtype == VG_F32 &&
			set_json(&c, "{\"metric\":\"hamming\",\"dtype\":\"b1\"}",
				false) == 0 &&
			is_same(&c, &was),
		"JSON sets both, in any order");
	ok(set_json(&c, "{\"dtype\":\"i8\"}", false) == 0 &&
			c.metric == VG_COSINE,
		"or dtype, and what comes with it");
	was = c;
	ok(set_json(&c, "{\"metric\":\"ip\",\"dtype\":\"b1\"}", false) ==
				-EINVAL &&
			set_json(&c, "{\"dim\":9,\"dtype\":\"b1\"}", false) ==
				-EINVAL &&
			is_same(&c, &was),
		"but nothing that does not go together: %s", why);
}

/* Lists are made of floats. */
static void test_lists(void)
{
	static const char *const dtypes[] = {"f16", "i8", "b1"};
	struct op_config c = config_default(), was;
	bool holds = true;

	must(set(&c, CONFIG_INDEX, "ivf_pq", false) == 0);
	was = c;
	for (size_t i = 0; i < VG_ARRAY_LEN(dtypes); i++)
		holds &= set(&c, CONFIG_DTYPE, dtypes[i], false) == -EINVAL &&
			 strstr(why, "index ivf_pq is for dtype f32") &&
			 is_same(&c, &was);
	ok(holds && set(&c, CONFIG_METRIC, "l1", true) == -EINVAL &&
			is_same(&c, &was),
		"with index ivf_pq no other dtype or metric is taken: %s", why);
	ok(set_json(&c, "{\"dtype\":\"i8\",\"index\":\"auto\"}", false) ==
				0 &&
			set(&c, CONFIG_INDEX, "ivf_pq", true) == -EINVAL &&
			c.index == VG_INDEX_AUTO,
		"nor it with them: %s", why);
}

static void test_json(void)
{
	struct op_config c = config_default(), was = c, d;
	char text[256];

	config_format_json(&c, text, sizeof(text));
	ok(strcmp(text,
		   "{\"metric\":\"cosine\",\"dtype\":\"f32\",\"m\":16,"
		   "\"ef_construction\":\"auto\",\"index\":\"auto\",\"quant\":\"auto\","
		   "\"target_recall\":0.99}") == 0,
		"as JSON, without a dim that is not known: %s", text);
	ok(set_json(&c, " { \"dim\" : 12 , \"metric\":\"ip\", \"m\": 4 } ",
		   false) == 0 &&
			c.dim == 12 && c.metric == VG_IP && c.m == 4,
		"members set their items, blanks do not count");
	config_format_json(&c, text, sizeof(text));
	d = config_default();
	ok(set_json(&d, text, false) == 0 && is_same(&c, &d),
		"what it prints sets the same");
	ok(set_json(&d, text, true) == 0, "also with vectors in");
	was = d;
	ok(set_json(&d, "{\"m\":5,\"metric\":\"l3\"}", false) == -EINVAL &&
			is_same(&d, &was),
		"one bad member and none is set: %s", why);
	ok(set_json(&d, "{\"m\":4,\"dim\":13}", true) == -EBUSY &&
			is_same(&d, &was),
		"nor with one that is fixed: %s", why);
	ok(set_json(&d, "{\"color\":1}", false) == -EINVAL &&
			strstr(why, "color"),
		"an unknown one is named: %s", why);
	ok(set_json(&d, "[1]", false) == -EINVAL && why[0],
		"no object, no settings: %s", why);
	ok(set_json(&d, "{\"m\":{\"a\":1}}", false) == -EINVAL &&
			set_json(&d, "{\"m\":null}", false) == -EINVAL &&
			set_json(&d, "{\"m\":\"\"}", false) == -EINVAL,
		"values of another kind are refused");
	ok(set_json(&d, "{}", false) == 0 && is_same(&d, &was),
		"an empty one sets nothing");
	ok(config_format_json(&c, text, 10) > 10 && strlen(text) == 9,
		"a short buffer gets what fits and the length");
}

/* What is refused is shown, in a line, however long and whatever bytes. */
static void test_shown(void)
{
	struct op_config c = config_default();
	static const struct {
		struct meta text;
		const char *shown;
	} cases[] = {
		{{"8\0", 2}, "'8?'"},
		{{"\0" "8", 2}, "'?8'"},
		{{" 8\n9\n", 5}, "'8?9'"},
		{{"\xff\t7", 3}, "'??7'"},
		{{"123456789012345678901234567890123", 33},
			"'1234567890123456789012345678901...'"},
		{{" \n", 2}, "''"},
	};
	unsigned shown = 0;

	for (unsigned i = 0; i < VG_ARRAY_LEN(cases); i++) {
		int rc = config_parse(&c, CONFIG_M, cases[i].text, false, why);
		bool is = rc == -EINVAL && strstr(why, cases[i].shown);

		shown += is;
		if (!is)
			diag("%d: %s", rc, why);
	}
	ok(shown == VG_ARRAY_LEN(cases), "what is no setting is shown in a line");
}

/* No text of any length up to 40 does harm, whatever byte it is made of. */
static void test_bytes(void)
{
	unsigned wrong = 0;

	for (unsigned byte = 0; byte < 256; byte++)
		for (uint32_t len = 0; len < 40; len++) {
			struct op_config c = config_default(), was = c;
			char text[40];

			memset(text, (int)byte, sizeof(text));
			for (int i = 0; i < CONFIG_ITEMS; i++) {
				int rc = config_parse(&c, (enum config_item)i,
					(struct meta){text, len}, false, why);

				wrong += rc == 0 && (byte < '1' || byte > '9');
				wrong += rc < 0 && !is_same(&c, &was);
				c = was;
			}
		}
	ok(wrong == 0, "any bytes are refused but numbers");
}

int main(void)
{
	plan(73);
	test_names();
	test_default();
	test_values();
	test_filled();
	test_ef();
	test_dtype();
	test_lists();
	test_json();
	test_shown();
	test_bytes();
	return done();
}
