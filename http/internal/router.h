/*
 * http/internal/router.h - a radix tree of patterns.
 *
 * A node is a run of literal bytes. From its end three things may follow: nodes of further literal bytes, no two of which
 * begin alike; a parameter, up to the next slash; a rest, up to the end. So of the literal children at most one
 * fits, and a path is a walk from the root, with two more ways to try at the beginning of each segment. As every
 * node stands for one place in the path, none is visited twice for a path.
 *
 *	/users/:id, /users/all, /static/ *path
 *
 *	"/" --+-- "users/" --+-- "all"
 *	      |              +-- :  (id)
 *	      +-- "static/" ---- *  (path)
 */
#ifndef TORC_HTTP_INTERNAL_ROUTER_H
#define TORC_HTTP_INTERNAL_ROUTER_H

#include <torc/http/router.h>

#include "http/internal/exchange.h"

/* The methods that the parser knows, and any other. */
#define TORC__ROUTE_METHODS (TORC__HTTP_METHOD_UNKNOWN + 1)
#define TORC__ROUTE_ANY     TORC__HTTP_METHOD_UNKNOWN

/* What was added, in one piece of memory with its steps, texts and the names of its parameters. */
struct torc__route {
	struct torc_route public;
	struct torc__route *next; /* all of a router */
	unsigned param_count;
	uint64_t body_bytes, deadline_ns; /* 0: none */
	const char *
		params[TORC_ROUTE_PARAMS_MAX]; /* in the pattern, up to the next slash or its end */
	struct torc_http_step *steps_end;
	struct torc_http_step steps[]; /* its middleware, and the handler */
};

/* What ends at one place of the tree, by method. */
struct torc__routes {
	struct torc__route *by_method[TORC__ROUTE_METHODS];
};

struct torc__branch {
	char *text; /* [len] */
	uint32_t len;
	uint32_t child_count;
	char *firsts;                   /* [child_count]: how the children begin */
	struct torc__branch **children; /* [child_count] */
	struct torc__branch *param;     /* its text is empty */
	struct torc__routes *here, *rest;
	struct torc__route *mount;
};

/* A walk through the tree. */
struct torc__walk {
	unsigned method;  /* enum torc__http_method */
	unsigned allowed; /* bit m: a route for method m ends where the path does */
	const struct torc__route *route;
	const char *mounted;     /* where the rest begins for a mount; else NULL */
	const char *begin, *end; /* of the path */
	struct torc_slice params[TORC_ROUTE_PARAMS_MAX];
};

/* Put a route, borrowed, where its pattern leads. 0, -EEXIST or -ENOMEM, which may leave nodes that lead nowhere. */
int torc__tree_add(struct torc__branch *root, struct torc__route *route, unsigned method,
		   bool mount);

/* Free a node, or all that is in it; not the routes. As deep as a pattern is long, at the most. */
void torc__tree_free(struct torc__branch *node);
void torc__tree_clear(struct torc__branch *node);

/* Find the route for a path. Returns w->route != NULL. */
bool torc__tree_find(const struct torc__branch *root, const char *path, size_t len,
		     struct torc__walk *w);

#endif
