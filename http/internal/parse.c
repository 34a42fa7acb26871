#include "http/internal/parse.h"

#include <limits.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "http/internal/scan.h"

/*
 * Positions are offsets into the buffer.  Internal results are those of torc__http_parse_request:
 * a positive one is the offset behind what was parsed, 0 means that it does not end in the buffer,
 * a negative one is a refusal.
 */
struct parser {
	struct torc__http_scan scan;
	struct torc__http_head *head;
	struct torc__http_field *field_limit; /* behind the last that there may be */
	uint64_t seen;                        /* becomes known_set */
	bool bad_expectation;
	bool close;
	bool connection_keep_alive;
	bool connection_upgrade;
};

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The empty string, with an address so that callers may compare and subtract pointers. */
static const struct torc_slice empty = { "", 0 };

static inline struct torc_slice slice(const char *data, size_t len)
{
	return (struct torc_slice){ data, len };
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

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

/* ---- Names ---------------------------------------------------------------------------------- */

/*
 * A perfect hash of the known names, found by trial.  A letter is multiplied by 16 at least, which moves the
 * bit that tells lower from upper case out of the 9 bits that count.
 */
#define NAME_HASH(len, second, last_but_one) ((((second)*5u + (last_but_one)) * 16u + (len)) & 511u)

static const uint8_t name_slot[512] = {
#define NAME_SLOT(token, name, second, last_but_one) \
	[NAME_HASH(sizeof(name) - 1, second, last_but_one)] = TORC__HTTP_NAME_##token,
	TORC__HTTP_NAMES(NAME_SLOT)
#undef NAME_SLOT
};

#define NAME_BYTES 32 /* of an entry; equals_lower_32 loads all of it */

static const struct {
	char text[NAME_BYTES - 1];
	uint8_t len;
} names[TORC__HTTP_NAME_COUNT] __attribute__((aligned(NAME_BYTES))) = {
#define NAME_TEXT(token, name, ...) [TORC__HTTP_NAME_##token] = { name, sizeof(name) - 1 },
	TORC__HTTP_NAMES(NAME_TEXT)
#undef NAME_TEXT
};

_Static_assert(TORC__HTTP_NAME_COUNT <= 64, "known_set has 64 bits");

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

	return name_slot[NAME_HASH((unsigned)len, second, last_but_one)];
}

/*
 * @room bytes can be read at @name, of which @len are the name.  Branches, which the processor guesses well,
 * rather than conditional moves: nothing has to wait for the comparison.
 */
static inline unsigned name_find(const char *name, size_t len, size_t room)
{
	size_t known = name_candidate(name, len);
	const char *text = names[known].text;

	if (names[known].len != len)
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

/* ---- Authority ------------------------------------------------------------------------------ */

/* Decimal octets, RFC 3986 3.2.2: four of them, without leading zeros. */
static bool ipv4_valid(const char *p, const char *end)
{
	for (unsigned octets = 1;; octets++) {
		const char *start = p;
		unsigned value = 0;

		for (; p < end && *p >= '0' && *p <= '9' && p - start < 3; p++)
			value = value * 10 + (unsigned)(*p - '0');
		if (p == start || value > 255 || (*start == '0' && p - start > 1))
			return false;
		if (octets == 4)
			return p == end;
		if (p == end || *p++ != '.')
			return false;
	}
}

/*
 * The inside of the brackets.  Groups of 16 bits are counted; "::" stands for at least one, and
 * an IPv4 address at the end for two.  No zone (RFC 6874 keeps it out of Host), and no IPvFuture,
 * which no future has brought.
 */
static bool ipv6_valid(const char *p, const char *end)
{
	unsigned groups = 0;
	bool gap = end - p >= 2 && p[0] == ':' && p[1] == ':';

	if (gap)
		p += 2;
	while (p < end) {
		const char *start = p;

		while (p < end && p - start < 4 && torc__http_is(*p, TORC__HTTP_HEX))
			p++;
		if (p < end && *p == '.' && ipv4_valid(start, end)) {
			groups += 2;
			p = end;
			break;
		}
		if (p == start)
			return false;
		groups++;
		if (p == end)
			break;
		if (*p++ != ':' || p == end)
			return false;
		if (*p == ':') {
			if (gap)
				return false;
			gap = true;
			p++;
		}
	}
	return gap ? groups <= 7 : groups == 8;
}

/* Returns the end of "[" IPv6 "]", or NULL. */
static const char *skip_ip_literal(const char *p, const char *end)
{
	const char *close = memchr(p, ']', (size_t)(end - p));

	return close && ipv6_valid(p + 1, close) ? close + 1 : NULL;
}

/* Returns the end of a reg-name or IPv4 address, or NULL for a bad escape. */
static const char *skip_reg_name(const char *p, const char *end)
{
	for (;; p += 3) {
		while (p < end && torc__http_is(*p, TORC__HTTP_HOST))
			p++;
		if (p == end || *p != '%')
			return p;
		if (end - p < 3 || !torc__http_is(p[1], TORC__HTTP_HEX) ||
		    !torc__http_is(p[2], TORC__HTTP_HEX))
			return NULL;
	}
}

/* An empty port means the default one (RFC 3986 6.2.3), except in CONNECT (RFC 9110 9.3.6). */
static bool port_valid(const char *p, const char *end, bool required)
{
	unsigned port = 0;

	if (p == end)
		return !required;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return false;
		port = port * 10 + (unsigned)(*p - '0');
		if (port > UINT16_MAX)
			return false;
	}
	return port != 0;
}

