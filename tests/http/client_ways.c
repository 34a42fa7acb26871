/*
 * tests/http/client_ways.c - the ways to a server, proxies and TLS, and what goes with a request: who one is, cookies, forms, codings.
 */
#define world tls_world
#include "tests/io/tls.h"
#undef world

#include "tests/http/client.h"
#include "tests/io/names.h"

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include <torc/http/auth.h>
#include <torc/http/compress.h>
#include <torc/http/form_data.h>
#include <torc/http/multipart.h>

#include "http/internal/client.h"

TestSuite(client_ways, .timeout = 60);

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* A client beside the one that a test has. */
static struct torc_http_client *open_with(struct torc_http_client_options o)
{
	struct torc_http_client *client;

	o.no_environment = true;
	check_eq(torc_http_client_open(&o, &client), 0);
	return client;
}

/* What one request through a client of its own comes to. */
static int try_with(struct torc_http_client_options o, struct torc_http_request q)
{
	struct torc_http_client *client = open_with(o);
	struct torc_http_response *res;
	int r = torc_http_request(client, &q, &res);

	if (!r) {
		r = torc_http_response_status(res);
		torc_http_response_close(res);
	}
	torc_http_client_close(client);
	return r;
}

static void expect_why(const char *why, const char *part)
{
	if (strstr(why, part))
		return;
	fprintf(stderr, "\"%s\" is not in \"%s\"\n", part, why);
	abort();
}

/* --- proxies, in the clear --- */

static void be_proxy(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, "http://gone.test/"))
			return;
		if (heard(p, "http://who.test/") &&
		    !heard(p, "\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n"))
			tell(s, "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\n"
				"WWW-Authenticate: Bearer\r\nContent-Length: 3\r\n\r\nwho");
		else
			tell(s, HELLO);
	}
}

static void ask_through(struct peer *p, struct torc_http_client *unused)
{
	struct torc_http_client *client = open_with((struct torc_http_client_options){
		.proxy = p->url, .user_agent = "", .no_decode = true });

	(void)unused;
	get_and_expect(client, "http://a.test/one?x=y", 200, "hello");
	check(!strcmp(p->head, "GET http://a.test/one?x=y HTTP/1.1\r\nHost: a.test\r\n"
			       "Accept: */*\r\n\r\n"));
	get_and_expect(client, "http://b.test:81", 200, "hello");
	check(!strncmp(p->head, "GET http://b.test:81/ HTTP/1.1\r\nHost: b.test:81\r\n", 46));
	get_and_expect(client, "http://[2001:db8::1]/", 200, "hello");
	check(!strncmp(p->head, "GET http://[2001:db8::1]/ HTTP/1.1\r\n", 36));
	check_eq(p->connections, 1);
	check_eq(stats_of(client).connections, 1);
	torc_http_client_close(client);
}

Test(client_ways, requests_to_many_hosts_share_a_connection_to_their_proxy)
{
	run_peer(be_proxy, ask_through);
}

static void ask_gone(struct peer *p, struct torc_http_client *unused)
{
	struct torc_http_client *client =
		open_with((struct torc_http_client_options){ .proxy = p->url });
	struct torc_http_response *res;

	(void)unused;
	check_eq(torc_http_get(client, "http://gone.test/", &res), -EPIPE);
	get_and_expect(client, "http://a.test/", 200, "hello");
	check_eq(torc_http_get(client, "http://gone.test/", &res), -EPIPE);
	check_eq(stats_of(client).retries, 1); /* it was kept, and so asked again */
	check_eq(stats_of(client).connections, 0);
	torc_http_client_close(client);
	check_eq(try_with((struct torc_http_client_options){ .proxy = "127.0.0.1:1" },
			  (struct torc_http_request){ .url = p->url }),
		 -ECONNREFUSED);
}

Test(client_ways, a_proxy_may_go_away)
{
	run_peer(be_proxy, ask_gone);
}

static const struct torc_http_credentials ann = { .user = "ann", .password = "secret" };
#define ANN ((void *)(uintptr_t)&ann)

/* A request's own, which no proxy may hear. */
static int say_wrongly(const struct torc_http_challenge *c, char *ret, size_t size, void *arg)
{
	(void)arg;
	check_eq(c->status, 0);
	snprintf(ret, size, "For the server only");
	return 1;
}

static void ask_who(struct peer *p, struct torc_http_client *unused)
{
	struct torc_http_client_options o = { .proxy = p->url };
	struct torc_http_request q = { .url = "http://who.test/", .authorize = say_wrongly };
	const char *port = strrchr(p->url, ':');
	char proxy[64];

	(void)unused;
	check_eq(try_with(o, q), 407);
	check(heard(p, "\r\nAuthorization: For the server only\r\n"));
	check(!heard(p, "Proxy-Authorization"));
	snprintf(proxy, sizeof(proxy), "ann:%%73ecret@127.0.0.1%s", port);
	o.proxy = proxy;
	check_eq(try_with(o, q), 200);
	o.proxy = p->url;
	o.proxy_authorize = torc_http_authorize_basic;
	o.proxy_authorize_arg = ANN;
	p->requests = 0;
	check_eq(try_with(o, q), 200);
	check_eq(p->requests, 1); /* it is said before being asked */
}

Test(client_ways, a_proxy_hears_who_one_is_from_its_url_or_the_client)
{
	run_peer(be_proxy, ask_who);
}

struct asked {
	int times;
	char origin[64], target[64];
};

/* Only when it is asked for. */
static int say_when_asked(const struct torc_http_challenge *c, char *ret, size_t size, void *arg)
{
	struct asked *a = arg;

	if (!c->status)
		return 0;
	check_eq(c->status, 407);
	check_eq(c->count, 1);
	check(same_text(c->challenges[0], "Basic realm=\"p\""));
	check_eq(c->tries, (unsigned)a->times);
	check_eq(c->answers, (unsigned)++a->times);
	snprintf(a->origin, sizeof(a->origin), "%.*s", (int)c->origin.len, c->origin.data);
	snprintf(a->target, sizeof(a->target), "%s %s", c->method, c->target);
	snprintf(ret, size, "%s", a->times == 2 ? "Basic YW5uOnNlY3JldA==" : "Basic wrong");
	return a->times > 9 ? 0 : 1;
}

