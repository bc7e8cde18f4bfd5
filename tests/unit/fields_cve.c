/* SPDX-License-Identifier: Apache-2.0 */
/* fields_cve.c: filters over 42,026 real records, where $VG_DATA has them. */
#include <errno.h>
#include <roaring/roaring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fieldkit.h"
#include "tests/tap.h"

/* The filters of cve/filters.json by name, in our words. */
static const struct {
	const char *name, *where;
} filters[] = {
	{"kev", "kev.eq=true"},
	{"critical", "severity.eq=CRITICAL"},
	{"y2023", "year.eq=2023"},
	{"score9auto", "cvss.gte=9.0 and automatable.eq=true"},
	{"linux", "vendor.eq=linux"},
	{"xss", "cwe.contains=CWE-79"},
	{"since_july", "published_ts.gte=1719792000"},
	{"serious", "severity.in=HIGH,CRITICAL and exploitation.ne=none"},
	{"unscored", "cvss.exists=0"},
	{"not_network", "vector.exists=1 and not vector.eq=network"},
	{"score_band", "cvss.gte=6.5 and cvss.lt=7.0"},
	{"patchstack", "assigner.eq=Patchstack and references.eq=1"},
	{"qnap", "vendor.eq=qnap"},
	{"curl", "vendor.eq=curl or product.eq=curl"},
	{"nothing", "year.eq=1970"},
};

static struct fk_records records;

static bool load_records(const char *dir)
{
	static char line[VG_META_MAX];
	char command[4096];

	snprintf(command, sizeof(command),
		"gzip -dc '%s/cve/cve_base.jsonl.gz' 2>/dev/null", dir);
	FILE *in = popen(command, "r");
	must(in);
	while (fgets(line, sizeof(line), in))
		fk_add(&records, line);
	pclose(in);
	return records.n > 0;
}

/* How many records filters.json says the filter has; -1: none of that name. */
static long stated(const char *json, const char *name)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"name\": \"%s\"", name);
	at = strstr(json, quoted);
	at = at ? strstr(at, "\"matches\": ") : NULL;
	return at ? strtol(at + 11, NULL, 10) : -1;
}

static int add_up(void *ctx, struct meta json, uint32_t n)
{
	uint64_t *sum = ctx;

	(void)json;
	*sum += n;
	return 0;
}

int main(void)
{
	static char json[65536];
	const char *dir = getenv("VG_DATA");
	char path[4096];
	struct fields *f;
	size_t n_right = 0;

	if (!dir)
		skip_all("VG_DATA is not set");
	snprintf(path, sizeof(path), "%s/cve/filters.json", dir);
	FILE *in = fopen(path, "r");
	if (!in || !load_records(dir))
		skip_all("VG_DATA has no cve");
	json[fread(json, 1, sizeof(json) - 1, in)] = 0;
	fclose(in);

	plan(4);
	must(fields_new(SIZE_MAX, 64, &f) == 0);
	ok(records.n == 42026, "there are 42,026 records");
	for (size_t i = 0; i < VG_ARRAY_LEN(filters); i++) {
		struct filter *filter = fk_where(filters[i].where);
		uint32_t n = 0;
		bool agree = fk_agree(f, filter, &records.rows, &n);
		long want = stated(json, filters[i].name);
		n_right += agree && (long)n == want;
		if (!agree || (long)n != want)
			diag("%s: %u instead of %ld", filters[i].name, n, want);
		filter_free(filter);
	}
	ok(n_right == VG_ARRAY_LEN(filters), "each filter has as many as it is "
		"said to have, by metadata and by index");

	struct vg_id severity = {"severity", 8};
	uint64_t sum = 0;
	must(fields_facet(f, severity, &records.rows, NULL, add_up, &sum) == 0);
	ok(sum == 42026 - 10770, "its facets of severity are all that are "
		"scored");
	struct filter *text = fk_where("text.contains=overflow and not "
		"text.contains=\"buffer overflow\" or title.prefix=Linux");
	uint32_t n;
	ok(fk_agree(f, text, &records.rows, &n) && n > 100 && n < 40000,
		"text that is longer than a key is found, too");
	filter_free(text);
	fields_free(f);
	fk_fini(&records);
	return done();
}
