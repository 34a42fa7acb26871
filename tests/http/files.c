/*
 * A server of files and its clients are fibers of one runtime. Each client asks for one thing on a connection of its own, that the
 * server closes.
 */
#include "tests/io/serve.h"
#include "tests/io/tls.h"

#include <pthread.h>
#include <stdatomic.h>

#include <torc/http/files.h>
#include <torc/http/router.h>
#include <torc/io/file.h>

#include "http/internal/files.h"

TestSuite(http_files, .timeout = 40);

#define MIB   ((size_t)1 << 20)
#define LARGE (3 * MIB + 12345)

/* --- a site --- */

struct site {
	struct torc_http_files_options options;
	struct torc_http_options http;
	struct torc_tls *tls; /* of clients */
	void (*client)(struct site *s);
	struct torc_http_file *one; /* what /one answers with */
	char root[64], outside[64], address[TORC_ADDRESS_MAX];
	int root_fd;
	struct torc_http_files files;
	torc_http_fn *handler; /* NULL: handle */
	struct torc_router *router;
	struct torc_group group;
	int result, ended; /* of handlers */
	bool cancel;       /* the scope that they run in */
};

static void listening(const char *address, void *arg)
{
	struct site *s = arg;

	snprintf(s->address, sizeof(s->address), "%s", address);
}

static int handle_in_scope(struct torc_http_exchange *x, struct site *s)
{
	if (torc_http_path_is(x, "/plain"))
		return torc_http_respond(x, 200, "text/plain", "plain", 5);
	if (torc_http_path_is(x, "/one"))
		return torc_http_respond_file(x, s->one);
	return torc_http_files_handle(x, &s->files);
}

static int handle(struct torc_http_exchange *x, void *arg)
{
	struct site *s = arg;
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, TORC_NEVER);
	if (s->cancel)
		torc_scope_cancel(&scope);
	r = handle_in_scope(x, s);
	torc_scope_leave(&scope);
	s->result = r;
	s->ended++;
	return r;
}

static int serve_site(void *arg)
{
	return torc_http_serve(&((struct site *)arg)->http);
}

static int site_main(void *arg)
{
	static const char *const plain[] = { "127.0.0.1:0", NULL };
	static const char *const encrypted[] = { "tls://127.0.0.1:0", NULL };
	struct site *s = arg;
	int r;

	s->http.addresses = s->tls ? encrypted : plain;
	s->http.handler = s->handler ? s->handler : handle;
	s->http.arg = s;
	s->http.on_listen = listening;
	if (!s->options.root)
		s->options.root_fd = s->root_fd;
	check_eq(torc_http_files_init(&s->files, &s->options), 0);
	torc_group_enter(&s->group);
	check_eq(torc_group_spawn(&s->group, serve_site, s), 0);
	while (!s->address[0])
		check_eq(torc_yield(), 0);
	s->client(s);
	torc_group_cancel(&s->group);
	r = torc_group_wait(&s->group);
	torc_http_files_done(&s->files);
	return r;
}

