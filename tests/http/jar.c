/*
 * Cookie jars: mostly on the simulator, for its clock and its files.
 */
#include "tests/io/run.h"

#include <torc/core/fiber.h>
#include <torc/core/sim.h>
#include <torc/core/sys.h>
#include <torc/http/jar.h>
#include <torc/io/contents.h>

#include "http/internal/jar.h"

TestSuite(http_jar, .timeout = 30);

static void run_on_sim(torc_fn *fn)
{
	struct torc_options o = { .loops = 1 };

	check_eq(torc_sim_new(NULL, &o.sim), 0);
	check_eq(run_with(&o, fn, NULL), 0);
	torc_sim_free(o.sim);
}

static struct torc_slice slice(const char *text)
{
	return (struct torc_slice){ text, strlen(text) };
}

/* "https://host/path" */
static struct torc_http_jar_site at(const char *url)
{
	const char *host = strstr(url, "://") + 3, *path = host + strcspn(host, "/");

	return (struct torc_http_jar_site){ .host = { host, (size_t)(path - host) },
					    .path = slice(path),
					    .secure = !strncmp(url, "https:", 6) };
}

static struct torc_http_jar *jar;

static void begin(const struct torc_http_jar_options *options)
{
	check_eq(torc_http_jar_create(options, &jar), 0);
}

static void done(void)
{
	torc_http_jar_unref(jar);
	jar = NULL;
}

static int take(const char *url, const char *value)
{
	struct torc_http_jar_site site = at(url);

	return torc_http_jar_take(jar, &site, slice(value));
}

static void expect_cookies(const char *url, const char *expected)
{
	struct torc_http_jar_site site = at(url);
	static char value[70000];
	int n = torc_http_jar_cookies(jar, &site, value, sizeof(value));

	if (n != (int)strlen(expected) || strcmp(value, expected) != 0) {
		fprintf(stderr, "%s: %d, %s, not %s\n", url, n, value, expected);
		abort();
	}
}

/* --- dates --- */