bool torc__http_authority_valid(struct torc_slice authority, bool need_port)
{
	const char *p = authority.data, *end = p + authority.len, *host_end;

	if (authority.len == 0)
		return false;
	host_end = *p == '[' ? skip_ip_literal(p, end) : skip_reg_name(p, end);
	if (!host_end || host_end == p)
		return false;
	if (host_end == end)
		return !need_port;
	return *host_end == ':' && port_valid(host_end + 1, end, need_port);
}

/* ---- Request line, RFC 9112 3 --------------------------------------------------------------- */

/* A longer method is refused before its end is seen (RFC 9112 3: 501). */
#define METHOD_LEN_MAX 32

#define IS(literal) (memcmp(p, literal, sizeof(literal) - 1) == 0)

static enum torc__http_method method_find(const char *p, size_t len)
{
	switch (len) {
	case 3:
		return IS("GET")   ? TORC__HTTP_GET
		       : IS("PUT") ? TORC__HTTP_PUT
				   : TORC__HTTP_METHOD_UNKNOWN;
	case 4:
		return IS("POST")   ? TORC__HTTP_POST
		       : IS("HEAD") ? TORC__HTTP_HEAD
				    : TORC__HTTP_METHOD_UNKNOWN;
	case 5:
		return IS("PATCH")   ? TORC__HTTP_PATCH
		       : IS("TRACE") ? TORC__HTTP_TRACE
				     : TORC__HTTP_METHOD_UNKNOWN;
	case 6: return IS("DELETE") ? TORC__HTTP_DELETE : TORC__HTTP_METHOD_UNKNOWN;
	case 7:
		return IS("OPTIONS")   ? TORC__HTTP_OPTIONS
		       : IS("CONNECT") ? TORC__HTTP_CONNECT
				       : TORC__HTTP_METHOD_UNKNOWN;
	default: return TORC__HTTP_METHOD_UNKNOWN;
	}
}

static inline bool is_hash(const struct torc__http_scan *s, size_t pos)
{
	return pos < s->len && s->buf[pos] == '#';
}

/* The end of a token, given the first stop in it: '#', alone of all stops, does not end it. */
static inline size_t token_end(struct torc__http_scan *s, size_t stop)
{
	while (unlikely(is_hash(s, stop)))
		stop = torc__http_scan_name(s, stop + 1);
	return stop;
}

/*
 * Finds the space behind the target at @start, and the first '?' on the way.  The stops of a name
 * are few in a target, and every byte that a target must not contain is among them.  Characters
 * that RFC 3986 excludes without need, such as '|' or '"', are let through: browsers send them.
 */
static int target_end(struct parser *p, size_t start, size_t end, size_t *ret_query)
{
	struct torc__http_scan *s = &p->scan;

	for (size_t pos = start, stop = start;; pos = stop + 1) {
		uint64_t bits;

		pos = torc__http_scan_name(s, pos);
		/* The stops that one look at the map tells, without a wait for each. */
		for (bits = torc__http_scan_bits(s, s->name, pos); bits; bits &= bits - 1) {
			stop = pos + torc__http_first_bit(bits);
			if (unlikely(stop >= end))
				return 0;
			switch (s->buf[stop]) {
			case ' ': return stop > start ? (int)stop : -400;
			case '?':
				if (!*ret_query)
					*ret_query = stop;
				break;
			case '#': return -400;
			default:
				/* 0x80 and above are negative */
				if ((signed char)s->buf[stop] < ' ' || s->buf[stop] == 0x7f)
					return -400;
			}
		}
	}
}

