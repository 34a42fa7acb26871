/*
 * http/accept.c - which coding a client would rather have: RFC 9110, section 12.5.3.
 */
#include <string.h>
#include <strings.h>

#include "http/internal/coding.h"

/* q in thousandths; what is not known is not said. */
#define UNSAID (-1)

int torc__http_q(struct torc_slice text)
{
	int q = 0, unit = 1000;

	if (text.len < 3 || text.len > 7 || (*text.data | 0x20) != 'q' || text.data[1] != '=')
		return 0;
	for (size_t i = 2; i < text.len; i++) {
		if (i == 3) {
			if (text.data[i] != '.')
				return 0;
			continue;
		}
		if (text.data[i] < '0' || text.data[i] > '9')
			return 0;
		q += (text.data[i] - '0') * unit;
		unit /= 10;
	}
	return q <= 1000 ? q : 0;
}

/* "gzip;q=0.5": its name, and how much it is wanted. */
static int read_element(struct torc_slice element, struct torc_slice *ret_name)
{
	const char *end = element.data + element.len;
	const char *semicolon = memchr(element.data, ';', element.len);

	*ret_name = torc__http_trim(element.data, semicolon ? semicolon : end);
	return semicolon ? torc__http_q(torc__http_trim(semicolon + 1, end)) : 1000;
}

static bool is_meant(struct torc_slice token, const char *name)
{
	return torc__http_slice_is_word(token, name) ||
	       (torc__http_slice_is_word(token, "x-gzip") && !strcmp(name, "gzip"));
}

/* How much a coding is wanted, by its own name; where it is not said, as one of all others: *ret_other. */
static int wish(const struct torc_http_exchange *x, const char *name, int *ret_other)
{
	struct torc_slice list, element, token;
	int own = UNSAID, other = UNSAID;
	size_t at = 0;

	while (torc_http_next_value(x, "Accept-Encoding", &at, &list))
		while (torc_http_next_element(&list, &element)) {
			int q = read_element(element, &token);

			if (is_meant(token, name))
				own = q;
			else if (torc__http_slice_is_word(token, "*"))
				other = q;
		}
	*ret_other = other;
	return own;
}

struct torc__http_choice torc__http_choose(const struct torc_http_exchange *x,
					   const struct torc_http_coding *const *codings)
{
	struct torc__http_choice best = { NULL, false };
	int other, best_q = wish(x, "identity", &other);

	/* Who has not said how much the plain one is wanted rather has it compressed; who refuses everything gets the
	 * plain one all the same. */
	best.refuses_identity = best_q == 0 || (best_q == UNSAID && other == 0);
	best_q = best_q > 0 ? best_q : 0;
	for (; *codings; codings++) {
		int q = wish(x, (*codings)->name, &other);
		bool better;

		q = q == UNSAID ? other : q;
		better = best.coding ? q > best_q : q >= best_q;
		if (q > 0 && better) {
			best.coding = *codings;
			best_q = q;
		}
	}
	return best;
}