static void ask_challenged(struct peer *p, struct torc_http_client *unused)
{
	struct asked a = { 0 };
	struct torc_http_client_options o = { .proxy = p->url,
					      .proxy_authorize = say_when_asked,
					      .proxy_authorize_arg = &a };

	(void)unused;
	check_eq(try_with(o, (struct torc_http_request){ .url = "http://who.test/x?y" }), 200);
	check_eq(a.times, 2);
	check(!strcmp(a.origin, p->url));
	check(!strcmp(a.target, "GET http://who.test/x?y"));
	check_eq(p->requests, 3);
	check_eq(p->connections, 1);
	a = (struct asked){ .times = 0 };
	check_eq(try_with(o, (struct torc_http_request){ .url = "http://who.test/",
							 .method = "POST",
							 .body = "x",
							 .body_len = 1 }),
		 200);
}

Test(client_ways, a_challenge_of_a_proxy_is_answered)
{
	run_peer(be_proxy, ask_challenged);
}

/* --- tunnels --- */

static struct tls_world secure;

static void be_server(struct peer *p, struct torc_stream *s)
{
	if (torc_tls_accept(s, secure.server))
		return;
	while (hear_head(p, s)) {
		check(!heard(p, "Proxy-Authorization"));
		tell(s, HELLO);
	}
}

/* What it says to "CONNECT name". */
static const struct {
	const char *name, *answer;
} tunnels[] = {
	{ "a.test", "HTTP/1.0 200 Connection established\r\n\r\n" },
	{ "length.test", "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 299 OK\r\nContent-Length: 5\r\n\r\n" },
	{ "no.test", "HTTP/1.1 403 Not for you\r\nContent-Length: 2\r\n\r\nno" },
	{ "moved.test", "HTTP/1.1 302 Found\r\nLocation: https://a.test/\r\n\r\n" },
	{ "garbage.test", "SSH-2.0-what\r\n\r\n" },
	{ "more.test", "HTTP/1.1 200 OK\r\n\r\n\x15\x03\x01" },
	{ "half.test", "HTTP/1.1 200 OK\r\nX" },
	{ "shut.test", "HTTP/1.1 200 OK\r\n\r\n" },
	{ "gone.test", "" },
	{ "for.ever.test", "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\n"
			   "Content-Length: 0\r\n\r\n" },
};

static bool speaks_tls(const char *name)
{
	return !strcmp(name, "a.test") || !strcmp(name, "length.test");
}

static void be_tunnel(struct peer *p, struct torc_stream *s, int number)
{
	char name[64] = "";

	(void)number;
	if (!hear_head(p, s))
		return;
	check_eq(sscanf(p->head, "CONNECT %63[^:]:", name), 1);
	if (!strcmp(name, "who.test")) {
		if (!heard(p, "\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n")) {
			tell(s, "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\n"
				"Connection: close\r\n\r\nGo away.");
			return;
		}
		strcpy(name, "a.test");
	}
	for (size_t i = 0; i < COUNT(tunnels); i++)
		if (!strcmp(name, tunnels[i].name))
			tell(s, tunnels[i].answer);
	if (!strcmp(name, "shut.test") && !torc_stream_shutdown(s))
		hear_out(s);
	if (speaks_tls(name))
		be_server(p, s);
}

static int through_tunnel(struct peer *p, const char *name, char *why,
			  struct torc_http_client_options o)
{
	char url[64];

	snprintf(url, sizeof(url), "https://%s/", name);
	o.proxy = p->url;
	o.tls = secure.client;
	return try_with(o, (struct torc_http_request){ .url = url, .ret_why = why });
}

static void use_tunnel(struct peer *p, struct torc_http_client *unused)
{
	static const struct torc_http_pair not_for_servers = { "Proxy-Authorization", "Basic x" };
	struct torc_http_client *client = open_with(
		(struct torc_http_client_options){ .proxy = p->url, .tls = secure.client });
	struct torc_http_response *res;

	(void)unused;
	get_and_expect(client, "https://a.test/one", 200, "hello");
	check(!strncmp(p->head, "GET /one HTTP/1.1\r\nHost: a.test\r\n", 33));
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = "https://a.test/two",
								.fields = &not_for_servers,
								.field_count = 1 },
				   &res),
		 0);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	get_and_expect(client, "https://length.test/", 200, "hello");
	check_eq(p->connections, 2); /* one for each server */
	torc_http_client_close(client);
}

static void be_refused(struct peer *p, struct torc_http_client *unused)
{
	static const struct {
		const char *name, *why;
		int result;
	} cases[] = {
		{ "no.test", "the proxy answers 403 Not for you", -EPROTO },
		{ "moved.test", "the proxy answers 302 Found", -EPROTO },
		{ "for.ever.test", "the proxy answers 407 Who", -EPROTO },
		{ "garbage.test", "connecting", -EBADMSG },
		{ "more.test", "connecting", -EBADMSG },
		{ "half.test", "connecting", -EPIPE },
		{ "gone.test", "connecting", -EPIPE },
		{ "shut.test", "TLS", -ECONNABORTED },
	};
	char why[TORC_HTTP_WHY_MAX];

	(void)unused;
	for (size_t i = 0; i < COUNT(cases); i++) {
		check_eq(through_tunnel(p, cases[i].name, why,
					(struct torc_http_client_options){ 0 }),
			 cases[i].result);
		expect_why(why, cases[i].why);
	}
}

static int never_right(const struct torc_http_challenge *c, char *ret, size_t size, void *arg)
{
	int *asked = arg;

	if (c->status)
		++*asked;
	snprintf(ret, size, "Basic wrong");
	return 1;
}

static void be_asked(struct peer *p, struct torc_http_client *unused)
{
	struct asked a = { .times = 0 };
	struct torc_http_client_options o = { .proxy_authorize = say_when_asked,
					      .proxy_authorize_arg = &a };
	char why[TORC_HTTP_WHY_MAX];
	int times = 0;

	(void)unused;
	check_eq(through_tunnel(p, "who.test", why, o), 200);
	check_eq(a.times, 2);
	check(!strcmp(a.origin, p->url));
	check(!strcmp(a.target, "CONNECT who.test:443"));
	check_eq(p->connections, 3);
	o.proxy_authorize = torc_http_authorize_basic;
	o.proxy_authorize_arg = ANN;
	check_eq(through_tunnel(p, "who.test", why, o), 200);
	check_eq(p->connections, 4);
	o.proxy_authorize = never_right;
	o.proxy_authorize_arg = &times;
	check_eq(through_tunnel(p, "for.ever.test", why, o), -EPROTO);
	check_eq(times, 4);
}

static void use_tunnels(struct peer *p, struct torc_http_client *client)
{
	use_tunnel(p, client);
	be_refused(p, client);
	p->connections = 0;
	be_asked(p, client);
}

Test(client_ways, tunnels_lead_to_servers_with_tls_or_say_why_not)
{
	open_world(&secure, (struct cert_wish){ .subject = "a.test",
						.names = "DNS:a.test,DNS:length.test,DNS:who.test,"
							 "IP:127.0.0.1" });
	run_peer(be_tunnel, use_tunnels);
	close_world(&secure);
}

