/*
 * http/auth.h - who is asking: Basic (RFC 7617) and Bearer (RFC 6750) authentication.
 *
 *	static int check(struct torc_http_exchange *x, const char *user, const char *password, void *arg)
 *	{
 *		const struct account *a = find(arg, user);		may suspend
 *
 *		if (!a || !torc_http_equal(hash(a, password), HASH_BYTES, a->hash, HASH_BYTES))
 *			return -EACCES;
 *		return a->locked ? -EPERM : 0;
 *	}
 *
 *	static struct torc_http_basic staff = { .realm = "staff", .check = check, .arg = &accounts };
 *
 *	r = torc_router_use(admin, torc_http_basic_handle, &staff);
 *
 * What a check says becomes: 0: go on; -EACCES: 401, with a challenge; -EPERM: 403, for who is known but may not;
 * anything else negative: the step's result, without asking again.
 *
 * Both schemes send their secrets in the clear: serve them with TLS only.
 */
#ifndef TORC_HTTP_AUTH_H
#define TORC_HTTP_AUTH_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* The longest credentials, decoded: of more nothing is looked at, and it is 400. */
#define TORC_HTTP_CREDENTIALS_MAX 4096

/* The longest realm. */
#define TORC_HTTP_REALM_MAX 128

/* Borrowed while it serves. */
struct torc_http_basic {
	const char *realm; /* shown to the user; printable ASCII, at most TORC_HTTP_REALM_MAX */
	/* Needed. user and password are strings in UTF-8, as a rule; without control characters; wiped when it returns. */
	int (*check)(struct torc_http_exchange *x, const char *user, const char *password,
		     void *arg);
	void *arg;
};

struct torc_http_bearer {
	const char *realm; /* NULL: none is said */
	/* Needed. The token is a string of the characters that RFC 6750 allows, and wiped when it returns. */
	int (*check)(struct torc_http_exchange *x, const char *token, void *arg);
	void *arg;
};

/*
 * torc_http_basic_handle, torc_http_bearer_handle - the steps: each a torc_http_fn.
 *
 * By themselves they answer 401 with WWW-Authenticate where there are no credentials of their scheme or the check refuses them; 403 where it
 * says so; 400 for malformed ones, such as base64 that is not canonical, no colon, control characters, or two Authorization fields.
 *
 *   @basic   a const struct torc_http_basic
 *   @bearer  a const struct torc_http_bearer
 *
 * Returns     as torc_http_next, as the check, or as torc_http_respond
 *             -EINVAL   no check, or a realm that is none
 *             -ENOMEM
 * Suspends    as these
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_basic_handle(struct torc_http_exchange *x, void *basic);
TORC_API TORC_MUST_CHECK int torc_http_bearer_handle(struct torc_http_exchange *x, void *bearer);

/*
 * torc_http_user - the user that torc_http_basic_handle has let in, or that a check has set; NULL: none. torc_http_set_user is for
 * checks of tokens.
 *
 *   @user  borrowed until the exchange ends
 *
 * Returns     0
 *             -ENOMEM   as torc_http_alloc
 */
TORC_API const char *torc_http_user(const struct torc_http_exchange *x);
TORC_API TORC_MUST_CHECK int torc_http_set_user(struct torc_http_exchange *x, const char *user);

/*
 * torc_http_equal - compare secrets in a time that does not depend on where they differ; it does on their lengths. So compare
 * hashes, or tokens of one length.
 */
TORC_API bool torc_http_equal(const void *a, size_t a_len, const void *b, size_t b_len);

TORC_END_DECLS

#endif