/* What there is of "HTTP/" DIGIT "." DIGIT CRLF; 0 if it is cut off, 505 for a version not ours. */
static int version_slow(const char *p, size_t len)
{
	static const char pattern[] = "HTTP/0.0\r\n";

	for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
		if (i == len)
			return 0;
		if (pattern[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != pattern[i])
			return -400;
	}
	return -505;
}

/* Returns the offset behind the CRLF that ends the request line. */
static int parse_version(struct parser *p, size_t start, size_t end)
{
	const char *v = p->scan.buf + start;

	if (unlikely(end < start + 10 || v[8] != '\r' || v[9] != '\n'))
		return version_slow(v, end - start);
	if (load8(v) == load8("HTTP/1.1"))
		p->head->minor = 1;
	else if (load8(v) == load8("HTTP/1.0"))
		p->head->minor = 0;
	else
		return version_slow(v, end - start);
	return (int)start + 10;
}

static size_t scheme_len(struct torc_slice target)
{
	if (target.len >= 7 && equals_lower(target.data, "http", 4) &&
	    memcmp(target.data + 4, "://", 3) == 0)
		return 7;
	if (target.len >= 8 && equals_lower(target.data, "https", 5) &&
	    memcmp(target.data + 5, "://", 3) == 0)
		return 8;
	return 0;
}

/* RFC 9112 3.2.2; the authority ends at the path, the query, or with the target. */
static int absolute_form(struct torc__http_head *h)
{
	size_t scheme = scheme_len(h->target);
	struct torc_slice rest = slice(h->target.data + scheme, h->target.len - scheme);
	const char *slash;

	if (!scheme)
		return -400;
	if (h->has_query)
		rest.len = (size_t)(h->query.data - 1 - rest.data);
	slash = memchr(rest.data, '/', rest.len);
	h->form = TORC__HTTP_ABSOLUTE;
	h->authority = slice(rest.data, slash ? (size_t)(slash - rest.data) : rest.len);
	if (slash)
		h->path = slice(slash, rest.len - h->authority.len);
	else /* RFC 9110 4.2.3, and RFC 9112 3.2.4 for OPTIONS */
		h->path = slice(h->method == TORC__HTTP_OPTIONS && !h->has_query ? "*" : "/", 1);
	return torc__http_authority_valid(h->authority, false) ? 1 : -400;
}

/* Which form it is follows from the method and the first byte; RFC 9112 3.2. */
static int target_form(struct torc__http_head *h)
{
	if (unlikely(h->method == TORC__HTTP_CONNECT)) {
		h->form = TORC__HTTP_AUTHORITY;
		h->authority = h->target;
		h->path = empty;
		return torc__http_authority_valid(h->target, true) ? 1 : -400;
	}
	if (likely(h->target.data[0] == '/')) {
		h->form = TORC__HTTP_ORIGIN;
		return 1;
	}
	if (h->target.len == 1 && h->target.data[0] == '*') {
		h->form = TORC__HTTP_ASTERISK;
		return h->method == TORC__HTTP_OPTIONS ? 1 : -400;
	}
	return absolute_form(h);
}

/*
 * Each view is made anew: a copy of one that was just written would be a load of 16 bytes behind two stores
 * of 8, which the processor cannot forward.
 */
static void set_target(struct torc__http_head *h, const char *start, const char *end,
		       const char *query)
{
	h->target = slice(start, (size_t)(end - start));
	h->path = slice(start, (size_t)((query ? query : end) - start));
	h->query = query ? slice(query + 1, (size_t)(end - query - 1)) : slice("", 0);
	h->has_query = query != NULL;
	h->authority = slice("", 0);
}