/* --- which proxy --- */

static void clear_environment(void)
{
	static const char *const names[] = { "http_proxy",  "HTTP_PROXY", "https_proxy",
					     "HTTPS_PROXY", "all_proxy",  "ALL_PROXY",
					     "no_proxy",    "NO_PROXY" };

	for (size_t i = 0; i < COUNT(names); i++)
		unsetenv(names[i]);
}

/* The proxy's address, "" for none. */
static const char *way_of(const struct torc_http_client *client, const char *url)
{
	const struct torc__http_proxy *proxy;
	struct torc_url u;

	check_eq(torc_url_parse(url, strlen(url), &u), 0);
	proxy = torc__http_proxy_for(client, &u);
	return proxy ? proxy->address : "";
}

static void check_way(const char *plain, const char *secret)
{
	static const struct torc_http_client_options nothing;
	struct torc_http_client client = { 0 };

	check_eq(torc__http_proxies_init(&client, &nothing), 0);
	check(!strcmp(way_of(&client, "http://a.test/"), plain));
	check(!strcmp(way_of(&client, "https://a.test/"), secret));
	torc__http_proxies_done(&client);
}

Test(client_ways, the_environment_names_proxies)
{
	clear_environment();
	check_way("", "");
	setenv("HTTP_PROXY", "http://evil.test:1", 1);
	check_way("", "");
	setenv("ALL_PROXY", "http://all.test:2", 1);
	check_way("all.test:2", "all.test:2");
	setenv("all_proxy", "low.test:3", 1);
	check_way("low.test:3", "low.test:3");
	setenv("HTTPS_PROXY", "http://s.test", 1);
	check_way("low.test:3", "s.test:80");
	setenv("https_proxy", "http://[::1]:5/", 1);
	setenv("http_proxy", "http://u:p@p.test:6", 1);
	check_way("p.test:6", "[::1]:5");
	setenv("http_proxy", "", 1);
	check_way("low.test:3", "[::1]:5");
	setenv("NO_PROXY", "other.test, a.test", 1);
	check_way("", "");
	setenv("no_proxy", "other.test", 1);
	check_way("low.test:3", "[::1]:5");
}

static int open_with_proxy(const char *proxy, const char *connect_to)
{
	const struct torc_http_client_options o = { .proxy = proxy, .connect_to = connect_to };
	struct torc_http_client client = { 0 };
	int r = torc__http_proxies_init(&client, &o);

	torc__http_proxies_done(&client);
	return r;
}

Test(client_ways, a_proxy_that_makes_no_sense_is_an_error)
{
	static const char *const wrong[] = { "",
					     "http://",
					     "https://p.test",
					     "socks5://p.test",
					     "http://p.test:0",
					     "http://p test",
					     "http://u%0a:p@p.test",
					     "http://u%3a:p@p.test",
					     "http://p.test:99999" };

	clear_environment();
	for (size_t i = 0; i < COUNT(wrong); i++)
		check_eq(open_with_proxy(wrong[i], NULL), -EINVAL);
	setenv("https_proxy", "socks5://p.test", 1);
	check_eq(open_with_proxy(NULL, NULL), -EINVAL);
	check_eq(open_with_proxy("p.test", NULL), 0);
	check_eq(open_with_proxy(NULL, "unix:/x"), 0);
}

Test(client_ways, no_proxy_names_hosts_domains_addresses_and_networks)
{
	static const struct {
		const char *list, *url;
		bool without;
	} cases[] = {
		{ "*", "http://a.test/", true },
		{ "", "http://a.test/", false },
		{ " , ,", "http://a.test/", false },
		{ "a.test", "http://a.test/", true },
		{ "A.Test", "http://a.test/", true },
		{ "a.test.", "http://a.test/", true },
		{ "a.test", "http://a.test./", true },
		{ "a.test", "http://b.a.test/", true },
		{ "a.test", "http://ba.test/", false },
		{ "a.test", "http://test/", false },
		{ "a.test", "http://a.test.evil/", false },
		{ ".a.test", "http://a.test/", true },
		{ ".a.test", "http://b.a.test/", true },
		{ "*.a.test", "http://b.a.test/", true },
		{ ".", "http://a.test/", false },
		{ "a.test:80", "http://a.test/", true },
		{ "a.test:80", "https://a.test/", false },
		{ "a.test:443", "https://a.test/", true },
		{ "a.test:8080", "http://a.test:8080/", true },
		{ "a.test:", "http://a.test/", false },
		{ "a.test:x", "http://a.test/", false },
		{ "a.test:65616", "http://a.test/", false },
		{ "x,b.test a.test", "http://a.test/", true },
		{ "127.0.0.1", "http://127.0.0.1/", true },
		{ "127.0.0.1:81", "http://127.0.0.1/", false },
		{ "10.0.0.0/8", "http://10.1.2.3/", true },
		{ "10.0.0.0/8", "http://11.1.2.3/", false },
		{ "10.0.0.0/8:80", "http://10.1.2.3/", true },
		{ "10.0.0.0/8:81", "http://10.1.2.3/", false },
		{ "10.1.2.2/31", "http://10.1.2.3/", true },
		{ "10.1.2.2/32", "http://10.1.2.3/", false },
		{ "0.0.0.0/0", "http://10.1.2.3/", true },
		{ "10.0.0.0/", "http://11.1.2.3/", false },
		{ "10.0.0.0/x", "http://11.1.2.3/", false },
		{ "10.0.0.0/-1", "http://11.1.2.3/", false },
		{ "10.0.0.0/33", "http://10.1.2.3/", false },
		{ "10.0.0.0/4294967296", "http://11.1.2.3/", false },
		{ "::1", "http://[::1]/", true },
		{ "[::1]", "http://[::1]/", true },
		{ "[::1]:80", "http://[::1]/", true },
		{ "[::1]:81", "http://[::1]/", false },
		{ "fd00::/8", "http://[fdff::1]/", true },
		{ "fd00::/8", "http://[fe80::1]/", false },
		{ "10.0.0.0/8", "http://[::1]/", false },
		{ "1", "http://127.0.0.1/", false },
		{ "0.0.1", "http://127.0.0.1/", false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct torc_http_client_options o = { .proxy = "p.test",
							    .no_proxy = cases[i].list };
		struct torc_http_client client = { 0 };

		check_eq(torc__http_proxies_init(&client, &o), 0);
		if (!*way_of(&client, cases[i].url) != cases[i].without) {
			fprintf(stderr, "no_proxy %s: %s\n", cases[i].list, cases[i].url);
			abort();
		}
		torc__http_proxies_done(&client);
	}
}

static void ask_by_environment(struct peer *p, struct torc_http_client *unused)
{
	struct torc_http_client *client;
	struct torc_http_response *res;

	(void)unused;
	clear_environment();
	setenv("http_proxy", p->url, 1);
	check_eq(torc_http_client_open(NULL, &client), 0);
	unsetenv("http_proxy");
	get_and_expect(client, "http://a.test/", 200, "hello");
	check(heard(p, "GET http://a.test/ "));
	torc_http_client_close(client);
	setenv("http_proxy", p->url, 1);
	check_eq(torc_http_get(NULL, "http://b.test/", &res), 0);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	setenv("http_proxy", "ftp://nothing", 1);
	check_eq(torc_http_get(NULL, "http://b.test/", &res), -EINVAL);
	check_eq(torc_http_client_open(NULL, &client), -EINVAL);
}

Test(client_ways, the_environment_is_looked_at_when_a_client_is_opened)
{
	run_peer(be_proxy, ask_by_environment);
}

/* --- HTTPS --- */

/* The text of a URL of the server with TLS, under another name. */
static const char *named_url(const struct peer *p, const char *host, const char *path)
{
	static char text[2][128];
	static int next;
	char *url = text[next++ % 2];

	snprintf(url, sizeof(text[0]), "https://%s%s%s", host, strrchr(p->secure_url, ':'), path);
	return url;
}

static const char *secure_path(const struct peer *p, const char *path)
{
	return named_url(p, "127.0.0.1", path);
}

static void be_secure(struct peer *p, struct torc_stream *s, int number)
{
	char text[256];

	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, "GET /down")) {
			snprintf(text, sizeof(text),
				 "HTTP/1.1 302 Found\r\nLocation: %s/plain\r\n"
				 "Content-Length: 0\r\n\r\n",
				 p->url);
			tell(s, text);
		} else if (heard(p, "GET /cut")) {
			tell(s, heard(p, "/cut-length")
					? "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"
				: heard(p, "/cut-chunks")
					? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
					  "5\r\nhello\r\n"
					: "HTTP/1.1 200 OK\r\n\r\nhello");
			check_eq(torc_stream_flush(s), 0);
			/* Without a word. */
			check_eq(shutdown(torc_stream_fd(s), SHUT_WR), 0);
			hear_out(s);
			return;
		} else {
			tell(s, HELLO);
		}
	}
}

