#include "http/internal/chunk.h"

#include "http/internal/parse.h"
#include "http/internal/scan.h"

/*
 *   SIZE0 --hex--> SIZE --CR--> SIZE_LF --LF--> DATA --all of it--> DATA_CR --> DATA_LF --> SIZE0
 *                   |                 \--LF, size 0--> LINE
 *                   +--';'--> EXT_NAME0 (below) ... --CR--> SIZE_LF
 *   LINE --CR--> END_LF --LF--> DONE
 *   LINE --tchar--> NAME --':'--> VALUE --CR--> VALUE_LF --LF--> LINE
 *
 * Extensions: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ).  White space is
 * accepted only where the grammar has it, so not before the CR.
 *
 *   EXT_BWS0   white space behind the size or a value, before a ';'
 *   EXT_NAME0  behind ';'                EXT_NAME    in the name
 *   EXT_BWS    behind the name           EXT_VALUE0  behind '='
 *   EXT_VALUE  in a token                EXT_QUOTED, EXT_ESCAPE  in a quoted-string
 *   EXT_END    behind a quoted-string
 *
 * step() is the only function that changes the state, except that next() leaves DATA.
 */
enum state {
	SIZE0,
	SIZE,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	EXT_BWS0,
	EXT_NAME0,
	EXT_NAME,
	EXT_BWS,
	EXT_VALUE0,
	EXT_VALUE,
	EXT_QUOTED,
	EXT_ESCAPE,
	EXT_END,
	LINE,
	NAME,
	VALUE,
	VALUE_LF,
	END_LF,
	DONE,
	BAD, /* as a next state only */
};

/* As many digits as the largest number that is not an overflow; leading zeros count as well. */
#define SIZE_DIGITS_MAX 16

static inline bool is_ext(enum state state)
{
	return state >= EXT_BWS0 && state <= EXT_END;
}

static inline bool is_trailer(enum state state)
{
	return state >= LINE && state <= END_LF;
}

static inline bool is_bws(char ch)
{
	return ch == ' ' || ch == '\t';
}

static inline unsigned hex_value(char ch)
{
	return ch <= '9' ? (unsigned)(ch - '0') : (unsigned)((ch | 0x20) - 'a' + 10);
}

/* Fields that a trailer must not carry, RFC 9110 6.5.1: framing, routing, controls, credentials. */
#define BIT(token) (1ull << TORC__HTTP_NAME_##token)
#define FORBIDDEN                                                                             \
	(BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(CONNECTION) |         \
	 BIT(KEEP_ALIVE) | BIT(UPGRADE) | BIT(TE) | BIT(TRAILER) | BIT(EXPECT) | BIT(RANGE) | \
	 BIT(CACHE_CONTROL) | BIT(AUTHORIZATION) | BIT(PROXY_AUTHORIZATION) | BIT(COOKIE) |   \
	 BIT(SET_COOKIE) | BIT(CONTENT_TYPE) | BIT(CONTENT_ENCODING) | BIT(CONTENT_RANGE))

/* ---- One byte ------------------------------------------------------------------------------- */

static enum state size_digit(struct torc__http_chunk *c, char ch)
{
	if (c->digits == SIZE_DIGITS_MAX || c->chunk_left > INT64_MAX >> 4)
		return BAD;
	c->digits++;
	c->chunk_left = c->chunk_left << 4 | hex_value(ch);
	return SIZE;
}

static enum state size_byte(struct torc__http_chunk *c, char ch)
{
	if (torc__http_is(ch, TORC__HTTP_HEX))
		return size_digit(c, ch);
	if (c->state == SIZE0)
		return BAD;
	if (ch == '\r')
		return SIZE_LF;
	return ch == ';' ? EXT_NAME0 : is_bws(ch) ? EXT_BWS0 : BAD;
}

/* The size is known: @ch ends its line. */
static enum state size_end(struct torc__http_chunk *c, char ch)
{
	if (ch != '\n')
		return BAD;
	if (c->chunk_left > c->left.body_bytes) {
		c->status = -413;
		return BAD;
	}
	c->left.body_bytes -= c->chunk_left;
	return c->chunk_left ? DATA : LINE;
}

static enum state data_end(struct torc__http_chunk *c, char ch)
{
	c->digits = 0;
	return ch == '\n' ? SIZE0 : BAD;
}

/* Behind a value that is complete. */
static enum state ext_end(char ch)
{
	return ch == ';' ? EXT_NAME0 : ch == '\r' ? SIZE_LF : is_bws(ch) ? EXT_BWS0 : BAD;
}

/* Where a name or token value may begin, after white space or at once. */
static enum state ext_begin(enum state state, char ch, enum state token)
{
	if (torc__http_is(ch, TORC__HTTP_TCHAR))
		return token;
	return is_bws(ch) ? state : BAD;
}

static enum state ext_name(char ch)
{
	if (torc__http_is(ch, TORC__HTTP_TCHAR))
		return EXT_NAME;
	if (ch == '=')
		return EXT_VALUE0;
	return ch == ';' ? EXT_NAME0 : ch == '\r' ? SIZE_LF : is_bws(ch) ? EXT_BWS : BAD;
}