/* The line must end before offset @end.  Returns the offset behind it. */
static int parse_request_line(struct parser *p, size_t start, size_t end)
{
	const char *buf = p->scan.buf;
	struct torc__http_head *h = p->head;
	size_t method_end = token_end(&p->scan, torc__http_scan_name(&p->scan, start));
	size_t query = 0;
	int space, line_end, result;

	if (unlikely(min_size(method_end, end) - start > METHOD_LEN_MAX))
		return -501;
	if (unlikely(method_end >= end))
		return 0;
	if (unlikely(buf[method_end] != ' ' || method_end == start))
		return -400;
	space = target_end(p, method_end + 1, end, &query);
	if (unlikely(space <= 0))
		return space;
	line_end = parse_version(p, (size_t)space + 1, end);
	if (unlikely(line_end <= 0))
		return line_end;

	h->method_name = slice(buf + start, method_end - start);
	h->method = method_find(buf + start, method_end - start);
	if (unlikely(h->method == TORC__HTTP_METHOD_UNKNOWN))
		return -501;
	set_target(h, buf + method_end + 1, buf + space, query ? buf + query : NULL);
	result = target_form(h);
	return result > 0 ? line_end : result;
}

/* ---- The fields that the framing depends on ------------------------------------------------- */

/*
 * One number in decimal digits, on one line.  RFC 9110 8.6 would let a recipient take a list of
 * equal numbers for one; whoever needs that leniency is more likely an attacker.
 */
static int apply_content_length(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;
	uint64_t length = 0;

	if (h->has_length || h->chunked || value.len == 0)
		return -400;
	for (size_t i = 0; i < value.len; i++) {
		unsigned digit = (unsigned)(unsigned char)value.data[i] - '0';

		if (digit > 9 || length > (INT64_MAX - (uint64_t)digit) / 10)
			return -400;
		length = length * 10 + digit;
	}
	h->has_length = true;
	h->content_length = length;
	return 1;
}

static inline bool value_is(struct torc_slice value, const char *lower, size_t len)
{
	return value.len == len && equals_lower(value.data, lower, len);
}

/*
 * RFC 9112 6.1 has a server answer 501 to a coding that it lacks.  It is 400 here, as is any
 * spelling but the plain one, since the length of such a message is a matter of interpretation.
 * HTTP/1.0 knows no transfer codings, so there it is faulty framing too.
 */
static int apply_transfer_encoding(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;

	if (h->chunked || h->has_length || h->minor == 0 || !value_is(value, "chunked", 7))
		return -400;
	h->chunked = true;
	return 1;
}

static int apply_host(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;

	if (p->seen >> TORC__HTTP_NAME_HOST & 1)
		return -400;
	if (!torc__http_authority_valid(value, false))
		return -400;
	if (h->authority.len == 0)
		h->authority = slice(value.data, value.len);
	return 1;
}

static void connection_option(struct parser *p, struct torc_slice option)
{
	if (value_is(option, "close", 5))
		p->close = true;
	else if (value_is(option, "keep-alive", 10))
		p->connection_keep_alive = true;
	else if (value_is(option, "upgrade", 7))
		p->connection_upgrade = true;
}

/* White space is space and HTAB; no other byte up to 0x20 gets as far as here. */
static inline bool is_ows(char c)
{
	return (unsigned char)c <= ' ';
}

static inline struct torc_slice trim(const char *start, const char *end)
{
	while (start < end && is_ows(*start))
		start++;
	while (start < end && unlikely(is_ows(end[-1])))
		end--;
	return slice(start, (size_t)(end - start));
}

/* A list, possibly over several lines and with empty members (RFC 9110 5.6.1.2). */
static int apply_connection(struct parser *p, struct torc_slice value)
{
	const char *pos = value.data, *end = pos + value.len;

	if (value_is(value, "keep-alive", 10)) { /* what browsers send */
		p->connection_keep_alive = true;
		return 1;
	}
	for (;;) {
		const char *comma = memchr(pos, ',', (size_t)(end - pos));

		connection_option(p, trim(pos, comma ? comma : end));
		if (!comma)
			return 1;
		pos = comma + 1;
	}
}

/* Refused at the end of the head only: a framing error in a later line has precedence. */
static int apply_expect(struct parser *p, struct torc_slice value)
{
	if (value_is(value, "100-continue", 12))
		p->head->expect_continue = true;
	else
		p->bad_expectation = true;
	return 1;
}

_Static_assert(TORC__HTTP_NAME_OTHER == 0 && TORC__HTTP_NAME_HOST == 1 &&
		       TORC__HTTP_NAME_EXPECT == 5,
	       "what apply knows comes first");

