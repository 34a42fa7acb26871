/*
 * parse_names.h - compare without regard to case, and tell the known field names.
 */
#ifndef TORC_HTTP_INTERNAL_PARSE_NAMES_H
#define TORC_HTTP_INTERNAL_PARSE_NAMES_H

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "http/internal/parse.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static inline uint64_t load8(const char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint32_t load4(const char *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/*
 * A perfect hash of the known names, found by trial.  A letter is multiplied by 16 at least, which moves the
 * bit that tells lower from upper case out of the 9 bits that count.
 */
#define NAME_HASH(len, second, last_but_one) ((((second)*5u + (last_but_one)) * 16u + (len)) & 511u)

#define NAME_BYTES 32 /* of an entry; equals_lower_32 loads all of it */

struct torc__http_name_text {
	char text[NAME_BYTES - 1];
	uint8_t len;
};

/* Said to be hidden, as their addresses would be loads from the GOT otherwise: -fvisibility is about definitions. */
extern const uint8_t torc__http_name_slot[512] __attribute__((visibility("hidden")));
extern const struct torc__http_name_text torc__http_name_texts[TORC__HTTP_NAME_COUNT]
	__attribute__((aligned(NAME_BYTES), visibility("hidden")));

#define LOWER 0x2020202020202020u

static inline uint64_t diff8(const char *p, const char *text)
{
	return (load8(p) | LOWER) ^ load8(text);
}

static inline uint32_t diff4(const char *p, const char *text)
{
	return (load4(p) | (uint32_t)LOWER) ^ load4(text);
}

/*
 * Are @len bytes at @p, up to 32, the lower-case @text, regardless of case?  Setting bit 5 makes
 * letters lower case and leaves digits and '-' alone.  It also maps other bytes onto those, but
 * these are controls, which neither a name nor a value contains.  Words that would reach behind
 * the name overlap the ones before instead.
 */
static inline bool equals_lower(const char *p, const char *text, size_t len)
{
	uint64_t diff = 0;

	if (len >= 8) {
		diff = diff8(p, text) | diff8(p + len - 8, text + len - 8);
		if (len > 16)
			diff |= diff8(p + 8, text + 8) | diff8(p + len - 16, text + len - 16);
	} else if (len >= 4) {
		diff = diff4(p, text) | diff4(p + len - 4, text + len - 4);
	} else {
		for (size_t i = 0; i < len; i++)
			diff |= (unsigned char)((p[i] | 0x20) ^ text[i]);
	}
	return diff == 0;
}

/*
 * The same with one comparison for all lengths up to 31, so no branch for the processor to guess, of
 * @p which has 32 readable bytes.
 */
static inline bool equals_lower_32(const char *p, const char *text, size_t len)
{
#if defined(__SSE2__)
	const __m128i *v = (const void *)p, *t = (const void *)text;
	const __m128i bit = _mm_set1_epi8(0x20);
	__m128i low = _mm_cmpeq_epi8(_mm_or_si128(_mm_loadu_si128(v), bit), _mm_load_si128(t));
	__m128i high =
		_mm_cmpeq_epi8(_mm_or_si128(_mm_loadu_si128(v + 1), bit), _mm_load_si128(t + 1));
	uint32_t same = (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;

	return (uint32_t)~same << (32 - len) == 0;
#else
	return equals_lower(p, text, len);
#endif
}

/* Of a name in a head, which has a byte before and one behind; the case of the two does not matter. */
static inline unsigned name_candidate(const char *name, size_t len)
{
	unsigned second = (unsigned char)name[1], last_but_one = (unsigned char)name[len - 2];

	return torc__http_name_slot[NAME_HASH((unsigned)len, second, last_but_one)];
}

/*
 * @room bytes can be read at @name, of which @len are the name.  Branches, which the processor guesses well,
 * rather than conditional moves: nothing has to wait for the comparison.
 */
static inline unsigned name_find(const char *name, size_t len, size_t room)
{
	size_t known = name_candidate(name, len);
	const char *text = torc__http_name_texts[known].text;

	if (torc__http_name_texts[known].len != len)
		return TORC__HTTP_NAME_OTHER;
	if (likely(room >= NAME_BYTES)) {
		if (unlikely(!equals_lower_32(name, text, len)))
			goto other;
	} else if (!equals_lower(name, text, len)) {
		goto other;
	}
	return (unsigned)known;
other:
	__asm__ volatile("");
	return TORC__HTTP_NAME_OTHER;
}

#endif