static void put_file(struct site *s, const char *name, const char *data, size_t len)
{
	int fd = openat(s->root_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	check_ge(fd, 0);
	check_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static void put_text(struct site *s, const char *name, const char *text)
{
	put_file(s, name, text, strlen(text));
}

static void put_large(struct site *s, const char *name, unsigned seed)
{
	char *data = malloc(LARGE);

	check(data);
	fill_bytes(data, LARGE, seed, 0);
	put_file(s, name, data, LARGE);
	free(data);
}

/* Long ago, so that nothing depends on when the test runs. */
#define MODIFIED 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static void set_time(struct site *s, const char *name, time_t seconds)
{
	struct timespec times[2] = { { .tv_sec = seconds }, { .tv_sec = seconds } };

	check_eq(utimensat(s->root_fd, name, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void open_site(struct site *s)
{
	strcpy(s->root, "/tmp/torc-files-XXXXXX");
	strcpy(s->outside, "/tmp/torc-outside-XXXXXX");
	check(mkdtemp(s->root));
	check(mkdtemp(s->outside));
	s->root_fd = open(s->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check_ge(s->root_fd, 0);
}

static void close_site(struct site *s)
{
	char command[200];

	close(s->root_fd);
	snprintf(command, sizeof(command), "rm -rf %s %s", s->root, s->outside);
	check_eq(system(command), 0);
}

static void run_site(struct site *s, void (*client)(struct site *s))
{
	s->client = client;
	s->address[0] = '\0';
	run(site_main, s);
}

/* --- a client --- */

struct reply {
	int status;
	char *data, *body;
	size_t len; /* of the body */
	size_t announced;
};

static void free_reply(struct reply *r)
{
	free(r->data);
	*r = (struct reply){ 0 };
}

/* The value of a field, valid until the next call. */
static const char *header(const struct reply *r, const char *name)
{
	static char value[2048];
	size_t n = strlen(name);

	for (const char *p = strstr(r->data, "\r\n"); p && p + 2 < r->body;
	     p = strstr(p + 2, "\r\n"))
		if (!strncasecmp(p + 2, name, n) && p[2 + n] == ':') {
			value[0] = '\0';
			sscanf(p + 3 + n, " %2047[^\r]", value);
			return value;
		}
	return NULL;
}

static bool header_is(const struct reply *r, const char *name, const char *value)
{
	const char *there = header(r, name);

	if (!value || !there)
		return !value && !there;
	return !strcmp(there, value);
}

static void read_to_end(struct torc_stream *s, struct reply *r)
{
	size_t len = 0, capacity = 0;
	struct torc_slice in;

	while (torc_stream_peek(s, &in) > 0) {
		if (len + in.len + 1 > capacity) {
			capacity = (len + in.len) * 2 + 1024;
			r->data = realloc(r->data, capacity);
			check(r->data);
		}
		memcpy(r->data + len, in.data, in.len);
		len += in.len;
		torc_stream_consume(s, in.len);
	}
	check(len);
	r->data[len] = '\0';
	r->body = strstr(r->data, "\r\n\r\n");
	check(r->body);
	r->body += 4;
	r->len = len - (size_t)(r->body - r->data);
}

static void dial_site(struct site *s, struct torc_stream *stream)
{
	const char *address = strstr(s->address, "://");
	int fd = torc_dial(address ? address + 3 : s->address);

	check_ge(fd, 0);
	check_eq(torc_stream_open(stream, fd), 0);
	if (s->tls)
		check_eq(torc_tls_connect(stream, s->tls, "a.test"), 0);
}

static void say(struct torc_stream *stream, const char *method, const char *path,
		const char *fields)
{
	char request[8192];
	int n = snprintf(request, sizeof(request),
			 "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", method, path,
			 fields);

	check_eq(torc_stream_write(stream, request, (size_t)n), 0);
}

static void hear(struct torc_stream *stream, struct reply *r)
{
	free_reply(r);
	read_to_end(stream, r);
	check_eq(sscanf(r->data, "HTTP/1.1 %d ", &r->status), 1);
	r->announced = header(r, "Content-Length") ? strtoul(header(r, "Content-Length"), NULL, 10)
						   : SIZE_MAX;
	torc_stream_close(stream);
}

/* As it comes. */
static int ask_raw(struct site *s, const char *method, const char *path, const char *fields,
		   struct reply *r)
{
	struct torc_stream stream;

	dial_site(s, &stream);
	say(&stream, method, path, fields);
	hear(&stream, r);
	return r->status;
}

/* And as long as it says. */
static int ask(struct site *s, const char *method, const char *path, const char *fields,
	       struct reply *r)
{
	ask_raw(s, method, path, fields, r);
	if (!strcmp(method, "HEAD") || r->status == 304)
		check_eq(r->len, 0);
	else if (r->announced != SIZE_MAX)
		check_eq(r->len, r->announced);
	return r->status;
}

static int get(struct site *s, const char *path, struct reply *r)
{
	return ask(s, "GET", path, "", r);
}

static void expect(struct site *s, const char *path, int status, const char *body)
{
	struct reply r = { 0 };

	get(s, path, &r);
	if (r.status != status || (body && strcmp(r.body, body) != 0)) {
		fprintf(stderr, "%s: %d %s, not %d %s (disabled: %s)\n", path, r.status, r.body,
			status, body ? body : "", disabled());
		abort();
	}
	free_reply(&r);
}

/* --- paths --- */

static void make_tree(struct site *s)
{
	put_text(s, "a.txt", "a");
	put_text(s, "a b+c.txt", "spaces");
	put_text(s, "page.HTML", "page");
	put_text(s, "back\\slash", "backslash");
	put_text(s, "dots..", "dots");
	put_text(s, "per%cent", "percent");
	put_text(s, "q?m#h", "marks");
	put_text(s, ".hidden", "secret");
	check_eq(mkdirat(s->root_fd, "with", 0755), 0);
	put_text(s, "with/index.html", "index");
	put_text(s, "with/.htpasswd", "secret");
	check_eq(mkdirat(s->root_fd, "without", 0755), 0);
	check_eq(mkdirat(s->root_fd, "odd", 0755), 0);
	check_eq(mkdirat(s->root_fd, "odd/index.html", 0755), 0);
	check_eq(mkdirat(s->root_fd, ".git", 0755), 0);
	put_text(s, ".git/config", "secret");
	check_eq(mkdirat(s->root_fd, ".well-known", 0755), 0);
	put_text(s, ".well-known/security.txt", "known");
	put_text(s, ".well-known/.env", "secret");
	check_eq(mkdirat(s->root_fd, "..;", 0755), 0);
	put_text(s, "..;/x", "secret");
	check_eq(mkfifoat(s->root_fd, "fifo", 0644), 0);
	check_eq(symlinkat("/etc/passwd", s->root_fd, "out"), 0);
	check_eq(symlinkat("../../../etc/passwd", s->root_fd, "out2"), 0);
	check_eq(symlinkat("/proc/self/root", s->root_fd, "magic"), 0);
	check_eq(symlinkat("with/index.html", s->root_fd, "in"), 0);
	check_eq(symlinkat("with", s->root_fd, "in-directory"), 0);
	check_eq(symlinkat("loop", s->root_fd, "loop"), 0);
	check_eq(symlinkat("nowhere", s->root_fd, "dangling"), 0);
}

struct path_case {
	const char *path;
	int status;
	const char *body;
};

static const struct path_case paths[] = {
	{ "/a.txt", 200, "a" },
	{ "/%61.txt", 200, "a" },
	{ "/a%2etxt", 200, "a" },
	{ "/%61%2E%74%78%74", 200, "a" },
	{ "//a.txt", 200, "a" },
	{ "///./a.txt", 200, "a" },
	{ "/./a.txt", 200, "a" },
	{ "/%2e/a.txt", 200, "a" },
	{ "/with/../a.txt", 200, "a" },
	{ "/with/%2e%2e/a.txt", 200, "a" },
	{ "/nowhere/../a.txt", 200, "a" },
	{ "/with/./../with//index.html?q", 200, "index" },
	{ "/a.txt?../../x", 200, "a" },
	{ "/a%20b+c.txt", 200, "spaces" },
	{ "/a+b+c.txt", 404, NULL },
	{ "/with/", 200, "index" },
	{ "/with//", 200, "index" },
	{ "/with/.", 200, "index" },
	{ "/with/x/..", 200, "index" },
	{ "/with/index.html/", 404, NULL },
	{ "/with/index.html/x", 404, NULL },
	{ "/with/index.html/.", 404, NULL },
	{ "/back%5cslash", 200, "backslash" },
	{ "/back\\slash", 200, "backslash" },
	{ "/dots..", 200, "dots" },
	{ "/per%25cent", 200, "percent" },
	{ "/per%2525cent", 404, NULL },
	{ "/q%3Fm%23h", 200, "marks" },
	{ "/without/", 404, NULL },
	{ "/nothing", 404, NULL },
	{ "/A.TXT", 404, NULL },
	/* climbing */
	{ "/..", 403, NULL },
	{ "/../", 403, NULL },
	{ "/../a.txt", 403, NULL },
	{ "/../etc/passwd", 403, NULL },
	{ "/with/../../etc/passwd", 403, NULL },
	{ "/%2e%2e/etc/passwd", 403, NULL },
	{ "/.%2e/etc/passwd", 403, NULL },
	{ "/%2e./etc/passwd", 403, NULL },
	{ "//../etc/passwd", 403, NULL },
	{ "/./../etc/passwd", 403, NULL },
	{ "/with/..//../etc/passwd", 403, NULL },
	{ "/%2e%2e%2fetc%2fpasswd", 400, NULL },
	{ "/..%2f..%2fetc/passwd", 400, NULL },
	{ "/with%2findex.html", 400, NULL },
	{ "/%2fetc/passwd", 400, NULL },
	{ "/..%5c..%5cetc%5cpasswd", 404, NULL },
	{ "/..\\..\\etc\\passwd", 404, NULL },
	{ "/%252e%252e/etc/passwd", 404, NULL },
	{ "/%c0%ae%c0%ae/etc/passwd", 404, NULL },
	{ "/%e0%80%ae%e0%80%ae/etc/passwd", 404, NULL },
	{ "/%c0%afetc%c0%afpasswd", 404, NULL },
	{ "/%uff0e%uff0e/etc/passwd", 400, NULL },
	{ "/..;/x", 404, NULL },
	{ "/..;/..;/etc/passwd", 404, NULL },
	{ "/.../a.txt", 404, NULL },
	{ "/..../a.txt", 404, NULL },
	{ "/with/...", 404, NULL },
	{ "/a.txt.", 404, NULL },
	{ "/a.txt..", 404, NULL },
	{ "/a.txt%20", 404, NULL },
	{ "/a.txt::$DATA", 404, NULL },
	{ "/C:/windows", 404, NULL },
	{ "/~root/x", 404, NULL },
	{ "/etc/passwd", 404, NULL },
	{ "/file:///etc/passwd", 404, NULL },
	/* what no name has */
	{ "/a.txt%00", 400, NULL },
	{ "/%00", 400, NULL },
	{ "/a.txt%00.html", 400, NULL },
	{ "/%", 400, NULL },
	{ "/a%2", 400, NULL },
	{ "/a%zz", 400, NULL },
	{ "/a%2g", 400, NULL },
	{ "/%-1", 400, NULL },
	{ "/%0a", 404, NULL },
	{ "/%0d%0aSet-Cookie:x", 404, NULL },
	{ "/%ff%fe", 404, NULL },
	/* hidden */
	{ "/.hidden", 404, NULL },
	{ "/%2ehidden", 404, NULL },
	{ "/with/.htpasswd", 404, NULL },
	{ "/.git/config", 404, NULL },
	{ "/.git/", 404, NULL },
	{ "/.git", 404, NULL },
	{ "/.well-known/security.txt", 200, "known" },
	{ "/.well-known/.env", 404, NULL },
	{ "/.well-known/../.hidden", 404, NULL },
	{ "/.well-knownx/x", 404, NULL },
	{ "/with/.well-known/x", 404, NULL },
	/* not regular files */
	{ "/fifo", 403, NULL },
	{ "/fifo/", 404, NULL },
	{ "/odd/", 403, NULL },
	/* symbolic links that lead out, or nowhere */
	{ "/out", 403, NULL },
	{ "/out2", 403, NULL },
	{ "/magic/etc/passwd", 403, NULL },
	{ "/loop", 403, NULL },
	{ "/dangling", 404, NULL },
};

static void ask_paths(struct site *s)
{
	for (size_t i = 0; i < COUNT(paths); i++)
		expect(s, paths[i].path, paths[i].status, paths[i].body);
	expect(s, "/in", 200, "index");
	expect(s, "/in-directory/index.html", 200, "index");
	expect(s, "/in-directory/", 200, "index");
	expect(s, "/in-directory", 308, NULL);
}

Test(http_files, serves_what_is_beneath_the_root_and_nothing_else)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_paths);
	/* each time from the disk */
	s.options.no_cache = true;
	run_site(&s, ask_paths);
	close_site(&s);
}

static void ask_without_links(struct site *s)
{
	expect(s, "/a.txt", 200, "a");
	expect(s, "/with/", 200, "index");
	expect(s, "/in", 403, NULL);
	expect(s, "/in-directory/index.html", 403, NULL);
	expect(s, "/out", 403, NULL);
	expect(s, "/dangling", 403, NULL);
}

Test(http_files, follows_no_symbolic_links_when_told)
{
	struct site s = { .options.symlinks = TORC_HTTP_SYMLINKS_NONE };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_without_links);
	close_site(&s);
}

/* 404 where a link is on the way, 403 where it is the last part. */
static void ask_part_by_part(struct site *s)
{
	for (size_t i = 0; i < COUNT(paths); i++)
		if (!strstr(paths[i].path, "/magic/") && strcmp(paths[i].path, "/dangling") != 0)
			expect(s, paths[i].path, paths[i].status, paths[i].body);
	expect(s, "/magic/etc/passwd", 404, NULL);
	expect(s, "/dangling", 403, NULL);
	expect(s, "/in", 403, NULL);
	expect(s, "/in-directory/index.html", 404, NULL);
}

Test(http_files, opens_part_by_part_without_openat2)
{
	struct site s = { .options.no_cache = true };

	open_site(&s);
	make_tree(&s);
	setenv("TORC_DISABLE", "openat2", 1);
	run_site(&s, ask_part_by_part);
	close_site(&s);
}

static void ask_hidden(struct site *s)
{
	expect(s, "/.hidden", 200, "secret");
	expect(s, "/with/.htpasswd", 200, "secret");
	expect(s, "/../.hidden", 403, NULL);
}

Test(http_files, serves_hidden_files_when_told)
{
	struct site s = { .options.hidden = true };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_hidden);
	close_site(&s);
}

static void ask_long(struct site *s)
{
	char path[4000] = "/";
	struct reply r = { 0 };

	memset(path + 1, 'x', 300);
	expect(s, path, 414, NULL);
	memset(path + 1, 'x', 3000);
	expect(s, path, 414, NULL);
	/* Empty parts take no room. */
	memset(path + 1, '/', 3000);
	strcpy(path + 3000, "/a.txt");
	expect(s, path, 200, "a");
	for (size_t i = 0; i < 900; i++)
		memcpy(path + 4 * i, "/%ff", 5);
	check_eq(get(s, path, &r), 404);
	free_reply(&r);
}

Test(http_files, refuses_long_paths)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_long);
	close_site(&s);
}

static void ask_methods(struct site *s)
{
	static const char *const others[] = { "POST", "PUT", "DELETE", "PATCH", "OPTIONS" };
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(others); i++) {
		check_eq(ask(s, others[i], "/a.txt", "", &r), 405);
		check(header_is(&r, "Allow", "GET, HEAD"));
	}
	check_eq(ask(s, "HEAD", "/a.txt", "", &r), 200);
	check_eq(r.announced, 1);
	check(header_is(&r, "Content-Type", "text/plain; charset=utf-8"));
	check_eq(ask(s, "HEAD", "/large", "", &r), 200);
	check_eq(r.announced, LARGE);
	check_eq(ask(s, "HEAD", "/large", "Range: bytes=0-9\r\n", &r), 200);
	check_eq(r.announced, LARGE);
	check_eq(ask(s, "HEAD", "/nothing", "", &r), 404);
	free_reply(&r);
}

Test(http_files, answers_get_and_head_only)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	put_large(&s, "large", 1);
	run_site(&s, ask_methods);
	close_site(&s);
}

/* --- redirects, prefix, index --- */

static void expect_location(struct site *s, const char *path, const char *location)
{
	struct reply r = { 0 };

	check_eq(get(s, path, &r), 308);
	if (!header_is(&r, "Location", location)) {
		fprintf(stderr, "%s: to %s\n", path, header(&r, "Location"));
		abort();
	}
	free_reply(&r);
}

static void ask_directories(struct site *s)
{
	char path[1100] = "/with?", location[1100] = "/with/?";

	expect_location(s, "/with", "/with/");
	expect_location(s, "/with?a=b&c", "/with/?a=b&c");
	expect_location(s, "/with?", "/with/?");
	expect_location(s, "//with", "/with/");
	expect_location(s, "///with", "/with/");
	expect_location(s, "//example.org/../with", "/with/");
	expect_location(s, "/\\example.org", "/%5Cexample.org/");
	expect_location(s, "/%5cexample.org", "/%5Cexample.org/");
	expect_location(s, "/line%0d%0aX:%20y", "/line%0D%0AX:%20y/");
	expect_location(s, "/%c3%a4%22", "/%C3%A4%22/");
	memset(path + 6, 'x', 1000);
	memset(location + 7, 'x', 1000);
	expect_location(s, path, location);
}

