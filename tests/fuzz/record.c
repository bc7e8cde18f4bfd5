/* SPDX-License-Identifier: Apache-2.0 */
/* record.c: any bytes as a body: parsed, probed, as a batch, and back. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/element.h"
#include "src/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(holds)                                                       \
	do {                                                               \
		if (!(holds))                                              \
			abort();                                           \
	} while (0)

/* What was parsed can be written in every form and read back as it was. */
static void there_and_back(enum vg_dtype dtype, const struct record *r)
{
	const struct record_row row = {r->vec, r->dim, dtype};
	struct record_parser p;
	struct record_meta meta = {r->meta, r->meta_len};
	struct record again;

	record_parser_init(&p);
	p.dtype = dtype;
	for (int form = RECORD_RAW; form <= RECORD_TEXT; form++) {
		size_t n = record_format((enum record_form)form, &row,
			&meta, NULL, 0);
		char *text = malloc(n);
		check(text);
		check(record_format((enum record_form)form, &row,
			&meta, text, n) == n);
		check(record_parse(&p, (enum record_form)form, text, n, r->dim,
			&again) == 0);
		check(again.dim == r->dim && memcmp(again.vec, r->vec,
			vg_row_len(dtype, r->dim)) == 0);
		check(form != RECORD_JSON || (again.meta_len == r->meta_len &&
			memcmp(again.meta ? again.meta : "", r->meta ? r->meta :
				"", r->meta_len) == 0));
		free(text);
	}
	record_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_parser p, prober;
	struct record_batch batch;
	struct record r;

	if (size < 2)
		return 0;
	uint32_t dim = data[0];
	enum record_form form = (enum record_form)(data[1] % 5);
	enum vg_dtype dtype = (enum vg_dtype)(VG_F32 + data[1] / 5 % 4);
	data += 2;
	size -= 2;
	record_parser_init(&p);
	record_parser_init(&prober);
	p.dtype = prober.dtype = dtype;
	int rc = record_parse(&p, form, data, size, dim, &r);
	check(rc == 0 || p.error[0]);
	if (rc == 0 && r.vec) {
		check(!dim || r.dim == dim);
		for (uint32_t i = 0; i < r.dim; i++)
			check(isfinite(element_get(dtype, r.vec, i)));
		there_and_back(dtype, &r);
	}
	/* What becomes valid was never refused on the way. */
	if (rc == 0 && r.source != OP_SOURCE_RAW) {
		check(record_probe(&prober, form, data, size, dim) == 0);
		check(record_probe(&prober, form, data, size / 2, dim) == 0);
		check(record_probe(&prober, form, data, size - 1, dim) == 0);
	} else {
		record_probe(&prober, form, data, size, dim);
	}
	rc = record_parse_batch(&prober, data, size, dim, &batch);
	check(rc == 0 || prober.error[0]);
	if (rc == 0) {
		for (size_t i = 0; i < (size_t)batch.n * batch.dim; i++)
			check(isfinite(element_get(dtype, batch.vecs, i)));
	}
	record_parser_fini(&prober);
	record_parser_fini(&p);
	return 0;
}
