/*
 * Authentication: who is asking, and what is said to who asks.
 */
#include "tests/http/steps.h"

#include <torc/http/auth.h>
#include <torc/http/authorize.h>

#include "http/internal/authorize.h"
#include "http/internal/exchange.h"

TestSuite(http_auth, .timeout = 40);

static int calls;

static int check_password(struct torc_http_exchange *x, const char *user, const char *password,
			  void *arg)
{
	(void)x;
	check(!arg);
	calls++;
	check_eq(torc_yield(), 0);
	if (!strcmp(user, "locked"))
		return -EPERM;
	if (!strcmp(user, "broken"))
		return -EBADMSG;
	if (!strcmp(user, "answered"))
		return torc_http_respond_text(x, 418, "tea");
	if (!strcmp(user, "positive"))
		return 1;
	return torc_http_equal(password, strlen(password), "open:sesame", 11) ? 0 : -EACCES;
}

static int say_user(struct torc_http_exchange *x, void *arg)
{
	const char *user = torc_http_user(x);

	(void)arg;
	return torc_http_respond_text(x, 200, user ? user : "nobody");
}

static struct torc_http_basic basic = { .realm = "a \"b\" \\c", .check = check_password };

static const char *const basic_challenge = "Basic realm=\"a \\\"b\\\" \\\\c\", charset=\"UTF-8\"";

static void ask_as(struct world *w, const char *authorization, struct reply *r, int status)
{
	char request[16384];

	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\n%s%s\r\n",
		 authorization ? authorization : "", authorization ? "\r\n" : "");
	check_eq(ask(w, request, r), status);
}

/* Who asks, and what comes of it. */
struct attempt {
	const char *authorization;
	int status;
	const char *body;
	const char *challenge;
};

static void try(struct world *w, const struct attempt *attempts, size_t count)
{
	struct reply r = { 0 };

	for (size_t i = 0; i < count; i++) {
		ask_as(w, attempts[i].authorization, &r, attempts[i].status);
		if (attempts[i].body)
			check(!strcmp(r.body, attempts[i].body));
		expect_field(&r, "WWW-Authenticate", attempts[i].challenge);
	}
	free(r.body);
}

static void try_basic(struct world *w)
{
	const struct attempt attempts[] = {
		/* Aladdin:open:sesame */
		{ "Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==", 200, "Aladdin", NULL },
		{ "authorization: bAsIc   QWxhZGRpbjpvcGVuOnNlc2FtZQ==", 200, "Aladdin", NULL },
		{ "Authorization: Basic Om9wZW46c2VzYW1l", 200, "", NULL }, /* no name */
		{ "Authorization: Basic cG9zaXRpdmU6eA==", 200, "positive", NULL },
		{ NULL, 401, NULL, basic_challenge },
		{ "Authorization: Bearer abc", 401, NULL, basic_challenge },
		{ "Authorization: Basically QQ==", 401, NULL, basic_challenge },
		{ "Authorization:", 401, NULL, basic_challenge },
		{ "Authorization: Basic QWxhZGRpbjpub3BlCg==", 400, NULL, NULL }, /* a line feed */
		{ "Authorization: Basic QWxhZGRpbjpub3Bl", 401, NULL, basic_challenge },
		{ "Authorization: Basic bG9ja2VkOng=", 403, "Forbidden", NULL },
		{ "Authorization: Basic YnJva2VuOng=", 500, NULL, NULL },
		{ "Authorization: Basic YW5zd2VyZWQ6eA==", 418, "tea", NULL },
		{ "Authorization: Basic", 400, NULL, NULL },
		{ "Authorization: Basic QWxhZGRpbg==", 400, NULL, NULL }, /* no colon */
		{ "Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ", 400, NULL,
		  NULL }, /* no padding */
		{ "Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZR==", 400, NULL,
		  NULL }, /* stray bits */
		{ "Authorization: Basic QWxh ZGRpbjpvcGVuOnNlc2FtZQ==", 400, NULL, NULL },
		{ "Authorization: Basic QWxhZGRpbjpvcGVuOnNlc2FtZQ==x", 400, NULL, NULL },
		{ "Authorization: Basic ====", 400, NULL, NULL },
		{ "Authorization: Basic A===", 400, NULL, NULL },
		{ "Authorization: Basic OgA6", 400, NULL, NULL }, /* NUL */
		{ "Authorization: Basic On8=", 400, NULL, NULL }, /* DEL */
		{ "Authorization: Basic OnjDqQ==\r\nAuthorization: Basic Og==", 400, NULL, NULL },
	};

	try(w, attempts, COUNT(attempts));
	check_eq(calls, 8);
}