static inline bool is_framing(unsigned known)
{
	return known - TORC__HTTP_NAME_HOST <= TORC__HTTP_NAME_EXPECT - TORC__HTTP_NAME_HOST;
}

/* The value is passed by itself, as the field was just written, see set_target. */
static int apply(struct parser *p, unsigned known, struct torc_slice value)
{
	switch (known) {
	case TORC__HTTP_NAME_HOST: return apply_host(p, value);
	case TORC__HTTP_NAME_CONTENT_LENGTH: return apply_content_length(p, value);
	case TORC__HTTP_NAME_TRANSFER_ENCODING: return apply_transfer_encoding(p, value);
	case TORC__HTTP_NAME_CONNECTION: return apply_connection(p, value);
	default: return apply_expect(p, value);
	}
}

/* ---- Field lines, RFC 9112 5 ---------------------------------------------------------------- */

/* The value behind the colon; one space before it and none behind is what nearly everyone sends. */
static inline struct torc_slice field_value(const char *start, const char *end)
{
	start += *start == ' ';
	if (unlikely(is_ows(*start) || is_ows(end[-1])))
		return trim(start, end);
	return slice(start, (size_t)(end - start));
}

/* Why is there no CRLF at @pos, where a search stopped? */
static int no_crlf(const struct torc__http_scan *s, size_t pos)
{
	return pos >= s->len || (s->buf[pos] == '\r' && pos + 1 == s->len) ? 0 : -400;
}

static inline bool is_crlf(const struct torc__http_scan *s, size_t pos)
{
	return pos + 2 <= s->len && memcmp(s->buf + pos, "\r\n", 2) == 0;
}

/* Where things end in a line. */
struct line {
	size_t colon; /* the first byte that is not of a name */
	size_t end;   /* the first byte that is not of a value */
};

/*
 * Both searches begin at the start of the line: what stops a value stops a name too, so there is none
 * before the colon.  The processor then need not know where the colon is to go on to the next line,
 * which halves the chain of dependent loads from line to line.
 *
 * Each search may move the window, and none may begin before it: so all of the name comes first.
 */
static struct line find_line_slow(struct torc__http_scan *s, size_t pos)
{
	struct line line;

	line.colon = token_end(s, torc__http_scan_name(s, pos));
	line.end = torc__http_scan_value(s, pos > s->base ? pos : s->base);
	return line;
}

static inline struct line find_line(struct torc__http_scan *s, size_t pos)
{
	uint64_t name = torc__http_scan_bits(s, s->name, pos);
	uint64_t value = torc__http_scan_bits(s, s->value, pos);
	size_t end = pos;

	if (!value) { /* a line of more than 56 bytes: two looks do for twice as much */
		end = torc__http_scan_behind_bits(s, pos);
		value = torc__http_scan_bits(s, s->value, end);
	}
	if (likely(name && value))
		return (struct line){ pos + torc__http_first_bit(name),
				      end + torc__http_first_bit(value) };
	return find_line_slow(s, pos);
}

/* Why the line is none.  A space before the colon (RFC 9112 5.1) shows as a name that ends in something else. */
static int bad_field(struct torc__http_scan *s, struct line line)
{
	line.colon = token_end(s, line.colon);
	if (line.colon >= s->len || s->buf[line.colon] != ':')
		return line.colon >= s->len ? 0 : -400;
	return no_crlf(s, line.end);
}

/* A name with a hash in it, which the first search stopped at. */
static bool find_colon(struct torc__http_scan *s, struct line *line)
{
	line->colon = token_end(s, line->colon);
	return line->colon < s->len && s->buf[line->colon] == ':';
}

/* Is this a field line, up to its CRLF? */
static inline bool is_field(struct torc__http_scan *s, struct line *line)
{
	if (unlikely(!is_crlf(s, line->end)))
		return false;
	return likely(s->buf[line->colon] == ':') || find_colon(s, line);
}

/* The field of the line at @pos, which has a colon and ends in CRLF. */
static inline int set_field(struct parser *p, struct torc__http_field *f, size_t pos,
			    struct line line)
{
	const char *name = p->scan.buf + pos;
	struct torc_slice value = field_value(p->scan.buf + line.colon + 1, p->scan.buf + line.end);
	unsigned known = name_find(name, line.colon - pos, p->scan.len - pos);
	int result = 1;