static void ask_too_long(struct site *s)
{
	char path[3000] = "/with?";

	memset(path + 6, 'x', 2500);
	expect(s, path, 414, NULL);
}

static void ask_all_directories(struct site *s)
{
	ask_directories(s);
	ask_too_long(s);
}

Test(http_files, redirects_to_a_directory_and_nowhere_else)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	check_eq(mkdirat(s.root_fd, "\\example.org", 0755), 0);
	check_eq(mkdirat(s.root_fd, "line\r\nX: y", 0755), 0);
	check_eq(mkdirat(s.root_fd, "\xc3\xa4\"", 0755), 0);
	run_site(&s, ask_all_directories);
	close_site(&s);
}

static void ask_mounted(struct site *s)
{
	expect(s, "/static/deep/a.txt", 200, "a");
	expect(s, "/static/deep/with/", 200, "index");
	expect(s, "/static/./deep//a.txt", 200, "a");
	expect_location(s, "/static/deep/with", "/static/deep/with/");
	expect_location(s, "/static/deep", "/static/deep/");
	expect(s, "/static/deep/", 200, "root");
	expect(s, "/static/deepa.txt", 404, NULL);
	expect(s, "/static/deep/../a.txt", 404, NULL);
	expect(s, "/a.txt", 404, NULL);
	expect(s, "/static", 404, NULL);
	expect(s, "/static/deep/.hidden", 404, NULL);
	check_eq(s->result, -ENOENT);
}

Test(http_files, takes_a_prefix_off)
{
	static const char *const index[] = { "none.htm", "root.htm", "index.html", NULL };
	static const char *const prefixes[] = { "/static/deep", "/static/deep/" };

	for (size_t i = 0; i < COUNT(prefixes); i++) {
		struct site s = { .options = { .prefix = prefixes[i], .index = index } };

		open_site(&s);
		make_tree(&s);
		put_text(&s, "root.htm", "root");
		run_site(&s, ask_mounted);
		close_site(&s);
	}
}

/* In a router in a router: the paths are the same. */
static int in_routers(struct torc_http_exchange *x, void *arg)
{
	struct site *s = arg;

	s->result = torc_router_handle(x, s->router);
	return s->result;
}

static void ask_routed(struct site *s)
{
	expect(s, "/static/deep/a.txt", 200, "a");
	expect(s, "/static/d%65ep/a%2Etxt", 200, "a");
	expect(s, "/static/deep/with/", 200, "index");
	expect(s, "/static/deep//a.txt", 200, "a");
	expect_location(s, "/static/deep/with", "/static/deep/with/");
	expect_location(s, "/static/deep", "/static/deep/");
	expect(s, "/static/deep/", 200, "root");
	expect(s, "/static/deepa.txt", 404, NULL);
	expect(s, "/static/deep/../a.txt", 400, NULL);
	expect(s, "/a.txt", 404, NULL);
	expect(s, "/static/deep/.hidden", 404, NULL);
	expect_location(s, "/user/ann/with", "/user/ann/with/");
	expect(s, "/user/b%20b/a.txt", 200, "a");
}

Test(http_files, may_be_mounted_in_routers)
{
	static const char *const index[] = { "root.htm", "index.html", NULL };
	struct site s = { .options = { .index = index }, .handler = in_routers };
	struct torc_router *inner;

	check_eq(torc_router_create(NULL, &s.router), 0);
	check_eq(torc_router_create(NULL, &inner), 0);
	check_eq(torc_router_mount(inner, "/deep", torc_http_files_handle, &s.files), 0);
	check_eq(torc_router_mount(s.router, "/static", torc_router_handle, inner), 0);
	check_eq(torc_router_mount(s.router, "/user/:name", torc_http_files_handle, &s.files), 0);
	open_site(&s);
	make_tree(&s);
	put_text(&s, "root.htm", "root");
	run_site(&s, ask_routed);
	close_site(&s);
	torc_router_destroy(inner);
	torc_router_destroy(s.router);
}

static void check_init(const struct torc_http_files_options *o, int result)
{
	struct torc_http_files f;

	check_eq(torc_http_files_init(&f, o), result);
	if (!result)
		torc_http_files_done(&f);
}

Test(http_files, checks_its_options)
{
	static const char *const no_index[] = { NULL };
	static const char *const bad_index[] = { "index.html", "../x", NULL };
	static const char *const worse_index[] = { "..", NULL };
	static const struct {
		struct torc_http_files_options options;
		int result;
	} cases[] = {
		{ { .root = "/tmp" }, 0 },
		{ { .root = "/nowhere/at/all" }, -ENOENT },
		{ { .root = "/etc/passwd" }, -ENOTDIR },
		{ { .root_fd = -1 }, -EBADF },
		{ { .root = "/tmp", .index = no_index }, 0 },
		{ { .root = "/tmp", .index = bad_index }, -EINVAL },
		{ { .root = "/tmp", .index = worse_index }, -EINVAL },
		{ { .root = "/tmp", .prefix = "" }, -EINVAL },
		{ { .root = "/tmp", .prefix = "/" }, 0 },
		{ { .root = "/tmp", .prefix = "//" }, 0 },
		{ { .root = "/tmp", .prefix = "a" }, -EINVAL },
		{ { .root = "/tmp", .prefix = "/a/../b" }, -EINVAL },
		{ { .root = "/tmp", .prefix = "/a//b" }, -EINVAL },
		{ { .root = "/tmp", .prefix = "/a%20b" }, -EINVAL },
		{ { .root = "/tmp", .ranges_max = 64 }, 0 },
		{ { .root = "/tmp", .ranges_max = 65 }, -EINVAL },
		{ { .root = "/tmp", .listing_max = 10001 }, -EINVAL },
		{ { .root = "/tmp", .cache_entries = 65537 }, -EINVAL },
		{ { .root = "/tmp", .cache_file_bytes = MIB + 1 }, -EINVAL },
		{ { .root = "/tmp", .symlinks = (enum torc_http_symlinks)7 }, -EINVAL },
		{ { .root = "/tmp", .revalidate_ns = TORC_NEVER }, 0 },
	};
	int before = count_fds();

	for (size_t i = 0; i < COUNT(cases); i++)
		check_init(&cases[i].options, cases[i].result);
	check_eq(count_fds(), before);
}

/* --- types --- */

Test(http_files, knows_types_by_the_last_suffix)
{
	static const struct torc_http_type types[] = { { "gmi", "text/gemini" },
						       { "txt", "text/x-mine" },
						       { NULL, NULL } };
	static const struct {
		const char *path, *type;
	} cases[] = {
		{ "a.html", "text/html; charset=utf-8" },
		{ "a.HTML", "text/html; charset=utf-8" },
		{ "d/a.7z", "application/x-7z-compressed" },
		{ "a.zst", "application/zstd" },
		{ "a.tar.gz", "application/gzip" },
		{ "a.woff2", "font/woff2" },
		{ "a.wasm", "application/wasm" },
		{ "a.svg", "image/svg+xml" },
		{ "a.webmanifest", "application/manifest+json" },
		{ "a.gmi", "text/gemini" },
		{ "a.txt", "text/x-mine" },
		{ "a", "other" },
		{ "", "other" },
		{ "a.", "other" },
		{ "a.html/b", "other" },
		{ "a.unknown", "other" },
		{ "a.htmlhtmlhtmlhtmlhtml", "other" },
		{ "a.html ", "other" },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		cr_assert_str_eq(torc__http_type_of(cases[i].path, types, "other"), cases[i].type,
				 "%s", cases[i].path);
	cr_assert_str_eq(torc__http_type_of("a.txt", NULL, "other"), "text/plain; charset=utf-8");
}

/* --- dates --- */

Test(http_files, reads_dates_in_three_forms)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: it is none */
	} cases[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", MODIFIED },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", MODIFIED },
		{ "Sun Nov  6 08:49:37 1994", MODIFIED },
		{ "Sun Nov 06 08:49:37 1994", MODIFIED },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
		{ "Tue, 29 Feb 2000 12:00:00 GMT", 951825600 },
		{ "Mon, 28 Feb 2022 23:59:59 GMT", 1646092799 },
		{ "Wed, 31 Dec 2036 23:59:60 GMT", 2114380800 },
		{ "Tuesday, 19-Jan-38 03:14:07 GMT", 2147483647 },
		{ "Friday, 02-Jan-76 00:00:00 GMT", 189388800 },
		{ "Wednesday, 01-Jan-76 00:00:00 GMT", 3345062400 },
		{ "Wednesday, 01-Jan-75 00:00:00 GMT", 3313526400 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
		{ "Sun, 06 Nov 1994 08:49:37 UTC", -1 },
		{ "Sun, 06 Nov 1994 08:49:37", -1 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
		{ "Sun, 6 Nov 1994 08:49:37 GMT", -1 },
		{ "sun, 06 nov 1994 08:49:37 gmt", -1 },
		{ "Sun, 31 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 00 Nov 1994 08:49:37 GMT", -1 },
		{ "Tue, 29 Feb 1900 08:49:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 24:49:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 08:60:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 08:49:61 GMT", -1 },
		{ "Sun, 06 Foo 1994 08:49:37 GMT", -1 },
		{ "Sunday, 06-Nov-1994 08:49:37 GMT", -1 },
		{ "Sunday, 06 Nov 94 08:49:37 GMT", -1 },
		{ "Monday, 06-Nov-94 08:49:37 GMTx", -1 },
		{ "Sun Nov 6 08:49:37 1994", -1 },
		{ "1994-11-06T08:49:37Z", -1 },
		{ "784111777", -1 },
		{ "", -1 },
		{ "Sun", -1 },
	};
	const int64_t now = 1767225600; /* 2026 */

	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t seconds = -1;
		struct torc_slice text = { cases[i].text, strlen(cases[i].text) };
		bool is = torc__http_date_parse(text, now, &seconds);

		cr_assert_eq(is, cases[i].seconds >= 0, "%s", cases[i].text);
		cr_assert_eq(seconds, cases[i].seconds, "%s: %lld", cases[i].text,
			     (long long)seconds);
	}
}

