/*
 * http/router.c - routers: what they are made of, and what becomes of a request. internal/router.c has the tree.
 */
#include <torc/http/router.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/internal/system.h"
#include "http/internal/router.h"

/* A virtual host; of "*.example.org" the name is ".example.org". */
struct host {
	char *name; /* in lower case */
	struct torc_router *router;
};

struct torc_router {
	struct torc_router_options options;
	struct torc__branch root;
	struct torc__route *routes;
	struct torc_http_step *steps; /* [step_count]: of torc_router_use */
	size_t step_count;
	struct host *hosts; /* [host_count], sorted by name */
	size_t host_count;
	unsigned methods; /* bit m: of some route */
};

/* What a path was found to be; in the exchange's memory. */
struct torc__http_match {
	const struct torc__route *route;
	const struct torc__http_match *outer; /* the mount that this is in, or NULL */
	const char *name;           /* of the route with its mounts; NULL: not asked for yet */
	struct torc_slice rest;     /* of a mount */
	struct torc_slice prefix;   /* of a mount: what is before the rest */
	struct torc_slice params[]; /* [route->param_count] */
};

static const char *const method_names[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
					    "CONNECT", "OPTIONS", "TRACE", "PATCH" };

#define METHODS (sizeof(method_names) / sizeof(method_names[0]))

_Static_assert(METHODS == TORC__ROUTE_ANY, "a name for each method of the parser");

/* --- routers --- */

int torc_router_create(const struct torc_router_options *options, struct torc_router **ret_router)
{
	struct torc_router *r = torc__calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	if (options)
		r->options = *options;
	*ret_router = r;
	return 0;
}

void torc_router_destroy(struct torc_router *r)
{
	if (!r)
		return;
	torc__tree_clear(&r->root);
	while (r->routes) {
		struct torc__route *route = r->routes;

		r->routes = route->next;
		torc__free(route);
	}
	for (size_t i = 0; i < r->host_count; i++)
		torc__free(r->hosts[i].name);
	torc__free(r->hosts);
	torc__free(r->steps);
	torc__free(r);
}

int torc_router_use(struct torc_router *r, torc_http_fn *fn, void *arg)
{
	struct torc_http_step *steps;

	if (!fn)
		return -EINVAL;
	steps = torc__realloc(r->steps, (r->step_count + 1) * sizeof(*steps));
	if (!steps)
		return -ENOMEM;
	steps[r->step_count++] = (struct torc_http_step){ fn, arg };
	r->steps = steps;
	return 0;
}

/* --- patterns --- */

static bool is_name(const char *a, const char *b, size_t len)
{
	return strcspn(a, "/") == len && !memcmp(a, b, len);
}

static int add_name(struct torc__route *route, const char *name, size_t len)
{
	if (!len || route->param_count == TORC_ROUTE_PARAMS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < route->param_count; i++)
		if (is_name(route->params[i], name, len))
			return -EINVAL;
	route->params[route->param_count++] = name;
	return 0;
}

static bool is_dots(const char *p, size_t len)
{
	return (len == 1 || len == 2) && *p == '.' && p[len - 1] == '.';
}

/* One segment of a pattern: what is behind a slash. */
static int check_segment(struct torc__route *route, const char *p, size_t len)
{
	bool last = !p[len];

	if (is_dots(p, len) || memchr(p + 1, '*', len ? len - 1 : 0))
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)p[i] < ' ' || p[i] == 0x7f || strchr("%?#", p[i]))
			return -EINVAL;
	if (*p == '*' && !last)
		return -EINVAL;
	return *p == ':' || *p == '*' ? add_name(route, p + 1, len - 1) : 0;
}

/* Notes the parameters. */
static int check_pattern(struct torc__route *route)
{
	const char *p = route->public.pattern;

	while (*p) {
		size_t len = strcspn(p + 1, "/");
		int r = check_segment(route, p + 1, len);

		if (r < 0)
			return r;
		p += 1 + len;
	}
	return 0;
}

static int find_method(const char *name, unsigned *ret_method)
{
	unsigned m = 0;

	if (!name) {
		*ret_method = TORC__ROUTE_ANY;
		return 0;
	}
	while (m < METHODS && strcmp(name, method_names[m]) != 0)
		m++;
	if (m == METHODS)
		return -EINVAL;
	*ret_method = m;
	return 0;
}

/* The route, its steps and its pattern in one piece. */
static struct torc__route *copy_route(const struct torc_route *from, size_t pattern_len)
{
	size_t steps = (from->step_count + 1) * sizeof(struct torc_http_step);
	struct torc__route *route = torc__calloc(1, sizeof(*route) + steps + pattern_len + 1);
	char *pattern;

