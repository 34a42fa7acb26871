/*
 * http/internal/parse.c - what is known of field names, and what the callers of both parsers need.
 */
#include "http/internal/parse.h"

#include <string.h>

#include "http/internal/parse_names.h"

const uint8_t torc__http_name_slot[512] = {
#define NAME_SLOT(token, name, second, last_but_one) \
	[NAME_HASH(sizeof(name) - 1, second, last_but_one)] = TORC__HTTP_NAME_##token,
	TORC__HTTP_NAMES(NAME_SLOT)
#undef NAME_SLOT
};

const struct torc__http_name_text torc__http_name_texts[TORC__HTTP_NAME_COUNT]
	__attribute__((aligned(NAME_BYTES))) = {
#define NAME_TEXT(token, name, ...) [TORC__HTTP_NAME_##token] = { name, sizeof(name) - 1 },
		TORC__HTTP_NAMES(NAME_TEXT)
#undef NAME_TEXT
	};

_Static_assert(TORC__HTTP_NAME_COUNT <= 64, "known_set has 64 bits");

enum torc__http_name torc__http_name_find(const char *name, size_t len)
{
	return len < 2 ? TORC__HTTP_NAME_OTHER : name_find(name, len, len);
}

const struct torc__http_field *torc__http_field_find(const struct torc__http_head *h,
						     enum torc__http_name known)
{
	if (!(h->known_set >> known & 1))
		return NULL;
	for (unsigned i = 0; i < h->field_count; i++)
		if (h->fields[i].known == known)
			return &h->fields[i];
	return NULL;
}

bool torc__http_head_grew(const char *buf, size_t len, const struct torc__http_limits *lim,
			  size_t *scanned)
{
	if (len >= lim->head_bytes || memchr(buf + *scanned, '\n', len - *scanned))
		return true;
	if (len > lim->line_bytes && *scanned <= lim->line_bytes + 4)
		return true; /* around the limit of the first line */
	*scanned = len;
	return false;
}
