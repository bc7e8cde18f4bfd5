/* SPDX-License-Identifier: Apache-2.0 */
/* fields_key.c: values as keys whose bytes are in their order. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fields_int.h"
#include "src/wire.h"

static_assert(FILTER_STRING < FIELDS_ELEMENT && FILTER_FALSE > FIELDS_EXISTS,
	"a type and whether it is an element's make a tag");
static_assert(FIELDS_KEY_MAX <= UINT8_MAX, "a key's length is a byte");

/* Room for n bytes of a payload that is made. -ENOMEM. */
static int reserve(struct fields_payload *p, size_t n)
{
	uint8_t *made;

	if (n <= p->cap)
		return 0;
	made = realloc(p->made, VG_MAX(n, (size_t)256));
	if (!made)
		return -ENOMEM;
	p->made = made;
	p->cap = VG_MAX(n, (size_t)256);
	return 0;
}

static int put_number(struct fields_payload *p, const struct decimal *num)
{
	int rc = reserve(p, DECIMAL_KEY_MAX(num->len));

	if (rc < 0)
		return rc;
	p->bytes = p->made;
	p->len = decimal_encode(num, p->made);
	return 0;
}

int fields_payload_of_value(struct fields_payload *p,
	const struct filter_value *v, bool is_element)
{
	assert(v->type != FILTER_NULL);
	p->tag = (uint8_t)(v->type + (is_element ? FIELDS_ELEMENT : 0));
	p->bytes = NULL;
	p->len = 0;
	if (v->type == FILTER_NUMBER)
		return put_number(p, &v->num);
	if (v->type == FILTER_STRING) {
		p->bytes = (const uint8_t *)v->text;
		p->len = v->len;
	}
	return 0;
}

/* What is escaped must be made; else it is used where it stands. */
static int put_string(struct fields_payload *p, const struct json_token *token)
{
	int rc;

	p->bytes = (const uint8_t *)token->text;
	p->len = token->len;
	if (!token->is_escaped)
		return 0;
	rc = reserve(p, token->len);
	if (rc < 0)
		return rc;
	p->bytes = p->made;
	p->len = json_string_decode(token, (char *)p->made);
	return 0;
}

int fields_payload_of_hit(struct fields_payload *p,
	const struct filter_hit *hit)
{
	const struct json_token *token = &hit->token;
	struct decimal num;
	int type = FILTER_STRING, rc = 0;

	p->bytes = NULL;
	p->len = 0;
	switch (token->type) {
	case JSON_FALSE:
		type = FILTER_FALSE;
		break;
	case JSON_TRUE:
		type = FILTER_TRUE;
		break;
	case JSON_NUMBER:
		type = FILTER_NUMBER;
		num = decimal_scan(token->text, (uint32_t)token->len);
		rc = put_number(p, &num);
		break;
	default:
		assert(token->type == JSON_STRING);
		rc = put_string(p, token);
	}
	p->tag = (uint8_t)(type + (hit->is_element ? FIELDS_ELEMENT : 0));
	return rc;
}

size_t fields_key(const struct fields_payload *p, uint8_t out[FIELDS_KEY_MAX])
{
	size_t len = VG_MIN(p->len, (size_t)FIELDS_PAYLOAD_MAX);

	out[0] = p->tag;
	if (len > 0)
		memcpy(out + 1, p->bytes, len);
	if (p->len <= FIELDS_PAYLOAD_MAX)
		return 1 + len;
	uint64_t hash = wire_hash(p->bytes, p->len);
	for (uint32_t i = 0; i < 8; i++)
		out[1 + FIELDS_PAYLOAD_MAX + i] = (uint8_t)(hash >> (56 - 8 * i));
	return FIELDS_KEY_MAX;
}

int fields_compare(const uint8_t *a, size_t a_len, const uint8_t *b,
	size_t b_len)
{
	int order = memcmp(a, b, VG_MIN(a_len, b_len));

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}
