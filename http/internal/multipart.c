/*
 * http/internal/multipart.c - the parser of multipart bodies.
 */
#include "http/internal/multipart.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* --- the boundary --- */

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_boundary_char(char c)
{
	return is_alphanumeric(c) || (c && strchr("'()+_,-./:=? ", c));
}

static bool is_token_char(char c)
{
	return is_alphanumeric(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

static const char *skip_token(const char *p, const char *end)
{
	while (p < end && is_token_char(*p))
		p++;
	return p;
}

static bool is(struct torc_slice s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp(s.data, text, s.len);
}

/* The string at p, without its quotes, of which it stands behind the first. Its end, behind the second, or NULL. */
static const char *quoted_end(const char *p, const char *end, struct torc_slice *ret_value)
{
	const char *begin = p;

	for (; p < end && *p != '"'; p++)
		if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\'))
			p++;
	if (p == end)
		return NULL;
	*ret_value = (struct torc_slice){ begin, (size_t)(p - begin) };
	return p + 1;
}

/*
 * The next of "; name=value" parameters. Returns 1, 0: there are no more, or -EBADMSG. The value still has the backslashes
 * of a quoted one.
 */
static int next_parameter(const char **at, const char *end, struct torc_slice *ret_name,
			  struct torc_slice *ret_value)
{
	const char *p = skip_blank(*at, end), *begin;

	if (p == end)
		return 0;
	if (*p != ';')
		return -EBADMSG;
	begin = skip_blank(p + 1, end);
	p = skip_token(begin, end);
	*ret_name = (struct torc_slice){ begin, (size_t)(p - begin) };
	if (p == begin || p == end || *p != '=')
		return -EBADMSG;
	begin = ++p;
	if (p < end && *p == '"') {
		p = quoted_end(p + 1, end, ret_value);
	} else {
		p = skip_token(p, end);
		*ret_value = (struct torc_slice){ begin, (size_t)(p - begin) };
		if (p == begin)
			return -EBADMSG;
	}
	*at = p;
	return p ? 1 : -EBADMSG;
}

static bool is_boundary(struct torc_slice s)
{
	if (!s.len || s.len > TORC__BOUNDARY_MAX || s.data[s.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_boundary_char(s.data[i]))
			return false;
	return true;
}

int torc__multipart_init(struct torc__multipart *m, struct torc_slice type)
{
	static const char expected[] = "multipart/form-data";
	const char *p = type.data + sizeof(expected) - 1, *end = type.data + type.len;
	struct torc_slice name, value, boundary = { NULL, 0 };
	int r;

	if (type.len < sizeof(expected) - 1 ||
	    strncasecmp(type.data, expected, sizeof(expected) - 1) != 0 ||
	    (p < end && !strchr("; \t", *p)))
		return -EPROTOTYPE;
	while ((r = next_parameter(&p, end, &name, &value)) > 0) {
		if (!is(name, "boundary"))
			continue;
		if (boundary.data)
			return -EBADMSG;
		boundary = value;
	}
	if (r < 0 || !is_boundary(boundary))
		return -EBADMSG;
	memcpy(m->delimiter, "\r\n--", 4);
	memcpy(m->delimiter + 4, boundary.data, boundary.len);
	m->delimiter_len = (uint8_t)(4 + boundary.len);
	m->state = TORC__MULTIPART_BEGIN;
	m->matched = 2; /* the first line needs none before it */
	m->edge = m->borrowed = 0;
	m->head_len = 0;
	return 0;
}

/* --- the body --- */

/* How far the delimiter goes on here. */
static size_t match(const struct torc__multipart *m, const char *data, size_t len)
{
	size_t left = (size_t)(m->delimiter_len - m->matched), n = 0;
	const char *rest = m->delimiter + m->matched;

	len = len < left ? len : left;
	while (n < len && data[n] == rest[n])
		n++;
	return n;
}

static void begin_edge(struct torc__multipart *m)
{
	m->matched = m->borrowed = 0;
	m->edge = 0;
	m->state = TORC__MULTIPART_EDGE;
}

static int at_begin(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used)
{
	size_t n = match(m, data, len);

	*ret_used = n;
	m->matched = (uint8_t)(m->matched + n);
	if (m->matched == m->delimiter_len)
		begin_edge(m);
	else if (n < len)
		return -EBADMSG;
	return 0;
}

static int at_edge(struct torc__multipart *m, const char *data, size_t *ret_used)
{
	char c = *data;

	*ret_used = 1;
	if (!m->edge) {
		m->edge = (uint8_t)c;
		return c == '\r' || c == '-' ? 0 : -EBADMSG;
	}
	if (m->edge == '-' && c == '-') {
		m->state = TORC__MULTIPART_END;
		return TORC__MULTIPART_DONE;
	}
	if (m->edge != '\r' || c != '\n')
		return -EBADMSG;
	m->state = TORC__MULTIPART_HEAD;
	m->head_len = 0;
	return 0;
}

/* Up to the empty line, which is the first when there are no fields. */
static bool head_is_complete(const struct torc__multipart *m)
{
	const char *end = m->head + m->head_len;

	if (m->head_len == 2)
		return !memcmp(m->head, "\r\n", 2);
	return m->head_len >= 4 && !memcmp(end - 4, "\r\n\r\n", 4);
}

static int at_head(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used)
{
	size_t used = 0;

	while (used < len) {
		if (m->head_len == m->head_capacity)
			return -EMSGSIZE;
		m->head[m->head_len++] = data[used];
		if (data[used++] != '\n')
			continue;
		if (m->head_len < 2 || m->head[m->head_len - 2] != '\r')
			return -EBADMSG;
		if (head_is_complete(m)) {
			*ret_used = used;
			/* A part without data may end here: the empty line is the delimiter's then. */
			m->state = TORC__MULTIPART_DATA;
			m->matched = m->borrowed = 2;
			m->head_len -= 2;
			return TORC__MULTIPART_PART;
		}
	}
	*ret_used = used;
	return 0;
}

/* A delimiter had begun in the input before. */
static int go_on_matching(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used,
			  struct torc_slice *ret_data)
{
	size_t n = match(m, data, len);

	*ret_used = n;
	m->matched = (uint8_t)(m->matched + n);
	if (m->matched == m->delimiter_len) {
		begin_edge(m);
		return TORC__MULTIPART_PART_END;
	}
	if (n == len)
		return 0;
	/* It was none: what has matched is data, and as the delimiter has it too it is found there. */
	*ret_data = (struct torc_slice){ m->delimiter + m->borrowed,
					 (size_t)(m->matched - m->borrowed) };
	m->matched = m->borrowed = 0;
	return ret_data->len ? TORC__MULTIPART_BYTES : 0;
}

/* Where what may be a delimiter begins; len: there is none. */
static size_t find_delimiter(const struct torc__multipart *m, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		const char *cr = memchr(data + at, '\r', len - at);
		size_t n;

		if (!cr)
			return len;
		at = (size_t)(cr - data);
		n = match(m, cr, len - at);
		if (n == len - at || n == m->delimiter_len)
			return at;
		at += n;
	}
	return len;
}

static int at_data(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used,
		   struct torc_slice *ret_data)
{
	size_t n;

	if (m->matched)
		return go_on_matching(m, data, len, ret_used, ret_data);
	n = find_delimiter(m, data, len);
	if (!n)
		return go_on_matching(m, data, len, ret_used, ret_data);
	*ret_used = n;
	*ret_data = (struct torc_slice){ data, n };
	return TORC__MULTIPART_BYTES;
}

static int step(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used,
		struct torc_slice *ret_data)
{
	switch ((enum torc__multipart_state)m->state) {
	case TORC__MULTIPART_BEGIN: return at_begin(m, data, len, ret_used);
	case TORC__MULTIPART_EDGE: return at_edge(m, data, ret_used);
	case TORC__MULTIPART_HEAD: return at_head(m, data, len, ret_used);
	case TORC__MULTIPART_DATA: return at_data(m, data, len, ret_used, ret_data);
	case TORC__MULTIPART_END: break;
	}
	*ret_used = len;
	return TORC__MULTIPART_DONE;
}

int torc__multipart_next(struct torc__multipart *m, const char *data, size_t len, size_t *ret_used,
			 struct torc_slice *ret_data)
{
	size_t used = 0, n;

	while (used < len) {
		int r = step(m, data + used, len - used, &n, ret_data);

		if (r < 0)
			return r;
		used += n;
		if (r) {
			*ret_used = used;
			return r;
		}
	}
	*ret_used = used;
	return m->state == TORC__MULTIPART_END ? TORC__MULTIPART_DONE : TORC__MULTIPART_MORE;
}

/* --- the head of a part --- */

/* Without the backslashes: in *spare, of which there is then less. */
static struct torc_slice unquote(struct torc_slice s, char **spare)
{
	char *to = *spare;
	size_t n = 0;

	if (!s.len || !memchr(s.data, '\\', s.len))
		return s;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] == '\\' && i + 1 < s.len &&
		    (s.data[i + 1] == '"' || s.data[i + 1] == '\\'))
			i++;
		to[n++] = s.data[i];
	}
	*spare += n;
	return (struct torc_slice){ to, n };
}

