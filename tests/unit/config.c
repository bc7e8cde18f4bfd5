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
	ok(strcmp(get(&c, CONFIG_EF_SEARCH), "100") == 0, "ef_search is 100");
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
		{CONFIG_METRIC, {"l2", "cosine", "ip\n"},
			{"L2", "euclidean", "", "l22", "0"}},
		{CONFIG_DTYPE, {"f32"}, {"f16", "i8", "", "F32"}},
		{CONFIG_M, {"2", "64"}, {"1", "65", "0", "4294967312", "0x10"}},
		{CONFIG_EF_CONSTRUCTION, {"1", "100000", "auto", " auto\n"},
			{"0", "100001", "Auto", "none"}},
		{CONFIG_INDEX, {"hnsw", "flat", "auto"}, {"ivf", "", "hnsw flat"}},
		{CONFIG_QUANT, {"auto", "none", "sq8"}, {"pq", "", "8"}},
		{CONFIG_EF_SEARCH, {"1", "100000"},
			{"0", "100001", "99999999999999999999999"}},
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

static void test_json(void)
{
	struct op_config c = config_default(), was = c, d;
	char text[256];

	config_format_json(&c, text, sizeof(text));
	ok(strcmp(text,
		   "{\"metric\":\"cosine\",\"dtype\":\"f32\",\"m\":16,"
		   "\"ef_construction\":\"auto\",\"index\":\"auto\",\"quant\":\"auto\"}") == 0,
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
	plan(50);
	test_names();
	test_default();
	test_values();
	test_filled();
	test_json();
	test_bytes();
	return done();
}
