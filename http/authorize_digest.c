/*
 * http/authorize_digest.c - Digest: RFC 7616, and what came before it.
 *
 * What a server has asked with is kept, under a lock that is held for a copy, so that the next request answers before it is asked: each with a higher
 * count. One cnonce goes with one nonce, so that with "-sess" the key of a session is the same in all of its requests.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "http/internal/authorize.h"
#include "http/internal/exchange.h"
#include "http/internal/random.h"

/* Answers to one request, whatever a server says of its nonces. */
#define TRIES_MAX 3

void torc_http_digest_init(struct torc_http_digest *d,
			   const struct torc_http_credentials *credentials)
{
	*d = (struct torc_http_digest){ .credentials = *credentials };
	pthread_mutex_init(&d->lock, NULL);
}

void torc_http_digest_done(struct torc_http_digest *d)
{
	pthread_mutex_destroy(&d->lock);
	explicit_bzero(d, sizeof(*d));
}

/* --- hashes --- */

/* The strings up to NULL with colons between them. 0 or -EOPNOTSUPP. */
static int hash(bool sha256, char hex[65], const char *const parts[])
{
	unsigned char out[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned len = 0;
	bool good = ctx && EVP_DigestInit_ex(ctx, sha256 ? EVP_sha256() : EVP_md5(), NULL);

	for (size_t i = 0; good && parts[i]; i++)
		good = (!i || EVP_DigestUpdate(ctx, ":", 1)) &&
		       EVP_DigestUpdate(ctx, parts[i], strlen(parts[i]));
	good = good && EVP_DigestFinal_ex(ctx, out, &len);
	EVP_MD_CTX_free(ctx);
	for (unsigned i = 0; good && i < len && i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", out[i]);
	return good ? 0 : -EOPNOTSUPP;
}

#define HASH(hex, ...) hash(s->sha256, hex, (const char *const[]){ __VA_ARGS__, NULL })

int torc__http_digest_response(const struct torc__http_digest_session *s,
			       const struct torc_http_credentials *me, const char *method,
			       const char *target, char ret_response[65], char ret_user[65])
{
	char a1[65], a2[65], count[9];
	int r = HASH(a1, me->user, s->realm, me->password);

	if (!r && s->in_session)
		r = HASH(a1, a1, s->nonce, s->cnonce);
	if (!r)
		r = HASH(a2, method, target);
	snprintf(count, sizeof(count), "%08x", s->count);
	if (!r)
		r = s->has_qop ? HASH(ret_response, a1, s->nonce, count, s->cnonce, "auth", a2)
			       : HASH(ret_response, a1, s->nonce, a2);
	if (!r && s->hash_user)
		r = HASH(ret_user, me->user, s->realm);
	explicit_bzero(a1, sizeof(a1));
	return r;
}

/* --- what a server asks --- */

/* One challenge. */
struct offer {
	struct torc__http_digest_session session;
	bool is_digest, has_realm, has_nonce; /* seen */
	bool stale, refused; /* refused: there is something that is not understood */
};

static bool is_in_list(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (*list) {
		size_t n = strcspn(list, ", \t");

		if (n == len && !strncasecmp(list, word, n))
			return true;
		list += n + (list[n] != '\0');
	}
	return false;
}

static bool take_algorithm(struct torc__http_digest_session *s, const char *name)
{
	s->has_algorithm = true;
	s->sha256 = !strncasecmp(name, "SHA-256", 7);
	s->in_session = strlen(name) > 5 && !strcasecmp(name + strlen(name) - 5, "-sess");
	return !strcasecmp(name, s->sha256       ? s->in_session ? "SHA-256-sess" : "SHA-256"
				 : s->in_session ? "MD5-sess"
						 : "MD5");
}

/* Once each: what comes twice can be understood in two ways. */
static bool take_once(bool *seen)
{
	bool first = !*seen;

	*seen = true;
	return first;
}

static bool take_parameter(struct offer *o, struct torc_slice name, struct torc_slice value)
{
	struct torc__http_digest_session *s = &o->session;
	char text[128];

	if (torc__http_slice_is_word(name, "realm"))
		return take_once(&o->has_realm) &&
		       torc__http_unquote(value, s->realm, sizeof(s->realm));
	if (torc__http_slice_is_word(name, "nonce"))
		return take_once(&o->has_nonce) &&
		       torc__http_unquote(value, s->nonce, sizeof(s->nonce));
	if (torc__http_slice_is_word(name, "opaque"))
		return take_once(&s->has_opaque) &&
		       torc__http_unquote(value, s->opaque, sizeof(s->opaque));
	if (!torc__http_unquote(value, text, sizeof(text)))
		return torc__http_slice_is_word(name, "domain"); /* of no use, and may be long */
	if (torc__http_slice_is_word(name, "algorithm"))
		return !s->has_algorithm && take_algorithm(s, text);
	if (torc__http_slice_is_word(name, "qop"))
		return take_once(&s->has_qop) && is_in_list(text, "auth");
	if (torc__http_slice_is_word(name, "userhash"))
		s->hash_user = !strcasecmp(text, "true");
	if (torc__http_slice_is_word(name, "stale"))
		o->stale = !strcasecmp(text, "true");
	return true;
}

static bool is_usable(const struct offer *o)
{
	return o->is_digest && o->has_realm && o->has_nonce && !o->refused;
}

static void keep_better(struct offer *best, const struct offer *o)
{
	if (is_usable(o) && (!is_usable(best) || (o->session.sha256 && !best->session.sha256)))
		*best = *o;
}

static void read_challenge(struct torc_slice text, struct offer *best)
{
	struct torc__http_challenge_walk w = { .left = text };
	enum torc__http_challenge_part part;
	struct torc_slice name, value;
	struct offer o = { .is_digest = false };

	while ((part = torc__http_challenge_next(&w, &name, &value))) {
		if (part == TORC__HTTP_CHALLENGE_SCHEME) {
			keep_better(best, &o);
			o = (struct offer){ .is_digest = torc__http_slice_is_word(name, "Digest") };
		} else if (part == TORC__HTTP_CHALLENGE_TOKEN || !take_parameter(&o, name, value)) {
			o.refused = true;
		}
	}
	o.refused = o.refused || w.broken;
	keep_better(best, &o);
}

/* The best of what a server asks for. */
static bool find_offer(const struct torc_http_challenge *c, struct offer *best)
{
	*best = (struct offer){ .is_digest = false };
	for (size_t i = 0; i < c->count && i < TORC_HTTP_CHALLENGES_MAX; i++)
		read_challenge(c->challenges[i], best);
	return is_usable(best);
}

/* --- what is said --- */

/* Another answer than before can be right: none was given, or to a nonce of long ago. */
static bool may_answer(const struct torc_http_challenge *c, const struct offer *o)
{
	return !c->tries || (c->tries == 1 && c->answers == 1) ||
	       (o->stale && c->tries < TRIES_MAX);
}

static void make_cnonce(struct torc__http_digest_session *s)
{
	unsigned char bytes[16];

	torc__http_seed(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(s->cnonce + 2 * i, 3, "%02x", bytes[i]);
}

static void set_origin(struct torc__http_digest_session *s, struct torc_slice origin)
{
	/* One that is too long is never the same again. */
	if (origin.len && origin.len < sizeof(s->origin))
		memcpy(s->origin, origin.data, origin.len);
}

/* The session to answer with; false: there is none. */
static bool find_session(struct torc_http_digest *d, const struct torc_http_challenge *c,
			 struct torc__http_digest_session *ret)
{
	struct offer o;
	bool found = false;

	if (c->status) {
		found = find_offer(c, &o) && may_answer(c, &o);
		if (found) {
			make_cnonce(&o.session);
			set_origin(&o.session, c->origin);
		}
	}
	pthread_mutex_lock(&d->lock);
	if (c->status)
		d->session = found ? o.session : (struct torc__http_digest_session){ .count = 0 };
	else
		found = d->session.count && torc__http_slice_is(c->origin, d->session.origin);
	if (found) {
		d->session.count++;
		*ret = d->session;
	}
	pthread_mutex_unlock(&d->lock);
	return found;
}

/* What there is no room for is only counted. */
struct out {
	char *text;
	size_t size, n;
};

static void put(struct out *o, const char *text)
{
	size_t len = strlen(text);

	if (o->n + len < o->size)
		memcpy(o->text + o->n, text, len + 1);
	o->n += len;
}

/* name="value" */
static void put_quoted(struct out *o, const char *name, const char *value)
{
	char escaped[3] = "";

	put(o, name);
	put(o, "=\"");
	for (; *value; value++) {
		bool quote = *value == '"' || *value == '\\';

		escaped[0] = quote ? '\\' : *value;
		escaped[1] = quote ? *value : '\0';
		put(o, escaped);
	}
	put(o, "\"");
}

static void put_algorithm(struct out *o, const struct torc__http_digest_session *s)
{
	put(o, ", algorithm=");
	put(o, s->sha256 ? "SHA-256" : "MD5");
	put(o, s->in_session ? "-sess" : "");
}

static void put_all(struct out *o, const struct torc__http_digest_session *s, const char *user,
		    const char *target, const char *response)
{
	char count[32];

	put_quoted(o, "Digest username", user);
	put_quoted(o, ", realm", s->realm);
	put_quoted(o, ", nonce", s->nonce);
	put_quoted(o, ", uri", target);
	if (s->has_algorithm)
		put_algorithm(o, s);
	put_quoted(o, ", response", response);
	if (s->has_opaque)
		put_quoted(o, ", opaque", s->opaque);
	if (s->has_qop) {
		snprintf(count, sizeof(count), ", qop=auth, nc=%08x", s->count);
		put(o, count);
	}
	if (s->has_qop || s->in_session)
		put_quoted(o, ", cnonce", s->cnonce);
	if (s->hash_user)
		put(o, ", userhash=true");
}

static int say(const struct torc__http_digest_session *s, const struct torc_http_credentials *me,
	       const struct torc_http_challenge *c, char *ret_value, size_t size)
{
	struct out measure = { NULL, 0, 0 }, o = { ret_value, size, 0 };
	char response[65], hashed[65];
	int r = torc__http_digest_response(s, me, c->method, c->target, response, hashed);
	const char *user = s->hash_user ? hashed : me->user;

	if (r < 0)
		return r;
	put_all(&measure, s, user, c->target, response);
	if (measure.n >= size)
		return -ERANGE;
	put_all(&o, s, user, c->target, response);
	return 1;
}

static bool is_text(const char *s, const char *without)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f || strchr(without, *s))
			return false;
	return true;
}

int torc_http_authorize_digest(const struct torc_http_challenge *c, char *ret_value, size_t size,
			       void *arg)
{
	struct torc_http_digest *d = arg;
	const struct torc_http_credentials *me = &d->credentials;
	struct torc__http_digest_session s;

	if (me->origin && !torc__http_slice_is(c->origin, me->origin))
		return 0;
	if (!is_text(me->user, "") || !is_text(me->password, "") || !is_text(c->target, "\"\\"))
		return -EINVAL;
	if (!find_session(d, c, &s))
		return 0;
	return say(&s, me, c, ret_value, size);
}