static const char *const both[] = { "127.0.0.1:0", "tls://127.0.0.1:0", NULL };

static void run_secure(void (*client)(struct peer *, struct torc_http_client *))
{
	struct peer p = { .addresses = both };

	open_world(&secure, (struct cert_wish){ 0 });
	p.tls = secure.server;
	p.options.tls = secure.client;
	run_peer_with(&p, be_secure, client);
	close_world(&secure);
}

static int resumed(const struct torc_http_response *res)
{
	struct torc_tls_info info;

	check(torc_tls_info(torc_http_response_stream(res), &info));
	return info.resumed;
}

static void verify(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	char why[TORC_HTTP_WHY_MAX], address[32];
	struct sockaddr_in where;
	int silent = bound_socket(&where);
	const struct torc_http_request q = { .url = secure_path(p, "/"), .ret_why = why };
	struct torc_http_client_options o = { .connect_to = strchr(p->secure_url, '/') + 2 };

	/* The system's authorities have not heard of ours. */
	check_eq(try_with((struct torc_http_client_options){ 0 }, q), -EKEYREJECTED);
	expect_why(why, p->secure_url);
	expect_why(why, "TLS: ");
	expect_why(why, "certificate");
	o.tls = secure.client;
	check_eq(try_with(o, (struct torc_http_request){ .url = "https://b.test", .ret_why = why }),
		 -EKEYREJECTED);
	expect_why(why, "https://b.test");
	check_eq(try_with(o, (struct torc_http_request){ .url = "https://a.test" }), 200);
	check(heard(p, "\r\nHost: a.test\r\n"));
	check_eq(try_with(o, (struct torc_http_request){ .url = "https://a.test./" }), 200);
	/* And nothing but TLS is. */
	check_lt(try_with(o, (struct torc_http_request){ .url = "http://a.test" }), 0);
	/* Who says nothing is not waited for longer than connect_ns, TLS and all. */
	check_eq(listen(silent, 1), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(where.sin_port));
	o.connect_to = address;
	o.connect_ns = TORC_MS(20);
	check_eq(try_with(o, (struct torc_http_request){ .url = "https://a.test", .ret_why = why }),
		 -ETIMEDOUT);
	expect_why(why, "connecting: TLS");
	close(silent);
	check_eq(torc_http_get(client, q.url, &res), 0);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
}

Test(client_ways, whom_one_talks_to_is_verified)
{
	run_secure(verify);
}

static void use_again(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_client *other;
	struct torc_http_response *res;

	check_eq(torc_http_get(client, secure_path(p, "/"), &res), 0);
	check(!resumed(res));
	expect_body(res, 200, "hello");
	check(!torc_http_response_stream(res));
	torc_http_response_close(res);
	get_and_expect(client, secure_path(p, "/"), 200, "hello");
	check_eq(p->connections, 1);
	other = open_with((struct torc_http_client_options){ .tls = secure.client });
	check_eq(torc_http_get(other, secure_path(p, "/"), &res), 0);
	check(resumed(res));
	torc_http_response_close(res);
	torc_http_client_close(other);
	check_eq(p->connections, 2);
}

Test(client_ways, a_connection_with_tls_is_used_again_and_so_is_its_session)
{
	run_secure(use_again);
}

static void be_cut(struct peer *p, struct torc_http_client *client)
{
	static const char *const paths[] = { "/cut-length", "/cut-chunks", "/cut-close" };

	for (size_t i = 0; i < COUNT(paths); i++) {
		struct torc_http_response *res;
		struct torc_slice body;

		check_eq(torc_http_get(client, secure_path(p, paths[i]), &res), 0);
		check_eq(torc_http_response_read(res, 100, &body), -ECONNABORTED);
		check_eq(torc_http_response_read(res, 100, &body), -ECONNABORTED);
		torc_http_response_close(res);
		check_eq(stats_of(client).connections, 0);
	}
}

Test(client_ways, a_body_that_ends_without_a_goodbye_was_cut_off)
{
	run_secure(be_cut);
}

static void go_down(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	char why[TORC_HTTP_WHY_MAX];
	struct torc_http_request q = { .url = secure_path(p, "/down"), .ret_why = why };

	check_eq(torc_http_request(client, &q, &res), -EPERM);
	expect_why(why, "from https to http");
	check(heard(p, "/down"));
	check_eq(try_with((struct torc_http_client_options){ .tls = secure.client,
							     .allow_downgrade = true },
			  q),
		 200);
	check(heard(p, "GET /plain "));
	q.no_redirects = true;
	check_eq(torc_http_request(client, &q, &res), 0);
	check_eq(torc_http_response_status(res), 302);
	torc_http_response_close(res);
}