Test(http_jar, reads_dates_of_any_kind)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: none */
	} cases[] = {
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
		{ "Sun Nov  6 08:49:37 1994", 784111777 },
		{ "6 november 1994 8:49:37", 784111777 },
		{ "8:49:37x Nov;1994;6", 784111777 },
		{ "1994 nov 6 8:49:37", 784111777 },
		{ "194 nov 6 8:49:37", -1 },
		{ "06 nov 94th 8:49:37", 784111777 },
		{ "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },
		{ "Tue, 19 Jan 2038 03:14:08 GMT", 2147483648 },
		{ "01 Jan 69 00:00:00", 3124224000 },
		{ "01 Jan 70 00:00:00", 0 },
		{ "31 Dec 9999 23:59:59", 253402300799 },
		{ "01 Jan 1601 00:00:00", -11644473600 },
		{ "01 Jan 1600 00:00:00", -1 },
		{ "29 Feb 1900 00:00:00", -1 },
		{ "31 Apr 2000 00:00:00", -1 },
		{ "00 Jan 2000 00:00:00", -1 },
		{ "01 Jan 2000 24:00:00", -1 },
		{ "01 Jan 2000 00:60:00", -1 },
		{ "01 Jan 2000 00:00:60", -1 },
		{ "01 Jan 2000 00:00", -1 },
		{ "01 Jan 20000 00:00:00", -1 },
		{ "01 Xyz 2000 00:00:00", -1 },
		{ "01 Jan 00:00:00", -1 },
		{ "1:2:3", -1 },
		{ "", -1 },
		{ "; ; ;", -1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t seconds = -1;
		bool is_date = torc__http_cookie_date(slice(cases[i].text), &seconds);

		if (seconds != cases[i].seconds)
			fprintf(stderr, "\"%s\" is %lld\n", cases[i].text, (long long)seconds);
		check_eq(seconds, cases[i].seconds);
		check_eq(is_date, seconds != -1);
	}
}

/* --- whose cookies they are --- */

static const struct {
	const char *from, *set, *to, *expected;
	int result;
} cases[] = {
	{ "http://h.org/", "a=1", "http://h.org/", "a=1", 0 },
	{ "http://H.org/", " a = 1 2 ", "http://h.ORG/x", "a=1 2", 0 },
	{ "http://h.org/", "a=\"1\"; x; y=z;;", "http://h.org/", "a=\"1\"", 0 },
	{ "http://h.org/", "a=b=c", "http://h.org/", "a=b=c", 0 },
	{ "http://h.org/", "a=", "http://h.org/", "a=", 0 },
	{ "http://h.org/", "a", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "=a", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", ";", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "a=1\r\nx: y", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "a=1\tb", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "a=1; path=/\tb", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "a=1;\tpath=/\t; x=\x7f", "http://h.org/", "", -EBADMSG },
	{ "http://h.org/", "\ta\t=\t1;\tpath=/\t", "http://h.org/", "a=1", 0 },
	/* hosts and domains */
	{ "http://h.org/", "a=1", "http://w.h.org/", "", 0 },
	{ "http://w.h.org/", "a=1", "http://h.org/", "", 0 },
	{ "http://w.h.org/", "a=1; Domain=h.org", "http://h.org/", "a=1", 0 },
	{ "http://w.h.org/", "a=1; domain=.H.Org", "http://x.y.h.org/", "a=1", 0 },
	{ "http://w.h.org/", "a=1; Domain=h.org", "http://xh.org/", "", 0 },
	{ "http://w.h.org/", "a=1; Domain=x.org; Domain=h.org", "http://h.org/", "a=1", 0 },
	{ "http://w.h.org/", "a=1; Domain=h.org; Domain=", "http://h.org/", "", 0 },
	{ "http://w.h.org/", "a=1; Domain=.", "http://w.h.org/", "a=1", 0 },
	{ "http://w.h.org/", "a=1; Domain=x.org", "http://x.org/", "", -EPERM },
	{ "http://h.org/", "a=1; Domain=w.h.org", "http://w.h.org/", "", -EPERM },
	{ "http://xh.org/", "a=1; Domain=h.org", "http://h.org/", "", -EPERM },
	{ "http://h.org/", "a=1; Domain=org", "http://h.org/", "", -EPERM },
	{ "http://h.org./", "a=1; Domain=org.", "http://h.org./", "", -EPERM },
	{ "http://h.org./", "a=1", "http://h.org./", "a=1", 0 },
	{ "http://h.org/", "a=1; Domain=..org", "http://h.org/", "", -EPERM },
	{ "http://localhost/", "a=1; Domain=localhost", "http://localhost/", "a=1", 0 },
	{ "http://localhost/", "a=1; Domain=localhost", "http://x.localhost/", "", 0 },
	{ "http://10.0.0.1/", "a=1", "http://10.0.0.1/", "a=1", 0 },
	{ "http://10.0.0.1/", "a=1; Domain=10.0.0.1", "http://10.0.0.1/", "a=1", 0 },
	{ "http://10.0.0.1/", "a=1; Domain=0.0.1", "http://10.0.0.1/", "", -EPERM },
	{ "http://10.0.0.1/", "a=1; Domain=10.0.0.1", "http://1.10.0.0.1/", "", 0 },
	{ "http://[::1]/", "a=1", "http://[::1]/", "a=1", 0 },
	{ "http://[::A]/", "a=1", "http://::a/", "a=1", 0 },
	{ "http://[::ffff:1.2.3.4]/", "a=1; Domain=3.4", "http://[::1]/", "", -EPERM },
	{ "http:///", "a=1", "http://h.org/", "", -EINVAL },
	/* a suffix that a program knows */
	{ "http://a.co.uk/", "a=1; Domain=co.uk", "http://a.co.uk/", "", -EPERM },
	{ "http://a.co.uk/", "a=1; Domain=a.co.uk", "http://b.a.co.uk/", "a=1", 0 },
	{ "http://co.uk/", "a=1; Domain=.CO.uk", "http://co.uk/", "a=1", 0 },
	{ "http://co.uk/", "a=1; Domain=co.uk", "http://a.co.uk/", "", 0 },
	/* paths */
	{ "http://h.org/a/b/c", "a=1", "http://h.org/a/b", "a=1", 0 },
	{ "http://h.org/a/b/c", "a=1", "http://h.org/a/b/", "a=1", 0 },
	{ "http://h.org/a/b/c", "a=1", "http://h.org/a/bc", "", 0 },
	{ "http://h.org/a/b/c", "a=1", "http://h.org/a", "", 0 },
	{ "http://h.org/a", "a=1", "http://h.org/x", "a=1", 0 },
	{ "http://h.org", "a=1", "http://h.org", "a=1", 0 },
	{ "http://h.org/a/b", "a=1; Path=/", "http://h.org/x", "a=1", 0 },
	{ "http://h.org/a/b", "a=1; path=/q/", "http://h.org/q/x", "a=1", 0 },
	{ "http://h.org/a/b", "a=1; path=/q/", "http://h.org/q", "", 0 },
	{ "http://h.org/a/b", "a=1; Path=q", "http://h.org/a/x", "a=1", 0 },
	{ "http://h.org/a/b", "a=1; Path=/q; Path", "http://h.org/a/x", "a=1", 0 },
	/* secure ones */
	{ "https://h.org/", "a=1; Secure", "https://h.org/", "a=1", 0 },
	{ "https://h.org/", "a=1; secure=x; HttpOnly", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Secure", "https://h.org/", "", -EPERM },
	{ "https://h.org/", "a=1", "http://h.org/", "a=1", 0 },
	{ "https://h.org/", "__Secure-a=1; Secure", "https://h.org/", "__Secure-a=1", 0 },
	{ "https://h.org/", "__secure-a=1", "https://h.org/", "", -EPERM },
	{ "https://h.org/x/y", "__Host-a=1; Secure; Path=/", "https://h.org/", "__Host-a=1", 0 },
	{ "https://h.org/", "__Host-a=1; Secure", "https://h.org/", "", -EPERM },
	{ "https://h.org/", "__Host-a=1; Path=/", "https://h.org/", "", -EPERM },
	{ "https://h.org/", "__HOST-a=1; Secure; Path=/x", "https://h.org/", "", -EPERM },
	{ "https://h.org/", "__Host-a=1; Secure; Path=/; Domain=h.org", "https://h.org/", "",
	  -EPERM },
	/* times */
	{ "http://h.org/", "a=1; Max-Age=0", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Max-Age=-5", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Max-Age=x", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Max-Age=", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Max-Age=-", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Max-Age=999999999999999999999999", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Expires=1 Jan 1601 00:00:00", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Expires=soon", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Expires=1 Jan 9999 00:00:00", "http://h.org/", "a=1", 0 },
	{ "http://h.org/", "a=1; Expires=1 Jan 9999 00:00:00; Max-Age=0", "http://h.org/", "", 0 },
	{ "http://h.org/", "a=1; Max-Age=9; Expires=1 Jan 1970 00:00:00", "http://h.org/", "a=1",
	  0 },
};

static bool is_suffix(const char *domain, void *arg)
{
	check(arg == &jar);
	return !strcmp(domain, "co.uk");
}

static int go_through_cases(void *arg)
{
	static const struct torc_http_jar_options options = { .is_public_suffix = is_suffix,
							      .arg = &jar };

	for (size_t i = 0; i < COUNT(cases); i++) {
		int r;

		begin(&options);
		r = take(cases[i].from, cases[i].set);
		if (r != cases[i].result)
			fprintf(stderr, "%s: %s\n", cases[i].from, cases[i].set);
		check_eq(r, cases[i].result);
		expect_cookies(cases[i].to, cases[i].expected);
		done();
	}
	(void)arg;
	return 0;
}

Test(http_jar, knows_whose_cookies_they_are)
{
	run_on_sim(go_through_cases);
}

/* --- several --- */

static int sort(void *arg)
{
	(void)arg;
	begin(NULL);
	check_eq(take("http://w.h.org/a/b/c", "one=1"), 0);
	check_eq(take("http://w.h.org/a/b/c", "two=2; Path=/"), 0);
	check_eq(take("http://w.h.org/a/b/c", "three=3; Path=/a/b/c; Domain=h.org"), 0);
	check_eq(take("http://w.h.org/a/b/c", "four=4; Path=/; Domain=w.h.org"), 0);
	check_eq(take("http://w.h.org/a/b/c", "five=5; Path=/; Domain=h.org"), 0);
	expect_cookies("http://w.h.org/a/b/c", "three=3; one=1; two=2; four=4; five=5");
	/* What is replaced keeps its place. */
	check_eq(take("http://w.h.org/", "two=zwei"), 0);
	expect_cookies("http://w.h.org/a/b/c", "three=3; one=1; two=zwei; four=4; five=5");
	/* For the host alone, and for all of its domain, are two. */
	check_eq(take("http://w.h.org/", "four=vier"), 0);
	expect_cookies("http://w.h.org/", "two=zwei; four=4; five=5; four=vier");
	check_eq(take("http://w.h.org/", "four=; Max-Age=0"), 0);
	check_eq(take("http://w.h.org/", "five=; Max-Age=0; Domain=h.org"), 0);
	check_eq(take("http://w.h.org/", "nine=; Max-Age=0"), 0);
	expect_cookies("http://w.h.org/a/b/c", "three=3; one=1; two=zwei; four=4");
	check_eq(torc_http_jar_remove(jar, "W.h.org", "/a/b", "one"), 1);
	check_eq(torc_http_jar_remove(jar, "x.h.org", NULL, NULL), 0);
	check_eq(torc_http_jar_remove(jar, NULL, "/", NULL), 2);
	expect_cookies("http://w.h.org/a/b/c", "three=3");
	torc_http_jar_clear(jar);
	expect_cookies("http://w.h.org/a/b/c", "");
	done();
	return 0;
}

Test(http_jar, sends_longer_paths_first_and_then_what_is_older)
{
	run_on_sim(sort);
}

static int protect(void *arg)
{
	(void)arg;
	begin(NULL);
	check_eq(take("https://w.h.org/", "a=good; Secure; Domain=h.org"), 0);
	check_eq(take("https://w.h.org/", "p=good; Secure; Path=/deep/"), 0);
	/* Plain HTTP may not replace, end, or stand before them, on any host that could. */
	check_eq(take("http://w.h.org/", "a=evil; Domain=h.org"), -EPERM);
	check_eq(take("http://w.h.org/", "a=evil"), -EPERM);
	check_eq(take("http://w.h.org/", "a=evil; Max-Age=0; Domain=h.org"), -EPERM);
	check_eq(take("http://w.h.org/x/y", "a=evil; Path=/x"), -EPERM);
	check_eq(take("http://h.org/", "p=evil; Path=/deep/er; Domain=h.org"), -EPERM);
	expect_cookies("https://w.h.org/deep/", "p=good; a=good");
	/* But where it cannot. */
	check_eq(take("http://h.org/", "p=other"), 0);
	check_eq(take("http://x.org/", "a=other"), 0);
	check_eq(take("http://w.h.org/", "A=other"), 0);
	check_eq(take("https://w.h.org/", "a=new; Domain=h.org"), 0);
	expect_cookies("http://w.h.org/deep/", "a=new; A=other");
	done();
	return 0;
}

Test(http_jar, does_not_let_plain_http_touch_what_is_secure)
{
	run_on_sim(protect);
}

/* --- time --- */

static int expire(void *arg)
{
	struct torc_http_jar_cookie *list;
	size_t count;

	(void)arg;
	begin(&(struct torc_http_jar_options){ .cookies_max = 3 });
	check_eq(take("http://h.org/", "a=1; Max-Age=10"), 0);
	check_eq(take("http://h.org/", "b=2; Max-Age=20"), 0);
	check_eq(take("http://h.org/", "c=3"), 0);
	expect_cookies("http://h.org/", "a=1; b=2; c=3");
	check_eq(torc_sleep(TORC_SECONDS(9)), 0);
	expect_cookies("http://h.org/", "a=1; b=2; c=3");
	check_eq(torc_sleep(TORC_SECONDS(2)), 0);
	expect_cookies("http://h.org/", "b=2; c=3");
	check_eq(torc_sleep(TORC_SECONDS(10)), 0);
	check_eq(torc_http_jar_list(jar, &list, &count), 0);
	check_eq(count, 1);
	check(!strcmp(list[0].name, "c") && !list[0].expires);
	torc_http_jar_free_list(list);
	/* What is over makes room before what is not, and 400 days are the most. */
	check_eq(take("http://h.org/", "d=4; Max-Age=1"), 0);
	check_eq(take("http://h.org/", "e=5; Max-Age=99999999999"), 0);
	check_eq(torc_sleep(TORC_SECONDS(2)), 0);
	check_eq(take("http://x.org/", "f=6"), 0);
	expect_cookies("http://h.org/", "c=3; e=5");
	expect_cookies("http://x.org/", "f=6");
	check_eq(torc_http_jar_list(jar, &list, &count), 0);
	check_eq(count, 3);
	check(!strcmp(list[1].name, "e"));
	check_le(list[1].expires, torc_sys_wall_ns() / 1000000000 + 400 * 86400);
	check(list[1].expires > (int64_t)(torc_sys_wall_ns() / 1000000000) + 399 * 86400);
	torc_http_jar_free_list(list);
	done();
	return 0;
}

Test(http_jar, forgets_what_is_past_its_time)
{
	run_on_sim(expire);
}

/* --- limits --- */

static void expect_count(size_t expected)
{
	struct torc_http_jar_cookie *list;
	size_t count;

	check_eq(torc_http_jar_list(jar, &list, &count), 0);
	check_eq(count, expected);
	torc_http_jar_free_list(list);
}

static int fill(void *arg)
{
	static char text[5000];
	char url[64], small[8];
	struct torc_http_jar_site site = at("http://h.org/");

	(void)arg;
	begin(NULL);
	/* 4096 bytes of a cookie, 1024 of a path. */
	memset(text, 'v', sizeof(text) - 1);
	memcpy(text, "na=", 3);
	text[4096 + 1] = '\0';
	check_eq(take("http://h.org/", text), 0);
	text[4096 + 1] = 'v';
	text[4096 + 2] = '\0';
	check_eq(take("http://h.org/", text), -EMSGSIZE);
	snprintf(text, sizeof(text), "a=1; Path=/%01023d", 1);
	check_eq(take("http://h.org/", text), 0);
	snprintf(text, sizeof(text), "b=1; Path=/%01024d", 1);
	check_eq(take("http://h.org/", text), 0); /* no path, and so the default one */
	expect_count(3);
	snprintf(text, sizeof(text), "http://h.org/%01024d/", 1);
	check_eq(take(text, "c=1"), -EMSGSIZE);
	snprintf(text, sizeof(text), "http://%0251d.org/", 1);
	check_eq(take(text, "c=1"), 0);
	snprintf(text, sizeof(text), "http://%0252d.org/", 1);
	check_eq(take(text, "c=1"), -EINVAL);
	torc_http_jar_clear(jar);
	/* 50 of a domain: those that were used least lately go. */
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "n%d=1; Path=/p%d", i, i);
		check_eq(take("http://h.org/", text), 0);
	}
	expect_cookies("http://h.org/p0", "n0=1");
	check_eq(take("http://h.org/", "more=1; Path=/m"), 0);
	expect_cookies("http://h.org/p0", "n0=1");
	expect_cookies("http://h.org/p1", "");
	expect_cookies("http://h.org/p2", "n2=1");
	expect_count(50);
	/* 3000 in all. */
	for (int i = 0; i < 3000; i++) {
		snprintf(url, sizeof(url), "http://h%d.org/", i);
		check_eq(take(url, "a=1"), 0);
	}
	expect_count(3000);
	expect_cookies("http://h.org/p0", "");
	expect_cookies("http://h0.org/", "a=1");
	check_eq(take("http://new.org/", "a=1"), 0);
	expect_cookies("http://h0.org/", "a=1");
	expect_cookies("http://h1.org/", "");
	check_eq(take("http://h.org/", "a=12345"), 0);
	check_eq(torc_http_jar_cookies(jar, &site, small, sizeof(small)), 7);
	check(!strcmp(small, "a=12345"));
	strcpy(small, "x");
	check_eq(torc_http_jar_cookies(jar, &site, small, 7), -ERANGE);
	check_eq(torc_http_jar_cookies(jar, &site, NULL, 0), -ERANGE);
	check(!strcmp(small, "x"));
	site = at("http://none.org/");
	check_eq(torc_http_jar_cookies(jar, &site, NULL, 0), 0);
	check_eq(torc_http_jar_cookies(jar, &site, small, 1), 0);
	check(!*small);
	site.host.len = 0;
	check_eq(torc_http_jar_cookies(jar, &site, small, 1), -EINVAL);
	done();
	return 0;
}

Test(http_jar, is_bounded)
{
	run_on_sim(fill);
}

static int fill_small(void *arg)
{
	struct torc_http_jar *other = jar;
	char host[600] = "http://";

	(void)arg;
	begin(&(struct torc_http_jar_options){
		.cookies_max = 1, .domain_max = 1, .cookie_bytes = 2 });
	check_eq(take("http://h.org/", "a=1"), 0);
	check_eq(take("http://h.org/", "a=2"), 0);
	expect_cookies("http://h.org/", "a=2");
	check_eq(take("http://h.org/", "b=3"), 0);
	expect_cookies("http://h.org/", "b=3");
	check_eq(take("http://h.org/", "b=33"), -EMSGSIZE);
	check_eq(take("http://x.org/", "c=4"), 0);
	expect_cookies("http://h.org/", "");
	expect_count(1);
	done();
	/* Secure ones stay longest. */
	begin(&(struct torc_http_jar_options){ .domain_max = 2 });
	check_eq(take("https://h.org/", "a=1; Secure"), 0);
	check_eq(take("http://h.org/", "b=2"), 0);
	check_eq(take("http://h.org/", "c=3"), 0);
	expect_cookies("https://h.org/", "a=1; c=3");
	/* As many labels as there can be, all with cookies; and more. */
	for (int i = 0; i < 127; i++)
		strcat(host, "a.");
	strcat(host, "b/");
	check_eq(take(host, "n=1"), 0);
	check_eq(take(host, "m=1; Domain=a.b"), 0);
	expect_cookies(host, "n=1; m=1");
	memset(host + 7, '.', 255);
	strcpy(host + 7 + 255, "/");
	check_eq(take(host, "n=1"), 0);
	expect_cookies(host, "n=1");
	done();
	for (unsigned i = 0; i < 3; i++) {
		struct torc_http_jar_options o = { 0 };

		*(i == 0 ? &o.cookies_max : i == 1 ? &o.domain_max : &o.cookie_bytes) = 1000001;
		check_eq(torc_http_jar_create(&o, &other), -EINVAL);
	}
	return 0;
}

Test(http_jar, may_be_small)
{
	run_on_sim(fill_small);
}

/* --- files --- */

static int load_text(const char *text)
{
	check_eq(torc_write_file(AT_FDCWD, "cookies.txt", text, strlen(text), 0600), 0);
	return torc_http_jar_load(jar, AT_FDCWD, "cookies.txt");
}

static int files(void *arg)
{
	void *first, *second;
	size_t first_len, second_len;

	(void)arg;
	begin(NULL);
	check_eq(torc_http_jar_load(jar, AT_FDCWD, "cookies.txt"), -ENOENT);
	check_eq(load_text("# Netscape HTTP Cookie File\n"
			   "\n"
			   "h.org\tFALSE\t/\tFALSE\t0\ta\t1\r\n"
			   ".h.org\tTRUE\t/\tTRUE\t99999999999\tb\t2\n"
			   "#HttpOnly_H.org\ttrue\t/x\tFALSE\t0\tc\t3 and more\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tempty\n"
			   "10.0.0.1\tTRUE\t/\tFALSE\t0\tip\t4\n"
			   /* What makes no sense. */
			   "#h.org\tFALSE\t/\tFALSE\t0\tz\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t1\told\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t-1\tz\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t\tz\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t0\t\t1\n"
			   "h.org\tFALSE\tx\tFALSE\t0\tz\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tz;y\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tz=y\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tz\t1;2\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tz\t1\t2\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tz\t1\x01\n"
			   "h.org\tFALSE\t/\tFALSE\t0\t__Secure-z\t1\n"
			   "h.org\tTRUE\t/\tTRUE\t0\t__Host-z\t1\n"
			   "\tFALSE\t/\tFALSE\t0\tz\t1\n"
			   ".\tFALSE\t/\tFALSE\t0\tz\t1\n"
			   "h.org\tFALSE\t/\tFALSE\t0\n"
			   "h.org FALSE / FALSE 0 z 1\n"
			   "#HttpOnly_\n"
			   "\t\t\t\t\t\t\n"
			   "h.org\tFALSE\t/\tFALSE\t0\tlast\t5"),
		 6);
	expect_cookies("https://h.org/x", "c=3 and more; a=1; b=2; empty=; last=5");
	expect_cookies("http://w.h.org/x", "c=3 and more");
	expect_cookies("http://10.0.0.1/", "ip=4");
	expect_cookies("http://1.10.0.0.1/", "");
	/* Written and read it is the same. */
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "one"), 0);
	done();
	begin(NULL);
	check_eq(torc_http_jar_load(jar, AT_FDCWD, "one"), 6);
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "two"), 0);
	check_eq(torc_read_file(AT_FDCWD, "one", 10000, &first, &first_len), 0);
	check_eq(torc_read_file(AT_FDCWD, "two", 10000, &second, &second_len), 0);
	check_eq(first_len, second_len);
	check(!memcmp(first, second, first_len));
	check(strstr(first, "\n#HttpOnly_.h.org\tTRUE\t/x\tFALSE\t0\tc\t3 and more\n") != NULL);
	torc_free_file(first);
	torc_free_file(second);
	expect_cookies("https://h.org/x", "c=3 and more; a=1; b=2; empty=; last=5");
	done();
	return 0;
}