static int read_disposition(struct torc_slice value, struct torc_http_part *part)
{
	static const char expected[] = "form-data";
	const char *p = value.data + sizeof(expected) - 1, *end = value.data + value.len;
	struct torc_slice name, v;
	int r;

	if (part->name.data || value.len < sizeof(expected) ||
	    strncasecmp(value.data, expected, sizeof(expected) - 1) != 0)
		return -EBADMSG;
	while ((r = next_parameter(&p, end, &name, &v)) > 0) {
		if (is(name, "name")) {
			if (part->name.data)
				return -EBADMSG;
			part->name = v;
		} else if (is(name, "filename")) {
			if (part->has_filename)
				return -EBADMSG;
			part->filename = v;
			part->has_filename = true;
		}
	}
	return r < 0 || !part->name.data ? -EBADMSG : 0;
}

/* What has been encoded would be taken for something else. */
static bool is_plain_encoding(struct torc_slice value)
{
	return is(value, "7bit") || is(value, "8bit") || is(value, "binary");
}

static int read_field(struct torc_slice name, struct torc_slice value, struct torc_http_part *part)
{
	if (is(name, "Content-Disposition"))
		return read_disposition(value, part);
	if (is(name, "Content-Transfer-Encoding"))
		return is_plain_encoding(value) ? 0 : -EBADMSG;
	if (is(name, "Content-Type")) {
		if (part->type.data)
			return -EBADMSG;
		part->type = value;
	}
	return 0;
}