Test(client_ways, no_redirect_leads_from_https_to_http_unasked)
{
	run_secure(go_down);
}

/* --- addresses --- */

static void be_hello(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s))
		tell(s, HELLO);
}

static char socket_path[64];

static void ask_local(struct peer *p, struct torc_http_client *unused)
{
	struct torc_http_client_options o = { .connect_to = socket_path };
	struct torc_http_client *client = open_with(o);

	(void)unused;
	get_and_expect(client, "http://docker/v1/info", 200, "hello");
	check(heard(p, "GET /v1/info HTTP/1.1\r\nHost: docker\r\n"));
	get_and_expect(client, "http://docker/v1/info", 200, "hello");
	check_eq(p->connections, 1);
	torc_http_client_close(client);
	o.connect_to = "unix:/nowhere/at-all";
	check_eq(try_with(o, (struct torc_http_request){ .url = "http://docker/" }), -ENOENT);
	o.connect_to = "what is that";
	check_eq(try_with(o, (struct torc_http_request){ .url = "http://docker/" }), -EINVAL);
	o.proxy = "http://p.test";
	o.no_environment = true;
	check_eq(torc_http_client_open(&o, &client), -EINVAL);
}

Test(client_ways, a_unix_socket_is_asked_in_place_of_a_host)
{
	char directory[] = "/tmp/torc-ways-XXXXXX";
	const char *const addresses[] = { socket_path, NULL };
	struct peer p = { .addresses = addresses };

	check(mkdtemp(directory));
	snprintf(socket_path, sizeof(socket_path), "unix:%s/socket", directory);
	run_peer_with(&p, be_hello, ask_local);
	check_eq(rmdir(directory), 0);
}

static void ask_ipv6(struct peer *p, struct torc_http_client *client)
{
	char line[64];

	get_and_expect(client, p->url, 200, "hello");
	snprintf(line, sizeof(line), "\r\nHost: %s\r\n", p->url + 7);
	check(heard(p, line));
	/* Written otherwise it is the same place. */
	snprintf(line, sizeof(line), "http://[0:0::0:1]%s/", strrchr(p->url, ':'));
	get_and_expect(client, line, 200, "hello");
	check_eq(p->connections, 1);
}

Test(client_ways, an_ipv6_address_may_be_in_a_url)
{
	static const char *const addresses[] = { "[::1]:0", NULL };

	run_peer_with(&(struct peer){ .addresses = addresses }, be_hello, ask_ipv6);
}

static void ask_by_name(struct peer *p, struct torc_http_client *client)
{
	const char *port = strrchr(p->url, ':');
	struct torc_http_response *res;
	char url[64], why[TORC_HTTP_WHY_MAX];

	add_ip(&fake.ips, "::1");
	add_ip(&fake.ips, "127.0.0.9");
	add_ip(&fake.ips, "127.0.0.1");
	snprintf(url, sizeof(url), "http://many.test%s/", port);
	get_and_expect(client, url, 200, "hello");
	check(heard(p, "\r\nHost: many.test:"));
	check_eq(fake_calls(), 1);
	get_and_expect(client, url, 200, "hello");
	check_eq(fake_calls(), 1);
	snprintf(url, sizeof(url), "http://missing.test%s/x", port);
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url, .ret_why = why }, &res),
		 -ENOENT);
	expect_why(why, "missing.test");
	expect_why(why, "connecting: to missing.test");
}

Test(client_ways, one_of_a_names_addresses_is_enough)
{
	use_fake();
	run_peer(be_hello, ask_by_name);
	close(fake.came);
}

/* --- who one is --- */

static void ask_for_name(struct peer *p, struct torc_stream *s, int number)
{
	char text[256];

	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, "POST "))
			check(take_body(s, 4));
		if (heard(p, " /away"))
			snprintf(text, sizeof(text),
				 "HTTP/1.1 302 Found\r\nLocation: http://x:y@localhost%s/there\r\n"
				 "Content-Length: 0\r\n\r\n",
				 strrchr(p->url, ':'));
		else if (heard(p, " /same"))
			snprintf(
				text, sizeof(text),
				"HTTP/1.1 307 Found\r\nLocation: /there\r\nContent-Length: 5\r\n\r\n");
		else if (heard(p, " /digest") && !heard(p, "nonce=\"one\""))
			snprintf(text, sizeof(text),
				 "HTTP/1.1 401 Who\r\nContent-Length: 0\r\n"
				 "WWW-Authenticate: Basic realm=\"r\"\r\n"
				 "WWW-Authenticate: Digest realm=\"r\", nonce=\"one\", "
				 "qop=\"auth\", algorithm=SHA-256\r\n\r\n");
		else if (heard(p, " /never"))
			snprintf(text, sizeof(text),
				 "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"r\"\r\n"
				 "Content-Length: 3\r\n\r\nwho");
		else
			snprintf(text, sizeof(text), "%s", HELLO);
		tell(s, text);
		if (heard(p, " /same"))
			tell(s, "later"); /* what a redirect says comes after its head */
	}
}

static int ask_as(struct peer *p, struct torc_http_client *client, const char *path,
		  torc_http_authorize_fn *fn, const void *arg)
{
	struct torc_http_request q = { .url = url_of(p, path),
				       .authorize = fn,
				       .authorize_arg = (void *)(uintptr_t)arg };
	struct torc_http_response *res;
	int r = torc_http_request(client, &q, &res);

	if (r < 0)
		return r;
	r = torc_http_response_status(res);
	torc_http_response_close(res);
	return r;
}

static const char *with_name(const struct peer *p, const char *path)
{
	static char text[128];

	snprintf(text, sizeof(text), "http://ann:s%%65cret@%s%s", p->url + 7, path);
	return text;
}

#define SAYS_ANN "\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n"