Test(http_jar, is_read_from_a_file_and_written_to_one)
{
	run_on_sim(files);
}

static int cancelled_files(void *arg)
{
	struct torc_scope scope;

	(void)arg;
	begin(NULL);
	check_eq(take("http://h.org/", "a=1; Max-Age=1000"), 0);
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "file"), 0);
	torc_http_jar_clear(jar);
	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	check_eq(torc_http_jar_load(jar, AT_FDCWD, "file"), -ECANCELED);
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "file"), -ECANCELED);
	check_eq(torc_scope_leave(&scope), -ECANCELED);
	expect_cookies("http://h.org/", "");
	check_eq(torc_http_jar_load(jar, AT_FDCWD, "file"), 1);
	expect_cookies("http://h.org/", "a=1");
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "no/such/file"), -ENOENT);
	done();
	return 0;
}

Test(http_jar, touches_no_file_when_it_is_cancelled)
{
	run_on_sim(cancelled_files);
}

/* --- hostile servers --- */

/* Whatever comes, what is sent has no control characters, and what is written can be read again. */
static int mutate(void *arg)
{
	static const char seed_text[] =
		"__Host-name=value; Path=/a/b; Domain=.h.org; Expires=Sun, 06 Nov 2094 08:49:37 GMT; Max-Age=7; Secure";
	struct torc_http_jar_cookie *list;
	static char value[70000];
	char text[sizeof(seed_text)];
	uint64_t seed = 5;
	size_t count;

	(void)arg;
	begin(NULL);
	for (int i = 0; i < 20000; i++) {
		struct torc_http_jar_site site = at("https://w.h.org/a/b/c");
		size_t from = next_random(&seed) % 40;
		int n;

		memcpy(text, seed_text, sizeof(text));
		for (int j = 0; j < i % 5; j++)
			text[next_random(&seed) % (sizeof(text) - 1)] = (char)next_random(&seed);
		(void)torc_http_jar_take(jar, &site,
					 (struct torc_slice){ text + from,
							      sizeof(text) - 1 - from });
		n = torc_http_jar_cookies(jar, &site, value, sizeof(value));
		check_ge(n, 0);
		check_eq(strlen(value), n);
		check(torc__http_is_cookie_text((struct torc_slice){ value, (size_t)n }));
	}
	check_eq(torc_http_jar_list(jar, &list, &count), 0);
	torc_http_jar_free_list(list);
	check_ge(count, 20);
	check_eq(torc_http_jar_save(jar, AT_FDCWD, "file"), 0);
	torc_http_jar_clear(jar);
	check_eq(torc_http_jar_load(jar, AT_FDCWD, "file"), count);
	done();
	return 0;
}