/* --- conditions --- */

#define AT_TIME "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER   "Sun, 06 Nov 1994 08:49:38 GMT"

/* $ stands for the file's tag. */
static const struct condition {
	const char *fields;
	int status;
} conditions[] = {
	{ "", 200 },
	/* If-None-Match */
	{ "If-None-Match: $\r\n", 304 },
	{ "If-None-Match: W/$\r\n", 304 },
	{ "If-None-Match: *\r\n", 304 },
	{ "If-None-Match: \"x\"\r\n", 200 },
	{ "If-None-Match: \"x\", $\r\n", 304 },
	{ "If-None-Match: \"x\",$,\"y\"\r\n", 304 },
	{ "If-None-Match: , ,\t$ ,\r\n", 304 },
	{ "If-None-Match: \"x,y\", $\r\n", 304 },
	{ "If-None-Match: \"a\" $\r\n", 304 },
	{ "If-None-Match: \"x\"\r\nIf-None-Match: $\r\n", 304 },
	{ "If-None-Match: \"x\r\n", 200 },
	{ "If-None-Match: garbage, $\r\n", 200 },
	{ "If-None-Match: w/$\r\n", 200 },
	{ "If-None-Match:\r\n", 200 },
	{ "If-None-Match: \"\"\r\n", 200 },
	/* If-Modified-Since */
	{ "If-Modified-Since: " AT_TIME "\r\n", 304 },
	{ "If-Modified-Since: " LATER "\r\n", 304 },
	{ "If-Modified-Since: " EARLIER "\r\n", 200 },
	{ "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", 304 },
	{ "If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n", 304 },
	{ "If-Modified-Since: Sun Nov  6 08:49:36 1994\r\n", 200 },
	{ "If-Modified-Since: yesterday\r\n", 200 },
	{ "If-Modified-Since: " AT_TIME "\r\nIf-Modified-Since: " AT_TIME "\r\n", 200 },
	/* the tag wins over the date */
	{ "If-None-Match: \"x\"\r\nIf-Modified-Since: " AT_TIME "\r\n", 200 },
	{ "If-Modified-Since: " EARLIER "\r\nIf-None-Match: $\r\n", 304 },
	/* If-Match */
	{ "If-Match: $\r\n", 200 },
	{ "If-Match: *\r\n", 200 },
	{ "If-Match: \"x\"\r\n", 412 },
	{ "If-Match: \"x\", $\r\n", 200 },
	{ "If-Match: W/$\r\n", 412 },
	{ "If-Match: \"x\"\r\nIf-Match: $\r\n", 200 },
	{ "If-Match:\r\n", 412 },
	/* If-Unmodified-Since */
	{ "If-Unmodified-Since: " AT_TIME "\r\n", 200 },
	{ "If-Unmodified-Since: " LATER "\r\n", 200 },
	{ "If-Unmodified-Since: " EARLIER "\r\n", 412 },
	{ "If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT\r\n", 412 },
	{ "If-Unmodified-Since: nonsense\r\n", 200 },
	{ "If-Match: $\r\nIf-Unmodified-Since: " EARLIER "\r\n", 200 },
	/* in their order */
	{ "If-Match: $\r\nIf-None-Match: $\r\n", 304 },
	{ "If-Match: \"x\"\r\nIf-None-Match: $\r\n", 412 },
	{ "If-Unmodified-Since: " EARLIER "\r\nIf-None-Match: $\r\n", 412 },
	{ "If-None-Match: $\r\nRange: bytes=0-0\r\n", 304 },
	{ "If-Match: \"x\"\r\nRange: bytes=0-0\r\n", 412 },
	{ "If-None-Match: \"x\"\r\nRange: bytes=0-0\r\n", 206 },
	/* If-Range */
	{ "If-Range: $\r\nRange: bytes=0-0\r\n", 206 },
	{ "If-Range: W/$\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: \"x\"\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: \"x\"\r\nRange: bytes=9-\r\n", 200 },
	{ "If-Range: $\r\nRange: bytes=9-\r\n", 416 },
	{ "If-Range: $, \"x\"\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: *\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: " AT_TIME "\r\nRange: bytes=0-0\r\n", 206 },
	{ "If-Range: Sunday, 06-Nov-94 08:49:37 GMT\r\nRange: bytes=0-0\r\n", 206 },
	{ "If-Range: " LATER "\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: " EARLIER "\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: $\r\nIf-Range: $\r\nRange: bytes=0-0\r\n", 200 },
	{ "If-Range: $\r\n", 200 },
};

static void fill_in_tag(char *out, const char *fields, const char *etag)
{
	for (; *fields; fields++)
		if (*fields == '$')
			out += sprintf(out, "%s", etag);
		else
			*out++ = *fields;
	*out = '\0';
}

static void check_condition(struct site *s, const struct condition *c, const char *etag)
{
	static const char *const methods[] = { "GET", "HEAD" };
	struct reply r = { 0 };
	char fields[500];

	fill_in_tag(fields, c->fields, etag);
	for (size_t i = 0; i < COUNT(methods); i++) {
		/* Of a part there is only GET. */
		bool part = i && (c->status == 206 || c->status == 416);
		int status = ask(s, methods[i], "/a.txt", fields, &r);

		if (status != (part ? 200 : c->status))
			fprintf(stderr, "%s %s: %d\n", methods[i], fields, status);
		check_eq(status, part ? 200 : c->status);
		check(header_is(&r, "ETag", etag));
		check(header_is(&r, "Last-Modified", AT_TIME));
		check(header_is(&r, "Cache-Control", "max-age=60"));
		if (status == 304)
			check(!header(&r, "Content-Length") && !header(&r, "Content-Type"));
	}
	free_reply(&r);
}

static void ask_conditions(struct site *s)
{
	struct reply r = { 0 };
	char etag[100];

	check_eq(get(s, "/a.txt", &r), 200);
	strcpy(etag, header(&r, "ETag"));
	check_eq(*etag, '"');
	for (size_t i = 0; i < COUNT(conditions); i++)
		check_condition(s, &conditions[i], etag);
	free_reply(&r);
}

Test(http_files, evaluates_conditions_in_their_order)
{
	struct site s = { .options.cache_control = "max-age=60" };

	open_site(&s);
	make_tree(&s);
	set_time(&s, "a.txt", MODIFIED);
	run_site(&s, ask_conditions);
	close_site(&s);
}

static void ask_fresh(struct site *s)
{
	struct reply r = { 0 };
	char fields[200];

	check_eq(get(s, "/a.txt", &r), 200);
	snprintf(fields, sizeof(fields), "If-Range: %s\r\nRange: bytes=0-0\r\n",
		 header(&r, "Last-Modified"));
	check_eq(ask(s, "GET", "/a.txt", fields, &r), 200);
	free_reply(&r);
}

Test(http_files, takes_the_date_of_a_file_just_modified_for_no_validator_of_ranges)
{
	struct site s = { 0 };

	open_site(&s);
	put_text(&s, "a.txt", "abc");
	/* A second that is not over for as long as the test may take. */
	set_time(&s, "a.txt", time(NULL) + 100);
	run_site(&s, ask_fresh);
	close_site(&s);
}

/* --- ranges --- */

