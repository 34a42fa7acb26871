/*
 * scan.h - find the bytes that end a field name or a field value, 64 bytes at a time.
 *
 * The head parser never looks at a byte twice and hardly ever at a single byte.  A first stage
 * classifies a window of the input with vector instructions into two bitmaps, one bit per byte:
 *
 *   name   the byte cannot be part of a field name or method: it is no tchar (RFC 9110 5.6.2), or
 *          it is '#'.  '#' is a legal tchar, nobody uses it, and as a stop it makes the same
 *          bitmap find the end of a request target and refuse fragments there.
 *   value  the byte cannot be part of a field value: a control byte other than HTAB, or DEL
 *          (RFC 9110 5.5).  That includes CR, which ends every honest value.
 *
 * The second stage (parse_fields.h) then jumps from stop to stop with count-trailing-zeros.  Everything
 * that depends on the instruction set is in the first stage, whose answer is a pure function of
 * the bytes, so "SIMD equals scalar" is one statement about torc__http_scan_fill.
 *
 * A window is small because a pipeline of 40-byte requests starts a new window for each: what lies
 * behind the head in the same window is classified in vain.  It is filled on demand, so a head of
 * any size needs the same few bytes of stack.
 *
 * Invariants: 1. bit i of word w stands for buf[base + 64 w + i].  2. All bits from buf[len] on are
 * set in the word that holds buf[len], so a search ends there at the latest.  3. The three guard words
 * are zero, so a search that reaches the end of the window, or starts just behind it, takes the slow
 * path and refills.
 */
#ifndef TORC_HTTP_INTERNAL_SCAN_H
#define TORC_HTTP_INTERNAL_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The first window is small, for the sake of pipelined requests of 40 bytes; a head that needs a
 * second window is of the longer sort and gets larger ones.  See bench/http_parse.c.
 */
#define TORC__HTTP_SCAN_WORDS_FIRST 2
#define TORC__HTTP_SCAN_WORDS       12

struct torc__http_scan {
	const char *buf;
	size_t len;     /* bytes readable at buf */
	size_t base;    /* offset of the window's first byte, 0 .. len */
	unsigned words; /* of the window */
	uint64_t name[TORC__HTTP_SCAN_WORDS + 3];
	uint64_t value[TORC__HTTP_SCAN_WORDS + 3];
};

/* Of bits, which are not 0.  By way of unsigned, as the extension of a sign would cost an instruction. */
static inline size_t torc__http_first_bit(uint64_t bits)
{
	return (unsigned)__builtin_ctzll(bits);
}

enum torc__http_isa {
	TORC__HTTP_ISA_AUTO, /* the best that this CPU has */
	TORC__HTTP_ISA_SCALAR,
	TORC__HTTP_ISA_SSE2,
	TORC__HTTP_ISA_AVX2,
	TORC__HTTP_ISA_AVX512,
	TORC__HTTP_ISA_NEON,
	TORC__HTTP_ISA_COUNT
};

/*
 * torc__http_scan_select - choose the instruction set of every later scan, in all threads.
 *
 * For tests and benchmarks.  Returns false, and changes nothing, if this machine lacks @isa.
 */
bool torc__http_scan_select(enum torc__http_isa isa);

/* Classes of a byte, for the scalar classifier, the Host check and the chunk decoder. */
enum {
	TORC__HTTP_TCHAR = 1, /* token, RFC 9110 5.6.2 */
	TORC__HTTP_CTL = 2,   /* stops a value: controls except HTAB, and DEL */
	TORC__HTTP_HOST = 4,  /* reg-name, RFC 3986 3.2.2, without ',' and without '%' */
	TORC__HTTP_HEX = 8,
};
extern const uint8_t torc__http_class[256];

static inline bool torc__http_is(char c, unsigned class_bits)
{
	return (torc__http_class[(unsigned char)c] & class_bits) != 0;
}

/* -1: no hexadecimal digit. */
static inline int torc__http_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Moves the window of s->words words to @from, 0 .. len, and classifies what is there. */
void torc__http_scan_fill(struct torc__http_scan *s, size_t from);

/* The search left the words it started in.  @map is s->name or s->value. */
size_t torc__http_scan_slow(struct torc__http_scan *s, const uint64_t *map, size_t pos);

/* The window's size, with the guards behind it. */
static inline void torc__http_scan_resize(struct torc__http_scan *s, unsigned words)
{
	s->words = words;
	for (unsigned guard = words; guard < words + 3; guard++)
		s->name[guard] = s->value[guard] = 0;
}

static inline void torc__http_scan_init(struct torc__http_scan *s, const char *buf, size_t len)
{
	s->buf = buf;
	s->len = len;
	torc__http_scan_resize(s, TORC__HTTP_SCAN_WORDS_FIRST);
	torc__http_scan_fill(s, 0);
}

/*
 * The stops at and behind @pos, from the lowest bit on; those of 57 bytes at least, unless the window ends before.
 * A load from the nearest byte, so that it hardly matters where in a word a line begins.
 */
static inline uint64_t torc__http_scan_bits(const struct torc__http_scan *s, const uint64_t *map,
					    size_t pos)
{
	size_t off = pos - s->base;
	uint64_t bits;

	__builtin_memcpy(&bits, (const char *)map + (off >> 3), sizeof(bits));
	return bits >> (off & 7);
}

/* Where the bytes begin that torc__http_scan_bits did not tell about. */
static inline size_t torc__http_scan_behind_bits(const struct torc__http_scan *s, size_t pos)
{
	return pos + 64 - ((pos - s->base) & 7);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "byte n of a map is about 8 bytes from 8 n on");

/* First stop at or behind @pos, at most 63 bytes behind the window; len if there is none. */
static inline size_t torc__http_scan_next(struct torc__http_scan *s, const uint64_t *map,
					  size_t pos)
{
	uint64_t bits = torc__http_scan_bits(s, map, pos);

	if (__builtin_expect(bits != 0, 1))
		return pos + torc__http_first_bit(bits);
	return torc__http_scan_slow(s, map, pos);
}

static inline size_t torc__http_scan_name(struct torc__http_scan *s, size_t pos)
{
	return torc__http_scan_next(s, s->name, pos);
}

static inline size_t torc__http_scan_value(struct torc__http_scan *s, size_t pos)
{
	return torc__http_scan_next(s, s->value, pos);
}

#endif
