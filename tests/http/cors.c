/*
 * Scripts of other sites.
 */
#include "tests/http/steps.h"

#include <torc/http/cors.h>

TestSuite(http_cors, .timeout = 40);

static int calls;

static int count(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	calls++;
	return torc_http_path_is(x, "/fail") ? -EIO : torc_http_respond_text(x, 200, "ok");
}

static void ask_from(struct world *w, const char *line, const char *fields, struct reply *r,
		     int status)
{
	char request[2048];

	snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", line, fields);
	check_eq(ask(w, request, r), status);
}

static void expect_cors(const struct reply *r, const char *origin, const char *credentials,
			const char *vary)
{
	expect_field(r, "Access-Control-Allow-Origin", origin);
	expect_field(r, "Access-Control-Allow-Credentials", credentials);
	expect_field(r, "Vary", vary);
}

static const char *const origins[] = { "https://a.example", "http://b.example:8080", NULL };

static struct torc_http_cors listed = {
	.origins = origins,
	.credentials = true,
	.methods = "GET, PUT",
	.headers = "Content-Type, X-One",
	.expose = "X-Two",
	.max_age = 600,
};

static void ask_plainly(struct world *w)
{
	static const char *const others[] = {
		"",
		"Origin: https://evil.example\r\n",
		"Origin: https://a.example.evil\r\n",
		"Origin: https://a.exampl\r\n",
		"Origin: HTTPS://a.example\r\n",
		"Origin: https://a.example/\r\n",
		"Origin: null\r\n",
		"Origin:\r\n",
		"Origin: https://a.example\r\nOrigin: https://evil.example\r\n",
	};
	struct reply r = { 0 };

	ask_from(w, "GET /", "Origin: https://a.example\r\n", &r, 200);
	expect_cors(&r, "https://a.example", "true", "Origin");
	expect_field(&r, "Access-Control-Expose-Headers", "X-Two");
	ask_from(w, "GET /", "Origin: http://b.example:8080\r\n", &r, 200);
	expect_cors(&r, "http://b.example:8080", "true", "Origin");
	ask_from(w, "GET /fail", "Origin: https://a.example\r\n", &r, 500);
	expect_cors(&r, "https://a.example", "true", "Origin");
	for (size_t i = 0; i < COUNT(others); i++) {
		ask_from(w, "GET /", others[i], &r, 200);
		expect_cors(&r, NULL, NULL, "Origin");
		expect_field(&r, "Access-Control-Expose-Headers", NULL);
	}
	/* No preflight: an ordinary OPTIONS. */
	calls = 0;
	ask_from(w, "OPTIONS /", "Origin: https://a.example\r\n", &r, 200);
	ask_from(w, "OPTIONS /", "Access-Control-Request-Method: PUT\r\n", &r, 200);
	check_eq(calls, 2);
	free(r.body);
}

Test(http_cors, shows_answers_to_listed_origins_only)
{
	RUN(ask_plainly, { torc_http_cors_handle, &listed }, { count, NULL });
}

#define PREFLIGHT_VARY "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

#define ASKING "Origin: https://a.example\r\nAccess-Control-Request-Method: "

static void preflight(struct world *w)
{
	static const char *const good[] = {
		ASKING "PUT\r\n",
		ASKING "GET\r\nAccess-Control-Request-Headers: x-one,CONTENT-type\r\n",
		ASKING "PUT\r\nAccess-Control-Request-Headers:\r\n",
	};
	static const char *const bad[] = {
		ASKING "DELETE\r\n",
		ASKING "put\r\n",
		ASKING "PU\r\n",
		ASKING "\r\n",
		ASKING "PUT\r\nAccess-Control-Request-Headers: x-one, x-three\r\n",
		ASKING "PUT\r\nAccess-Control-Request-Headers: x-one\r\n"
		       "Access-Control-Request-Headers: x-three\r\n",
		"Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n",
	};
	struct reply r = { 0 };

	calls = 0;
	for (size_t i = 0; i < COUNT(good); i++) {
		ask_from(w, "OPTIONS /fail", good[i], &r, 204);
		expect_cors(&r, "https://a.example", "true", PREFLIGHT_VARY);
		expect_field(&r, "Access-Control-Allow-Methods", "GET, PUT");
		expect_field(&r, "Access-Control-Allow-Headers", "Content-Type, X-One");
		expect_field(&r, "Access-Control-Max-Age", "600");
		expect_field(&r, "Access-Control-Expose-Headers", NULL);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		ask_from(w, "OPTIONS /", bad[i], &r, 204);
		expect_cors(&r, NULL, NULL, PREFLIGHT_VARY);
		expect_field(&r, "Access-Control-Allow-Methods", NULL);
		expect_field(&r, "Access-Control-Allow-Headers", NULL);
		expect_field(&r, "Access-Control-Max-Age", NULL);
	}
	check_eq(calls, 0);
	free(r.body);
}

Test(http_cors, answers_preflights_by_itself)
{
	RUN(preflight, { torc_http_cors_handle, &listed }, { count, NULL });
}

static struct torc_http_cors any = { .any = true };

static void ask_any(struct world *w)
{
	struct reply r = { 0 };

	ask_from(w, "GET /", "Origin: https://who.example\r\n", &r, 200);
	expect_cors(&r, "*", NULL, NULL);
	ask_from(w, "OPTIONS /", "Origin: null\r\nAccess-Control-Request-Method: POST\r\n", &r,
		 204);
	expect_cors(&r, "*", NULL, PREFLIGHT_VARY);
	expect_field(&r, "Access-Control-Allow-Methods", "GET, HEAD, POST");
	expect_field(&r, "Access-Control-Allow-Headers", NULL);
	free(r.body);
}

Test(http_cors, shows_answers_to_anybody)
{
	RUN(ask_any, { torc_http_cors_handle, &any }, { count, NULL });
}

static bool allow(struct torc_http_exchange *x, struct torc_slice origin, void *arg)
{
	(void)x;
	check(arg == &calls);
	check_eq(torc_yield(), 0);
	return same_text(origin, "https://c.example");
}

static struct torc_http_cors asked = { .allow = allow, .arg = &calls, .credentials = true };

static void ask_callback(struct world *w)
{
	static char longest[400];
	struct reply r = { 0 };

	ask_from(w, "GET /", "Origin: https://c.example\r\n", &r, 200);
	expect_cors(&r, "https://c.example", "true", "Origin");
	ask_from(w, "GET /", "Origin: https://d.example\r\n", &r, 200);
	expect_cors(&r, NULL, NULL, "Origin");
	memset(longest, 'x', 350);
	memcpy(longest, "Origin: ", 8);
	strcpy(longest + 350, "\r\n");
	ask_from(w, "GET /", longest, &r, 200);
	expect_cors(&r, NULL, NULL, "Origin");
	free(r.body);
}

Test(http_cors, asks_the_program)
{
	RUN(ask_callback, { torc_http_cors_handle, &asked }, { count, NULL });
}

static struct torc_http_cors careless = { .any = true, .credentials = true };
static struct torc_http_cors split = { .any = true, .expose = "a\r\nb" };

static void refused(struct world *w)
{
	struct reply r = { 0 };

	ask_from(w, "GET /", "Origin: https://c.example\r\n", &r, 500);
	expect_field(&r, "Access-Control-Allow-Credentials", NULL);
	free(r.body);
}

Test(http_cors, refuses_anybody_with_credentials)
{
	RUN(refused, { torc_http_cors_handle, &careless }, { count, NULL });
	RUN(refused, { torc_http_cors_handle, &split }, { count, NULL });
}
