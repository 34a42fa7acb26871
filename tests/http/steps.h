/*
 * tests/http/steps.h - a world whose handler is a chain, with something to set up before the server and to take down after it.
 */
#ifndef TESTS_HTTP_STEPS_H
#define TESTS_HTTP_STEPS_H

#include "tests/http/world.h"

struct stage {
	struct world world; /* first */
	const struct torc_http_step *steps;
	size_t step_count;
	void (*before)(void), (*after)(void);
};

static inline int run_stage_steps(struct torc_http_exchange *x, void *arg)
{
	const struct stage *s = arg;

	return torc_http_run(x, s->steps, s->step_count);
}

static inline int stage_main(void *arg)
{
	struct stage *s = arg;
	int r;

	if (s->before)
		s->before();
	r = world_main(&s->world);
	if (s->after)
		s->after();
	return r;
}

static inline void run_stage(struct stage *s, void (*client)(struct world *))
{
	static const char *const any_port[] = { "127.0.0.1:0", NULL };
	struct world *w = &s->world;

	if (!w->options.addresses)
		w->options.addresses = any_port;
	w->options.handler = run_stage_steps;
	w->options.arg = w;
	w->options.on_listen = listening;
	w->client = client;
	w->address[0] = '\0';
	check_eq(run_with(&w->runtime, stage_main, s), 0);
}

/* The steps, and a client. */
#define RUN(client, ...)                                                                      \
	run_stage(&(struct stage){ .steps = (const struct torc_http_step[]){ __VA_ARGS__ },   \
				   .step_count =                                              \
					   sizeof((struct torc_http_step[]){ __VA_ARGS__ }) / \
					   sizeof(struct torc_http_step) },                   \
		  client)

static inline int say_ok(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond_text(x, 200, "ok");
}

/* An answer's field is this; NULL: there is none. */
static inline void expect_field(const struct reply *r, const char *name, const char *value)
{
	const char *is = header(r, name);

	is = is ? is : "missing";
	value = value ? value : "missing";
	if (strcmp(is, value) != 0) {
		fprintf(stderr, "%s is %s, not %s\n", name, is, value);
		abort();
	}
}

#endif