static void say_basic(struct peer *p, struct torc_http_client *client)
{
	static const struct torc_http_token token = { .token = "abc.def" };
	static const struct torc_http_pair own = { "authorization", "My own" };
	struct torc_http_response *res;
	struct torc_http_request q = { .url = with_name(p, "/"), .fields = &own };

	check_eq(ask_as(p, client, "/", torc_http_authorize_basic, &ann), 200);
	check(heard(p, SAYS_ANN));
	check_eq(ask_as(p, client, "/", torc_http_authorize_bearer, &token), 200);
	check(heard(p, "\r\nAuthorization: Bearer abc.def\r\n"));
	get_and_expect(client, q.url, 200, "hello");
	check(heard(p, SAYS_ANN));
	check(!heard(p, "ann:"));
	q.field_count = 1; /* the program knows better */
	check_eq(torc_http_request(client, &q, &res), 0);
	torc_http_response_close(res);
	check(heard(p, "\r\nauthorization: My own\r\n") && !heard(p, SAYS_ANN));
	p->requests = 0;
	get_and_expect(client, with_name(p, "/never"), 401, "who");
	check_eq(p->requests, 1);
	check_eq(ask_as(p, client, "/never", torc_http_authorize_basic, &ann), 401);
	check_eq(p->requests, 2); /* not the same once more */
	check_eq(p->connections, 1);
}

static void be_sent_elsewhere(struct peer *p, struct torc_http_client *client)
{
	get_and_expect(client, with_name(p, "/same"), 200, "hello");
	check(heard(p, "GET /there") && heard(p, SAYS_ANN));
	check_eq(ask_as(p, client, "/same", torc_http_authorize_basic, &ann), 200);
	check(heard(p, "GET /there") && heard(p, SAYS_ANN));
	check_eq(p->connections, 1); /* of which the redirects' bodies were read */
	get_and_expect(client, with_name(p, "/away"), 200, "hello");
	check(heard(p, "GET /there") && !heard(p, "Authorization"));
	check_eq(ask_as(p, client, "/away", torc_http_authorize_basic, &ann), 200);
	check(heard(p, "GET /there") && !heard(p, "Authorization"));
}

static int fail_to_say(const struct torc_http_challenge *c, char *ret, size_t size, void *arg)
{
	(void)c, (void)ret, (void)size, (void)arg;
	return -EACCES;
}

static int say_two_lines(const struct torc_http_challenge *c, char *ret, size_t size, void *arg)
{
	(void)c, (void)arg;
	snprintf(ret, size, "x\r\nX-Evil: y");
	return 1;
}

static void answer_digest(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_digest digest;
	struct torc_http_response *res;
	struct torc_http_request q = { .url = url_of(p, "/digest?a=b"),
				       .body = "body",
				       .body_len = 4,
				       .authorize = torc_http_authorize_digest,
				       .authorize_arg = &digest };

	torc_http_digest_init(&digest, &ann);
	p->requests = 0;
	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	check_eq(p->requests, 2);
	check(heard(p, "\r\nAuthorization: Digest username=\"ann\""));
	check(heard(p, "uri=\"/digest?a=b\"") && heard(p, "nc=00000001"));
	check_eq(ask_as(p, client, "/digest", torc_http_authorize_digest, &digest), 200);
	check(heard(p, "nc=00000002"));
	check_eq(p->requests, 3);
	torc_http_digest_done(&digest);
	check_eq(ask_as(p, client, "/", fail_to_say, NULL), -EACCES);
	check_eq(ask_as(p, client, "/", say_two_lines, NULL), -EINVAL);
	check_eq(p->requests, 3);
}

static void say_who(struct peer *p, struct torc_http_client *client)
{
	say_basic(p, client);
	be_sent_elsewhere(p, client);
	answer_digest(p, client);
}

Test(client_ways, who_one_is_goes_to_whom_it_is_for)
{
	run_peer(ask_for_name, say_who);
}

static int check_ann(struct torc_http_exchange *x, const char *user, const char *password,
		     void *arg)
{
	(void)x, (void)arg;
	return strcmp(user, "ann") || strcmp(password, "secret") ? -EACCES : 0;
}

static struct torc_http_basic staff = { .realm = "staff", .check = check_ann };

static int say_user(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond_text(x, 200, torc_http_user(x));
}

static int serve_staff(struct torc_http_exchange *x, void *arg)
{
	static const struct torc_http_step steps[] = { { torc_http_basic_handle, &staff },
						       { say_user, NULL } };

	(void)arg;
	return torc_http_run(x, steps, COUNT(steps));
}

static void ask_staff(struct world *w)
{
	struct torc_http_client *client = open_with((struct torc_http_client_options){ 0 });
	const char *host = strstr(w->address, "://") ? strstr(w->address, "://") + 3 : w->address;
	char url[192];

	snprintf(url, sizeof(url), "http://ann:secret@%s/", host);
	get_and_expect(client, url, 200, "ann");
	snprintf(url, sizeof(url), "http://%s/", host);
	get_and_expect(client, url, 401, "Unauthorized");
	torc_http_client_close(client);
}

Test(client_ways, the_librarys_own_server_knows_us)
{
	run_world_with(&(struct world){ 0 }, serve_staff, ask_staff);
}

/* --- cookies --- */

static void set_cookies(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s))
		if (heard(p, "GET /login"))
			tell(s, "HTTP/1.1 303 See Other\r\nLocation: /home/page\r\n"
				"Set-Cookie: id=1; Path=/home; HttpOnly\r\nSet-Cookie: all=2\r\n"
				"set-cookie: safe=3; Secure; Path=/\r\nContent-Length: 0\r\n\r\n");
		else if (heard(p, "GET /who"))
			tell(s, "HTTP/1.1 401 Who\r\nSet-Cookie: asked=4\r\n"
				"Content-Length: 0\r\n\r\n");
		else if (heard(p, "GET /logout"))
			tell(s, "HTTP/1.1 200 OK\r\nSet-Cookie: id=; Path=/home; Max-Age=0\r\n"
				"Set-Cookie: evil=1; Domain=other.test\r\n"
				"Content-Length: 5\r\n\r\nhello");
		else
			tell(s, HELLO);
}

static void expect_cookies(const struct peer *p, const char *value)
{
	char line[64];

	snprintf(line, sizeof(line), "\r\nCookie: %s\r\n", value ? value : "");
	if (value ? heard(p, line) : !heard(p, "Cookie:"))
		return;
	fprintf(stderr, "no %s in %s\n", line, p->head);
	abort();
}

static void have_large_cookies(struct peer *p, struct torc_http_client *client,
			       struct torc_http_jar *jar)
{
	struct torc_http_jar_site site = { .host = { "127.0.0.1", 9 }, .path = { "/", 1 } };
	char value[3002];

	memset(value, 'x', sizeof(value));
	value[1] = '=';
	for (char name = 'a'; name <= 'd'; name++) {
		value[0] = name;
		check_eq(torc_http_jar_take(jar, &site,
					    (struct torc_slice){ value, sizeof(value) }),
			 0);
	}
	get_and_expect(client, url_of(p, "/"), 200, "hello");
	check(heard(p, "a=xx") && heard(p, "d=xx") && heard(p, "all=2"));
}