	if (!route)
		return NULL;
	pattern = (char *)route->steps + steps;
	memcpy(pattern, from->pattern, pattern_len);
	route->public = *from;
	route->public.pattern = pattern;
	if (from->step_count)
		memcpy(route->steps, from->steps, from->step_count * sizeof(*from->steps));
	route->steps[from->step_count] = (struct torc_http_step){ from->handler, from->arg };
	route->steps_end = route->steps + from->step_count + 1;
	return route;
}

static int add(struct torc_router *r, const struct torc_route *public, size_t pattern_len,
	       bool mount)
{
	struct torc__route *route;
	unsigned method;
	int e = find_method(public->method, &method);

	if (e < 0 || !public->handler || pattern_len > TORC_ROUTE_PATTERN_MAX)
		return -EINVAL;
	route = copy_route(public, pattern_len);
	if (!route)
		return -ENOMEM;
	route->body_bytes = public->body_bytes ? public->body_bytes : r->options.body_bytes;
	route->deadline_ns = public->deadline_ns ? public->deadline_ns : r->options.deadline_ns;
	e = check_pattern(route);
	if (!e && mount && strchr(route->public.pattern, '*'))
		e = -EINVAL;
	if (!e)
		e = torc__tree_add(&r->root, route, method, mount);
	if (e < 0) {
		torc__free(route);
		return e;
	}
	r->methods |= 1u << method;
	route->next = r->routes;
	r->routes = route;
	return 0;
}

int torc_router_add_route(struct torc_router *r, const struct torc_route *route)
{
	if (!route->pattern || *route->pattern != '/')
		return -EINVAL;
	return add(r, route, strlen(route->pattern), false);
}

int torc_router_add(struct torc_router *r, const char *method, const char *pattern,
		    torc_http_fn *handler, void *arg)
{
	return torc_router_add_route(r, &(struct torc_route){ .method = method,
							      .pattern = pattern,
							      .handler = handler,
							      .arg = arg });
}

int torc_router_mount(struct torc_router *r, const char *prefix, torc_http_fn *fn, void *arg)
{
	size_t len = strlen(prefix);

	if (*prefix != '/')
		return -EINVAL;
	if (prefix[len - 1] == '/')
		len--;
	return add(r, &(struct torc_route){ .pattern = prefix, .handler = fn, .arg = arg }, len,
		   true);
}

/* --- hosts --- */

/* The host's part that names it, of "host:port" or "[v6]:port"; without the root's dot. */
static struct torc_slice host_name(struct torc_slice authority)
{
	const char *colon = memrchr(authority.data, ':', authority.len);
	size_t len = authority.len;

	if (colon && !memchr(colon, ']', (size_t)(authority.data + len - colon)))
		len = (size_t)(colon - authority.data);
	if (len && authority.data[len - 1] == '.')
		len--;
	return (struct torc_slice){ authority.data, len };
}

static int compare_name(struct torc_slice name, const char *with)
{
	int r = strncasecmp(name.data, with, name.len);

	return r ? r : -(with[name.len] != '\0');
}

/* The first host that does not come before the name. */
static size_t host_place(const struct torc_router *r, struct torc_slice name)
{
	size_t low = 0, high = r->host_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare_name(name, r->hosts[middle].name) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct torc_router *find_host(const struct torc_router *r, struct torc_slice name)
{
	size_t i = host_place(r, name);

	return i < r->host_count && !compare_name(name, r->hosts[i].name) ? r->hosts[i].router
									  : NULL;
}

/* The router for the request's host: by its name, or by the longest end of it that begins with a dot. NULL: this one. */
static struct torc_router *choose_host(const struct torc_router *r, struct torc_slice authority)
{
	struct torc_slice name = authority.len ? host_name(authority) : authority;
	const char *end = name.data + name.len;

	while (name.len) { /* HTTP/1.0 may name none */
		struct torc_router *found = find_host(r, name);
		const char *dot = memchr(name.data + 1, '.', name.len - 1);

		if (found || !dot)
			return found;
		name = (struct torc_slice){ dot, (size_t)(end - dot) };
	}
	return NULL;
}

static bool is_host(const char *host)
{
	return *host && *host != '.' && host[strlen(host) - 1] != '.' && !strchr(host, '*') &&
	       torc__http_authority_valid((struct torc_slice){ host, strlen(host) }, false);
}

static char *lower_copy(const char *text)
{
	char *copy = torc__malloc(strlen(text) + 1);

	for (size_t i = 0; copy && (i == 0 || text[i - 1]); i++) {
		copy[i] = text[i];
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] | 0x20);
	}
	return copy;
}

