#include "http/internal/scan.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define T TORC__HTTP_TCHAR
#define H TORC__HTTP_HOST
#define X TORC__HTTP_HEX

/* clang-format off */
const uint8_t torc__http_class[256] = {
	[0x00 ... 0x08] = TORC__HTTP_CTL,
	[0x0a ... 0x1f] = TORC__HTTP_CTL,
	['!'] = T | H, ['#'] = T, ['$'] = T | H, ['%'] = T, ['&'] = T | H, ['\''] = T | H,
	['('] = H, [')'] = H, ['*'] = T | H, ['+'] = T | H, ['-'] = T | H, ['.'] = T | H,
	['0' ... '9'] = T | H | X,
	[';'] = H, ['='] = H,
	['A' ... 'F'] = T | H | X, ['G' ... 'Z'] = T | H,
	['^'] = T, ['_'] = T | H, ['`'] = T,
	['a' ... 'f'] = T | H | X, ['g' ... 'z'] = T | H,
	['|'] = T, ['~'] = T | H,
	[0x7f] = TORC__HTTP_CTL,
};
/* clang-format on */

#undef T
#undef H
#undef X

struct stops {
	uint64_t name;
	uint64_t value;
};

static inline void put(struct torc__http_scan *s, unsigned word, struct stops stops)
{
	s->name[word] = stops.name;
	s->value[word] = stops.value;
}

/* Everything from byte @count on is behind the input: a stop, see invariant 2. */
static inline struct stops end_after(struct stops stops, size_t count)
{
	uint64_t behind = count < 64 ? UINT64_MAX << count : 0;

	return (struct stops){ stops.name | behind, stops.value | behind };
}

/*
 * The table form is the reference that the vector forms are tested against, and all there is on
 * other architectures.  It is deliberately not clever: it shares no trick with the others.
 */
static struct stops scalar_stops(const char *p, size_t count)
{
	struct stops stops = { 0, 0 };

	for (size_t i = 0; i < count; i++) {
		bool name = !torc__http_is(p[i], TORC__HTTP_TCHAR) || p[i] == '#';
		bool value = torc__http_is(p[i], TORC__HTTP_CTL);

		stops.name |= (uint64_t)name << i;
		stops.value |= (uint64_t)value << i;
	}
	return end_after(stops, count);
}

static void fill_scalar(struct torc__http_scan *s, size_t from)
{
	for (unsigned word = 0; word < s->words; word++) {
		size_t left = s->len - from;

		put(s, word, scalar_stops(s->buf + from, left < 64 ? left : 64));
		if (left < 64)
			return;
		from += 64;
	}
}

/*
 * The vector forms read only inside buf..buf+len, and still never byte by byte except in inputs
 * below 16 bytes: the last, partial block of an input of 64 bytes or more is read as the input's
 * last 64 bytes, whose answer is shifted down; shorter inputs are two overlapping loads.
 *
 * block(p) classifies 64 bytes, tail(p, count) the last 0..63 of an input shorter than 64.
 */
#define FILL_LOOP(block, tail)                                                    \
	do {                                                                      \
		const char *p = s->buf + from;                                    \
		size_t left = s->len - from, blocks = left / 64;                  \
		unsigned whole = blocks < s->words ? (unsigned)blocks : s->words; \
                                                                                  \
		for (unsigned word = 0; word < whole; word++, p += 64)            \
			put(s, word, block(p));                                   \
		if (whole == s->words)                                            \
			return;                                                   \
		left %= 64;                                                       \
		if (left == 0)                                                    \
			put(s, whole, (struct stops){ UINT64_MAX, UINT64_MAX });  \
		else if (s->len >= 64)                                            \
			put(s, whole, shift_to_end(block(p + left - 64), left));  \
		else                                                              \
			put(s, whole, end_after(tail(p, left), left));            \
	} while (0)

#if defined(__x86_64__) || defined(__aarch64__)
/* @stops is about the last 64 bytes of the input; wanted are those of its last @left, 1..63. */
static inline struct stops shift_to_end(struct stops stops, size_t left)
{
	stops.name >>= 64 - left;
	stops.value >>= 64 - left;
	return end_after(stops, left);
}

/* Joins two answers of @width bytes each, the second about bytes @shift.. of the same input. */
static inline struct stops join(struct stops a, struct stops b, size_t shift)
{
	return (struct stops){ a.name | b.name << shift, a.value | b.value << shift };
}

/*
 * The test of AVX2 and NEON: two tables of 16, looked up by the two nibbles of a byte and joined by
 * AND, tell both classes at once.  Each high nibble has bits of its own, in which each low nibble says
 * what the byte is.  Of the result
 *
 *   IS_NAME   bits are set for a byte of a name: bits 2 to 5 and 7 stand for the rows 0x20 to 0x50 and
 *             0x70 of the ASCII table; 0x60, which is all names, takes the bits of 0x40 and 0x50
 *   IS_STOP   bits for one that stops a value: bit 0 for all of 0x00 but the tab, bits 0 and 1 for all of
 *             0x10, bit 6 for DEL
 *
 * and none of a byte that may be in a value only.
 */
