/*
 * Basic and Bearer authentication.
 */
#include "tests/http/steps.h"

#include <torc/http/auth.h>

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