Test(http_auth, basic_lets_in_whom_the_check_knows)
{
	RUN(try_basic, { torc_http_basic_handle, &basic }, { say_user, NULL });
}

static void try_too_long(struct world *w)
{
	static char field[8192];
	struct reply r = { 0 };
	size_t n = (size_t)sprintf(field, "Authorization: Basic ");

	memset(field + n, 'A', TORC_HTTP_CREDENTIALS_MAX / 3 * 4 + 4);
	ask_as(w, field, &r, 400);
	n = (size_t)sprintf(field, "Authorization: Bearer ");
	memset(field + n, 'A', TORC_HTTP_CREDENTIALS_MAX + 1);
	field[n + TORC_HTTP_CREDENTIALS_MAX + 1] = '\0';
	ask_as(w, field, &r, 401); /* basic's: of another scheme */
	free(r.body);
}

Test(http_auth, basic_looks_at_no_more_than_its_limit)
{
	calls = 0;
	RUN(try_too_long, { torc_http_basic_handle, &basic }, { say_user, NULL });
	check_eq(calls, 0);
}

static int check_token(struct torc_http_exchange *x, const char *token, void *arg)
{
	(void)arg;
	calls++;
	if (!strcmp(token, "weak"))
		return -EPERM;
	if (!strcmp(token, "broken"))
		return -EIO;
	if (strcmp(token, "abc.DEF-1_2~3+4/5==") != 0)
		return -EACCES;
	return torc_http_set_user(x, "bot");
}

static struct torc_http_bearer bearer = { .realm = "api", .check = check_token };
static struct torc_http_bearer plain_bearer = { .check = check_token };

