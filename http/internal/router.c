#include "http/internal/router.h"

#include <errno.h>
#include <string.h>

#include "core/internal/system.h"
#include "core/internal/trap.h"

/* --- building --- */

static struct torc__branch *new_node(const char *text, size_t len)
{
	struct torc__branch *n = torc__calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->text = torc__malloc(len + 1);
	if (!n->text) {
		torc__free(n);
		return NULL;
	}
	memcpy(n->text, text, len);
	n->len = (uint32_t)len;
	return n;
}

void torc__tree_clear(struct torc__branch *n)
{
	for (uint32_t i = 0; i < n->child_count; i++)
		torc__tree_free(n->children[i]);
	torc__tree_free(n->param);
	torc__free(n->here);
	torc__free(n->rest);
	torc__free(n->firsts);
	torc__free(n->children);
	torc__free(n->text);
}

void torc__tree_free(struct torc__branch *n)
{
	if (!n)
		return;
	torc__tree_clear(n);
	torc__free(n);
}

static int add_child(struct torc__branch *n, struct torc__branch *child)
{
	size_t count = n->child_count + 1u;
	struct torc__branch **children =
		torc__realloc(n->children, count * sizeof(struct torc__branch *));
	char *firsts;

	if (!children)
		return -ENOMEM;
	n->children = children;
	firsts = torc__realloc(n->firsts, count);
	if (!firsts)
		return -ENOMEM;
	n->firsts = firsts;
	firsts[n->child_count] = *child->text;
	children[n->child_count++] = child;
	return 0;
}

/* Cut a node in two: its first `at` bytes, and a child with the rest and all that follows. */
static int split(struct torc__branch *n, uint32_t at)
{
	struct torc__branch *tail = new_node(n->text + at, n->len - at);
	struct torc__branch head = { .text = n->text, .len = at };
	char *text;

	if (!tail)
		return -ENOMEM;
	if (add_child(&head, tail) < 0) {
		torc__free(head.children);
		torc__tree_free(tail);
		return -ENOMEM;
	}
	text = tail->text;
	*tail = *n;
	tail->text = text;
	tail->len = n->len - at;
	*n = head;
	return 0;
}

static struct torc__branch *child_of(const struct torc__branch *n, char first)
{
	const char *at = n->child_count ? memchr(n->firsts, first, n->child_count) : NULL;

	return at ? n->children[at - n->firsts] : NULL;
}

static uint32_t common(const struct torc__branch *n, const char *text, size_t len)
{
	uint32_t i = 0;

	while (i < n->len && i < len && n->text[i] == text[i])
		i++;
	return i;
}

/* The node where [len] literal bytes behind n's end, made as needed. NULL without memory. */
static struct torc__branch *add_literal(struct torc__branch *n, const char *text, size_t len)
{
	while (len) {
		struct torc__branch *child = child_of(n, *text);
		uint32_t same;

		if (!child) {
			child = new_node(text, len);
			if (!child || add_child(n, child) < 0) {
				torc__tree_free(child);
				return NULL;
			}
			return child;
		}
		same = common(child, text, len);
		if (same < child->len && split(child, same) < 0)
			return NULL;
		text += same;
		len -= same;
		n = child;
	}
	return n;
}

static struct torc__branch *add_param(struct torc__branch *n)
{
	if (!n->param)
		n->param = new_node("", 0);
	return n->param;
}

static size_t segment_of(const char *p)
{
	return strcspn(p, "/");
}

/* The beginning of the next segment that is no literal, or the end. */
static const char *next_special(const char *p)
{
	while ((p = strchr(p, '/')) && p[1] != ':' && p[1] != '*')
		p++;
	return p ? p + 1 : NULL;
}

static int put_route(struct torc__routes **slot, struct torc__route *route, unsigned method)
{
	if (!*slot)
		*slot = torc__calloc(1, sizeof(**slot));
	if (!*slot)
		return -ENOMEM;
	if ((*slot)->by_method[method])
		return -EEXIST;
	(*slot)->by_method[method] = route;
	return 0;
}