Test(http_files, reads_ranges)
{
	/* of 100 bytes, and 4 ranges at most */
	static const struct {
		const char *value;
		int result;
		struct torc__http_range ranges[4];
	} cases[] = {
		{ "bytes=0-0", 1, { { 0, 1 } } },
		{ "bytes=0-99", 1, { { 0, 100 } } },
		{ "bytes=0-100", 1, { { 0, 100 } } },
		{ "bytes=0-", 1, { { 0, 100 } } },
		{ "bytes=99-", 1, { { 99, 1 } } },
		{ "bytes=5-9", 1, { { 5, 5 } } },
		{ "bytes=5-5", 1, { { 5, 1 } } },
		{ "bytes=-1", 1, { { 99, 1 } } },
		{ "bytes=-100", 1, { { 0, 100 } } },
		{ "bytes=-101", 1, { { 0, 100 } } },
		{ "bytes=-99999999999999999999999999", 1, { { 0, 100 } } },
		{ "bytes=0-99999999999999999999999999", 1, { { 0, 100 } } },
		{ "bytes=0-18446744073709551615", 1, { { 0, 100 } } },
		{ "bytes=18446744073709551615-", -ERANGE, { { 0, 0 } } },
		{ "bytes=18446744073709551616-18446744073709551617", -ERANGE, { { 0, 0 } } },
		{ "bytes=000000000000000000000000000005-9", 1, { { 5, 5 } } },
		{ "Bytes=5-9", 1, { { 5, 5 } } },
		{ "BYTES=5-9", 1, { { 5, 5 } } },
		{ "bytes= 5-9 ", 1, { { 5, 5 } } },
		{ "bytes=\t5-9\t,", 1, { { 5, 5 } } },
		{ "bytes=,,5-9", 1, { { 5, 5 } } },
		/* nothing of it is there */
		{ "bytes=100-", -ERANGE, { { 0, 0 } } },
		{ "bytes=100-200", -ERANGE, { { 0, 0 } } },
		{ "bytes=-0", -ERANGE, { { 0, 0 } } },
		{ "bytes=100-,200-", -ERANGE, { { 0, 0 } } },
		{ "bytes=100-,-1", 1, { { 99, 1 } } },
		{ "bytes=0-0,100-", 1, { { 0, 1 } } },
		{ "bytes=-0,0-0", 1, { { 0, 1 } } },
		/* several */
		{ "bytes=0-0,2-2", 2, { { 0, 1 }, { 2, 1 } } },
		{ "bytes=0-0, 2-2", 2, { { 0, 1 }, { 2, 1 } } },
		{ "bytes=0-0 ,\t2-2", 2, { { 0, 1 }, { 2, 1 } } },
		{ "bytes=50-59,0-9", 2, { { 50, 10 }, { 0, 10 } } },
		{ "bytes=0-9,-10", 2, { { 0, 10 }, { 90, 10 } } },
		{ "bytes=0-0,2-2,4-4,6-6", 4, { { 0, 1 }, { 2, 1 }, { 4, 1 }, { 6, 1 } } },
		{ "bytes=0-0,2-2,4-4,6-6,8-8", 0, { { 0, 0 } } },
		{ "bytes=0-0,0-0,0-0,0-0,0-0", 0, { { 0, 0 } } },
		/* that touch */
		{ "bytes=0-9,5-14", 1, { { 0, 15 } } },
		{ "bytes=5-14,0-9", 1, { { 0, 15 } } },
		{ "bytes=0-9,10-19", 1, { { 0, 20 } } },
		{ "bytes=10-19,0-9", 1, { { 0, 20 } } },
		{ "bytes=0-9,11-19", 2, { { 0, 10 }, { 11, 9 } } },
		{ "bytes=0-99,5-9", 1, { { 0, 100 } } },
		{ "bytes=5-9,0-", 1, { { 0, 100 } } },
		{ "bytes=0-0,0-0,0-0,0-0", 1, { { 0, 1 } } },
		{ "bytes=0-9,20-29,5-24", 1, { { 0, 30 } } },
		{ "bytes=20-29,0-9,40-49,5-24", 2, { { 0, 30 }, { 40, 10 } } },
		{ "bytes=40-49,20-29,0-9,5-24", 2, { { 40, 10 }, { 0, 30 } } },
		{ "bytes=0-9,20-29,40-49,0-", 1, { { 0, 100 } } },
		/* not understood, and so ignored */
		{ "", 0, { { 0, 0 } } },
		{ "bytes", 0, { { 0, 0 } } },
		{ "bytes=", 0, { { 0, 0 } } },
		{ "bytes=,", 0, { { 0, 0 } } },
		{ "bytes =0-0", 0, { { 0, 0 } } },
		{ "bytes:0-0", 0, { { 0, 0 } } },
		{ "lines=0-0", 0, { { 0, 0 } } },
		{ "bytes=-", 0, { { 0, 0 } } },
		{ "bytes=--1", 0, { { 0, 0 } } },
		{ "bytes=5", 0, { { 0, 0 } } },
		{ "bytes=9-5", 0, { { 0, 0 } } },
		{ "bytes=0-0,9-5", 0, { { 0, 0 } } },
		{ "bytes=0-0,x", 0, { { 0, 0 } } },
		{ "bytes=a-b", 0, { { 0, 0 } } },
		{ "bytes=0x0-5", 0, { { 0, 0 } } },
		{ "bytes=+0-5", 0, { { 0, 0 } } },
		{ "bytes=0 - 5", 0, { { 0, 0 } } },
		{ "bytes=0-5;", 0, { { 0, 0 } } },
		{ "bytes=0-5 6-7", 0, { { 0, 0 } } },
		{ "bytes=0.5-9", 0, { { 0, 0 } } },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc__http_range got[TORC__HTTP_RANGES_MAX];
		struct torc_slice value = { cases[i].value, strlen(cases[i].value) };
		int r = torc__http_ranges(value, 100, 4, got);

		cr_assert_eq(r, cases[i].result, "%s: %d", cases[i].value, r);
		for (int n = 0; n < r; n++)
			cr_assert(got[n].first == cases[i].ranges[n].first &&
					  got[n].len == cases[i].ranges[n].len,
				  "%s: number %d", cases[i].value, n);
	}
}

Test(http_files, reads_no_range_of_an_empty_file)
{
	struct torc__http_range got[TORC__HTTP_RANGES_MAX];

	cr_assert_eq(torc__http_ranges((struct torc_slice){ "bytes=0-", 8 }, 0, 4, got), 0);
	cr_assert_eq(torc__http_ranges((struct torc_slice){ "bytes=-5", 8 }, 0, 4, got), 0);
}

/* Whatever is asked for: parts of the file, that do not touch. */
static void check_ranges(const struct torc__http_range *ranges, int count, uint64_t size)
{
	for (int i = 0; i < count; i++) {
		cr_assert(ranges[i].len && ranges[i].first < size);
		cr_assert(ranges[i].len <= size - ranges[i].first);
		for (int n = 0; n < i; n++)
			cr_assert(ranges[i].first + ranges[i].len < ranges[n].first ||
				  ranges[n].first + ranges[n].len < ranges[i].first);
	}
}

Test(http_files, makes_sense_of_any_bytes)
{
	static const char alphabet[] = "0123456789,,,---- \t=bytes";
	struct torc__http_range got[TORC__HTTP_RANGES_MAX];
	uint64_t seed = 7;

	for (int i = 0; i < 200000; i++) {
		size_t len = 6 + next_random(&seed) % 40;
		char *text = malloc(len); /* to its last byte, for those who look */
		int64_t date;
		int r;

		for (size_t n = 0; n < len; n++)
			text[n] = n < 6 ? "bytes="[n]
					: alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
		r = torc__http_ranges((struct torc_slice){ text, len }, 50, 8, got);
		cr_assert(r <= 8);
		check_ranges(got, r, 50);
		(void)torc__http_date_parse((struct torc_slice){ text, len }, 0, &date);
		free(text);
	}
}

/* The parts of a multipart answer are where they say, and of the right bytes. */
static void check_parts(const struct reply *r, const char *type, uint64_t size, unsigned seed,
			const struct torc__http_range *ranges, size_t count)
{
	char boundary[80], expected[300];
	const char *p = r->body, *end = r->body + r->len;

	check_eq(sscanf(header(r, "Content-Type"), "multipart/byteranges; boundary=%79s", boundary),
		 1);
	for (size_t i = 0; i < count; i++) {
		size_t n =
			(size_t)sprintf(expected,
					"%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes "
					"%llu-%llu/%llu\r\n\r\n",
					i ? "\r\n" : "", boundary, type,
					(unsigned long long)ranges[i].first,
					(unsigned long long)(ranges[i].first + ranges[i].len - 1),
					(unsigned long long)size);

		check_le(n + ranges[i].len, end - p);
		check(!memcmp(p, expected, n));
		p += n;
		check(same_bytes(p, ranges[i].len, seed, ranges[i].first));
		p += ranges[i].len;
	}
	sprintf(expected, "\r\n--%s--\r\n", boundary);
	check(!strcmp(p, expected));
	check_eq(p + strlen(expected), end);
}

static void ask_ranges_of(struct site *s, const char *path, uint64_t size)
{
	struct torc__http_range parts[] = { { 10, 5 }, { size - 2000, 2000 }, { 0, 1 } };
	char fields[200], expected[100];
	struct reply r = { 0 };

	check_eq(ask(s, "GET", path, "Range: bytes=100-199\r\n", &r), 206);
	snprintf(expected, sizeof(expected), "bytes 100-199/%llu", (unsigned long long)size);
	check(header_is(&r, "Content-Range", expected));
	check_eq(r.len, 100);
	check(same_bytes(r.body, 100, 4, 100));
	check_eq(ask(s, "GET", path, "Range: bytes=100-\r\n", &r), 206);
	check_eq(r.len, size - 100);
	check(same_bytes(r.body, r.len, 4, 100));
	snprintf(fields, sizeof(fields), "Range: bytes=10-14,-2000,0-0\r\n");
	check_eq(ask(s, "GET", path, fields, &r), 206);
	check(!header(&r, "Content-Range"));
	check_parts(&r, "application/octet-stream", size, 4, parts, 3);
	snprintf(fields, sizeof(fields), "Range: bytes=%llu-\r\n", (unsigned long long)size);
	check_eq(ask(s, "GET", path, fields, &r), 416);
	snprintf(expected, sizeof(expected), "bytes */%llu", (unsigned long long)size);
	check(header_is(&r, "Content-Range", expected));
	check_eq(ask(s, "GET", path, "Range: lines=1-2\r\n", &r), 200);
	check_eq(r.len, size);
	check(header_is(&r, "Accept-Ranges", "bytes"));
	check_eq(ask(s, "GET", path, "Range: bytes=0-1\r\nRange: bytes=2-3\r\n", &r), 200);
	free_reply(&r);
}

static void ask_large_parts(struct site *s)
{
	struct torc__http_range parts[] = { { MIB, MIB }, { 0, 300000 } };
	struct reply r = { 0 };

	check_eq(ask(s, "GET", "/large", "Range: bytes=1048576-2097151,0-299999\r\n", &r), 206);
	check_parts(&r, "application/octet-stream", LARGE, 4, parts, 2);
	free_reply(&r);
}

static void ask_ranges(struct site *s)
{
	ask_ranges_of(s, "/small", 5000);
	ask_ranges_of(s, "/middle", 50000);
	ask_ranges_of(s, "/large", LARGE);
	ask_large_parts(s);
	expect(s, "/empty", 200, "");
}

static void make_ranges(struct site *s)
{
	char data[50000];

	fill_bytes(data, sizeof(data), 4, 0);
	put_file(s, "small", data, 5000);
	put_file(s, "middle", data, 50000);
	put_file(s, "empty", "", 0);
	put_large(s, "large", 4);
}

Test(http_files, sends_parts)
{
	struct site s = { 0 };

	open_site(&s);
	make_ranges(&s);
	run_site(&s, ask_ranges);
	s.options.no_cache = true;
	s.options.cache_file_bytes = 1; /* nothing is read into memory first */
	run_site(&s, ask_ranges);
	setenv("TORC_DISABLE", "splice", 1);
	run_site(&s, ask_ranges);
	close_site(&s);
}

/* --- compressed forms --- */