Test(http_jar, takes_whatever_servers_send)
{
	run_on_sim(mutate);
}

/* --- no memory --- */

static int without_memory(void *arg)
{
	struct torc_http_jar_site site = at("http://h.org/");
	struct torc_http_jar_cookie *list;
	size_t count;
	int r = torc_http_jar_create(NULL, &jar);

	(void)arg;
	if (r < 0)
		return r;
	r = torc_http_jar_take(jar, &site, slice("a=1"));
	if (!r)
		r = torc_http_jar_take(jar, &site, slice("b=1"));
	if (!r)
		r = torc_http_jar_list(jar, &list, &count);
	if (!r) {
		torc_http_jar_free_list(list);
		r = torc_http_jar_save(jar, AT_FDCWD, "file");
	}
	if (!r)
		r = torc_http_jar_load(jar, AT_FDCWD, "file");
	done();
	return r < 0 ? r : 0;
}

static uint64_t run_without_memory(uint64_t nth, int *ret)
{
	struct torc_sim_options options = { .fail_memory = nth };
	struct torc_options o = { .loops = 1 };
	struct torc_sim_report report;

	check_eq(torc_sim_new(&options, &o.sim), 0);
	*ret = run_with(&o, without_memory, NULL);
	torc_sim_report(o.sim, &report);
	torc_sim_free(o.sim);
	return report.allocations;
}

