/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c: see answer.h. */
#include "fs/answer.h"

#include <assert.h>
#include <string.h>

static const char *const fmt_words[] = {
	[ANSWER_NDJSON] = "ndjson",
	[ANSWER_JSON] = "json",
	[ANSWER_TSV] = "tsv",
	[ANSWER_IDS] = "ids",
	[ANSWER_DIST] = "dist",
	[ANSWER_F32] = "f32",
	[ANSWER_NPY] = "npy",
};

static_assert(VG_ARRAY_LEN(fmt_words) == ANSWER_FMTS, "a word per format");

enum answer_fmt answer_find_fmt(const char *word, size_t len)
{
	for (int fmt = 0; fmt < ANSWER_FMTS; fmt++)
		if (len == strlen(fmt_words[fmt]) &&
			memcmp(word, fmt_words[fmt], len) == 0)
			return (enum answer_fmt)fmt;
	return ANSWER_FMTS;
}

const char *answer_get_fmt(enum answer_fmt fmt)
{
	assert(fmt < ANSWER_FMTS);
	return fmt_words[fmt];
}