static int put_mount(struct torc__branch *n, struct torc__route *route)
{
	if (n->mount)
		return -EEXIST;
	n->mount = route;
	return 0;
}

int torc__tree_add(struct torc__branch *n, struct torc__route *route, unsigned method, bool mount)
{
	const char *p = route->public.pattern;

	while (n && *p && *p != '*') {
		const char *special = *p == ':' ? p : next_special(p);
		size_t literal = special ? (size_t)(special - p) : strlen(p);

		n = add_literal(n, p, literal);
		p += literal;
		if (n && *p == ':') {
			n = add_param(n);
			p += segment_of(p);
		}
	}
	if (!n)
		return -ENOMEM;
	if (mount)
		return put_mount(n, route);
	return put_route(*p ? &n->rest : &n->here, route, method);
}

/* --- finding --- */

/* Does one of these answer the method? GET's does for HEAD, and one for any method for those without their own. */
static const struct torc__route *choose(const struct torc__routes *routes, struct torc__walk *w)
{
	const struct torc__route *route;

	if (!routes)
		return NULL;
	route = routes->by_method[w->method];
	if (!route && w->method == TORC__HTTP_HEAD)
		route = routes->by_method[TORC__HTTP_GET];
	if (!route)
		route = routes->by_method[TORC__ROUTE_ANY];
	if (route)
		return route;
	for (unsigned m = 0; m < TORC__ROUTE_METHODS; m++)
		if (routes->by_method[m])
			w->allowed |= 1u << m;
	return NULL;
}

static bool is_found(struct torc__walk *w, const struct torc__route *route)
{
	w->route = route;
	return route != NULL;
}

static bool find(const struct torc__branch *n, const char *p, unsigned params,
		 struct torc__walk *w);

static bool find_child(const struct torc__branch *n, const char *p, unsigned params,
		       struct torc__walk *w)
{
	const struct torc__branch *child = child_of(n, *p);

	return child && (size_t)(w->end - p) >= child->len && !memcmp(child->text, p, child->len) &&
	       find(child, p + child->len, params, w);
}

static bool find_param(const struct torc__branch *n, const char *p, unsigned params,
		       struct torc__walk *w)
{
	const char *slash = memchr(p, '/', (size_t)(w->end - p));
	size_t len = (size_t)((slash ? slash : w->end) - p);

	if (!len)
		return false;
	w->params[params] = (struct torc_slice){ p, len };
	return find(n->param, p + len, params + 1, w);
}

static bool find_rest(const struct torc__branch *n, const char *p, unsigned params,
		      struct torc__walk *w)
{
	if (!is_found(w, choose(n->rest, w)))
		return false;
	w->params[params] = (struct torc_slice){ p, (size_t)(w->end - p) };
	return true;
}

/* A prefix ends in front of a slash, or at the end. */
static bool find_mount(const struct torc__branch *n, const char *p, struct torc__walk *w)
{
	if (p != w->end && *p != '/')
		return false;
	w->mounted = p;
	return is_found(w, n->mount);
}

/* The path up to p has led to the end of n. Not deeper than a pattern is long. */
static bool find(const struct torc__branch *n, const char *p, unsigned params, struct torc__walk *w)
{
	if (p == w->end) {
		if (n->here && is_found(w, choose(n->here, w)))
			return true;
	} else {
		if (find_child(n, p, params, w))
			return true;
		if (n->param && find_param(n, p, params, w))
			return true;
	}
	if (n->rest && find_rest(n, p, params, w))
		return true;
	return n->mount && find_mount(n, p, w);
}

bool torc__tree_find(const struct torc__branch *root, const char *path, size_t len,
		     struct torc__walk *w)
{
	w->route = NULL;
	w->mounted = NULL;
	w->begin = path;
	w->end = path + len;
	w->allowed = 0;
	return find(root, path, 0, w);
}
