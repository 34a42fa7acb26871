/*
 * http/files_coding.c - which compressed form a client would rather have: RFC 9110, section 12.5.3.
 */
#include <string.h>
#include <strings.h>

#include "http/internal/coding.h"
#include "http/internal/files.h"

static const struct coding {
	const char *name, *suffix;
	enum torc__http_coding coding;
} codings[] = {
	{ "br", ".br", TORC__HTTP_BR },
	{ "zstd", ".zst", TORC__HTTP_ZSTD },
	{ "gzip", ".gz", TORC__HTTP_GZIP },
};

#define CODINGS (sizeof(codings) / sizeof(codings[0]))

const char *torc__http_coding_suffix(enum torc__http_coding coding)
{
	for (size_t i = 0; i < CODINGS; i++)
		if (codings[i].coding == coding)
			return codings[i].suffix;
	return "";
}

const char *torc__http_coding_name(enum torc__http_coding coding)
{
	for (size_t i = 0; i < CODINGS; i++)
		if (codings[i].coding == coding)
			return codings[i].name;
	return "identity";
}

/* q in thousandths; what is not known is not said. */
#define UNSAID (-1)

struct wishes {
	int q[CODINGS], identity, other;
};

static int *wish_of(struct wishes *w, struct torc_slice token)
{
	for (size_t i = 0; i < CODINGS; i++)
		if (torc__http_slice_is_word(token, codings[i].name))
			return &w->q[i];
	if (torc__http_slice_is_word(token, "x-gzip"))
		return &w->q[CODINGS - 1];
	if (torc__http_slice_is_word(token, "identity"))
		return &w->identity;
	return torc__http_slice_is_word(token, "*") ? &w->other : NULL;
}

static void read_element(struct wishes *w, const char *begin, const char *end)
{
	const char *semicolon = memchr(begin, ';', (size_t)(end - begin));
	int *wish = wish_of(w, torc__http_trim(begin, semicolon ? semicolon : end));

	if (wish)
		*wish = semicolon ? torc__http_q(torc__http_trim(semicolon + 1, end)) : 1000;
}

static void read_list(struct wishes *w, struct torc_slice list)
{
	const char *p = list.data, *end = p + list.len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		read_element(w, p, comma ? comma : end);
		p = comma ? comma + 1 : end;
	}
}

enum torc__http_coding torc__http_coding_choose(const struct torc_http_exchange *x, unsigned there)
{
	struct wishes w = { .q = { UNSAID, UNSAID, UNSAID }, .identity = UNSAID, .other = UNSAID };
	enum torc__http_coding best = TORC__HTTP_IDENTITY;
	struct torc_slice list;
	unsigned at = 0;
	int best_q;

	while (torc__http_next_field(x, TORC__HTTP_NAME_ACCEPT_ENCODING, &at, &list))
		read_list(&w, list);
	/* Who has not said how much the plain one is wanted rather has it compressed; who refuses everything gets the
	 * plain one all the same. */
	best_q = w.identity > 0 ? w.identity : 0;
	for (size_t i = 0; i < CODINGS; i++) {
		int q = w.q[i] == UNSAID ? w.other : w.q[i];
		bool better = best ? q > best_q : q >= best_q;

		if (q > 0 && better && there & codings[i].coding) {
			best = codings[i].coding;
			best_q = q;
		}
	}
	return best;
}
