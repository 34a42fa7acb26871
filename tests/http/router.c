/*
 * Routes and what becomes of requests, told by handlers that answer with what they see.
 */
#include "tests/http/world.h"

#include <torc/http/router.h>

#include "core/internal/system.h"
#include "http/internal/router.h"

TestSuite(http_router, .timeout = 40);

/* --- one server for a router --- */

static struct torc_router *router;

static struct torc_router *new_router(const struct torc_router_options *options)
{
	struct torc_router *r;

	check_eq(torc_router_create(options, &r), 0);
	return r;
}

static int route_it(struct torc_http_exchange *x, void *arg)
{
	((struct world *)arg)->calls++;
	return torc_router_handle(x, router);
}

static void run_router(void (*client)(struct world *))
{
	run_world_with(&(struct world){ 0 }, route_it, client);
	torc_router_destroy(router);
	router = NULL;
}

/* "ARG ROUTE REST name=value ..." for the names that the tests use. */
static int tell(struct torc_http_exchange *x, void *arg)
{
	static const char *const names[] = { "a", "b", "id", "path" };
	struct torc_slice rest = torc_http_rest(x), value;
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s %s %.*s", (const char *)arg, torc_http_route(x),
			 (int)rest.len, rest.data);

	for (size_t i = 0; i < COUNT(names); i++)
		if (torc_http_param(x, names[i], &value))
			n += snprintf(text + n, sizeof(text) - (size_t)n, " %s=%.*s", names[i],
				      (int)value.len, value.data);
	return torc_http_respond(x, 200, "text/plain", text, (size_t)n);
}

static void add(struct torc_router *r, const char *method, const char *pattern, const char *arg)
{
	check_eq(torc_router_add(r, method, pattern, tell, (void *)(uintptr_t)arg), 0);
}

struct want {
	const char *method, *target;
	int status;
	const char *body; /* NULL: whatever */
};

static void check_answer(struct world *w, const struct want *c, struct reply *r)
{
	char request[1024];
	int status;

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", c->method,
		 c->target);
	status = ask(w, request, r);
	if (status != c->status || (c->body && strcmp(r->body, c->body))) {
		fprintf(stderr, "%s %s: %d %s\n", c->method, c->target, status, r->body);
		abort();
	}
}

static void check_answers(struct world *w, const struct want *cases, size_t count)
{
	struct reply r = { 0 };

	for (size_t i = 0; i < count; i++)
		check_answer(w, &cases[i], &r);
	free(r.body);
}

/* --- patterns --- */

static void find_all(struct world *w)
{
	static const struct want cases[] = {
		{ "GET", "/", 200, "root / /" },
		{ "GET", "/users/all", 200, "all /users/all /users/all" },
		{ "GET", "/users/al", 200, "one /users/:id /users/al id=al" },
		{ "GET", "/users/alle", 200, "one /users/:id /users/alle id=alle" },
		{ "GET", "/users/7/posts/x", 200,
		  "post /users/:a/posts/:b /users/7/posts/x a=7 b=x" },
		{ "GET", "/users/7/posts/", 200,
		  "rest /*path /users/7/posts/ path=users/7/posts/" },
		{ "GET", "/users/", 200, "rest /*path /users/ path=users/" },
		{ "GET", "/users", 200, "rest /*path /users path=users" },
		{ "GET", "/users/7/", 200, "rest /*path /users/7/ path=users/7/" },
		{ "GET", "/static/", 200, "static /static/*path /static/ path=" },
		{ "GET", "/static/a//b/", 200, "static /static/*path /static/a//b/ path=a//b/" },
		{ "GET", "/static", 200, "rest /*path /static path=static" },
		{ "GET", "/staticx", 200, "rest /*path /staticx path=staticx" },
		{ "GET", "/a/b/c", 200, "literal /a/b/c /a/b/c" },
		{ "GET", "/a/b/d", 200, "back /:a/b/d /a/b/d a=a" },
		{ "GET", "/a/b/e", 200, "rest /*path /a/b/e path=a/b/e" },
		{ "GET", "/deep/x/y/z", 200, "deep /deep/:a/y/:b /deep/x/y/z a=x b=z" },
		{ "GET", "/deep/x/y", 200, "rest /*path /deep/x/y path=deep/x/y" },
		{ "GET", "/with%20space", 200, "space /with space /with%20space" },
		{ "GET", "/%61/b/c", 200, "literal /a/b/c /%61/b/c" },
		{ "GET", "/users/a%20b?x=/../", 200, "one /users/:id /users/a%20b id=a b" },
		{ "GET", "/users/%2525", 200, "one /users/:id /users/%2525 id=%25" },
		{ "GET", "/verb:now", 200, "verb /verb:now /verb:now" },
		{ "GET", "http://h/users/9", 200, "one /users/:id /users/9 id=9" },
	};

	check_answers(w, cases, COUNT(cases));
}