static void keep_cookies(struct peer *p, struct torc_http_client *unused)
{
	static const struct torc_http_pair own = { "Cookie", "mine=1" };
	struct torc_http_client_options o = { .tls = secure.client };
	struct torc_http_client *client;
	struct torc_http_response *res;

	(void)unused;
	check_eq(torc_http_jar_create(NULL, &o.jar), 0);
	client = open_with(o);
	get_and_expect(client, url_of(p, "/login"), 200, "hello");
	check(heard(p, "GET /home/page"));
	expect_cookies(p, "id=1; all=2"); /* Secure is not taken of http */
	get_and_expect(client, url_of(p, "/other"), 200, "hello");
	expect_cookies(p, "all=2");
	get_and_expect(client, secure_path(p, "/login"), 200, "hello");
	expect_cookies(p, "id=1; all=2; safe=3");
	get_and_expect(client, url_of(p, "/home"), 200, "hello");
	expect_cookies(p, "id=1; all=2");
	get_and_expect(client, named_url(p, "a.test", "/"), 200, "hello");
	expect_cookies(p, NULL);
	get_and_expect(client, url_of(p, "/who"), 401, "");
	get_and_expect(client, url_of(p, "/logout"), 200, "hello");
	get_and_expect(client, url_of(p, "/home"), 200, "hello");
	expect_cookies(p, "all=2; asked=4");
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/"),
								.fields = &own,
								.field_count = 1 },
				   &res),
		 0);
	torc_http_response_close(res);
	expect_cookies(p, "mine=1");
	have_large_cookies(p, client, o.jar);
	torc_http_client_close(client);
	torc_http_jar_unref(o.jar);
}

Test(client_ways, cookies_go_back_to_where_they_are_for)
{
	struct peer p = { .addresses = both };

	use_fake();
	add_ip(&fake.ips, "127.0.0.1");
	open_world(&secure, (struct cert_wish){ 0 });
	p.tls = secure.server;
	run_peer_with(&p, set_cookies, keep_cookies);
	close_world(&secure);
	close(fake.came);
}

/* --- forms --- */

static int read_form(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_multipart *m;
	struct torc_http_part part;
	struct torc_slice text;
	size_t large = 0;
	char answer[256] = "";
	int r = torc_http_multipart_begin(x, NULL, &m);

	(void)arg;
	while (!r && (r = torc_http_multipart_next(m, &part)) > 0) {
		size_t len = strlen(answer);

		snprintf(answer + len, sizeof(answer) - len, "%.*s(%.*s,%.*s)", (int)part.name.len,
			 part.name.data, (int)part.filename.len, part.filename.data,
			 (int)part.type.len, part.type.data);
		while ((r = torc_http_multipart_peek(m, &text)) > 0) {
			if (part.has_filename)
				check(same_bytes(text.data, text.len, 9, large));
			large += part.has_filename ? text.len : 0;
			torc_http_multipart_consume(m, text.len);
		}
	}
	check(r || large == 300000);
	return r ? r : torc_http_respond_text(x, 200, answer);
}

static void send_form(struct world *w)
{
	struct torc_http_client *client = open_with((struct torc_http_client_options){ 0 });
	char url[192], path[] = "/tmp/torc-ways-XXXXXX", *data = malloc(300000);
	int fd = mkstemp(path);
	struct torc_http_form_data form;
	struct torc_http_request q = { .url = url, .form = &form };

	snprintf(url, sizeof(url), "http://%s/",
		 strstr(w->address, "://") ? strstr(w->address, "://") + 3 : w->address);
	fill_bytes(data, 300000, 9, 0);
	check_eq(write(fd, data, 300000), 300000);
	torc_http_form_data_init(&form);
	check_eq(torc_http_form_data_add_text(&form, "title", "Holidays"), 0);
	check_eq(torc_http_form_data_add_file(&form, "photo", "a \"b\".jpg", NULL, AT_FDCWD, path),
		 0);
	for (int i = 0; i < 2; i++) { /* it can be sent again */
		struct torc_http_response *res;

		check_eq(torc_http_request(client, &q, &res), 0);
		expect_body(res, 200,
			    "title(,text/plain)photo(a %22b%22.jpg,application/octet-stream)");
		torc_http_response_close(res);
	}
	check_eq(stats_of(client).connects, 1);
	check_eq(ftruncate(fd, 299999), 0);
	check_eq(try_with((struct torc_http_client_options){ 0 }, q), -EIO);
	torc_http_form_data_done(&form);
	torc_http_client_close(client);
	close(fd);
	unlink(path);
	free(data);
}

Test(client_ways, forms_with_files_are_sent)
{
	run_world_with(&(struct world){ .options.body_bytes = MIB }, read_form, send_form);
}

/* --- codings --- */

static char plain[50000];
static struct {
	const char *name;
	char data[60000];
	size_t len;
} coded[5];