static int insert_host(struct torc_router *r, char *name, struct torc_router *to)
{
	struct torc_slice slice = { name, strlen(name) };
	size_t at = host_place(r, slice);
	struct host *hosts;

	if (find_host(r, slice))
		return -EEXIST;
	hosts = torc__realloc(r->hosts, (r->host_count + 1) * sizeof(*hosts));
	if (!hosts)
		return -ENOMEM;
	memmove(hosts + at + 1, hosts + at, (r->host_count - at) * sizeof(*hosts));
	hosts[at] = (struct host){ name, to };
	r->hosts = hosts;
	r->host_count++;
	return 0;
}

int torc_router_host(struct torc_router *r, const char *host, struct torc_router *to)
{
	bool wildcard = host[0] == '*' && host[1] == '.';
	struct torc_slice slice = { host, strlen(host) };
	char *name;
	int e;

	if (!to || !is_host(host + 2 * wildcard) || host_name(slice).len != slice.len)
		return -EINVAL;
	name = lower_copy(host + wildcard);
	if (!name)
		return -ENOMEM;
	e = insert_host(r, name, to);
	if (e < 0)
		torc__free(name);
	return e;
}

/* --- answers of the router's own --- */

static char *append_text(char *p, const char *text)
{
	size_t len = strlen(text);

	memcpy(p, text, len + 1);
	return p + len;
}

static int add_allow(struct torc_http_exchange *x, unsigned methods)
{
	char value[128] = "", *p = value;

	if (methods & 1u << TORC__HTTP_GET)
		methods |= 1u << TORC__HTTP_HEAD;
	if (methods & 1u << TORC__ROUTE_ANY)
		methods |= (1u << METHODS) - 1 - (1u << TORC__HTTP_CONNECT);
	methods |= 1u << TORC__HTTP_OPTIONS;
	for (unsigned m = 0; m < METHODS; m++) {
		if (!(methods & 1u << m))
			continue;
		if (p != value)
			p = append_text(p, ", ");
		p = append_text(p, method_names[m]);
	}
	return torc_http_add_field(x, "Allow", value);
}

/* arg: the methods that are allowed, as bits. */
static int answer_methods(struct torc_http_exchange *x, void *arg)
{
	bool asked = x->head.method == TORC__HTTP_OPTIONS;
	int r = add_allow(x, (unsigned)(uintptr_t)arg);

	if (r < 0)
		return r;
	return asked ? torc_http_respond(x, 204, NULL, NULL, 0)
		     : torc_http_respond_text(x, 405, "Method Not Allowed");
}

static int answer_bad_path(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond_text(x, 400, "Bad Request");
}

/* To the path with a slash more, or less. */
static int answer_slash(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice path = x->head.path, query = x->head.query;
	bool less = path.data[path.len - 1] == '/';
	char *text = torc_http_alloc(x, path.len + query.len + 3), *p = text;

	(void)arg;
	if (!text)
		return -ENOMEM;
	memcpy(p, path.data, path.len);
	p += path.len - less;
	if (!less)
		*p++ = '/';
	if (x->head.has_query) {
		*p++ = '?';
		if (query.len)
			memcpy(p, query.data, query.len);
		p += query.len;
	}
	*p = '\0';
	return torc_http_redirect(x, 308, text);
}

/* A route with limits: arg. */
static int run_limited(struct torc_http_exchange *x, void *arg)
{
	const struct torc__route *route = arg;
	size_t count = (size_t)(route->steps_end - route->steps);
	struct torc_scope scope;
	int r = route->body_bytes ? torc_http_limit_body(x, route->body_bytes) : 0;

	if (r < 0)
		return torc_http_respond_error(x, r);
	if (!route->deadline_ns)
		return torc_http_run(x, route->steps, count);
	torc_scope_enter(&scope, route->deadline_ns);
	r = torc_http_run(x, route->steps, count);
	if (torc_scope_leave(&scope) != -ETIMEDOUT || torc_http_status(x))
		return r;
	x->late = true;
	return torc_http_respond_error(x, -ETIMEDOUT);
}

/* --- paths --- */

