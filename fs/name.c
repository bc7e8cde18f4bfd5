/* SPDX-License-Identifier: Apache-2.0 */
/* name.c: see name.h. */
#include "fs/name.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char *const kind_names[] = {
	[NAME_QUERY] = "query",
	[NAME_AS] = ".as",
	[NAME_META] = ".meta",
	[NAME_SNAP] = ".snap",
	[NAME_TX] = ".tx",
	[NAME_CONFIG] = ".config",
	[NAME_STATS] = ".stats",
	[NAME_IMPORT] = ".import",
	[NAME_EXPORT] = ".export",
	[NAME_HELP] = ".help",
	[NAME_DELETE_WHERE] = ".delete-where",
};

static_assert(VG_ARRAY_LEN(kind_names) == NAME_KINDS, "a name per kind");

#define QUERY_ESCAPED "%71uery"
#define QUERY_ESCAPED_LEN (sizeof(QUERY_ESCAPED) - 1)

static bool is_bytes(const char *a, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(a, word, len) == 0;
}

/*
 * The byte that the three at a[i], of len in all, stand for; -1: they are
 * plain. The one place that knows what decodes, for both directions.
 */
static int escape_find(const char *a, size_t len, size_t i)
{
	if (a[i] != '%' || len - i < 3)
		return -1;
	if (a[i + 1] == '2') {
		switch (a[i + 2]) {
		case 'F':
			return '/';
		case '5':
			return '%';
		case 'E':
			return i == 0 ? '.' : -1;
		default:
			return -1;
		}
	}
	if (i == 0 && is_bytes(a, len, QUERY_ESCAPED))
		return 'q';
	return -1;
}

/* Whether name[len] has nothing that a spelling never has. */
static bool is_spelling(const char *name, size_t len)
{
	return name[0] != '.' && !memchr(name, '/', len) &&
	       !memchr(name, '\0', len) && !is_bytes(name, len, "query");
}

int name_encode(struct vg_id id, char buf[NAME_ENCODED_MAX], size_t *len)
{
	const char *a = id.bytes;
	size_t n = 0;

	if (id.len == 0 || id.len > VG_ID_MAX || memchr(a, '\0', id.len))
		return -EINVAL;
	if (is_bytes(a, id.len, "query")) {
		memcpy(buf, QUERY_ESCAPED, QUERY_ESCAPED_LEN);
		*len = QUERY_ESCAPED_LEN;
		return 0;
	}
	for (size_t i = 0; i < id.len; i++) {
		const char *escaped = NULL;

		if (a[i] == '/')
			escaped = "%2F";
		else if (a[i] == '.' && i == 0)
			escaped = "%2E";
		else if (escape_find(a, id.len, i) >= 0)
			escaped = "%25";
		if (escaped) {
			memcpy(buf + n, escaped, 3);
			n += 3;
		} else {
			buf[n++] = a[i];
		}
	}
	assert(n >= id.len && n <= NAME_ENCODED_MAX);
	*len = n;
	return n > NAME_LEN_MAX ? -ENAMETOOLONG : 0;
}

/* Undoes the escapes of name[len] into buf; the bytes written, or a rc. */
static int unescape(const char *name, size_t len, char buf[VG_ID_MAX])
{
	int n = 0;

	for (size_t i = 0; i < len; i++) {
		int byte = escape_find(name, len, i);

		if (n == VG_ID_MAX)
			return -ENAMETOOLONG;
		if (byte >= 0)
			i += 2;
		buf[n++] = byte >= 0 ? (char)byte : name[i];
	}
	return n;
}

int name_decode(const char *name, size_t len, char buf[VG_ID_MAX],
	struct vg_id *id)
{
	char again[NAME_ENCODED_MAX];
	size_t again_len;
	int n;

	if (len == 0 || !is_spelling(name, len))
		return -EINVAL;
	if (!memchr(name, '%', len)) {
		if (len > VG_ID_MAX)
			return -ENAMETOOLONG;
		*id = (struct vg_id){name, (uint32_t)len};
		return 0;
	}
	if (len > NAME_ENCODED_MAX)
		return -ENAMETOOLONG;
	n = unescape(name, len, buf);
	if (n < 0)
		return n;

	struct vg_id read = {buf, (uint32_t)n};
	int rc = name_encode(read, again, &again_len);

	assert(rc != -EINVAL); /* no NUL got in, and no id is empty */
	(void)rc;
	if (again_len != len || memcmp(again, name, len) != 0)
		return -EINVAL;
	*id = read;
	return 0;
}

enum name_kind name_find(const char *name, size_t len)
{
	if (len == 0 || (name[0] != '.' && name[0] != 'q'))
		return NAME_RECORD;
	for (int kind = NAME_QUERY; kind < NAME_KINDS; kind++)
		if (is_bytes(name, len, kind_names[kind]))
			return (enum name_kind)kind;
	if (name_get_if(name, len, &(uint64_t){0}))
		return NAME_IF;
	return name[0] == '.' ? NAME_STAGING : NAME_RECORD;
}

/* Digits without a zero in front: one name for each number. */
bool name_get_if(const char *name, size_t len, uint64_t *number)
{
	static const char word[] = ".if=";
	size_t at = sizeof(word) - 1;
	uint64_t n = 0;

	if (len <= at || len > at + 18 || memcmp(name, word, at) != 0 ||
		(name[at] == '0' && len > at + 1))
		return false;
	for (; at < len; at++) {
		if (name[at] < '0' || name[at] > '9')
			return false;
		n = n * 10 + (uint64_t)(name[at] - '0');
	}
	*number = n;
	return true;
}

const char *name_get(enum name_kind kind)
{
	assert(kind < NAME_KINDS);
	return kind_names[kind];
}