static bool is_value(struct torc_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.data[i] < ' ' && s.data[i] != '\t') || s.data[i] == 0x7f)
			return false;
	return true;
}

/* A line without its CRLF. */
static int read_line(const char *line, const char *end, struct torc_http_part *part)
{
	const char *colon = skip_token(line, end), *last = end;
	struct torc_slice name = { line, (size_t)(colon - line) }, value;

	if (colon == line || colon == end || *colon != ':')
		return -EBADMSG;
	value.data = skip_blank(colon + 1, end);
	while (last > value.data && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	value.len = (size_t)(last - value.data);
	return is_value(value) ? read_field(name, value, part) : -EBADMSG;
}

int torc__multipart_head(char *head, size_t len, struct torc_http_part *ret_part)
{
	struct torc_http_part part = { .head = { head, len } };
	const char *p = head, *end = head + len;
	char *spare = head + len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		int r = read_line(p, lf - 1, &part);

		if (r < 0)
			return r;
		p = lf + 1;
	}
	if (!part.name.data)
		return -EBADMSG;
	part.name = unquote(part.name, &spare);
	part.filename = unquote(part.filename, &spare);
	if (!part.type.data)
		part.type = (struct torc_slice){ "text/plain", 10 };
	*ret_part = part;
	return 0;
}