#define BY_LOW_NIBBLE                                                                       \
	(char)0xa9, (char)0xbd, (char)0xb9, (char)0xb9, (char)0xbd, (char)0xbd, (char)0xbd, \
		(char)0xbd, (char)0xb9, (char)0xba, (char)0xb5, 0x15, (char)0x91, 0x15,     \
		(char)0xb5, 0x71
#define BY_HIGH_NIBBLE 0x01, 0x03, 0x04, 0x08, 0x10, 0x20, 0x30, (char)0xc0, 0, 0, 0, 0, 0, 0, 0, 0
#define IS_NAME        0xbc
#define IS_STOP        0x43
#endif

#if defined(__x86_64__)

static inline __m128i sse2_byte(char c)
{
	return _mm_set1_epi8(c);
}

/* Bytes in first..first+span, as unsigned numbers. */
static inline __m128i sse2_range(__m128i v, unsigned char first, unsigned char span)
{
	__m128i off = _mm_sub_epi8(v, sse2_byte((char)first));

	return _mm_cmpeq_epi8(_mm_min_epu8(off, sse2_byte((char)span)), off);
}

/* SSE2 has no table look-up, hence the tchar grammar turned inside out: 33 bytes in 9 tests. */
static inline struct stops sse2_16(const char *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i del = _mm_cmpeq_epi8(v, sse2_byte(0x7f));
	__m128i low = sse2_range(v, 0, 0x1f);
	__m128i tab = _mm_cmpeq_epi8(v, sse2_byte('\t'));
	__m128i lower = _mm_or_si128(v, sse2_byte(0x20));
	__m128i name = del;

	name = _mm_or_si128(name, _mm_cmpgt_epi8(sse2_byte(0x21), v)); /* signed: 0x80.. too */
	name = _mm_or_si128(name, sse2_range(v, '"', '#' - '"'));
	name = _mm_or_si128(name, sse2_range(v, '(', ')' - '('));
	name = _mm_or_si128(name, _mm_cmpeq_epi8(v, sse2_byte(',')));
	name = _mm_or_si128(name, _mm_cmpeq_epi8(v, sse2_byte('/')));
	name = _mm_or_si128(name, sse2_range(v, ':', '@' - ':'));
	name = _mm_or_si128(name, _mm_cmpeq_epi8(v, sse2_byte('\\')));
	name = _mm_or_si128(name, _mm_cmpeq_epi8(lower, sse2_byte('{'))); /* and '[' */
	name = _mm_or_si128(name, _mm_cmpeq_epi8(lower, sse2_byte('}'))); /* and ']' */
	return (struct stops){
		.name = (unsigned)_mm_movemask_epi8(name),
		.value = (unsigned)_mm_movemask_epi8(_mm_or_si128(del, _mm_andnot_si128(tab, low))),
	};
}

static inline struct stops sse2_64(const char *p)
{
	struct stops low = join(sse2_16(p), sse2_16(p + 16), 16);
	struct stops high = join(sse2_16(p + 32), sse2_16(p + 48), 16);

	return join(low, high, 32);
}

static inline struct stops sse2_tail(const char *p, size_t count)
{
	if (count < 16)
		return scalar_stops(p, count);

	struct stops stops = join(sse2_16(p), sse2_16(p + count - 16), count - 16);

	if (count > 32)
		stops = join(stops, sse2_16(p + 16), 16);
	if (count > 48)
		stops = join(stops, sse2_16(p + 32), 32);
	return stops;
}

static void fill_sse2(struct torc__http_scan *s, size_t from)
{
	FILL_LOOP(sse2_64, sse2_tail);
}

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i avx2_class(__m256i v)
{
	const __m256i by_low = _mm256_broadcastsi128_si256(_mm_setr_epi8(BY_LOW_NIBBLE));
	const __m256i by_high = _mm256_broadcastsi128_si256(_mm_setr_epi8(BY_HIGH_NIBBLE));
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));

	/* The look-up of a byte from 0x80 on is 0. */
	return _mm256_and_si256(_mm256_shuffle_epi8(by_low, v), _mm256_shuffle_epi8(by_high, high));
}

/* The bytes of class that have none of the bits. */
AVX2 static inline uint64_t avx2_none(__m256i class, int bits)
{
	__m256i some = _mm256_and_si256(class, _mm256_set1_epi8((char)bits));

	return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(some, _mm256_setzero_si256()));
}