	f->name = slice(name, line.colon - pos);
	f->value = value;
	f->known = (uint8_t)known;
	if (is_framing(known))
		result = apply(p, known, value);
	p->seen |= 1ull << known;
	return result;
}

/* Returns the offset behind the empty line. */
static int parse_fields(struct parser *p, size_t pos)
{
	struct torc__http_scan *s = &p->scan;
	struct torc__http_field *f = p->head->fields;

	for (;; f++) {
		struct line line = find_line(s, pos);

		/* No name: the end of the head, a folded line (RFC 9112 5.2), or worse. */
		if (unlikely(line.colon == pos) && !is_hash(s, pos))
			break;
		if (unlikely(f == p->field_limit))
			return -431;
		if (unlikely(!is_field(s, &line)))
			return bad_field(s, line);
		if (unlikely(set_field(p, f, pos, line) < 0))
			return -400;
		pos = line.end + 2;
	}
	p->head->field_count = (unsigned)(f - p->head->fields);
	return is_crlf(s, pos) ? (int)pos + 2 : no_crlf(s, pos);
}

/* ---- The whole head ------------------------------------------------------------------------- */

/* What only the complete set of fields tells. */
static int finish(struct parser *p)
{
	struct torc__http_head *h = p->head;

	h->known_set = p->seen;
	if (h->minor == 0) {
		h->keep_alive = p->connection_keep_alive && !p->close;
		h->expect_continue = false; /* RFC 9110 10.1.1 */
		h->upgrade = false;         /* RFC 9110 7.8 */
	} else {
		if (!(h->known_set >> TORC__HTTP_NAME_HOST & 1)) /* RFC 9112 3.2 */
			return -400;
		h->keep_alive = !p->close;
		h->upgrade = p->connection_upgrade && h->known_set >> TORC__HTTP_NAME_UPGRADE & 1;
	}
	return p->bad_expectation ? -417 : 1;
}

/* One empty line may precede a request, RFC 9112 2.2.  Returns its length, 0 also if incomplete. */
static inline size_t leading_crlf(const char *buf, size_t len)
{
	return len >= 2 && buf[0] == '\r' && buf[1] == '\n' ? 2 : 0;
}

static int parse_head(struct parser *p, size_t line_bytes)
{
	size_t len = p->scan.len;
	size_t start = leading_crlf(p->scan.buf, len);
	size_t line_limit = min_size(line_bytes, INT_MAX) + start + 2;
	int line_end, end, result;

	if (unlikely(len == 1 && p->scan.buf[0] == '\r'))
		return 0;
	line_end = parse_request_line(p, start, min_size(len, line_limit));
	if (unlikely(line_end <= 0))
		return line_end == 0 && len >= line_limit ? -414 : line_end;
	end = parse_fields(p, (size_t)line_end);
	if (unlikely(end <= 0))
		return end;
	result = finish(p);
	return result > 0 ? end : result;
}

static void reset(struct parser *p, struct torc__http_head *h, const struct torc__http_limits *lim)
{
	p->head = h;
	p->field_limit =
		h->fields + (h->field_capacity < lim->fields ? h->field_capacity : lim->fields);
	p->bad_expectation = p->close = p->connection_keep_alive = p->connection_upgrade = false;
	p->seen = 0;
	h->content_length = 0;
	h->has_length = h->chunked = h->expect_continue = false;
}

int torc__http_parse_request(struct torc__http_head *h, const char *buf, size_t len,
			     const struct torc__http_limits *lim)
{
	size_t head_bytes = min_size(lim->head_bytes, INT_MAX);
	struct parser p;
	int result;

	reset(&p, h, lim);
	torc__http_scan_init(&p.scan, buf, min_size(len, head_bytes));
	result = parse_head(&p, lim->line_bytes);
	return unlikely(result == 0) && len >= head_bytes ? -431 : result;
}

bool torc__http_head_grew(const char *buf, size_t len, const struct torc__http_limits *lim,
			  size_t *scanned)
{
	if (len >= lim->head_bytes || memchr(buf + *scanned, '\n', len - *scanned))
		return true;
	if (len > lim->line_bytes && *scanned <= lim->line_bytes + 4)
		return true; /* around the limit of the request line */
	*scanned = len;
	return false;
}
