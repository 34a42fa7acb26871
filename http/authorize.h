/*
 * http/authorize.h - say who one is to servers and proxies: Basic (RFC 7617), Bearer (RFC 6750) and Digest (RFC 7616).
 *
 *	static const struct torc_http_credentials mine = {
 *		.user = "ann", .password = "secret", .origin = "https://api.example.org",
 *	};
 *
 *	.authorize = torc_http_authorize_basic, .authorize_arg = (void *)&mine		of a request's options
 *
 * A client calls a torc_http_authorize_fn before a request is sent, and again for each answer 401, or 407 of a proxy. What it says becomes the
 * Authorization field, or Proxy-Authorization. For schemes that are not here, and for tokens that have to be fetched first, write one; it
 * may suspend.
 *
 * Basic and Bearer send their secrets as they are: use them with TLS only. Whoever follows a redirect elsewhere must not take secrets along:
 * with an `origin` these functions say nothing to anybody else.
 */
#ifndef TORC_HTTP_AUTHORIZE_H
#define TORC_HTTP_AUTHORIZE_H

#include <pthread.h>

#include <torc/core/api.h>
#include <torc/core/slice.h>

TORC_BEGIN_DECLS

/* At most so many challenges' fields are looked at. */
#define TORC_HTTP_CHALLENGES_MAX 8

/* Room that a client gives for what is said. */
#define TORC_HTTP_AUTHORIZATION_MAX 8192

/* What a client asks. All is borrowed during the call. */
struct torc_http_challenge {
	int status; /* 0: the request was not sent yet; 401: the server asks; 407: a proxy does */
	const char *method, *target; /* as in the request's first line */
	/* Whom it goes to: "https://example.org", in lower case, with ":port" unless that goes without saying. The proxy, for 407. */
	struct torc_slice origin;
	const struct torc_slice
		*challenges; /* [count] values of WWW-Authenticate, or Proxy-Authenticate */
	size_t count;
	/* Of a server and of proxies apart: */
	unsigned tries;   /* how often this request was sent with what was said */
	unsigned answers; /* how often it was answered with 401, or 407; this one counts */
};

/*
 * What answers a challenge.
 *
 *   @ret_value  [size], a string: the field's value
 *
 * Returns     1     say this, and for 401 or 407 send the request again
 *             0     nothing: send it without, or let the answer be one
 *             < 0   the request fails with that
 */
typedef int torc_http_authorize_fn(const struct torc_http_challenge *challenge, char *ret_value,
				   size_t size, void *arg);

/* Borrowed by the client that uses it. */
struct torc_http_credentials {
	const char *user;     /* no colon, no control characters; UTF-8, as a rule */
	const char *password; /* no control characters */
	const char *origin;   /* only there, as in torc_http_challenge; NULL: to all who ask */
};

struct torc_http_token {
	const char *token;  /* letters, digits and -._~+/ then = */
	const char *origin; /* as above */
};

/*
 * torc_http_authorize_basic, torc_http_authorize_bearer - say it before being asked, and once.
 *
 *   @arg  const struct torc_http_credentials; const struct torc_http_token
 *
 * Returns     1         it is said
 *             0         it was, and was not enough; another origin; or the scheme is not asked for
 *             -EINVAL   what must not be in them; or over TORC_HTTP_CREDENTIALS_MAX bytes of user and password
 *             -ERANGE   `size` is too small
 * Suspends    never
 * Thread      any
 */
TORC_API torc_http_authorize_fn torc_http_authorize_basic, torc_http_authorize_bearer;

/* What is known of a server that has asked. Private. */
struct torc__http_digest_session {
	char origin[288], realm[256], nonce[512], opaque[512], cnonce[64];
	uint32_t count; /* of requests with this nonce; 0: there is none */
	bool sha256, in_session, has_algorithm, has_opaque, has_qop, hash_user;
};

/* Caller's memory. Its first three are set, and then it is initialised; the rest is private. */
struct torc_http_digest {
	struct torc_http_credentials credentials;
	pthread_mutex_t lock;
	struct torc__http_digest_session session;
};

/*
 * torc_http_digest_init - nothing is known yet. torc_http_digest_done - forget, when nobody uses it any more.
 *
 *   @credentials  copied; the strings are borrowed until _done. The user may have a colon
 */
TORC_API void torc_http_digest_init(struct torc_http_digest *digest,
				    const struct torc_http_credentials *credentials);
TORC_API void torc_http_digest_done(struct torc_http_digest *digest);

/*
 * torc_http_authorize_digest - answer a challenge; from then on say it before being asked, as long as the server goes on with that nonce.
 *
 * SHA-256 is preferred to MD5; with "-sess" or without; qop is "auth", or none, as before RFC 2617. "auth-int" is not there. A server that does
 * not say that the nonce was stale is answered once more only if the request was sent before it has asked. Names and passwords are
 * hashed as they are, and so in UTF-8 as a rule.
 *
 * It hides the password from who listens, and that is all: whoever can change what is sent, can read and change the rest. Of what is said, an
 * attacker can try out passwords. Use TLS.
 *
 *   @arg  struct torc_http_digest: one for a server, which fibers of all loops may use
 *
 * Returns     1             it is said
 *             0             nothing is known yet; the answer was wrong; another origin; or there is no challenge of this kind
 *             -EINVAL       user or password have control characters; or a target with '"', '\', or a control character
 *             -ERANGE       `size` is too small
 *             -EOPNOTSUPP   libcrypto does not do that: MD5, where it is forbidden
 * Suspends    never
 * Thread      any
 */
TORC_API torc_http_authorize_fn torc_http_authorize_digest;

TORC_END_DECLS

#endif