static void add_all(struct torc_router *r)
{
	add(r, "GET", "/users/:id", "one");
	add(r, "GET", "/users/all", "all");
	add(r, "GET", "/users/:a/posts/:b", "post");
	add(r, "GET", "/static/*path", "static");
	add(r, "GET", "/a/b/c", "literal");
	add(r, "GET", "/:a/b/d", "back");
	add(r, "GET", "/deep/:a/y/:b", "deep");
	add(r, "GET", "/with space", "space");
	add(r, "GET", "/verb:now", "verb");
	add(r, "GET", "/", "root");
	add(r, "GET", "/*path", "rest");
}

Test(http_router, prefers_literals_to_parameters_to_rests_and_backtracks)
{
	router = new_router(NULL);
	add_all(router);
	run_router(find_all);
}

Test(http_router, refuses_what_no_pattern_is)
{
	static const char *const bad[] = {
		"",
		"users",
		"/:",
		"/*",
		"/a/:/b",
		"/:a/:a",
		"/*a/b",
		"/a*b",
		"/x/a*",
		"/./a",
		"/a/..",
		"/a%20",
		"/a?b",
		"/a#b",
		"/a\tb",
		"/:a/*a",
		"/\x7f",
		"/:a*",
		"/:1/:2/:3/:4/:5/:6/:7/:8/:9/:10/:11/:12/:13/:14/:15/:16/:17",
	};
	struct torc_router *r = new_router(NULL);
	char longer[TORC_ROUTE_PATTERN_MAX + 2];

	for (size_t i = 0; i < COUNT(bad); i++)
		check_eq(torc_router_add(r, "GET", bad[i], tell, NULL), -EINVAL);
	memset(longer, '/', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	check_eq(torc_router_add(r, "GET", longer, tell, NULL), -EINVAL);
	longer[sizeof(longer) - 2] = '\0';
	check_eq(torc_router_add(r, "GET", longer, tell, NULL), 0);
	check_eq(torc_router_add(r, "BREW", "/a", tell, NULL), -EINVAL);
	check_eq(torc_router_add(r, "get", "/a", tell, NULL), -EINVAL);
	check_eq(torc_router_add(r, "GET", "/a", NULL, NULL), -EINVAL);
	check_eq(torc_router_use(r, NULL, NULL), -EINVAL);
	check_eq(torc_router_mount(r, "a", tell, NULL), -EINVAL);
	check_eq(torc_router_mount(r, "/a/*b", tell, NULL), -EINVAL);
	torc_router_destroy(r);
	torc_router_destroy(NULL);
}

Test(http_router, refuses_a_second_route_for_the_same)
{
	struct torc_router *r = new_router(NULL);

	add(r, "GET", "/users/:id", "a");
	add(r, "POST", "/users/:name", "b");
	add(r, NULL, "/users/:name", "c");
	check_eq(torc_router_add(r, "GET", "/users/:name", tell, NULL), -EEXIST);
	check_eq(torc_router_add(r, NULL, "/users/:x", tell, NULL), -EEXIST);
	add(r, "GET", "/f/*a", "d");
	check_eq(torc_router_add(r, "GET", "/f/*b", tell, NULL), -EEXIST);
	check_eq(torc_router_mount(r, "/m", tell, NULL), 0);
	check_eq(torc_router_mount(r, "/m/", tell, NULL), -EEXIST);
	torc_router_destroy(r);
}

/* --- paths that lie --- */

static void lies(struct world *w)
{
	static const struct want cases[] = {
		{ "GET", "/users/a%2fb", 400, NULL },  { "GET", "/users/a%00", 400, NULL },
		{ "GET", "/users/%", 400, NULL },      { "GET", "/users/%4", 400, NULL },
		{ "GET", "/users/%zz", 400, NULL },    { "GET", "/users/..", 400, NULL },
		{ "GET", "/users/.", 400, NULL },      { "GET", "/users/%2e%2E", 400, NULL },
		{ "GET", "/static/../x", 400, NULL },  { "GET", "/static/a/..", 400, NULL },
		{ "GET", "/static/a/./b", 400, NULL }, { "GET", "/static/a/%2e./b", 400, NULL },
		{ "GET", "/m/..", 400, NULL },         { "GET", "/m/a/../b", 400, NULL },
		{ "GET", "/nowhere/..", 404, NULL },   { "GET", "/users/...", 200, NULL },
		{ "GET", "/users/.a", 200, NULL },     { "GET", "/static/a..b/.c/d.", 200, NULL },
	};

	check_answers(w, cases, COUNT(cases));
}

Test(http_router, shows_no_handler_a_path_that_lies)
{
	router = new_router(NULL);
	add(router, "GET", "/users/:id", "one");
	add(router, "GET", "/static/*path", "static");
	check_eq(torc_router_mount(router, "/m", tell, (void *)(uintptr_t) "mount"), 0);
	run_router(lies);
}

/* --- methods --- */

static void methods(struct world *w)
{
	struct reply r = { 0 };

	check_answer(w, &(struct want){ "HEAD", "/r", 200, "" }, &r);
	check_eq(atoi(header(&r, "Content-Length")), strlen("get /r /r"));
	check_answer(w, &(struct want){ "DELETE", "/r", 405, NULL }, &r);
	check(!strcmp(header(&r, "Allow"), "GET, HEAD, POST, OPTIONS"));
	check_answer(w, &(struct want){ "OPTIONS", "/r", 204, "" }, &r);
	check(!strcmp(header(&r, "Allow"), "GET, HEAD, POST, OPTIONS"));
	check_answer(w, &(struct want){ "OPTIONS", "/own", 200, "own /own /own" }, &r);
	check_answer(w, &(struct want){ "OPTIONS", "*", 204, "" }, &r);
	check(!strcmp(header(&r, "Allow"), "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH"));
	check_answer(w, &(struct want){ "OPTIONS", "/none", 404, NULL }, &r);
	check_answer(w, &(struct want){ "PATCH", "/any", 200, "any /any /any" }, &r);
	check_answer(w, &(struct want){ "PUT", "/any", 200, "put /any /any" }, &r);
	/* The literal has another method: the parameter's route is for it. */
	check_answer(w, &(struct want){ "DELETE", "/u/me", 200, "del /u/:id /u/me id=me" }, &r);
	check_answer(w, &(struct want){ "GET", "/u/me", 200, "me /u/me /u/me" }, &r);
	check_answer(w, &(struct want){ "PUT", "/u/me", 405, NULL }, &r);
	check(!strcmp(header(&r, "Allow"), "GET, HEAD, DELETE, OPTIONS"));
	check_answer(w, &(struct want){ "HEAD", "/head", 200, "" }, &r);
	check_answer(w, &(struct want){ "GET", "/head", 405, NULL }, &r);
	check_eq(ask(w, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", &r), 404);
	free(r.body);
}

Test(http_router, answers_head_options_and_wrong_methods_by_itself)
{
	router = new_router(NULL);
	add(router, "GET", "/r", "get");
	add(router, "POST", "/r", "post");
	add(router, "OPTIONS", "/own", "own");
	add(router, NULL, "/any", "any");
	add(router, "PUT", "/any", "put");
	add(router, "GET", "/u/me", "me");
	add(router, "DELETE", "/u/:id", "del");
	add(router, "HEAD", "/head", "head");
	run_router(methods);
}

/* --- slashes --- */

static void strict(struct world *w)
{
	static const struct want cases[] = {
		{ "GET", "/a", 200, NULL },
		{ "GET", "/a/", 404, NULL },
		{ "GET", "/b", 404, NULL },
	};

	check_answers(w, cases, COUNT(cases));
}

static void redirect(struct world *w)
{
	struct reply r = { 0 };

	check_answer(w, &(struct want){ "GET", "/a/?q=%20&", 308, "" }, &r);
	check(!strcmp(header(&r, "Location"), "/a?q=%20&"));
	check_answer(w, &(struct want){ "POST", "/b", 308, "" }, &r);
	check(!strcmp(header(&r, "Location"), "/b/"));
	check_answer(w, &(struct want){ "GET", "/p/a%20b/", 308, "" }, &r);
	check(!strcmp(header(&r, "Location"), "/p/a%20b"));
	check_answer(w, &(struct want){ "GET", "/b?", 308, "" }, &r);
	check(!strcmp(header(&r, "Location"), "/b/?"));
	check_answer(w, &(struct want){ "GET", "/m/x/", 308, "" }, &r);
	check(!strcmp(header(&r, "Location"), "/m/x"));
	check_answer(w, &(struct want){ "GET", "/c", 404, NULL }, &r);
	/* Not to other hosts. */
	check_answer(w, &(struct want){ "GET", "//evil/", 404, NULL }, &r);
	check_answer(w, &(struct want){ "GET", "/\\evil/", 404, NULL }, &r);
	free(r.body);
}

static void same(struct world *w)
{
	static const struct want cases[] = {
		{ "GET", "/a/", 200, "a /a /a/" },
		{ "GET", "/b", 200, "b /b/ /b" },
		{ "GET", "/p/x/", 200, "p /p/:id /p/x/ id=x" },
		{ "GET", "/p/x%2f", 400, NULL },
		{ "GET", "/c/", 404, NULL },
	};

	check_answers(w, cases, COUNT(cases));
}

static void run_slash(enum torc_slash slash, void (*client)(struct world *))
{
	struct torc_router *inner;

	router = new_router(&(struct torc_router_options){ .slash = slash });
	inner = new_router(&(struct torc_router_options){ .slash = slash });
	add(router, "GET", "/a", "a");
	add(router, NULL, "/b/", "b");
	add(router, "GET", "/p/:id", "p");
	add(router, "GET", "//evil", "evil");
	add(router, "GET", "/\\evil", "evil");
	add(inner, "GET", "/x", "x");
	check_eq(torc_router_mount(router, "/m", torc_router_handle, inner), 0);
	run_router(client);
	torc_router_destroy(inner);
}

Test(http_router, treats_a_slash_at_the_end_as_told)
{
	run_slash(TORC_SLASH_STRICT, strict);
	run_slash(TORC_SLASH_REDIRECT, redirect);
	run_slash(TORC_SLASH_SAME, same);
}

/* --- mounts, hosts, middleware --- */

static void mounts(struct world *w)
{
	static const struct want cases[] = {
		{ "GET", "/api", 200, "root /api/ /" },
		{ "GET", "/api/", 200, "root /api/ /" },
		{ "GET", "/api/users/5", 200, "user /api/users/:id /users/5 id=5" },
		{ "GET", "/apix", 404, NULL },
		{ "GET", "/api/own", 200, "own /api/own /api/own" },
		{ "GET", "/api/none", 404, NULL },
		{ "DELETE", "/api/users/5", 405, NULL },
		{ "GET", "/api/users/a%20b", 200, "user /api/users/:id /users/a b id=a b" },
		{ "GET", "/api/users/%2525", 200, "user /api/users/:id /users/%25 id=%25" },
		{ "GET", "/t/7/users/5", 200, "user /t/:a/users/:id /users/5 a=7 id=5" },
		{ "GET", "/fn/some/thing", 200, "fn /fn /some/thing" },
		{ "GET", "/fn", 200, "fn /fn /" },
		{ "GET", "/api/deeper/x", 200, "x /api/deeper/x /x" },
	};

	check_answers(w, cases, COUNT(cases));
}

Test(http_router, mounts_routers_and_handlers_below_prefixes)
{
	struct torc_router *api = new_router(NULL), *deeper = new_router(NULL);

	router = new_router(NULL);
	add(api, "GET", "/", "root");
	add(api, "GET", "/users/:id", "user");
	add(router, "GET", "/api/own", "own");
	add(deeper, "GET", "/x", "x");
	check_eq(torc_router_mount(api, "/deeper", torc_router_handle, deeper), 0);
	check_eq(torc_router_mount(router, "/api/", torc_router_handle, api), 0);
	check_eq(torc_router_mount(router, "/t/:a", torc_router_handle, api), 0);
	check_eq(torc_router_mount(router, "/fn", tell, (void *)(uintptr_t) "fn"), 0);
	run_router(mounts);
	torc_router_destroy(api);
	torc_router_destroy(deeper);
}

/* What a mount did not find is looked for behind it, with the whole path. */
static int two_routers(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_step steps[] = { { torc_router_handle, router }, { tell, arg } };

	steps[1].arg = (void *)(uintptr_t) "behind";
	return torc_http_run(x, steps, 2);
}

static void behind(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/api/none"), &r), 200);
	check(!strcmp(r.body, "behind /api /api/none"));
	free(r.body);
}

Test(http_router, goes_on_with_what_follows_when_nothing_is_found)
{
	struct torc_router *api = new_router(NULL);

	router = new_router(NULL);
	check_eq(torc_router_mount(router, "/api", torc_router_handle, api), 0);
	run_world_with(&(struct world){ 0 }, two_routers, behind);
	torc_router_destroy(api);
	torc_router_destroy(router);
}

static void hosts(struct world *w)
{
	static const struct {
		const char *host, *body;
	} cases[] = {
		{ "example.org", "exact" },     { "EXAMPLE.org:8080", "exact" },
		{ "example.org.", "exact" },    { "a.example.org", "wild" },
		{ "b.a.example.org", "wild" },  { "x.deep.example.org", "deep" },
		{ "deep.example.org", "wild" }, { "notexample.org", "default" },
		{ "org", "default" },           { "[::1]:80", "v6" },
		{ "[::2]", "default" },         { "127.0.0.1", "default" },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char request[256], body[64];

		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n",
			 cases[i].host);
		check_eq(ask(w, request, &r), 200);
		snprintf(body, sizeof(body), "%s / /", cases[i].body);
		if (strcmp(body, r.body))
			fprintf(stderr, "%s: %s\n", cases[i].host, r.body);
		check(!strcmp(body, r.body));
	}
	check_eq(ask(w, "GET / HTTP/1.0\r\n\r\n", &r), 200);
	check(!strcmp(r.body, "default / /"));
	free(r.body);
}

Test(http_router, chooses_by_host)
{
	static const char *const names[] = { "example.org", "*.example.org", "*.deep.Example.org",
					     "[::1]" };
	static const char *const tags[] = { "exact", "wild", "deep", "v6" };
	static const char *const bad[] = { "",     "*",   "*.", ".org", "a.*.b",
					   "a:80", "a b", "a/", "a.",   "*.*.b" };
	struct torc_router *sub[COUNT(names)];

	router = new_router(NULL);
	add(router, "GET", "/", "default");
	for (size_t i = 0; i < COUNT(names); i++) {
		sub[i] = new_router(NULL);
		add(sub[i], "GET", "/", tags[i]);
		check_eq(torc_router_host(router, names[i], sub[i]), 0);
		check_eq(torc_router_host(router, names[i], sub[i]), -EEXIST);
	}
	for (size_t i = 0; i < COUNT(bad); i++)
		check_eq(torc_router_host(router, bad[i], sub[0]), -EINVAL);
	check_eq(torc_router_host(router, "x", NULL), -EINVAL);
	run_router(hosts);
	for (size_t i = 0; i < COUNT(names); i++)
		torc_router_destroy(sub[i]);
}

static char trace[256];

/* "<name route status>" */
static int traced(struct torc_http_exchange *x, void *arg)
{
	const char *route = torc_http_route(x);
	size_t n = strlen(trace);
	int r;

	snprintf(trace + n, sizeof(trace) - n, "<%s %s ", (const char *)arg, route ? route : "-");
	r = torc_http_next(x);
	n = strlen(trace);
	snprintf(trace + n, sizeof(trace) - n, "%d>", torc_http_status(x));
	return r;
}

static int refuse(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond_text(x, 403, "no");
}

static void chain(struct world *w)
{
	static const struct {
		const char *request;
		int status;
		const char *trace;
	} cases[] = {
		{ GET("/a"), 200, "<one /a <two /a <own /a 200>200>200>" },
		{ GET("/shut"), 403, "<one /shut <two /shut 403>403>" },
		{ GET("/none"), 404, "<one - <two - 0>0>" },
		{ "PUT /a HTTP/1.1\r\nHost: h\r\n\r\n", 405, "<one - <two - 405>405>" },
		{ GET("/m/x"), 200, "<one /m <two /m <in /m/x 200>200>200>" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		*trace = '\0';
		check_eq(ask_status(w, cases[i].request), cases[i].status);
		if (strcmp(trace, cases[i].trace))
			fprintf(stderr, "%s\n", trace);
		check(!strcmp(trace, cases[i].trace));
	}
}

#define NAMED(text) ((void *)(uintptr_t)(text))

Test(http_router, runs_its_middleware_around_all_that_it_answers)
{
	const struct torc_http_step own[] = { { traced, NAMED("own") } };
	const struct torc_http_step shut[] = { { refuse, NULL }, { traced, NAMED("never") } };
	struct torc_router *inner = new_router(NULL);

	router = new_router(NULL);
	check_eq(torc_router_use(router, traced, NAMED("one")), 0);
	check_eq(torc_router_add_route(router, &(struct torc_route){ .method = "GET",
								     .pattern = "/a",
								     .handler = tell,
								     .arg = NAMED("a"),
								     .steps = own,
								     .step_count = 1 }),
		 0);
	check_eq(torc_router_add_route(router, &(struct torc_route){ .method = "GET",
								     .pattern = "/shut",
								     .handler = tell,
								     .steps = shut,
								     .step_count = 2 }),
		 0);
	add(inner, "GET", "/x", "x");
	check_eq(torc_router_use(inner, traced, NAMED("in")), 0);
	check_eq(torc_router_mount(router, "/m", torc_router_handle, inner), 0);
	check_eq(torc_router_use(router, traced, NAMED("two")), 0);
	run_router(chain);
	torc_router_destroy(inner);
}

static int say_nothing_there(struct torc_http_exchange *x, void *arg)
{
	return torc_http_respond_text(x, 404, arg);
}

static void custom(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/x"), &r), 404);
	check(!strcmp(r.body, "nothing there"));
	free(r.body);
}

Test(http_router, has_a_hook_for_what_is_not_found)
{
	router = new_router(&(struct torc_router_options){
		.not_found = say_nothing_there, .not_found_arg = NAMED("nothing there") });
	run_router(custom);
}

/* --- limits --- */

static int read_it(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body;
	int r = torc_http_body_read(x, TORC_HTTP_BODY_READ_MAX, &body);

	(void)arg;
	return r ? r : torc_http_respond(x, 200, NULL, body.data, body.len);
}

static int sleep_it(struct torc_http_exchange *x, void *arg)
{
	int r = torc_sleep(TORC_SECONDS(100));

	check_eq(r, -ETIMEDOUT);
	return arg ? torc_http_respond_text(x, 200, "late") : r;
}

#define POST(path, length) "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " length "\r\n\r\n"

static void limits(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, POST("/small", "4") "four");
	expect(&c, 200, "four");
	say(&c, POST("/large", "5") "fiver");
	expect(&c, 200, "fiver");
	say(&c, POST("/small", "5") "fiver");
	expect(&c, 413, NULL);
	hang_up(&c);
	check_eq(ask_status(w,
			    "POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
			    "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
		 413);
	check_eq(ask_status(w, GET("/slow")), 503);
	check_eq(ask_status(w, GET("/slow-talker")), 503);
	check_eq(ask_status(w, GET("/none")), 404);
}

static void add_limited(const char *method, const char *pattern, torc_http_fn *fn, uint64_t bytes,
			uint64_t ns, void *arg)
{
	check_eq(torc_router_add_route(router, &(struct torc_route){ .method = method,
								     .pattern = pattern,
								     .handler = fn,
								     .arg = arg,
								     .body_bytes = bytes,
								     .deadline_ns = ns }),
		 0);
}

Test(http_router, limits_bodies_and_time_of_a_route)
{
	router = new_router(&(struct torc_router_options){ .body_bytes = 4 });
	add_limited("POST", "/small", read_it, 0, 0, NULL);
	add_limited("POST", "/large", read_it, 1000, 0, NULL);
	add_limited("GET", "/slow", sleep_it, 0, TORC_MS(20), NULL);
	add_limited("GET", "/slow-talker", sleep_it, 0, TORC_MS(20), router);
	run_router(limits);
}

/* --- memory --- */

static long memory_left;

static bool refuse_memory(void)
{
	return memory_left-- <= 0;
}

static int fill_in(struct torc_router *r)
{
	static const char *const patterns[] = { "/users/all", "/users/alle", "/users/:id",
						"/use",       "/static/*p",  "/x/y/z" };
	int e = 0;

	for (size_t i = 0; i < COUNT(patterns) && !e; i++)
		e = torc_router_add(r, "GET", patterns[i], tell, NULL);
	if (!e)
		e = torc_router_mount(r, "/m", tell, NULL);
	if (!e)
		e = torc_router_use(r, tell, NULL);
	return e ? e : torc_router_host(r, "example.org", r);
}

Test(http_router, fails_without_memory_and_leaks_nothing)
{
	const struct torc__system *before = torc__system;
	struct torc__system scarce = *before;
	int e = -ENOMEM;

	scarce.refuse_memory = refuse_memory;
	torc__system = &scarce;
	for (long most = 0; e; most++) {
		size_t blocks = torc__memory_blocks;
		struct torc_router *r = NULL;

		check_eq(e, -ENOMEM);
		memory_left = most;
		e = torc_router_create(NULL, &r);
		if (!e)
			e = fill_in(r);
		torc_router_destroy(r);
		check_eq(torc__memory_blocks, blocks);
		check_lt(most, 1000);
	}
	torc__system = before;
}

/* --- speed --- */

/* Of this thread's processor time. */
static unsigned long long lookups_ns(const struct torc__branch *root, int rounds)
{
	static const char path[] = "/service7/resource9/items/12345/parts";
	struct timespec a, b;
	struct torc__walk w;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	for (int i = 0; i < rounds; i++) {
		w.method = TORC__HTTP_GET;
		check(torc__tree_find(root, path, sizeof(path) - 1, &w));
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (unsigned long long)(b.tv_sec - a.tv_sec) * 1000000000u +
	       (unsigned long long)(b.tv_nsec - a.tv_nsec);
}

static void add_many(struct torc__branch *root, struct torc__route *routes, int count)
{
	for (int i = 0; i < count; i++) {
		char *pattern = malloc(128);

		snprintf(pattern, 128, "/service%d/resource%d/items/:id/parts", i % 50, 9 + i / 50);
		routes[i] = (struct torc__route){ .public.pattern = pattern, .param_count = 1 };
		check_eq(torc__tree_add(root, &routes[i], TORC__HTTP_GET, false), 0);
	}
}

Test(http_router, finds_one_of_many_routes_as_fast_as_one_of_few)
{
	static struct torc__route few_routes[10], many_routes[5000];
	struct torc__branch few = { 0 }, many = { 0 };
	unsigned long long best_few = UINT64_MAX, best_many = UINT64_MAX;

	add_many(&few, few_routes, 10);
	add_many(&many, many_routes, 5000);
	for (int i = 0; i < 20; i++) {
		unsigned long long a = lookups_ns(&few, 2000), b = lookups_ns(&many, 2000);

		best_few = a < best_few ? a : best_few;
		best_many = b < best_many ? b : best_many;
	}
	fprintf(stderr, "10 routes: %llu ns, 5000: %llu ns\n", best_few / 2000, best_many / 2000);
	check_lt(best_many, 4 * best_few);
	torc__tree_clear(&few);
	torc__tree_clear(&many);
	for (int i = 0; i < 5000; i++)
		free((void *)(uintptr_t)many_routes[i].public.pattern);
	for (int i = 0; i < 10; i++)
		free((void *)(uintptr_t)few_routes[i].public.pattern);
}