static size_t deflate_with(int bits, char *to, size_t room)
{
	z_stream z = { .next_in = (Bytef *)plain,
		       .avail_in = sizeof(plain),
		       .next_out = (Bytef *)to,
		       .avail_out = (uInt)room };

	check_eq(deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	check_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static void make_coded(void)
{
	static const char *const names[] = { "gzip", "deflate", "deflate", "br", "zstd" };
	size_t len = sizeof(coded[3].data);

	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (char)('a' + i * i / 7 % 23);
	for (size_t i = 0; i < COUNT(coded); i++)
		coded[i].name = names[i];
	coded[0].len = deflate_with(31, coded[0].data, sizeof(coded[0].data));
	coded[1].len = deflate_with(15, coded[1].data, sizeof(coded[1].data));
	coded[2].len = deflate_with(-15, coded[2].data, sizeof(coded[2].data));
	check(BrotliEncoderCompress(4, 22, BROTLI_MODE_GENERIC, sizeof(plain),
				    (const uint8_t *)plain, &len, (uint8_t *)coded[3].data));
	coded[3].len = len;
	coded[4].len = ZSTD_compress(coded[4].data, sizeof(coded[4].data), plain, sizeof(plain), 3);
}

static void send_coded(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		unsigned i = 0;
		char text[256];

		check_eq(sscanf(p->head, "%*s /%u", &i), 1);
		snprintf(text, sizeof(text),
			 "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n"
			 "ETag: \"x\"\r\n\r\n",
			 coded[i].name, coded[i].len);
		tell(s, text);
		if (!heard(p, "HEAD "))
			check_eq(torc_stream_write(s, coded[i].data, coded[i].len), 0);
	}
}

static void expect_plain(struct torc_http_client *client, const char *url)
{
	struct torc_http_response *res;
	struct torc_slice body, value;

	check_eq(torc_http_get(client, url, &res), 0);
	check(!torc_http_response_field(res, "Content-Encoding", &value));
	check(!torc_http_response_field(res, "Content-Length", &value));
	check(torc_http_response_field(res, "ETag", &value));
	check_eq(torc_http_response_length(res), TORC_NEVER);
	check_eq(torc_http_response_read(res, sizeof(plain), &body), 0);
	check_eq(body.len, sizeof(plain));
	check(!memcmp(body.data, plain, body.len));
	torc_http_response_close(res);
}

/* As it came. */
static void expect_coded(struct torc_http_client *client, struct torc_http_request q, size_t which)
{
	struct torc_http_response *res;
	struct torc_slice body, value;
	bool head = q.method != NULL;

	check_eq(torc_http_request(client, &q, &res), 0);
	check(torc_http_response_field(res, "Content-Encoding", &value));
	check(same_text(value, coded[which].name));
	check_eq(torc_http_response_length(res), coded[which].len);
	check_eq(torc_http_response_read(res, sizeof(coded[0].data), &body), 0);
	check_eq(body.len, head ? 0 : coded[which].len);
	check(!memcmp(body.data, coded[which].data, body.len));
	torc_http_response_close(res);
}

static const char *coded_url(const struct peer *p, size_t i)
{
	char path[8];

	snprintf(path, sizeof(path), "/%zu", i);
	return url_of(p, path);
}

static void read_coded(struct peer *p, struct torc_http_client *client)
{
	static const struct torc_http_pair own = { "Accept-Encoding", "gzip" },
					   part = { "Range", "bytes=0-" };
	struct torc_http_client *all =
		open_with((struct torc_http_client_options){ .codings = torc_http_codings_all });
	struct torc_http_client *none =
		open_with((struct torc_http_client_options){ .no_decode = true });
	struct torc_http_request q;

	for (size_t i = 0; i < COUNT(coded); i++) {
		expect_plain(all, coded_url(p, i));
		q = (struct torc_http_request){ .url = coded_url(p, i) };
		expect_coded(none, q, i);
		check(!heard(p, "Accept-Encoding"));
		if (i < 3)
			expect_plain(client, q.url);
		else
			expect_coded(client, q, i); /* it was not asked for */
		q.method = "HEAD";
		expect_coded(all, q, i);
		check(heard(p, "\r\nAccept-Encoding: "));
		q.method = NULL;
		q.fields = &own;
		q.field_count = 1;
		expect_coded(all, q, i);
		q.fields = &part;
		expect_coded(all, q, i);
		check(!heard(p, "Accept-Encoding"));
	}
	torc_http_client_close(none);
	torc_http_client_close(all);
}

Test(client_ways, bodies_are_decoded_if_the_client_has_asked_for_that)
{
	make_coded();
	run_peer(send_coded, read_coded);
}

static void copy_out(struct peer *p, struct torc_http_client *client)
{
	char path[] = "/tmp/torc-ways-XXXXXX", *data = malloc(sizeof(plain));
	struct torc_http_response *res;
	struct torc_stream from, to;
	uint64_t bytes = 7;
	int fd;

	close(mkstemp(path));
	check_eq(unlink(path), 0);
	check_eq(torc_http_get(client, coded_url(p, 0), &res), 0);
	check_eq(torc_http_response_save(res, AT_FDCWD, path, 0600, sizeof(plain), &bytes), 0);
	check_eq(bytes, sizeof(plain));
	torc_http_response_close(res);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	check_eq(read(fd, data, sizeof(plain)), sizeof(plain));
	check(!memcmp(data, plain, sizeof(plain)));
	close(fd);
	check_eq(unlink(path), 0);
	check_eq(torc_stream_pair(&from, &to), 0);
	check_eq(torc_http_get(client, coded_url(p, 0), &res), 0);
	check_eq(torc_http_response_copy(res, &to, 100, &bytes), -EMSGSIZE);
	check_eq(bytes, sizeof(plain));
	torc_http_response_close(res);
	check_eq(torc_stream_close(&from), 0);
	check_eq(torc_http_get(client, coded_url(p, 0), &res), 0);
	check(torc_http_response_copy(res, &to, TORC_NEVER, &bytes) == -EPIPE ||
	      torc_stream_flush(&to) == -EPIPE);
	torc_http_response_close(res);
	(void)torc_stream_close(&to);
	free(data);
}

struct sink {
	struct torc_stream *s;
	size_t len;
};

static int swallow(void *arg)
{
	struct sink *k = arg;
	struct torc_slice view;

	while (torc_stream_peek(k->s, &view) > 0) {
		check(!memcmp(view.data, plain + k->len, view.len));
		k->len += view.len;
		torc_stream_consume(k->s, view.len);
	}
	return 0;
}

static void copy_all(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	struct torc_stream from, to;
	struct sink sink = { .s = &from };
	struct torc_group group;
	uint64_t bytes;

	copy_out(p, client);
	check_eq(torc_stream_pair(&from, &to), 0);
	torc_group_enter(&group);
	check_eq(torc_group_spawn(&group, swallow, &sink), 0);
	check_eq(torc_http_get(client, coded_url(p, 1), &res), 0);
	check_eq(torc_http_response_copy(res, &to, TORC_NEVER, &bytes), 0);
	check_eq(bytes, sizeof(plain));
	torc_http_response_close(res);
	check_eq(torc_stream_close(&to), 0);
	check_eq(torc_group_wait(&group), 0);
	check_eq(sink.len, sizeof(plain));
	(void)torc_stream_close(&from);
}

Test(client_ways, bodies_go_to_files_and_streams_decoded)
{
	make_coded();
	run_peer(send_coded, copy_all);
}

/* --- 417 --- */

static void be_old(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, "Expect:")) {
			tell(s, "HTTP/1.1 417 What\r\nContent-Length: 0\r\n\r\n");
			return;
		}
		check(take_body(s, 4));
		tell(s, HELLO);
	}
}

static int write_once(struct torc_http_upload *u, void *arg)
{
	(void)arg;
	return torc_http_upload_write(u, "body", 4);
}

static void expect_much(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_request q = { .url = url_of(p, "/"), .expect_continue = true };
	struct torc_http_response *res;

	q.body = "body";
	q.body_len = 4;
	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 200, "hello");
	torc_http_response_close(res);
	check_eq(p->requests, 2);
	q.body = NULL;
	q.body_len = 0;
	q.body_fn =
		write_once; /* nobody knows whether it can do that again, not even if it has not begun */
	check_eq(torc_http_request(client, &q, &res), 0);
	expect_body(res, 417, "");
	torc_http_response_close(res);
}

Test(client_ways, who_does_not_know_100_continue_gets_the_body_without)
{
	run_peer(be_old, expect_much);
}