/* Fail each allocation in turn; the simulator sees what is leaked. */
Test(http_jar, gets_over_it_when_there_is_no_memory)
{
	int r, refused = 0;
	uint64_t count = run_without_memory(0, &r);

	check_eq(r, 0);
	for (uint64_t n = 1; n <= count; n++) {
		run_without_memory(n, &r);
		check(!r || r == -ENOMEM);
		refused += r < 0;
	}
	check_ge(refused, 8);
}

/* --- several loops --- */

static int set_and_ask(void *arg)
{
	char url[64], text[64], value[4096];
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 3000; i++) {
		struct torc_http_jar_site site;

		snprintf(url, sizeof(url), "http://h%d.org/", i % 20);
		site = at(url);
		snprintf(text, sizeof(text), "n%d=%d; Path=/%s", me * 10 + i % 7, i,
			 i % 3 ? "" : "; Max-Age=0");
		check_eq(torc_http_jar_take(jar, &site, slice(text)), 0);
		check_ge(torc_http_jar_cookies(jar, &site, value, sizeof(value)), 0);
		if (i % 100 == 50)
			(void)torc_http_jar_remove(jar, "h3.org", NULL, NULL);
	}
	torc_http_jar_unref(jar);
	return 0;
}

static int share(void *arg)
{
	struct torc_group group;

	(void)arg;
	begin(&(struct torc_http_jar_options){ .cookies_max = 100, .domain_max = 9 });
	torc_group_enter(&group);
	for (int i = 0; i < 4; i++) {
		(void)torc_http_jar_ref(jar);
		check_eq(torc_group_spawn_with(&group,
					       &(struct torc_spawn_options){
						       .loop = TORC_ON_LOOP(i % 2) },
					       set_and_ask, (void *)(intptr_t)i),
			 0);
	}
	check_eq(torc_group_wait(&group), 0);
	done();
	torc_http_jar_unref(NULL);
	check(!torc_http_jar_ref(NULL));
	return 0;
}

Test(http_jar, is_shared_by_loops)
{
	check_eq(run_with(&(struct torc_options){ .loops = 2 }, share, NULL), 0);
}