static void try_bearer(struct world *w)
{
	const struct attempt attempts[] = {
		{ "Authorization: Bearer abc.DEF-1_2~3+4/5==", 200, "bot", NULL },
		{ NULL, 401, NULL, "Bearer realm=\"api\"" },
		{ "Authorization: Basic QQ==", 401, NULL, "Bearer realm=\"api\"" },
		{ "Authorization: Bearer other", 401, NULL,
		  "Bearer realm=\"api\", error=\"invalid_token\"" },
		{ "Authorization: Bearer weak", 403, NULL,
		  "Bearer realm=\"api\", error=\"insufficient_scope\"" },
		{ "Authorization: Bearer broken", 500, NULL, NULL },
		{ "Authorization: Bearer", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
		{ "Authorization: Bearer a b", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
		{ "Authorization: Bearer a\"b", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
		{ "Authorization: Bearer a=b", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
		{ "Authorization: Bearer ==", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
		{ "Authorization: Bearer a\r\nAuthorization: Bearer b", 400, NULL,
		  "Bearer realm=\"api\", error=\"invalid_request\"" },
	};

	try(w, attempts, COUNT(attempts));
}

static void try_plain_bearer(struct world *w)
{
	const struct attempt attempts[] = {
		{ NULL, 401, NULL, "Bearer" },
		{ "Authorization: Bearer x", 401, NULL, "Bearer error=\"invalid_token\"" },
	};

	try(w, attempts, COUNT(attempts));
}

Test(http_auth, bearer_lets_in_whom_the_check_knows)
{
	RUN(try_bearer, { torc_http_bearer_handle, &bearer }, { say_user, NULL });
	RUN(try_plain_bearer, { torc_http_bearer_handle, &plain_bearer }, { say_user, NULL });
}

static struct torc_http_basic bad[] = {
	{ .realm = "r" },
	{ .check = check_password },
	{ .realm = "a\nb", .check = check_password },
	{ .realm = "\xc3\xa9", .check = check_password },
};
static struct torc_http_bearer no_check = { .realm = "r" };

static void expect_500(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 500);
}

Test(http_auth, refuses_options_that_are_none)
{
	for (size_t i = 0; i < COUNT(bad); i++)
		RUN(expect_500, { torc_http_basic_handle, &bad[i] }, { say_user, NULL });
	RUN(expect_500, { torc_http_bearer_handle, &no_check }, { say_user, NULL });
}

static int never(struct torc_http_exchange *x, const char *user, const char *password, void *arg)
{
	(void)x;
	(void)user;
	(void)password;
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static struct torc_http_basic slow = { .realm = "r", .check = never };

static int in_time(struct torc_http_exchange *x, void *arg)
{
	struct torc_scope scope;
	int r;

	(void)arg;
	torc_scope_enter(&scope, TORC_MS(1));
	r = torc_http_next(x);
	torc_scope_leave(&scope);
	check_eq(r, -ETIMEDOUT);
	check_eq(torc_http_status(x), 0);
	return r;
}

static void ask_slow(struct world *w)
{
	struct reply r = { 0 };

	ask_as(w, "Authorization: Basic QTpC", &r, 500);
	free(r.body);
}

Test(http_auth, lets_nobody_in_when_the_check_is_cancelled)
{
	RUN(ask_slow, { in_time, NULL }, { torc_http_basic_handle, &slow }, { say_user, NULL });
}

Test(http_auth, equal_compares_all_bytes)
{
	check(torc_http_equal("", 0, "", 0));
	check(torc_http_equal("abc", 3, "abc", 3));
	check(!torc_http_equal("abc", 3, "abd", 3));
	check(!torc_http_equal("xbc", 3, "abc", 3));
	check(!torc_http_equal("abc", 3, "ab", 2));
	check(!torc_http_equal("", 0, "a", 1));
	check(torc_http_equal(NULL, 0, NULL, 0));
}

/* --- what is said to who asks --- */

#define ORIGIN "https://h.org"

static struct torc_slice text_of(const char *text)
{
	return (struct torc_slice){ text, strlen(text) };
}

static struct torc_http_challenge first = { .method = "GET",
					    .target = "/dir/index.html",
					    .origin = { ORIGIN, sizeof(ORIGIN) - 1 } };

/* One answer to what was sent so often. */
static int answer_to(torc_http_authorize_fn *fn, void *arg, const char *challenge, unsigned tries,
		     unsigned answers, char *said)
{
	struct torc_slice value = text_of(challenge ? challenge : "");
	struct torc_http_challenge c = first;

	if (challenge) {
		c.status = 401;
		c.challenges = &value;
		c.count = 1;
	}
	c.tries = tries;
	c.answers = answers;
	return fn(&c, said, 2048, arg);
}

Test(http_auth, says_basic_and_bearer_once)
{
	struct torc_http_credentials me = { "Aladdin", "open sesame", NULL };
	struct torc_http_token token = { "a-b._~+/9==", ORIGIN };
	char said[TORC_HTTP_AUTHORIZATION_MAX], small[34];

	check_eq(answer_to(torc_http_authorize_basic, &me, NULL, 0, 0, said), 1);
	check(!strcmp(said, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
	check_eq(answer_to(torc_http_authorize_basic, &me, "Basic realm=x", 1, 1, said), 0);
	check_eq(answer_to(torc_http_authorize_basic, &me, "Digest a=b, basic realm=\"Basic\"", 0,
			   1, said),
		 1);
	check_eq(answer_to(torc_http_authorize_basic, &me, "Digest realm=\", Basic \"", 0, 1, said),
		 0);
	check_eq(torc_http_authorize_basic(&first, said, 35, &me), 1);
	check_eq(torc_http_authorize_basic(&first, small, sizeof(small), &me), -ERANGE);
	check_eq(answer_to(torc_http_authorize_bearer, &token, NULL, 0, 0, said), 1);
	check(!strcmp(said, "Bearer a-b._~+/9=="));
	check_eq(torc_http_authorize_bearer(&first, said, 19, &token), 1);
	check_eq(torc_http_authorize_bearer(&first, said, 18, &token), -ERANGE);
	check_eq(answer_to(torc_http_authorize_bearer, &token, "Bearer", 1, 1, said), 0);
	check_eq(answer_to(torc_http_authorize_bearer, &token, "Basic, Bearer", 0, 1, said), 1);
	check_eq(answer_to(torc_http_authorize_bearer, &token, "Basic", 0, 1, said), 0);
	/* Nothing to anybody else. */
	me.origin = "https://h.org:444";
	token.origin = "http://h.org";
	check_eq(answer_to(torc_http_authorize_basic, &me, NULL, 0, 0, said), 0);
	check_eq(answer_to(torc_http_authorize_bearer, &token, NULL, 0, 0, said), 0);
}

Test(http_auth, says_nothing_that_must_not_be_said)
{
	static const char *const tokens[] = { "", "a b", "a\r\nb", "=", "a=b", "\xc3\xa4" };
	static const struct torc_http_credentials wrong[] = {
		{ "a:b", "c", NULL },  { "a\n", "c", NULL },    { "a", "c\r", NULL },
		{ "a", "\x7f", NULL }, { "a", "b\x01c", NULL },
	};
	static char large[TORC_HTTP_CREDENTIALS_MAX + 1];
	struct torc_http_credentials me = { "u", large, NULL };
	char said[TORC_HTTP_AUTHORIZATION_MAX];

	for (size_t i = 0; i < COUNT(tokens); i++) {
		struct torc_http_token token = { tokens[i], NULL };

		check_eq(answer_to(torc_http_authorize_bearer, &token, NULL, 0, 0, said), -EINVAL);
	}
	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct torc_http_digest d;

		check_eq(answer_to(torc_http_authorize_basic, (void *)&wrong[i], NULL, 0, 0, said),
			 -EINVAL);
		torc_http_digest_init(&d, &wrong[i]);
		check_eq(answer_to(torc_http_authorize_digest, &d, "Digest realm=r, nonce=n", 0, 1,
				   said),
			 i ? -EINVAL : 1);
		torc_http_digest_done(&d);
	}
	memset(large, 'x', sizeof(large) - 1);
	check_eq(torc_http_authorize_basic(&first, said, sizeof(said), &me), -EINVAL);
	large[TORC_HTTP_CREDENTIALS_MAX - 2] = '\0';
	check_eq(torc_http_authorize_basic(&first, said, sizeof(said), &me), 1);
	check_eq(strlen(said), 6 + (TORC_HTTP_CREDENTIALS_MAX + 2) / 3 * 4);
}

/* What is said is understood here, too. */
static void say_basic(struct world *w)
{
	struct torc_http_credentials me = { "ann", "open:sesame", NULL };
	char said[2100] = "Authorization: ";
	struct reply r = { 0 };

	check_eq(answer_to(torc_http_authorize_basic, &me, basic_challenge, 0, 1,
			   said + strlen(said)),
		 1);
	ask_as(w, said, &r, 200);
	check(!strcmp(r.body, "ann"));
	free(r.body);
}

Test(http_auth, what_is_said_is_understood)
{
	RUN(say_basic, { torc_http_basic_handle, &basic }, { say_user, NULL });
}

/* --- challenges --- */

Test(http_auth, reads_challenges_of_any_kind)
{
	static const struct {
		const char *text, *parts; /* "S scheme", "P name=value", "T token", "!": broken */
	} cases[] = {
		{ "", "" },
		{ " , ,", "" },
		{ "Negotiate", "SNegotiate " },
		{ "NTLM TlRMTVNTUAAB==", "SNTLM TTlRMTVNTUAAB== " },
		{ "NTLM abc=, Basic realm=x", "SNTLM Tabc= SBasic Prealm=x " },
		{ "NTLM abc Basic", "SNTLM !" },
		{ "Negotiate, Basic realm=\"a, Digest \\\" b\" ,Digest  qop = auth,\tx=\"\"",
		  "SNegotiate SBasic Prealm=\"a, Digest \\\" b\" SDigest Pqop=auth Px=\"\" " },
		{ "Basic ,realm=x", "SBasic Prealm=x " },
		{ "Basic realm=\"x", "SBasic !" },
		{ "Basic realm=\"x\\\"", "SBasic !" },
		{ "Basic realm=\"x\" charset=y", "SBasic !" },
		{ "realm=x", "!" },
		{ "=x", "!" },
		{ "Basic realm=", "SBasic Trealm= " },
		{ "Basic realm==x", "SBasic !" },
		{ "Basic\"x\"", "!" },
		{ "Digest a=b=c", "SDigest !" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc__http_challenge_walk w = { .left = text_of(cases[i].text) };
		struct torc_slice name, value;
		char parts[512] = "";
		enum torc__http_challenge_part part;

		while ((part = torc__http_challenge_next(&w, &name, &value))) {
			char *to = parts + strlen(parts);

			if (part == TORC__HTTP_CHALLENGE_SCHEME)
				sprintf(to, "S%.*s ", (int)name.len, name.data);
			else if (part == TORC__HTTP_CHALLENGE_TOKEN)
				sprintf(to, "T%.*s ", (int)value.len, value.data);
			else
				sprintf(to, "P%.*s=%.*s ", (int)name.len, name.data, (int)value.len,
					value.data);
		}
		strcat(parts, w.broken ? "!" : "");
		if (strcmp(parts, cases[i].parts) != 0)
			fprintf(stderr, "%s: %s\n", cases[i].text, parts);
		check(!strcmp(parts, cases[i].parts));
	}
}

/* --- Digest --- */

/* RFC 7616, section 3.9.1; RFC 2617, section 3.5; the others computed by other means. */
Test(http_auth, digest_computes_what_the_rfcs_do)
{
	static const struct torc_http_credentials new = { "Mufasa", "Circle of Life", NULL };
	static const struct torc_http_credentials old = { "Mufasa", "Circle Of Life", NULL };
#define NEW                                                            \
	.realm = "http-auth@example.org", .count = 1, .has_qop = true, \
	.nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",       \
	.cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
#define OLD                                                              \
	.realm = "testrealm@host.com", .count = 1, .cnonce = "0a4f113b", \
	.nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
	static const struct {
		const struct torc_http_credentials *credentials;
		struct torc__http_digest_session session;
		const char *response, *user;
	} cases[] = {
		{ &new, { NEW }, "8ca523f5e9506fed4657c9700eebdbec", NULL },
		{ &new,
		  { NEW, .sha256 = true },
		  "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		  NULL },
		{ &new, { NEW, .in_session = true }, "e783283f46242139c486a698fec7211d", NULL },
		{ &new,
		  { NEW, .sha256 = true, .in_session = true, .hash_user = true },
		  "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
		  "a947aad205e80e429958a387394944c6b496301e79f89d35a4cc23b6ee12b5b6" },
		{ &old, { OLD, .has_qop = true }, "6629fae49393a05397450978507c4ef1", NULL },
		{ &old, { OLD }, "670fd8c2df070c60b045671b8b24ff02", NULL },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char response[65], user[65];

		check_eq(torc__http_digest_response(&cases[i].session, cases[i].credentials, "GET",
						    "/dir/index.html", response, user),
			 0);
		check(!strcmp(response, cases[i].response));
		check(!cases[i].user || !strcmp(user, cases[i].user));
	}
}

static struct torc_http_digest digest;

static int digest_says(const char *challenge, unsigned tries, unsigned answers, char *said)
{
	return answer_to(torc_http_authorize_digest, &digest, challenge, tries, answers, said);
}

static void begin_digest(void)
{
	torc_http_digest_init(&digest,
			      &(struct torc_http_credentials){ "an\"n", "secret", ORIGIN });
}

#define CHALLENGE(nonce) "Digest realm=\"a \\\"b\\\"\", nonce=\"" nonce "\", qop=\"auth-int, auth\""

Test(http_auth, digest_counts_its_requests)
{
	char said[2048], again[2048], expected[2048], small[8] = "x";
	const char *cnonce;

	begin_digest();
	check_eq(digest_says(NULL, 0, 0, said), 0);
	check_eq(digest_says(CHALLENGE("one") ", opaque=\"o\\\\p\", algorithm=SHA-256", 0, 1, said),
		 1);
	{
		char response[65], user[65];

		check_eq(torc__http_digest_response(&digest.session, &digest.credentials, "GET",
						    "/dir/index.html", response, user),
			 0);
		snprintf(expected, sizeof(expected),
			 "Digest username=\"an\\\"n\", realm=\"a \\\"b\\\"\", nonce=\"one\", "
			 "uri=\"/dir/index.html\", algorithm=SHA-256, response=\"%s\", "
			 "opaque=\"o\\\\p\", qop=auth, nc=00000001, cnonce=\"%s\"",
			 response, digest.session.cnonce);
	}
	check(!strcmp(said, expected));
	check_eq(strlen(digest.session.cnonce), 32);
	/* Before being asked, with the next number, and nowhere else. */
	check_eq(digest_says(NULL, 0, 0, again), 1);
	check(strstr(again, "nc=00000002") && strcmp(said, again) != 0);
	cnonce = strstr(said, "cnonce=");
	check(strstr(again, cnonce) != NULL);
	first.origin = text_of("https://x.org");
	check_eq(digest_says(NULL, 0, 0, said), 0);
	check_eq(digest_says(CHALLENGE("x"), 0, 1, said), 0);
	digest.credentials.origin = NULL;
	check_eq(digest_says(NULL, 0, 0, said), 0);
	first.origin = text_of(ORIGIN);
	check_eq(torc_http_authorize_digest(&first, small, sizeof(small), &digest), -ERANGE);
	check(!strcmp(small, "x"));
	check_eq(digest_says(NULL, 0, 0, again), 1);
	check_eq(torc_http_authorize_digest(&first, again, strlen(again), &digest), -ERANGE);
	check_eq(torc_http_authorize_digest(&first, again, strlen(again) + 1, &digest), 1);
	torc_http_digest_done(&digest);
}

Test(http_auth, digest_tries_again_only_where_that_may_help)
{
	char said[2048];

	begin_digest();
	/* A wrong password. */
	check_eq(digest_says(CHALLENGE("a"), 0, 1, said), 1);
	check_eq(digest_says(CHALLENGE("b"), 1, 2, said), 0);
	check_eq(digest_says(NULL, 0, 0, said), 0);
	/* A nonce from before: said unasked, it is asked once. */
	check_eq(digest_says(CHALLENGE("a"), 0, 1, said), 1);
	check_eq(digest_says(NULL, 0, 0, said), 1);
	check_eq(digest_says(CHALLENGE("b"), 1, 1, said), 1);
	check(strstr(said, "nonce=\"b\"") && strstr(said, "nc=00000001"));
	check_eq(digest_says(CHALLENGE("c"), 2, 2, said), 0);
	/* A server that finds all nonces stale. */
	check_eq(digest_says(CHALLENGE("a"), 0, 1, said), 1);
	check_eq(digest_says(CHALLENGE("b") ", stale=TRUE", 1, 2, said), 1);
	check_eq(digest_says(CHALLENGE("c") ", stale=true", 2, 3, said), 1);
	check_eq(digest_says(CHALLENGE("d") ", stale=true", 3, 4, said), 0);
	torc_http_digest_done(&digest);
}

Test(http_auth, digest_answers_the_best_that_it_understands)
{
	static char long_nonce[700], long_domain[700];
	struct torc_slice values[10];
	struct torc_http_challenge c = first;
	static const struct {
		const char *challenge, *said; /* NULL: nothing */
	} cases[] = {
		{ "Basic realm=x, " CHALLENGE("a") ", algorithm=MD5-sess, Bearer",
		  "algorithm=MD5-sess" },
		{ CHALLENGE("a") ", algorithm=MD5, " CHALLENGE("b") ", algorithm=sha-256-SESS",
		  "algorithm=SHA-256-sess" },
		{ CHALLENGE("b") ", algorithm=SHA-256, " CHALLENGE("a"), "nonce=\"b\"" },
		{ CHALLENGE("a") ", algorithm=SHA-512-256, " CHALLENGE("b"), "nonce=\"b\"" },
		{ CHALLENGE("a") ", userhash=true, domain=\"/ /x\", charset=UTF-8, other=1",
		  "userhash=true" },
		{ "Digest realm=r, nonce=n", "nonce=\"n\"" },
		{ "Digest realm=r, nonce=n, qop=\"auth-int\"", NULL },
		{ "Digest realm=r, nonce=n, qop=\"\"", NULL },
		{ "Digest realm=r, nonce=n, algorithm=SHA-256x", NULL },
		{ "Digest realm=r, nonce=n, algorithm=SHA", NULL },
		{ "Digest realm=r, nonce=n, nonce=m", NULL },
		{ "Digest realm=r, nonce=n, qop=auth, qop=auth", NULL },
		{ "Digest realm=r, nonce=n, opaque=\"\x01\"", NULL },
		{ "Digest realm=r, nonce=n, qop", "nonce=\"n\"" }, /* a scheme of that name */
		{ "Digest realm=r, nonce=n x", NULL },
		{ "Digest realm=r", NULL },
		{ "Digest nonce=n", NULL },
		{ "Digest", NULL },
		{ "Digest abcdef==", NULL },
		{ "Digestive realm=r, nonce=n", NULL },
		{ long_nonce, NULL },
		{ long_domain, "nonce=\"n\"" },
		{ "Basic realm=x", NULL },
		{ "", NULL },
	};
	char said[TORC_HTTP_AUTHORIZATION_MAX];

	snprintf(long_nonce, sizeof(long_nonce), "Digest realm=r, nonce=%0512d", 0);
	snprintf(long_domain, sizeof(long_domain), "Digest realm=r, nonce=n, domain=\"/%0512d\"",
		 0);
	begin_digest();
	for (size_t i = 0; i < COUNT(cases); i++) {
		check_eq(digest_says(cases[i].challenge, 0, 1, said), cases[i].said != NULL);
		check(!cases[i].said || strstr(said, cases[i].said));
	}
	/* In several fields; and there is an end to looking at them. */
	for (size_t i = 0; i < COUNT(values); i++)
		values[i] = text_of("Digest realm=r, nonce=n, algorithm=x");
	values[7] = text_of(CHALLENGE("seven"));
	values[8] = text_of(CHALLENGE("eight") ", algorithm=SHA-256");
	c.status = 407;
	c.challenges = values;
	c.count = COUNT(values);
	c.answers = 1;
	check_eq(torc_http_authorize_digest(&c, said, sizeof(said), &digest), 1);
	check(strstr(said, "\"seven\"") != NULL);
	c.target = "/\"";
	check_eq(torc_http_authorize_digest(&c, said, sizeof(said), &digest), -EINVAL);
	torc_http_digest_done(&digest);
}

static int say_much(void *arg)
{
	char said[2048];

	(void)arg;
	for (int i = 0; i < 500; i++)
		check_eq(digest_says(NULL, 0, 0, said), 1);
	return 0;
}

static int say_on_loops(void *arg)
{
	struct torc_group group;
	char said[2048];

	(void)arg;
	begin_digest();
	check_eq(digest_says(CHALLENGE("a"), 0, 1, said), 1);
	torc_group_enter(&group);
	for (int i = 0; i < 2; i++)
		check_eq(torc_group_spawn_with(
				 &group, &(struct torc_spawn_options){ .loop = TORC_ON_LOOP(i) },
				 say_much, NULL),
			 0);
	check_eq(torc_group_wait(&group), 0);
	check_eq(digest.session.count, 1001);
	torc_http_digest_done(&digest);
	return 0;
}

Test(http_auth, digest_is_shared_by_loops)
{
	check_eq(run_with(&(struct torc_options){ .loops = 2 }, say_on_loops, NULL), 0);
}

/* Whatever is asked, what is said is a field's value. */
Test(http_auth, digest_gets_over_hostile_challenges)
{
	static const char sound[] = CHALLENGE(
		"n") ", opaque=\"abc\", algorithm=SHA-256-sess, stale=true, Basic realm=x";
	char text[sizeof(sound)], said[2048];
	struct torc_http_challenge c = first;
	struct torc_slice value = { text, sizeof(text) - 1 };
	uint64_t seed = 3;
	int good = 0;

	begin_digest();
	c.status = 401;
	c.challenges = &value;
	c.count = 1;
	for (int i = 0; i < 20000; i++) {
		int r;

		memcpy(text, sound, sizeof(text));
		for (int j = 0; j <= i % 3; j++)
			text[next_random(&seed) % value.len] = (char)next_random(&seed);
		r = torc_http_authorize_digest(&c, said, sizeof(said), &digest);
		check(r == 0 || r == 1);
		good += r;
		check(!r || torc__http_is_field_value(said));
	}
	check_ge(good, 100);
	torc_http_digest_done(&digest);
}