static void ask_codings(struct site *s)
{
	static const struct {
		const char *accept, *coding, *body;
	} cases[] = {
		{ NULL, NULL, "plain text" },
		{ "", NULL, "plain text" },
		{ "gzip", "gzip", "as gzip" },
		{ "x-gzip", "gzip", "as gzip" },
		{ "GZIP", "gzip", "as gzip" },
		{ "br", "br", "as br" },
		{ "zstd", "zstd", "as zstd" },
		{ "gzip, deflate, br", "br", "as br" },
		{ "gzip, deflate, br, zstd", "br", "as br" },
		{ "gzip, zstd", "zstd", "as zstd" },
		{ "deflate", NULL, "plain text" },
		{ "identity", NULL, "plain text" },
		{ "*", "br", "as br" },
		{ "br;q=0, *", "zstd", "as zstd" },
		{ "br;q=0.5, gzip;q=0.8", "gzip", "as gzip" },
		{ "br;q=0.5, gzip;q=0.501", "gzip", "as gzip" },
		{ "br;q=0.5 , gzip ; q=0.5", "br", "as br" },
		{ "gzip;q=0", NULL, "plain text" },
		{ "gzip;q=0.000", NULL, "plain text" },
		{ "gzip;q=0.001", "gzip", "as gzip" },
		{ "identity, gzip;q=0.5", NULL, "plain text" },
		{ "identity;q=0.4, gzip;q=0.5", "gzip", "as gzip" },
		{ "identity;q=0", NULL, "plain text" },
		{ "*;q=0", NULL, "plain text" },
		{ "gzip;q=nonsense", NULL, "plain text" },
		{ "gzip;q=1.5", NULL, "plain text" },
		{ "gzip;q=2", NULL, "plain text" },
		{ "gzip;", NULL, "plain text" },
		{ "gzipx, br2", NULL, "plain text" },
		{ ",,gzip,,", "gzip", "as gzip" },
		{ "gzip\r\nAccept-Encoding: br", "br", "as br" },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char fields[200] = "";

		if (cases[i].accept)
			snprintf(fields, sizeof(fields), "Accept-Encoding: %s\r\n",
				 cases[i].accept);
		check_eq(ask(s, "GET", "/a.css", fields, &r), 200);
		if (strcmp(r.body, cases[i].body) != 0)
			fprintf(stderr, "%s: %s\n", fields, r.body);
		check(!strcmp(r.body, cases[i].body));
		check(header_is(&r, "Content-Encoding", cases[i].coding));
		check(header_is(&r, "Content-Type", "text/css; charset=utf-8"));
		check(header_is(&r, "Vary", "Accept-Encoding"));
	}
	free_reply(&r);
}

static void ask_coded_conditions(struct site *s)
{
	char plain[100], coded[100], fields[300];
	struct reply r = { 0 };

	get(s, "/a.css", &r);
	strcpy(plain, header(&r, "ETag"));
	ask(s, "GET", "/a.css", "Accept-Encoding: gzip\r\n", &r);
	strcpy(coded, header(&r, "ETag"));
	check(strcmp(plain, coded) != 0);
	snprintf(fields, sizeof(fields), "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", coded);
	check_eq(ask(s, "GET", "/a.css", fields, &r), 304);
	check(header_is(&r, "Vary", "Accept-Encoding") && header_is(&r, "ETag", coded));
	snprintf(fields, sizeof(fields), "Accept-Encoding: gzip\r\nIf-None-Match: %s\r\n", plain);
	check_eq(ask(s, "GET", "/a.css", fields, &r), 200);
	check_eq(ask(s, "GET", "/a.css", "Accept-Encoding: gzip\r\nRange: bytes=3-\r\n", &r), 206);
	check(!strcmp(r.body, "gzip") && header_is(&r, "Content-Range", "bytes 3-6/7"));
	check(header_is(&r, "Content-Encoding", "gzip"));
	check_eq(ask(s, "GET", "/a.css", "Accept-Encoding: gzip\r\nRange: bytes=9-\r\n", &r), 416);
	check(!header(&r, "Content-Encoding"));
	/* the compressed file itself is a file like any other */
	check_eq(ask(s, "GET", "/a.css.gz", "Accept-Encoding: gzip\r\n", &r), 200);
	check(header_is(&r, "Content-Type", "application/gzip"));
	check(!header(&r, "Content-Encoding") && !header(&r, "Vary"));
	/* what has none, an old one, and a directory that is called so */
	check_eq(ask(s, "GET", "/b.css", "Accept-Encoding: gzip, br\r\n", &r), 200);
	check(!strcmp(r.body, "b") && !header(&r, "Vary") && !header(&r, "Content-Encoding"));
	check_eq(ask(s, "GET", "/only", "Accept-Encoding: gzip\r\n", &r), 404);
	free_reply(&r);
}

static void ask_coded(struct site *s)
{
	ask_codings(s);
	ask_coded_conditions(s);
}

static void make_coded(struct site *s)
{
	put_text(s, "a.css", "plain text");
	put_text(s, "a.css.br", "as br");
	put_text(s, "a.css.zst", "as zstd");
	put_text(s, "a.css.gz", "as gzip");
	put_text(s, "b.css", "b");
	put_text(s, "b.css.gz", "old");
	set_time(s, "b.css.gz", MODIFIED);
	check_eq(mkdirat(s->root_fd, "b.css.br", 0755), 0);
	put_text(s, "only.gz", "x");
}

Test(http_files, sends_compressed_forms_to_those_who_accept_them)
{
	struct site s = { .options.precompressed = true };

	open_site(&s);
	make_coded(&s);
	run_site(&s, ask_coded);
	s.options.no_cache = true;
	run_site(&s, ask_coded);
	close_site(&s);
}

static void ask_vanishing(struct site *s)
{
	struct reply r = { 0 };

	check_eq(ask(s, "GET", "/a.css", "Accept-Encoding: gzip\r\n", &r), 200);
	check(!strcmp(r.body, "as gzip"));
	/* The cache knows of it still. */
	check_eq(unlinkat(s->root_fd, "a.css.br", 0), 0);
	check_eq(symlinkat("/etc/passwd", s->root_fd, "a.css.br"), 0);
	check_eq(ask(s, "GET", "/a.css", "Accept-Encoding: br\r\n", &r), 200);
	check(!strcmp(r.body, "plain text") && !header(&r, "Content-Encoding"));
	free_reply(&r);
}

Test(http_files, sends_the_plain_form_when_a_compressed_one_is_gone)
{
	struct site s = { .options = { .precompressed = true, .revalidate_ns = TORC_NEVER } };

	open_site(&s);
	make_coded(&s);
	run_site(&s, ask_vanishing);
	close_site(&s);
}

/* --- listings --- */

/* Paths of any length, of what takes most room. */
static void ask_deep_listings(struct site *s)
{
	char name[250 + 1], path[1800] = "", encoded[5500] = "/";
	struct reply r = { 0 };
	size_t at = 1;

	memset(name, '"', 250);
	name[250] = '\0';
	for (int depth = 0; depth < 7; depth++) {
		strcat(path, name);
		check_eq(mkdirat(s->root_fd, path, 0755), 0);
		strcat(path, "/");
		for (int i = 0; i < 250; i++)
			at += (size_t)sprintf(encoded + at, "%%22");
		at += (size_t)sprintf(encoded + at, "/");
		check_eq(get(s, encoded, &r), 200);
		check(strstr(r.body, "</html>"));
	}
	free_reply(&r);
}

static void ask_listing(struct site *s)
{
	struct reply r = { 0 };
	const char *a, *b;

	check_eq(get(s, "/list/", &r), 200);
	check(header_is(&r, "Content-Type", "text/html; charset=utf-8"));
	check(strstr(r.body, "<a href=\"../\">"));
	check(strstr(r.body,
		     "<a href=\"./%3Cscript%3E%26%22%27\">&lt;script&gt;&amp;&quot;&#39;</a>"));
	check(strstr(r.body, "<a href=\"./javascript:x\">javascript:x</a>"));
	check(strstr(r.body, "<a href=\"./sub/\">sub/</a>"));
	check(!strstr(r.body, "<script>") && !strstr(r.body, ".hidden"));
	a = strstr(r.body, "aaa");
	b = strstr(r.body, "zzz");
	check(a && b && a < b);
	check(!strstr(r.body, "and more"));
	check_eq(get(s, "/", &r), 200);
	check(!strstr(r.body, "../") && strstr(r.body, "list/"));
	check_eq(ask(s, "HEAD", "/list/", "", &r), 200);
	expect(s, "/with/", 200, "index");
	expect(s, "/list", 308, NULL);
	expect(s, "/nowhere/", 404, NULL);
	expect(s, "/list/aaa/", 404, NULL);
	expect(s, "/out-directory/", 403, NULL);
	check_eq(get(s, "/many/", &r), 200);
	check(strstr(r.body, "and more"));
	ask_deep_listings(s);
	free_reply(&r);
}

static void make_listing(struct site *s)
{
	char name[300];

	check_eq(mkdirat(s->root_fd, "with", 0755), 0);
	put_text(s, "with/index.html", "index");
	check_eq(mkdirat(s->root_fd, "list", 0755), 0);
	check_eq(mkdirat(s->root_fd, "list/sub", 0755), 0);
	put_text(s, "list/<script>&\"'", "");
	put_text(s, "list/javascript:x", "");
	put_text(s, "list/zzz", "");
	put_text(s, "list/aaa", "");
	put_text(s, "list/.hidden", "");
	check_eq(mkdirat(s->root_fd, "many", 0755), 0);
	for (int i = 0; i < 101; i++) {
		int n = sprintf(name, "many/%03d", i);

		/* as long as a name can be, of what takes most room */
		memset(name + n, '"', (size_t)(5 + 255 - n));
		name[5 + 255] = '\0';
		put_text(s, name, "");
	}
	check_eq(symlinkat(s->outside, s->root_fd, "out-directory"), 0);
}

Test(http_files, lists_directories_escaped_and_sorted)
{
	struct site s = { .options = { .listing = true, .listing_max = 100 } };

	open_site(&s);
	make_listing(&s);
	run_site(&s, ask_listing);
	close_site(&s);
}

/* --- the cache --- */

/* What one request of a connection takes of the ring, when nothing else happens. */
static uint64_t entries_for(struct torc_stream *stream, const char *path)
{
	struct torc_stats before, after;
	struct torc_slice in;
	char request[100];
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);

	torc_stats(&before);
	for (int i = 0; i < 10; i++) {
		check_eq(torc_stream_write(stream, request, (size_t)n), 0);
		check_eq(torc_stream_peek(stream, &in), 1);
		torc_stream_consume(stream, in.len);
	}
	torc_stats(&after);
	return after.sqes - before.sqes;
}