/* Is a segment of it "." or ".."? */
static bool has_dots(struct torc_slice s)
{
	const char *p = s.data, *end = p + s.len;

	for (; (p = memchr(p, '.', (size_t)(end - p))); p++) {
		const char *q = p + 1;

		if (p != s.data && p[-1] != '/')
			continue;
		if (q < end && *q == '.')
			q++;
		if (q == end || *q == '/')
			return true;
	}
	return false;
}

static size_t count_slashes(const char *p, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += p[i] == '/';
	return n;
}

/* 0, -EBADMSG: malformed, or with what no path may have in a segment, or -ENOMEM. */
static int decode_path(struct torc_http_exchange *x, struct torc_slice *path)
{
	char *text = torc_http_alloc(x, path->len);
	ssize_t len;

	if (!text)
		return -ENOMEM;
	len = torc__http_percent_decode(path->data, path->len, text, false);
	if (len < 0 || memchr(text, '\0', (size_t)len) ||
	    count_slashes(text, (size_t)len) != count_slashes(path->data, path->len))
		return -EBADMSG;
	*path = (struct torc_slice){ text, (size_t)len };
	return 0;
}

/* What the router looks at: the path, or the mount's rest, which is decoded. */
static int path_of(struct torc_http_exchange *x, struct torc_slice *ret_path)
{
	*ret_path = torc_http_rest(x);
	if (torc__unlikely(memchr(ret_path->data, '%', ret_path->len) && !x->chain.mount))
		return decode_path(x, ret_path);
	return 0;
}

/* With that of the mount that this one is in in front. */
static int keep_prefix(struct torc_http_exchange *x, const struct torc__walk *w,
		       struct torc__http_match *m)
{
	struct torc_slice outer = torc__http_prefix(x);
	size_t len = (size_t)(w->mounted - w->begin);
	char *text;

	m->prefix = (struct torc_slice){ w->begin, len };
	if (!outer.len)
		return 0;
	text = torc_http_alloc(x, outer.len + len);
	if (!text)
		return -ENOMEM;
	memcpy(text, outer.data, outer.len);
	memcpy(text + outer.len, w->begin, len);
	m->prefix = (struct torc_slice){ text, outer.len + len };
	return 0;
}

/* Notes what was found. 0, -EBADMSG or -ENOMEM. */
static int keep_match(struct torc_http_exchange *x, const struct torc__walk *w)
{
	unsigned count = w->route->param_count;
	struct torc__http_match *m =
		torc_http_alloc(x, sizeof(*m) + count * sizeof(struct torc_slice));

	if (!m)
		return -ENOMEM;
	m->route = w->route;
	m->outer = x->chain.mount;
	m->name = NULL;
	m->rest = (struct torc_slice){ "/", 1 };
	if (w->mounted && w->mounted != w->end)
		m->rest = (struct torc_slice){ w->mounted, (size_t)(w->end - w->mounted) };
	for (unsigned i = 0; i < count; i++) {
		m->params[i] = w->params[i];
		if (has_dots(m->params[i]))
			return -EBADMSG;
	}
	if (w->mounted && has_dots(m->rest))
		return -EBADMSG;
	x->match = m;
	return w->mounted ? keep_prefix(x, w, m) : 0;
}

/* The same with a slash more at its end, or less. 0, -ENOENT or -ENOMEM. */
static int find_other_slash(const struct torc_router *r, struct torc_http_exchange *x,
			    struct torc_slice path, struct torc__walk *w)
{
	char *text;

	/* "//host/" would lead to another host, and browsers take a backslash for a slash. */
	if (r->options.slash == TORC_SLASH_STRICT || path.len < 2 || path.data[0] != '/' ||
	    x->head.path.data[1] == '/' || x->head.path.data[1] == '\\')
		return -ENOENT;
	if (path.data[path.len - 1] == '/')
		return torc__tree_find(&r->root, path.data, path.len - 1, w) ? 0 : -ENOENT;
	text = torc_http_alloc(x, path.len + 1);
	if (!text)
		return -ENOMEM;
	memcpy(text, path.data, path.len);
	text[path.len] = '/';
	return torc__tree_find(&r->root, text, path.len + 1, w) ? 0 : -ENOENT;
}

/* --- a request --- */

/* The steps that are to answer it, [count] of them. */
struct plan {
	const struct torc_http_step *steps;
	size_t count;
	struct torc_http_step step; /* when it is only one, of the router's own */
	const struct torc__http_match *mount;
};

static void plan_step(struct plan *p, torc_http_fn *fn, void *arg)
{
	p->step = (struct torc_http_step){ fn, arg };
	p->steps = &p->step;
	p->count = 1;
}

