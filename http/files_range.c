/*
 * http/files_range.c - which parts of a file are asked for: RFC 9110, section 14.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/internal/files.h"

static void skip_space(struct torc_slice *in)
{
	while (in->len && (*in->data == ' ' || *in->data == '\t')) {
		in->data++;
		in->len--;
	}
}

static bool skip_byte(struct torc_slice *in, char c)
{
	if (!in->len || *in->data != c)
		return false;
	in->data++;
	in->len--;
	return true;
}

/* Digits; what is too large for the type is larger than any file. */
static bool number(struct torc_slice *in, uint64_t *ret)
{
	size_t digits = 0;

	*ret = 0;
	for (; in->len && *in->data >= '0' && *in->data <= '9'; digits++) {
		unsigned digit = (unsigned)(*in->data - '0');

		*ret = *ret > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *ret * 10 + digit;
		in->data++;
		in->len--;
	}
	return digits;
}

/* "-5": the last five. */
static int suffix_range(struct torc_slice *in, uint64_t size, struct torc__http_range *ret)
{
	uint64_t last;

	if (!skip_byte(in, '-') || !number(in, &last))
		return -EINVAL;
	ret->len = last < size ? last : size;
	ret->first = size - ret->len;
	return ret->len ? 1 : 0;
}

/* 1, 0 when the file has nothing of it, or -EINVAL. */
static int one_range(struct torc_slice *in, uint64_t size, struct torc__http_range *ret)
{
	uint64_t first, last = UINT64_MAX;

	if (in->len && *in->data == '-')
		return suffix_range(in, size, ret);
	if (!number(in, &first) || !skip_byte(in, '-'))
		return -EINVAL;
	if (number(in, &last)) {
		if (last < first)
			return -EINVAL;
	} else {
		last = UINT64_MAX;
	}
	if (first >= size)
		return 0;
	if (last >= size)
		last = size - 1;
	*ret = (struct torc__http_range){ first, last - first + 1 };
	return 1;
}

/* They overlap, or one begins where the other ends. */
static bool touch(const struct torc__http_range *a, const struct torc__http_range *b)
{
	return a->first <= b->first + b->len && b->first <= a->first + a->len;
}

static void extend(struct torc__http_range *a, const struct torc__http_range *b)
{
	uint64_t end = a->first + a->len, other = b->first + b->len;

	if (b->first < a->first)
		a->first = b->first;
	a->len = (end > other ? end : other) - a->first;
}

/*
 * Put one more to `count` that are apart. What it touches becomes one with it, in the place of the first of them: so that
 * nobody gets more than the file by asking for it again and again. Returns how many there are then.
 */
static unsigned add(struct torc__http_range *ranges, unsigned count, struct torc__http_range more)
{
	unsigned place = count, kept = 0;

	for (unsigned i = 0; i < count; i++) {
		if (touch(&ranges[i], &more)) {
			extend(&more, &ranges[i]);
			if (place < count)
				continue; /* its place was left empty further in front */
			place = kept;
		}
		ranges[kept++] = ranges[i];
	}
	if (place == count)
		place = kept++;
	ranges[place] = more;
	return kept;
}

static bool is_bytes(struct torc_slice *in)
{
	skip_space(in);
	if (in->len < 6 || strncasecmp(in->data, "bytes=", 6) != 0)
		return false;
	in->data += 6;
	in->len -= 6;
	return true;
}

int torc__http_ranges(struct torc_slice in, uint64_t size, unsigned most,
		      struct torc__http_range ranges[TORC__HTTP_RANGES_MAX])
{
	unsigned count = 0, asked = 0;

	/* There are clients that ask for a range of everything; a range of nothing there is not. */
	if (!is_bytes(&in) || !size)
		return 0;
	for (;;) {
		struct torc__http_range more;
		int r;

		skip_space(&in);
		if (skip_byte(&in, ',')) /* an empty element of the list */
			continue;
		if (!in.len)
			break;
		r = one_range(&in, size, &more);
		skip_space(&in);
		if (r < 0 || (in.len && *in.data != ',') || ++asked > most)
			return 0;
		if (r)
			count = add(ranges, count, more);
	}
	if (!asked)
		return 0;
	return count ? (int)count : -ERANGE;
}