static void ask_cached(struct site *s)
{
	struct torc_stream stream;
	uint64_t plain, cached;

	dial_site(s, &stream);
	entries_for(&stream, "/plain"); /* what is done once for each connection */
	entries_for(&stream, "/a.txt");
	plain = entries_for(&stream, "/plain");
	cached = entries_for(&stream, "/a.txt");
	check_eq(cached, plain);
	check_eq(entries_for(&stream, "/with/"), plain + 4); /* once from the disk */
	check_eq(entries_for(&stream, "/with/"), plain);
	torc_stream_close(&stream);
}

Test(http_files, serves_a_cached_file_without_an_operation_of_its_own)
{
	struct site s = { .options.revalidate_ns = TORC_NEVER };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_cached);
	close_site(&s);
}

static void replace(struct site *s, const char *name, const char *text)
{
	put_text(s, "new", text);
	check_eq(renameat(s->root_fd, "new", s->root_fd, name), 0);
}

static void ask_stale(struct site *s)
{
	expect(s, "/a.txt", 200, "a");
	replace(s, "a.txt", "b");
	expect(s, "/a.txt", 200, "a");
	check_eq(unlinkat(s->root_fd, "a.txt", 0), 0);
	expect(s, "/a.txt", 200, "a");
}

static void ask_changing(struct site *s)
{
	expect(s, "/a.txt", 200, "a");
	expect(s, "/a.txt", 200, "a");
	replace(s, "a.txt", "b");
	expect(s, "/a.txt", 200, "b");
	put_text(s, "a.txt", "c");
	expect(s, "/a.txt", 200, "c");
	/* the same size and times */
	put_text(s, "a.txt", "d");
	set_time(s, "a.txt", MODIFIED);
	expect(s, "/a.txt", 200, "d");
	put_text(s, "a.txt", "e");
	set_time(s, "a.txt", MODIFIED);
	expect(s, "/a.txt", 200, "e");
	check_eq(unlinkat(s->root_fd, "a.txt", 0), 0);
	expect(s, "/a.txt", 404, NULL);
	check_eq(symlinkat("/etc/passwd", s->root_fd, "a.txt"), 0);
	expect(s, "/a.txt", 403, NULL);
	check_eq(unlinkat(s->root_fd, "a.txt", 0), 0);
	check_eq(mkdirat(s->root_fd, "a.txt", 0755), 0);
	expect(s, "/a.txt", 308, NULL);
	check_eq(unlinkat(s->root_fd, "a.txt", AT_REMOVEDIR), 0);
	put_text(s, "a.txt", "f");
	expect(s, "/a.txt", 200, "f");
}

Test(http_files, sees_what_has_changed_after_the_interval_and_not_before)
{
	struct site s = { .options.revalidate_ns = TORC_NEVER };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_stale);
	put_text(&s, "a.txt", "a");
	s.options.revalidate_ns = 1;
	run_site(&s, ask_changing);
	s.options.no_cache = true;
	put_text(&s, "a.txt", "a");
	run_site(&s, ask_changing);
	close_site(&s);
}

static void ask_new_variant(struct site *s)
{
	struct reply r = { 0 };

	check_eq(ask(s, "GET", "/b.css", "Accept-Encoding: gzip\r\n", &r), 200);
	check(!header(&r, "Content-Encoding"));
	put_text(s, "b.css.gz", "new");
	check_eq(ask(s, "GET", "/b.css", "Accept-Encoding: gzip\r\n", &r), 200);
	check(header_is(&r, "Content-Encoding", "gzip") && !strcmp(r.body, "new"));
	check_eq(unlinkat(s->root_fd, "b.css.gz", 0), 0);
	check_eq(ask(s, "GET", "/b.css", "Accept-Encoding: gzip\r\n", &r), 200);
	check(!header(&r, "Content-Encoding") && !header(&r, "Vary"));
	free_reply(&r);
}

Test(http_files, sees_compressed_forms_come_and_go)
{
	struct site s = { .options = { .precompressed = true, .revalidate_ns = 1 } };

	open_site(&s);
	make_coded(&s);
	set_time(&s, "b.css", MODIFIED + 1); /* so that the file itself stays in the cache */
	run_site(&s, ask_new_variant);
	close_site(&s);
}

static void ask_many(struct site *s)
{
	int before = count_fds();

	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 20; i++) {
			char path[20], text[20];

			snprintf(path, sizeof(path), "/%d", i);
			snprintf(text, sizeof(text), "%d", i);
			expect(s, path, 200, text);
		}
	/* Those that it has open are no more than it may have files. What was closed is so after a turn. */
	for (int i = 0; i < 1000 && count_fds() > before + 3; i++)
		check_eq(torc_yield(), 0);
	check_le(count_fds(), before + 3);
}

Test(http_files, keeps_no_more_than_it_may)
{
	static const struct torc_http_files_options limits[] = {
		{ .cache_entries = 3 },
		{ .cache_entries = 3, .cache_file_bytes = 1 }, /* most of them open */
		{ .cache_bytes = 1500 },
		{ .cache_bytes = 1 },
		{ .cache_entries = 1, .revalidate_ns = 1 },
	};

	for (size_t i = 0; i < COUNT(limits); i++) {
		struct site s = { .options = limits[i] };

		open_site(&s);
		for (int n = 0; n < 20; n++) {
			char name[20];

			snprintf(name, sizeof(name), "%d", n);
			put_text(&s, name, name);
		}
		run_site(&s, ask_many);
		close_site(&s);
	}
}

/* --- descriptors run out --- */

/* Everything that could be a descriptor is one. */
struct full {
	int fds[1024], count;
	struct rlimit before;
};

/* Once there are so many, those of earlier connections having been closed. */
static void fill_up(struct full *f, int count)
{
	struct rlimit few;

	while (count_fds() != count)
		check_eq(torc_yield(), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &f->before), 0);
	few = f->before;
	few.rlim_cur = COUNT(f->fds);
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	f->count = 0;
	while ((f->fds[f->count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		f->count++;
	check_eq(errno, EMFILE);
}

static void empty(struct full *f)
{
	while (f->count)
		close(f->fds[--f->count]);
	check_eq(setrlimit(RLIMIT_NOFILE, &f->before), 0);
}

static void ask_exhausted(struct site *s)
{
	int count = count_fds();
	struct torc_stream stream[2];
	struct reply r = { 0 };
	struct full full;

	for (int i = 0; i < 2; i++)
		dial_site(s, &stream[i]);
	expect(s, "/a.txt", 200, "a"); /* so that both have been accepted */
	fill_up(&full, count + 4);
	say(&stream[0], "GET", "/dots..", "");
	hear(&stream[0], &r);
	check_eq(r.status, 503);
	empty(&full);
	say(&stream[1], "GET", "/dots..", "");
	hear(&stream[1], &r);
	check_eq(r.status, 200);
	free_reply(&r);
}

Test(http_files, answers_503_when_descriptors_run_out)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_exhausted);
	close_site(&s);
}

static void ask_crowded(struct site *s)
{
	int count = count_fds();
	struct torc_stream stream;
	struct reply r = { 0 };
	struct full full;

	check_eq(ask(s, "GET", "/large", "Range: bytes=0-9\r\n", &r), 206);
	dial_site(s, &stream);
	expect(s, "/a.txt", 200, "a");
	fill_up(&full, count + 3);
	say(&stream, "GET", "/dots..", "");
	hear(&stream, &r);
	check_eq(r.status, 200);
	empty(&full);
	check_eq(ask(s, "GET", "/large", "Range: bytes=0-9\r\n", &r), 206);
	free_reply(&r);
}

Test(http_files, closes_what_it_keeps_when_descriptors_run_out)
{
	struct site s = { .options.revalidate_ns = TORC_NEVER };

	open_site(&s);
	make_tree(&s);
	put_large(&s, "large", 1);
	run_site(&s, ask_crowded);
	close_site(&s);
}

/* --- files that change while they are sent --- */

#define HUGE_BYTES (64 * MIB)