AVX2 static inline struct stops avx2_32(const char *p)
{
	__m256i class = avx2_class(_mm256_loadu_si256((const __m256i *)(const void *)p));

	return (struct stops){ avx2_none(class, IS_NAME), (uint32_t)~avx2_none(class, IS_STOP) };
}

AVX2 static inline struct stops avx2_64(const char *p)
{
	const __m256i *v = (const void *)p;
	__m256i a = avx2_class(_mm256_loadu_si256(v)), b = avx2_class(_mm256_loadu_si256(v + 1));

	return (struct stops){ avx2_none(a, IS_NAME) | avx2_none(b, IS_NAME) << 32,
			       ~(avx2_none(a, IS_STOP) | avx2_none(b, IS_STOP) << 32) };
}

AVX2 static inline struct stops avx2_tail(const char *p, size_t count)
{
	if (count < 32)
		return sse2_tail(p, count);
	return join(avx2_32(p), avx2_32(p + count - 32), count - 32);
}

AVX2 static void fill_avx2(struct torc__http_scan *s, size_t from)
{
	FILL_LOOP(avx2_64, avx2_tail);
}

/*
 * With VBMI one instruction looks all 64 bytes up in the 128-byte table below, and masked loads
 * make the last block one like the others.  VBMI also stands for processors that do not slow down
 * for 512-bit registers (Ice Lake, Zen 4 and later).
 */
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))

#define NAME_STOP  0x80
#define VALUE_STOP 0x40
#define C          (NAME_STOP | VALUE_STOP)
#define N          NAME_STOP

/* clang-format off */
static const uint8_t avx512_table[128] __attribute__((aligned(64))) = {
	C, C, C, C, C, C, C, C, C, N, C, C, C, C, C, C, /* tab */
	C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
	N, 0, N, N, 0, 0, 0, 0, N, N, 0, 0, N, 0, 0, N, /* space " # ( ) , / */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, N, N, N, N, N, N, /* : ; < = > ? */
	N, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* @ */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, N, N, N, 0, 0, /* [ \ ] */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, N, 0, N, 0, C, /* { } DEL */
};
/* clang-format on */

#undef C
#undef N

/* The bytes of @p that @here has a bit for; the others are not read. */
AVX512 static inline struct stops avx512_64(const char *p, uint64_t here)
{
	const __m512i low = _mm512_load_si512(avx512_table);
	const __m512i high = _mm512_load_si512(avx512_table + 64);
	__m512i v = _mm512_maskz_loadu_epi8(here, p);
	__m512i class = _mm512_permutex2var_epi8(low, v, high); /* by the low 7 bits */
	__m512i value = _mm512_andnot_si512(v, _mm512_slli_epi16(class, 1));

	return (struct stops){
		.name = _mm512_movepi8_mask(_mm512_or_si512(class, v)) | ~here,
		.value = _mm512_movepi8_mask(value) | ~here,
	};
}

AVX512 static void fill_avx512(struct torc__http_scan *s, size_t from)
{
	for (unsigned word = 0; word < s->words; word++, from += 64) {
		size_t left = s->len - from;

		if (left < 64) {
			put(s, word, avx512_64(s->buf + from, ((uint64_t)1 << left) - 1));
			return;
		}
		put(s, word, avx512_64(s->buf + from, UINT64_MAX));
	}
}

#elif defined(__aarch64__)

static inline uint8x16_t neon_class(uint8x16_t v)
{
	static const uint8_t low[16] = { BY_LOW_NIBBLE };
	static const uint8_t high[16] = { BY_HIGH_NIBBLE };

	return vandq_u8(vqtbl1q_u8(vld1q_u8(low), vandq_u8(v, vdupq_n_u8(0x0f))),
			vqtbl1q_u8(vld1q_u8(high), vshrq_n_u8(v, 4)));
}

static inline uint8x16_t neon_name(uint8x16_t v)
{
	return vceqzq_u8(vandq_u8(neon_class(v), vdupq_n_u8(IS_NAME)));
}

static inline uint8x16_t neon_value(uint8x16_t v)
{
	return vtstq_u8(neon_class(v), vdupq_n_u8(IS_STOP));
}

/* NEON has no movemask: weigh the bytes by their bit and add neighbours three times. */
static inline uint64_t neon_mask(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
	static const uint8_t weights[16] = { 1, 2, 4, 8, 16, 32, 64, 128,
					     1, 2, 4, 8, 16, 32, 64, 128 };
	uint8x16_t w = vld1q_u8(weights);
	uint8x16_t low = vpaddq_u8(vandq_u8(a, w), vandq_u8(b, w));
	uint8x16_t high = vpaddq_u8(vandq_u8(c, w), vandq_u8(d, w));
	uint8x16_t sum = vpaddq_u8(low, high);

	return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sum, sum)), 0);
}

