/*
 * http/authorize.c - challenges, and what is said without thinking: Basic and Bearer.
 */
#include "http/internal/authorize.h"

#include <errno.h>
#include <openssl/evp.h>

#include <torc/http/auth.h>

#include "http/internal/exchange.h"

/* --- challenges: RFC 9110, section 11.6.1 --- */

static void drop(struct torc_slice *s, size_t n)
{
	s->data += n;
	s->len -= n;
}

static size_t count_blanks(struct torc_slice s)
{
	size_t n = 0;

	while (n < s.len && (s.data[n] == ' ' || s.data[n] == '\t'))
		n++;
	return n;
}

static size_t count_token(struct torc_slice s)
{
	size_t n = 0;

	while (n < s.len && torc__http_is(s.data[n], TORC__HTTP_TCHAR))
		n++;
	return n;
}

static bool is_token68(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~+/", c));
}

static size_t count_token68(struct torc_slice s)
{
	size_t n = 0;

	while (n < s.len && is_token68(s.data[n]))
		n++;
	while (n && n < s.len && s.data[n] == '=')
		n++;
	return n;
}

/* With its quotes; 0: it has no end. */
static size_t count_quoted(struct torc_slice s)
{
	for (size_t n = 1; n < s.len; n++) {
		if (s.data[n] == '"')
			return n + 1;
		n += s.data[n] == '\\';
	}
	return 0;
}

/* Is there nothing but blanks up to the next comma, or the end? */
static bool ends_at(struct torc_slice s, size_t n)
{
	drop(&s, n);
	drop(&s, count_blanks(s));
	return !s.len || *s.data == ',';
}

/* "name = value"; false: it is something else. */
static bool take_parameter(struct torc_slice *left, struct torc_slice *ret_name,
			   struct torc_slice *ret_value)
{
	struct torc_slice s = *left, name = { s.data, count_token(s) };
	size_t n;

	drop(&s, name.len);
	drop(&s, count_blanks(s));
	if (!name.len || !s.len || *s.data != '=')
		return false;
	drop(&s, 1);
	drop(&s, count_blanks(s));
	n = s.len && *s.data == '"' ? count_quoted(s) : count_token(s);
	if (!n || !ends_at(s, n))
		return false;
	*ret_name = name;
	*ret_value = (struct torc_slice){ s.data, n };
	drop(&s, n);
	*left = s;
	return true;
}

static bool take_token68(struct torc_slice *left, struct torc_slice *ret_value)
{
	size_t n = count_token68(*left);

	if (!n || !ends_at(*left, n))
		return false;
	*ret_value = (struct torc_slice){ left->data, n };
	drop(left, n);
	return true;
}

/* Behind it are blanks, a comma, or nothing. */
static bool take_scheme(struct torc_slice *left, struct torc_slice *ret_name)
{
	size_t n = count_token(*left);

	if (!n || (n < left->len && !count_blanks((struct torc_slice){ left->data + n, 1 }) &&
		   left->data[n] != ','))
		return false;
	*ret_name = (struct torc_slice){ left->data, n };
	drop(left, n);
	return true;
}

/*
 * Commas are between the parameters of a scheme and between schemes. What has a value behind an equals sign is a parameter, everything
 * else is a scheme, but right behind one.
 */
enum torc__http_challenge_part torc__http_challenge_next(struct torc__http_challenge_walk *w,
							 struct torc_slice *ret_name,
							 struct torc_slice *ret_value)
{
	struct torc_slice *left = &w->left;
	bool fresh = w->fresh;

	while (left->len && (*left->data == ',' || count_blanks(*left))) {
		fresh = fresh && *left->data != ',';
		drop(left, 1);
	}
	w->fresh = false;
	if (w->begun && take_parameter(left, ret_name, ret_value))
		return TORC__HTTP_CHALLENGE_PARAMETER;
	if (fresh && take_token68(left, ret_value))
		return TORC__HTTP_CHALLENGE_TOKEN;
	if (!fresh && take_scheme(left, ret_name)) {
		w->begun = w->fresh = true;
		return TORC__HTTP_CHALLENGE_SCHEME;
	}
	w->broken = left->len != 0;
	left->len = 0;
	return TORC__HTTP_CHALLENGE_END;
}

bool torc__http_unquote(struct torc_slice value, char *to, size_t size)
{
	bool quoted = value.len >= 2 && *value.data == '"';
	size_t n = 0;

	for (size_t i = quoted; i < value.len - quoted; i++) {
		if (quoted && value.data[i] == '\\' && i + 2 < value.len)
			i++;
		if (n + 1 >= size || torc__http_is(value.data[i], TORC__HTTP_CTL))
			return false;
		to[n++] = value.data[i];
	}
	to[n] = '\0';
	return true;
}

static bool offers(const struct torc_http_challenge *c, const char *scheme)
{
	struct torc_slice name, value;

	for (size_t i = 0; i < c->count && i < TORC_HTTP_CHALLENGES_MAX; i++) {
		struct torc__http_challenge_walk w = { .left = c->challenges[i] };
		enum torc__http_challenge_part part;

		while ((part = torc__http_challenge_next(&w, &name, &value)))
			if (part == TORC__HTTP_CHALLENGE_SCHEME &&
			    torc__http_slice_is_word(name, scheme))
				return true;
	}
	return false;
}

/* --- Basic and Bearer --- */

/* Said before being asked, or when first asked, to whom it is for. */
static bool is_due(const struct torc_http_challenge *c, const char *origin, const char *scheme)
{
	if (c->tries || (origin && !torc__http_slice_is(c->origin, origin)))
		return false;
	return !c->status || offers(c, scheme);
}

static bool has_controls(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return true;
	return false;
}

int torc_http_authorize_basic(const struct torc_http_challenge *c, char *ret_value, size_t size,
			      void *arg)
{
	const struct torc_http_credentials *me = arg;
	char pair[TORC_HTTP_CREDENTIALS_MAX + 1];
	size_t user, password, len;

	if (!is_due(c, me->origin, "Basic"))
		return 0;
	user = strlen(me->user);
	password = strlen(me->password);
	len = user + 1 + password;
	if (user >= sizeof(pair) || password >= sizeof(pair) || len >= sizeof(pair) ||
	    strchr(me->user, ':') || has_controls(me->user) || has_controls(me->password))
		return -EINVAL;
	if (size < 6 + (len + 2) / 3 * 4 + 1)
		return -ERANGE;
	memcpy(pair, me->user, user);
	pair[user] = ':';
	memcpy(pair + user + 1, me->password, password);
	memcpy(ret_value, "Basic ", 6);
	EVP_EncodeBlock((unsigned char *)ret_value + 6, (unsigned char *)pair, (int)len);
	explicit_bzero(pair, sizeof(pair));
	return 1;
}

int torc_http_authorize_bearer(const struct torc_http_challenge *c, char *ret_value, size_t size,
			       void *arg)
{
	const struct torc_http_token *me = arg;
	struct torc_slice token;

	if (!is_due(c, me->origin, "Bearer"))
		return 0;
	token = (struct torc_slice){ me->token, strlen(me->token) };
	if (!token.len || count_token68(token) != token.len)
		return -EINVAL;
	if (size < 7 + token.len + 1)
		return -ERANGE;
	memcpy(ret_value, "Bearer ", 7);
	memcpy(ret_value + 7, token.data, token.len + 1);
	return 1;
}