static enum state ext_quoted(char ch)
{
	if (torc__http_is(ch, TORC__HTTP_CTL))
		return BAD;
	return ch == '"' ? EXT_END : ch == '\\' ? EXT_ESCAPE : EXT_QUOTED;
}

static enum state ext_byte(enum state state, char ch)
{
	switch (state) {
	case EXT_BWS0: return ch == ';' ? EXT_NAME0 : is_bws(ch) ? EXT_BWS0 : BAD;
	case EXT_NAME0: return ext_begin(EXT_NAME0, ch, EXT_NAME);
	case EXT_NAME: return ext_name(ch);
	case EXT_BWS:
		return ch == '=' ? EXT_VALUE0 : ch == ';' ? EXT_NAME0 : is_bws(ch) ? EXT_BWS : BAD;
	case EXT_VALUE0: return ch == '"' ? EXT_QUOTED : ext_begin(EXT_VALUE0, ch, EXT_VALUE);
	case EXT_VALUE: return torc__http_is(ch, TORC__HTTP_TCHAR) ? EXT_VALUE : ext_end(ch);
	case EXT_QUOTED: return ext_quoted(ch);
	case EXT_ESCAPE: return torc__http_is(ch, TORC__HTTP_CTL) ? BAD : EXT_QUOTED;
	default: return ext_end(ch);
	}
}

static enum state line_byte(struct torc__http_chunk *c, char ch)
{
	if (ch == '\r')
		return END_LF;
	if (!torc__http_is(ch, TORC__HTTP_TCHAR))
		return BAD; /* a folded line, among others */
	if (c->left.trailers == 0) {
		c->status = -431;
		return BAD;
	}
	c->left.trailers--;
	c->name[0] = ch;
	c->name_len = 1;
	return NAME;
}

static enum state name_byte(struct torc__http_chunk *c, char ch)
{
	if (torc__http_is(ch, TORC__HTTP_TCHAR)) {
		if (c->name_len < sizeof(c->name)) /* a name that fills it is none that we know */
			c->name[c->name_len++] = ch;
		return NAME;
	}
	if (ch != ':' || FORBIDDEN >> torc__http_name_find(c->name, c->name_len) & 1)
		return BAD;
	return VALUE;
}

static enum state value_byte(char ch)
{
	return !torc__http_is(ch, TORC__HTTP_CTL) ? VALUE : ch == '\r' ? VALUE_LF : BAD;
}

static enum state next_state(struct torc__http_chunk *c, char ch)
{
	switch ((enum state)c->state) {
	case SIZE0:
	case SIZE: return size_byte(c, ch);
	case SIZE_LF: return size_end(c, ch);
	case DATA_CR: return ch == '\r' ? DATA_LF : BAD;
	case DATA_LF: return data_end(c, ch);
	case LINE: return line_byte(c, ch);
	case NAME: return name_byte(c, ch);
	case VALUE: return value_byte(ch);
	case VALUE_LF: return ch == '\n' ? LINE : BAD;
	case END_LF: return ch == '\n' ? DONE : BAD;
	default: return ext_byte(c->state, ch);
	}
}

/* ---- Limits --------------------------------------------------------------------------------- */

/* Charges the byte that led from @from to @to. */
static int charge(struct torc__http_chunk *c, enum state from, enum state to)
{
	if (is_trailer(from) && to != END_LF && to != DONE)
		return c->left.trailer_bytes-- == 0 ? -431 : 0;
	if (is_ext(to))
		return c->left.ext_bytes-- == 0 ? -400 : 0;
	return 0;
}

static int step(struct torc__http_chunk *c, char ch)
{
	enum state from = c->state, to = next_state(c, ch);

	if (to == BAD)
		c->status = c->status ? c->status : -400;
	else
		c->status = charge(c, from, to);
	c->state = (uint8_t)to;
	return c->status;
}

/* ---- Interface ------------------------------------------------------------------------------ */

void torc__http_chunk_init(struct torc__http_chunk *c, const struct torc__http_chunk_limits *limits)
{
	*c = (struct torc__http_chunk){ .left = *limits, .state = SIZE0 };
}

bool torc__http_chunk_done(const struct torc__http_chunk *c)
{
	return c->state == DONE;
}

unsigned torc__http_chunk_last_line(const struct torc__http_chunk *c)
{
	return c->state == DONE ? 2 : c->state == END_LF;
}

static struct torc_slice take_data(struct torc__http_chunk *c, const char *buf, size_t len)
{
	struct torc_slice data = { buf, c->chunk_left < len ? (size_t)c->chunk_left : len };

	c->chunk_left -= data.len;
	if (c->chunk_left == 0)
		c->state = DATA_CR;
	return data;
}

ssize_t torc__http_chunk_next(struct torc__http_chunk *c, const char *buf, size_t len,
			      struct torc_slice *ret_data)
{
	size_t pos = 0;
	int status = c->status;

	*ret_data = (struct torc_slice){ buf, 0 };
	while (status == 0 && pos < len && c->state != DONE) {
		if (c->state == DATA) {
			*ret_data = take_data(c, buf + pos, len - pos);
			return (ssize_t)(pos + ret_data->len);
		}
		status = step(c, buf[pos++]);
	}
	return status < 0 ? status : (ssize_t)pos;
}