static void make_huge(struct site *s)
{
	int fd = openat(s->root_fd, "huge", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	check_ge(fd, 0);
	check_eq(ftruncate(fd, HUGE_BYTES), 0);
	close(fd);
}

/* The head has come, and the body is under way. */
static void begin_huge(struct site *s, struct torc_stream *stream)
{
	struct torc_slice in;

	dial_site(s, stream);
	say(stream, "GET", "/huge", "");
	check_eq(torc_stream_peek(stream, &in), 1);
}

static int truncate_huge(struct site *s, off_t size)
{
	int fd = openat(s->root_fd, "huge", O_WRONLY | O_CLOEXEC);
	int r = ftruncate(fd, size);

	close(fd);
	return r;
}

static void ask_shrinking(struct site *s)
{
	struct torc_stream stream;
	struct reply r = { 0 };

	begin_huge(s, &stream);
	check_eq(truncate_huge(s, 1000), 0);
	hear(&stream, &r);
	check_eq(r.status, 200);
	check_eq(r.announced, HUGE_BYTES);
	check_lt(r.len, HUGE_BYTES);
	check_eq(s->result, -EIO);
	free_reply(&r);
}

static void ask_growing(struct site *s)
{
	struct torc_stream stream;
	struct reply r = { 0 };

	begin_huge(s, &stream);
	check_eq(truncate_huge(s, 2 * HUGE_BYTES), 0);
	hear(&stream, &r);
	check_eq(r.status, 200);
	check_eq(r.announced, HUGE_BYTES);
	check_eq(r.len, HUGE_BYTES);
	check_eq(s->result, 0);
	free_reply(&r);
}

static void ask_replaced(struct site *s)
{
	struct torc_stream stream;
	struct reply r = { 0 };

	begin_huge(s, &stream);
	replace(s, "huge", "small");
	hear(&stream, &r);
	check_eq(r.status, 200);
	check_eq(r.len, HUGE_BYTES);
	free_reply(&r);
	expect(s, "/huge", 200, "small");
}

static void run_changes(struct site *s)
{
	static void (*const clients[])(struct site *) = { ask_shrinking, ask_growing,
							  ask_replaced };

	s->options.revalidate_ns = 1;
	for (size_t i = 0; i < COUNT(clients); i++) {
		make_huge(s);
		run_site(s, clients[i]);
		check_eq(unlinkat(s->root_fd, "huge", 0), 0);
	}
}

Test(http_files, sends_what_it_announced_or_ends_the_connection)
{
	struct site s = { 0 };

	open_site(&s);
	run_changes(&s);
	close_site(&s);
}

Test(http_files, sends_what_it_announced_without_splice)
{
	struct site s = { 0 };

	open_site(&s);
	setenv("TORC_DISABLE", "splice", 1);
	run_changes(&s);
	close_site(&s);
}

/* --- a directory whose place is taken by a link, again and again --- */

struct swapper {
	struct site *site;
	atomic_bool stop;
};

static void *swap(void *arg)
{
	struct swapper *w = arg;

	while (!w->stop)
		check_eq(renameat2(w->site->root_fd, "dir", w->site->root_fd, "link",
				   RENAME_EXCHANGE),
			 0);
	return NULL;
}

static void ask_swapped(struct site *s)
{
	struct swapper w = { .site = s };
	struct reply r = { 0 };
	pthread_t thread;
	int served = 0;

	check_eq(pthread_create(&thread, NULL, swap, &w), 0);
	for (int i = 0; i < 300; i++) {
		get(s, i & 1 ? "/dir/file" : "/dir/", &r);
		check(!strstr(r.body, "secret"));
		served += r.status == 200;
		check(r.status == 200 || r.status == 403 || r.status == 404 || r.status == 503);
	}
	w.stop = true;
	pthread_join(thread, NULL);
	check(served || s->options.listing);
	free_reply(&r);
}

static void make_swapped(struct site *s)
{
	char path[100];
	int fd;

	check_eq(mkdirat(s->root_fd, "dir", 0755), 0);
	put_text(s, "dir/file", "public");
	snprintf(path, sizeof(path), "%s/file", s->outside);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	check_eq(write(fd, "secret", 6), 6);
	close(fd);
	snprintf(path, sizeof(path), "%s/secret-name", s->outside);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	check_eq(symlinkat(s->outside, s->root_fd, "link"), 0);
}

Test(http_files, serves_nothing_from_outside_while_links_take_the_place_of_directories)
{
	static const char *const features[] = { "", "openat2" };

	for (size_t i = 0; i < COUNT(features) * 2; i++) {
		struct site s = {
			.options = { .listing = true, .no_cache = i & 1, .revalidate_ns = 1 }
		};

		setenv("TORC_DISABLE", features[i / 2], 1);
		open_site(&s);
		make_swapped(&s);
		run_site(&s, ask_swapped);
		close_site(&s);
	}
}

/* --- several loops, each with a cache of its own --- */

static void ask_several(struct site *s)
{
	struct reply r = { 0 };

	for (int i = 0; i < 30; i++) {
		expect(s, "/a.txt", 200, "a");
		check_eq(ask(s, "GET", "/large", "Range: bytes=5-2000004\r\n", &r), 206);
		check(r.len == 2000000 && same_bytes(r.body, r.len, 1, 5));
	}
	free_reply(&r);
}

Test(http_files, serves_on_several_loops)
{
	struct site s = { .client = ask_several };

	open_site(&s);
	make_tree(&s);
	put_large(&s, "large", 1);
	check_eq(run_with(&loops3, site_main, &s), 0);
	close_site(&s);
}

/* --- cancellation and deadlines --- */

static void ask_cancelled(struct site *s)
{
	struct reply r = { 0 };

	expect(s, "/a.txt", 200, "a");
	s->cancel = true;
	check_eq(get(s, "/a.txt", &r), 500);
	check_eq(s->result, -ECANCELED);
	check_eq(get(s, "/dots..", &r), 500);
	check_eq(s->result, -ECANCELED);
	check_eq(get(s, "/one", &r), 500);
	check_eq(s->result, -ECANCELED);
	s->cancel = false;
	expect(s, "/dots..", 200, "dots");
	free_reply(&r);
}

Test(http_files, does_nothing_in_a_cancelled_scope)
{
	struct torc_http_file one = { .path = "/etc/hostname" };
	struct site s = { .one = &one };

	open_site(&s);
	make_tree(&s);
	run_site(&s, ask_cancelled);
	close_site(&s);
}

/* The server goes while a file is on its way: nothing is left behind. */
static void leave_in_the_middle(struct site *s)
{
	struct torc_stream stream;

	begin_huge(s, &stream);
	torc_group_cancel(&s->group);
	torc_stream_close(&stream);
}

Test(http_files, ends_in_the_middle_of_a_file_when_cancelled)
{
	struct site s = { .http.grace_ns = 1 };

	open_site(&s);
	make_huge(&s);
	run_site(&s, leave_in_the_middle);
	setenv("TORC_DISABLE", "splice", 1);
	run_site(&s, leave_in_the_middle);
	close_site(&s);
}

static void read_nothing(struct site *s)
{
	struct torc_stream stream;

	begin_huge(s, &stream);
	while (!s->ended)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(s->result, -ETIMEDOUT);
	torc_stream_close(&stream);
}

Test(http_files, gives_up_on_a_client_that_takes_nothing)
{
	struct site s = { .http.write_ns = TORC_MS(50) };

	open_site(&s);
	make_huge(&s);
	run_site(&s, read_nothing);
	setenv("TORC_DISABLE", "splice", 1);
	s.ended = 0;
	run_site(&s, read_nothing);
	close_site(&s);
}

/* --- over TLS --- */

static void ask_encrypted(struct site *s)
{
	struct reply r = { 0 };

	expect(s, "/a.txt", 200, "a");
	check_eq(get(s, "/large", &r), 200);
	check_eq(r.len, LARGE);
	check(same_bytes(r.body, LARGE, 4, 0));
	free_reply(&r);
}

Test(http_files, sends_over_tls)
{
	struct world w;
	struct site s = { 0 };

	open_world(&w, (struct cert_wish){ 0 });
	s.http.tls = w.server;
	s.tls = w.client;
	open_site(&s);
	make_tree(&s);
	put_large(&s, "large", 4);
	run_site(&s, ask_encrypted);
	close_site(&s);
	close_world(&w);
}

/* --- one file --- */

static int ask_one(struct site *s, struct torc_http_file file, const char *fields, struct reply *r)
{
	s->one = &file;
	ask(s, "GET", "/one", fields, r);
	return r->status;
}

static void ask_ones(struct site *s)
{
	struct reply r = { 0 };
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/a b+c.txt", s->root);
	check_eq(ask_one(s, (struct torc_http_file){ .path = path }, "", &r), 200);
	check(!strcmp(r.body, "spaces"));
	check(header_is(&r, "Content-Type", "text/plain; charset=utf-8"));
	check(header(&r, "ETag") && !header(&r, "Content-Disposition"));
	check_eq(ask_one(s, (struct torc_http_file){ .path = path }, "Range: bytes=-2\r\n", &r),
		 206);
	check(!strcmp(r.body, "es"));
	check_eq(ask_one(s, (struct torc_http_file){ .path = path }, "If-None-Match: *\r\n", &r),
		 304);
	check_eq(ask_one(s,
			 (struct torc_http_file){ .path = path, .status = 404, .type = "text/x" },
			 "If-None-Match: *\r\nRange: bytes=-2\r\n", &r),
		 404);
	check(!strcmp(r.body, "spaces") && header_is(&r, "Content-Type", "text/x"));
	check(!header(&r, "ETag") && !header(&r, "Accept-Ranges"));
	check_eq(ask_one(s,
			 (struct torc_http_file){ .path = path,
						  .download = "../r\xc3\xa9sum\xc3\xa9 \"1\".pdf",
						  .cache_control = "no-store" },
			 "", &r),
		 200);
	check(header_is(&r, "Content-Disposition",
			"attachment; filename=\".._r__sum__ _1_.pdf\"; "
			"filename*=UTF-8''.._r%C3%A9sum%C3%A9%20%221%22.pdf"));
	check(header_is(&r, "Content-Type", "application/pdf"));
	check(header_is(&r, "Cache-Control", "no-store"));
	/* a descriptor, whose position stays */
	fd = openat(s->root_fd, "large", O_RDONLY | O_CLOEXEC);
	check_eq(lseek(fd, 77, SEEK_SET), 77);
	check_eq(ask_one(s, (struct torc_http_file){ .fd = fd }, "", &r), 200);
	check(r.len == LARGE && same_bytes(r.body, LARGE, 4, 0));
	check_eq(lseek(fd, 0, SEEK_CUR), 77);
	close(fd);
	free_reply(&r);
}

static void ask_failing_ones(struct site *s)
{
	static const struct {
		struct torc_http_file file;
		int result;
	} cases[] = {
		{ { .path = "/nowhere/at/all" }, -ENOENT },
		{ { .path = "/tmp" }, -EISDIR },
		{ { .path = "/dev/null" }, -EPERM },
		{ { .fd = -1 }, -EBADF },
		{ { .path = "/etc/passwd", .status = 99 }, -EINVAL },
		{ { .path = "/etc/passwd", .type = "a\r\nb" }, -EINVAL },
		{ { .path = "/etc/passwd", .download = "a\r\nb" }, -EINVAL },
		{ { .path = "/etc/passwd", .cache_control = "a\nb" }, -EINVAL },
	};
	struct reply r = { 0 };

	for (size_t i = 0; i < COUNT(cases); i++) {
		ask_one(s, cases[i].file, "", &r);
		check_eq(s->result, cases[i].result);
		check(r.status == 500 || (r.status == 404 && s->result == -ENOENT));
	}
	check_eq(ask_one(s, (struct torc_http_file){ .path = "/etc/passwd", .type = "a\r\nb" },
			 "Range: bytes=0-0,2-2\r\n", &r),
		 500);
	free_reply(&r);
}

static void ask_fifo(struct site *s)
{
	struct reply r = { 0 };
	char path[100];

	snprintf(path, sizeof(path), "%s/fifo", s->root);
	ask_one(s, (struct torc_http_file){ .path = path }, "", &r);
	check_eq(s->result, -EPERM);
	free_reply(&r);
}

static void ask_all_ones(struct site *s)
{
	ask_ones(s);
	ask_failing_ones(s);
	ask_fifo(s);
}

Test(http_files, responds_with_one_file)
{
	struct site s = { 0 };

	open_site(&s);
	make_tree(&s);
	put_large(&s, "large", 4);
	run_site(&s, ask_all_ones);
	close_site(&s);
}