static inline struct stops neon_64(const char *p)
{
	const uint8_t *u = (const uint8_t *)p;
	uint8x16_t a = vld1q_u8(u), b = vld1q_u8(u + 16);
	uint8x16_t c = vld1q_u8(u + 32), d = vld1q_u8(u + 48);

	return (struct stops){
		.name = neon_mask(neon_name(a), neon_name(b), neon_name(c), neon_name(d)),
		.value = neon_mask(neon_value(a), neon_value(b), neon_value(c), neon_value(d)),
	};
}

/* One mask of four loads costs little more than one of two, so up to four overlapping loads do. */
static inline struct stops neon_tail(const char *p, size_t count)
{
	if (count < 16)
		return scalar_stops(p, count);

	const uint8_t *u = (const uint8_t *)p;
	size_t second = count - 16 < 16 ? count - 16 : 16;
	size_t third = count - 16 < 32 ? count - 16 : 32;
	uint8x16_t a = vld1q_u8(u), b = vld1q_u8(u + second);
	uint8x16_t c = vld1q_u8(u + third), d = vld1q_u8(u + count - 16);
	struct stops low = {
		neon_mask(neon_name(a), neon_name(b), neon_name(c), neon_name(d)),
		neon_mask(neon_value(a), neon_value(b), neon_value(c), neon_value(d)),
	};
	struct stops parts[3];

	for (unsigned i = 0; i < 3; i++)
		parts[i] = (struct stops){ low.name >> (16 * (i + 1)) & 0xffff,
					   low.value >> (16 * (i + 1)) & 0xffff };
	low = (struct stops){ low.name & 0xffff, low.value & 0xffff };
	low = join(low, parts[0], second);
	low = join(low, parts[1], third);
	return join(low, parts[2], count - 16);
}

static void fill_neon(struct torc__http_scan *s, size_t from)
{
	FILL_LOOP(neon_64, neon_tail);
}

#endif

typedef void fill_fn(struct torc__http_scan *s, size_t from);

#if defined(__x86_64__)

static fill_fn *fill_for(enum torc__http_isa isa)
{
	bool avx2 = __builtin_cpu_supports("avx2");
	bool avx512 = __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");

	switch (isa) {
	case TORC__HTTP_ISA_SCALAR: return fill_scalar;
	case TORC__HTTP_ISA_SSE2: return fill_sse2;
	case TORC__HTTP_ISA_AVX2: return avx2 ? fill_avx2 : NULL;
	case TORC__HTTP_ISA_AVX512: return avx512 ? fill_avx512 : NULL;
	case TORC__HTTP_ISA_AUTO: return avx512 ? fill_avx512 : avx2 ? fill_avx2 : fill_sse2;
	default: return NULL;
	}
}

#elif defined(__aarch64__)

static fill_fn *fill_for(enum torc__http_isa isa)
{
	switch (isa) {
	case TORC__HTTP_ISA_SCALAR: return fill_scalar;
	case TORC__HTTP_ISA_NEON:
	case TORC__HTTP_ISA_AUTO: return fill_neon;
	default: return NULL;
	}
}

#else

static fill_fn *fill_for(enum torc__http_isa isa)
{
	return isa == TORC__HTTP_ISA_SCALAR || isa == TORC__HTTP_ISA_AUTO ? fill_scalar : NULL;
}

#endif

/*
 * The choice is a plain function pointer rather than an ifunc: musl has none, sanitizers dislike
 * them, and tests want to change it.  The first call of any thread resolves it; the store races
 * only with stores of the same value, so relaxed order is enough.
 */
static fill_fn fill_first;
static fill_fn *fill = fill_first;

bool torc__http_scan_select(enum torc__http_isa isa)
{
	fill_fn *chosen = fill_for(isa);

	if (!chosen)
		return false;
	__atomic_store_n(&fill, chosen, __ATOMIC_RELAXED);
	return true;
}

static void fill_first(struct torc__http_scan *s, size_t from)
{
	torc__http_scan_select(TORC__HTTP_ISA_AUTO);
	torc__http_scan_fill(s, from);
}

void torc__http_scan_fill(struct torc__http_scan *s, size_t from)
{
	s->base = from;
	__atomic_load_n(&fill, __ATOMIC_RELAXED)(s, from);
}

static void refill(struct torc__http_scan *s, size_t from)
{
	torc__http_scan_resize(s, TORC__HTTP_SCAN_WORDS);
	torc__http_scan_fill(s, from);
}

size_t torc__http_scan_slow(struct torc__http_scan *s, const uint64_t *map, size_t pos)
{
	size_t word = (pos - s->base) / 64 + 1;

	for (;;) {
		if (word >= s->words) {
			/* Equal: the window is used up.  Above: pos is behind it, invariant 3. */
			refill(s, word == s->words ? s->base + word * 64 : pos);
			word = 0;
		}
		if (map[word])
			return s->base + word * 64 + torc__http_first_bit(map[word]);
		word++;
	}
}