static int plan_route(struct torc_http_exchange *x, const struct torc__walk *w, struct plan *p)
{
	const struct torc__route *route = w->route;
	int r = keep_match(x, w);

	if (r < 0)
		return r;
	if (w->mounted)
		p->mount = x->match;
	if (torc__unlikely(route->body_bytes || route->deadline_ns)) {
		plan_step(p, run_limited, (void *)(uintptr_t)route);
		return 0;
	}
	p->steps = route->steps;
	p->count = (size_t)(route->steps_end - route->steps);
	return 0;
}

static int plan_failure(const struct torc_router *r, struct torc_http_exchange *x,
			struct torc_slice path, struct torc__walk *w, struct plan *p)
{
	int e;

	if (path.len == 1 && *path.data == '*' && x->head.method == TORC__HTTP_OPTIONS) {
		plan_step(p, answer_methods, (void *)(uintptr_t)r->methods);
		return 0;
	}
	if (w->allowed) {
		plan_step(p, answer_methods, (void *)(uintptr_t)w->allowed);
		return 0;
	}
	e = find_other_slash(r, x, path, w);
	if (!e && r->options.slash == TORC_SLASH_SAME)
		return plan_route(x, w, p);
	if (!e)
		plan_step(p, answer_slash, NULL);
	else if (e == -ENOENT && r->options.not_found)
		plan_step(p, r->options.not_found, r->options.not_found_arg);
	return e == -ENOENT ? 0 : e;
}

static int make_plan(const struct torc_router *r, struct torc_http_exchange *x, struct plan *p)
{
	struct torc_router *host = r->host_count ? choose_host(r, x->head.authority) : NULL;
	struct torc_slice path;
	struct torc__walk w;
	int e;

	if (host) {
		plan_step(p, torc_router_handle, host);
		return 0;
	}
	e = path_of(x, &path);
	if (e < 0)
		return e;
	w.method = x->head.method;
	if (torc__likely(torc__tree_find(&r->root, path.data, path.len, &w)))
		return plan_route(x, &w, p);
	return plan_failure(r, x, path, &w, p);
}

int torc_router_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_router *r = arg;
	const struct torc__http_chain outer = x->chain;
	struct plan p = { .mount = outer.mount };
	struct torc__http_chain inner;
	int e = make_plan(r, x, &p);

	if (e == -EBADMSG)
		plan_step(&p, answer_bad_path, NULL);
	else if (e < 0)
		return e;
	inner = (struct torc__http_chain){ p.steps, p.steps + p.count, &outer, p.mount };
	x->chain = (struct torc__http_chain){ r->steps, r->steps + r->step_count, &inner,
					      outer.mount };
	e = torc_http_next(x);
	x->chain = outer;
	return e;
}

/* --- what a handler sees of it --- */

bool torc_http_param(const struct torc_http_exchange *x, const char *name,
		     struct torc_slice *ret_value)
{
	size_t len = strlen(name);

	for (const struct torc__http_match *m = x->match; m; m = m->outer)
		for (unsigned i = 0; i < m->route->param_count; i++)
			if (is_name(m->route->params[i], name, len)) {
				*ret_value = m->params[i];
				return true;
			}
	return false;
}

static size_t name_length(const struct torc__http_match *m)
{
	size_t len = 0;

	for (; m; m = m->outer)
		len += strlen(m->route->public.pattern);
	return len;
}

/* From the end, as the list goes outwards. */
static const char *join_patterns(struct torc_http_exchange *x, const struct torc__http_match *m)
{
	size_t at = name_length(m);
	char *name = torc_http_alloc(x, at + 1);

	if (!name)
		return NULL;
	name[at] = '\0';
	for (; m; m = m->outer) {
		size_t len = strlen(m->route->public.pattern);

		at -= len;
		memcpy(name + at, m->route->public.pattern, len);
	}
	return name;
}

const char *torc_http_route(struct torc_http_exchange *x)
{
	struct torc__http_match *m = x->match;

	if (!m)
		return NULL;
	if (!m->outer)
		return *m->route->public.pattern ? m->route->public.pattern : "/";
	if (!m->name)
		m->name = join_patterns(x, m);
	return m->name;
}

struct torc_slice torc__http_prefix(const struct torc_http_exchange *x)
{
	return x->chain.mount ? x->chain.mount->prefix : (struct torc_slice){ "", 0 };
}

struct torc_slice torc_http_rest(const struct torc_http_exchange *x)
{
	return x->chain.mount ? x->chain.mount->rest : x->head.path;
}
