#include <torc/http/auth.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/internal/exchange.h"

static const char user_key;

bool torc_http_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const volatile unsigned char *p = a, *q = b;
	size_t len = a_len < b_len ? a_len : b_len;
	unsigned char differs = a_len != b_len;

	for (size_t i = 0; i < len; i++)
		differs |= (unsigned char)(p[i] ^ q[i]);
	return !differs;
}

const char *torc_http_user(const struct torc_http_exchange *x)
{
	return torc_http_local_get(x, &user_key);
}

int torc_http_set_user(struct torc_http_exchange *x, const char *user)
{
	return torc_http_local_set(x, &user_key, (void *)(uintptr_t)user);
}

/* --- credentials --- */

/* What follows the scheme's name. Returns 0; -ENOENT: no credentials of this scheme; -EBADMSG: malformed. */
static int find_credentials(const struct torc_http_exchange *x, const char *scheme,
			    struct torc_slice *ret)
{
	struct torc_slice value, second;
	size_t at = 0, len = strlen(scheme);

	if (!torc_http_next_value(x, "Authorization", &at, &value))
		return -ENOENT;
	if (torc_http_next_value(x, "Authorization", &at, &second))
		return -EBADMSG;
	if (value.len < len || strncasecmp(value.data, scheme, len) != 0 ||
	    (value.len > len && value.data[len] != ' '))
		return -ENOENT;
	value.data += len;
	value.len -= len;
	for (; value.len && *value.data == ' '; value.data++)
		value.len--;
	*ret = value;
	return value.len ? 0 : -EBADMSG;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * RFC 4648, section 4, with its padding; bits that mean nothing must be 0, or one name had many spellings. `to` has room for
 * 3 bytes per 4. Returns the length, or -EBADMSG.
 */
static ssize_t base64_decode(struct torc_slice s, char *to)
{
	unsigned bits = 0, have = 0;
	size_t padding = 0, n = 0;

	if (s.len % 4)
		return -EBADMSG;
	while (padding < 2 && s.len && s.data[s.len - 1] == '=') {
		s.len--;
		padding++;
	}
	for (size_t i = 0; i < s.len; i++) {
		int digit = base64_digit(s.data[i]);

		if (digit < 0)
			return -EBADMSG;
		bits = (bits << 6 | (unsigned)digit) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			to[n++] = (char)(bits >> have);
		}
	}
	return bits & ((1u << have) - 1) ? -EBADMSG : (ssize_t)n;
}

/* b64token (RFC 6750, section 2.1). */
static bool is_token68(struct torc_slice s)
{
	size_t i = 0;

	while (i < s.len &&
	       (base64_digit(s.data[i]) >= 0 || (s.data[i] && strchr("-._~", s.data[i]))))
		i++;
	if (!i)
		return false;
	while (i < s.len && s.data[i] == '=')
		i++;
	return i == s.len;
}

/* RFC 7617, section 2: no control characters in either. */
static bool has_controls(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return true;
	return false;
}

/* --- answers --- */

/* A quoted string, with its end. -EINVAL: a realm that cannot be shown. */
static int put_quoted(char *to, const char *text)
{
	size_t len = strlen(text);

	if (len > TORC_HTTP_REALM_MAX)
		return -EINVAL;
	*to++ = '"';
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			return -EINVAL;
		if (*text == '"' || *text == '\\')
			*to++ = '\\';
		*to++ = *text;
	}
	*to++ = '"';
	*to = '\0';
	return 0;
}

/* Quotes, escapes and end. */
#define QUOTED_BYTES (2 * TORC_HTTP_REALM_MAX + 3)

static int challenge(struct torc_http_exchange *x, int status, const char *text)
{
	int r = torc_http_add_field(x, "WWW-Authenticate", text);

	return r ? r : torc_http_respond_text(x, status, torc__http_reason(status));
}

static int challenge_basic(struct torc_http_exchange *x, const struct torc_http_basic *b)
{
	char realm[QUOTED_BYTES], text[QUOTED_BYTES + 48];
	int r = put_quoted(realm, b->realm);

	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "Basic realm=%s, charset=\"UTF-8\"", realm);
	return challenge(x, 401, text);
}

