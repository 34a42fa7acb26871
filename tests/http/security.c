/*
 * Fields that make browsers careful.
 */
#include "tests/http/steps.h"

#include <torc/http/security.h>
#include <torc/io/tls.h>

TestSuite(http_security, .timeout = 40);

static struct torc_http_security security;

static int fail(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_path_is(x, "/fail") ? -EIO : torc_http_respond_text(x, 200, "ok");
}

static void expect_defaults(struct world *w)
{
	struct reply r = { 0 };

	for (int i = 0; i < 2; i++) {
		check_eq(ask(w, i ? GET("/fail") : GET("/"), &r), i ? 500 : 200);
		expect_field(&r, "X-Content-Type-Options", "nosniff");
		expect_field(&r, "X-Frame-Options", "DENY");
		expect_field(&r, "Referrer-Policy", "strict-origin-when-cross-origin");
		expect_field(&r, "Content-Security-Policy", NULL);
		expect_field(&r, "Cross-Origin-Opener-Policy", NULL);
		expect_field(&r, "Strict-Transport-Security", NULL);
	}
	free(r.body);
}

static void expect_chosen(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/"), &r), 200);
	expect_field(&r, "X-Content-Type-Options", NULL);
	expect_field(&r, "X-Frame-Options", "SAMEORIGIN");
	expect_field(&r, "Referrer-Policy", NULL);
	expect_field(&r, "Content-Security-Policy", "default-src 'self'");
	expect_field(&r, "Cross-Origin-Opener-Policy", "same-origin");
	expect_field(&r, "Strict-Transport-Security", NULL); /* not on what is not encrypted */
	free(r.body);
}

Test(http_security, adds_the_defaults_to_errors_too)
{
	check_eq(torc_http_security_init(&security, NULL), 0);
	RUN(expect_defaults, { torc_http_security_handle, &security }, { fail, NULL });
}

Test(http_security, adds_what_is_chosen)
{
	const struct torc_http_security_options o = {
		.may_sniff = true,
		.frame_options = "SAMEORIGIN",
		.referrer_policy = "",
		.content_security_policy = "default-src 'self'",
		.opener_policy = "same-origin",
		.hsts_seconds = 60,
		.hsts_subdomains = true,
	};

	check_eq(torc_http_security_init(&security, &o), 0);
	RUN(expect_chosen, { torc_http_security_handle, &security }, { fail, NULL });
}

Test(http_security, refuses_values_that_are_none)
{
	static char policy[TORC_HTTP_SECURITY_BYTES + 1];

	memset(policy, 'x', sizeof(policy) - 1);
	check_eq(torc_http_security_init(&security,
					 &(struct torc_http_security_options){
						 .frame_options = "a\r\nSet-Cookie: b" }),
		 -EINVAL);
	check_eq(torc_http_security_init(&security,
					 &(struct torc_http_security_options){
						 .content_security_policy = policy }),
		 -ENOSPC);
}

/* As if it were encrypted: what decides is whether the stream has a session. */
static int pretend_tls(struct torc_http_exchange *x, void *arg)
{
	struct torc_stream *s = torc_http_stream(x);
	int r;

	s->tls = (void *)1;
	r = torc_http_security_handle(x, arg);
	s->tls = NULL;
	return r;
}

static int end_pretence(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	torc_http_stream(x)->tls = NULL;
	return torc_http_respond_text(x, 200, "ok");
}

static void expect_hsts(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/"), &r), 200);
	expect_field(&r, "Strict-Transport-Security", "max-age=60; includeSubDomains");
	free(r.body);
}

Test(http_security, says_hsts_on_encrypted_connections)
{
	check_eq(torc_http_security_init(&security,
					 &(struct torc_http_security_options){
						 .hsts_seconds = 60, .hsts_subdomains = true }),
		 0);
	RUN(expect_hsts, { pretend_tls, &security }, { end_pretence, NULL });
}

static int respond_first(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_respond_text(x, 200, "ok");

	(void)arg;
	check_eq(r, 0);
	check_eq(torc_http_next(x), -EALREADY);
	return 0;
}

static void ask_ok(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 200);
}

Test(http_security, comes_too_late_behind_an_answer)
{
	check_eq(torc_http_security_init(&security, NULL), 0);
	RUN(ask_ok, { respond_first, NULL }, { torc_http_security_handle, &security },
	    { say_ok, NULL });
}