/* RFC 6750, section 3.1; error NULL: there were no credentials, and so nothing is said of them. */
static int challenge_bearer(struct torc_http_exchange *x, const struct torc_http_bearer *b,
			    int status, const char *error)
{
	char realm[QUOTED_BYTES] = "", text[QUOTED_BYTES + 64];
	int r = b->realm ? put_quoted(realm, b->realm) : 0;

	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "Bearer%s%s%s%s%s%s", b->realm ? " realm=" : "", realm,
		 b->realm && error ? "," : "", error ? " error=\"" : "", error ? error : "",
		 error ? "\"" : "");
	return challenge(x, status, text);
}

/* --- Basic --- */

/* "user:password" becomes two strings in *user. */
static int decode_basic(struct torc_http_exchange *x, struct torc_slice s, char **ret_user,
			char **ret_password, size_t *ret_len)
{
	char *text, *colon;
	ssize_t len;

	if (s.len > TORC_HTTP_CREDENTIALS_MAX / 3 * 4)
		return -EBADMSG;
	text = torc_http_alloc(x, s.len / 4 * 3 + 4);
	if (!text)
		return -ENOMEM;
	len = base64_decode(s, text);
	if (len < 0 || has_controls(text, (size_t)len))
		return -EBADMSG;
	text[len] = '\0';
	colon = strchr(text, ':');
	if (!colon)
		return -EBADMSG;
	*colon = '\0';
	*ret_user = text;
	*ret_password = colon + 1;
	*ret_len = (size_t)len;
	return 0;
}

/* What a check has said is answered; unless it has answered by itself. */
static int refuse_basic(struct torc_http_exchange *x, const struct torc_http_basic *b, int r)
{
	if (torc_http_status(x))
		return r;
	if (r == -EACCES)
		return challenge_basic(x, b);
	return r == -EPERM ? torc_http_respond_text(x, 403, "Forbidden") : r;
}

static int check_basic(struct torc_http_exchange *x, const struct torc_http_basic *b,
		       struct torc_slice credentials)
{
	char *user, *password;
	size_t len;
	int r = decode_basic(x, credentials, &user, &password, &len);

	if (r < 0)
		return r == -EBADMSG ? torc_http_respond_text(x, 400, "Bad Request") : r;
	r = b->check(x, user, password, b->arg);
	explicit_bzero(password, len - (size_t)(password - user));
	if (r < 0 || torc_http_status(x))
		return refuse_basic(x, b, r);
	r = torc_http_set_user(x, user);
	return r ? r : torc_http_next(x);
}

int torc_http_basic_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_basic *b = arg;
	struct torc_slice credentials;
	int r;

	if (!b->check || !b->realm)
		return -EINVAL;
	r = find_credentials(x, "Basic", &credentials);
	if (r == -EBADMSG)
		return torc_http_respond_text(x, 400, "Bad Request");
	return r ? challenge_basic(x, b) : check_basic(x, b, credentials);
}

/* --- Bearer --- */

static int refuse_bearer(struct torc_http_exchange *x, const struct torc_http_bearer *b, int r)
{
	if (torc_http_status(x))
		return r;
	if (r == -EACCES)
		return challenge_bearer(x, b, 401, "invalid_token");
	return r == -EPERM ? challenge_bearer(x, b, 403, "insufficient_scope") : r;
}

static int check_bearer(struct torc_http_exchange *x, const struct torc_http_bearer *b,
			struct torc_slice s)
{
	char *token;
	int r;

	if (s.len > TORC_HTTP_CREDENTIALS_MAX || !is_token68(s))
		return challenge_bearer(x, b, 400, "invalid_request");
	token = torc_http_alloc(x, s.len + 1);
	if (!token)
		return -ENOMEM;
	memcpy(token, s.data, s.len);
	token[s.len] = '\0';
	r = b->check(x, token, b->arg);
	explicit_bzero(token, s.len);
	return r < 0 || torc_http_status(x) ? refuse_bearer(x, b, r) : torc_http_next(x);
}

int torc_http_bearer_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_bearer *b = arg;
	struct torc_slice credentials;
	int r;

	if (!b->check)
		return -EINVAL;
	r = find_credentials(x, "Bearer", &credentials);
	if (r == -ENOENT)
		return challenge_bearer(x, b, 401, NULL);
	return r ? challenge_bearer(x, b, 400, "invalid_request") : check_bearer(x, b, credentials);
}
