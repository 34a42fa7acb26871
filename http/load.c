#include "http/internal/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/run.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"

int torc__http_loads_init(struct torc__http_config *config)
{
	const struct torc_http_options *o = &config->options;
	size_t count = (size_t)torc_loop_count();

	snprintf(config->retry_after, sizeof(config->retry_after), "%u", o->retry_after_s);
	config->loads = torc__alloc_lines(count * sizeof(*config->loads));
	if (!config->loads)
		return -ENOMEM;
	memset(config->loads, 0, count * sizeof(*config->loads));
	for (size_t i = 0; i < count; i++)
		torc_sem_init(&config->loads[i].handlers, o->handlers_max);
	return 0;
}

void torc__http_loads_done(struct torc__http_config *config)
{
	for (int i = 0; i < torc_loop_count(); i++)
		torc_sem_done(&config->loads[i].handlers);
	torc__free(config->loads);
}

/* --- connections --- */

/* To be turned away at the same time: more than that wait or are reset, as at_limit says. */
#define SPARE_LEAST 8
#define SPARE_MOST  1024

size_t torc__http_connections_max(const struct torc_http_options *o)
{
	size_t spare = o->connections_max / 8;

	if (!o->answer_at_limit || !o->connections_max)
		return o->connections_max;
	spare = spare < SPARE_LEAST ? SPARE_LEAST : spare > SPARE_MOST ? SPARE_MOST : spare;
	return o->connections_max < SIZE_MAX - spare ? o->connections_max + spare : SIZE_MAX;
}

bool torc__http_connection_enter(struct torc__http_connection *c)
{
	const struct torc_http_options *o = &c->config->options;

	c->load = &c->config->loads[torc_loop_index()];
	if (torc__unlikely(o->answer_at_limit && o->connections_max &&
			   c->load->connections >= o->connections_max))
		return false;
	c->load->connections++;
	return true;
}

void torc__http_connection_leave(struct torc__http_connection *c)
{
	c->load->connections--;
}

/* --- handlers --- */

static int wait_in_line(const struct torc_http_options *o, struct torc__http_load *load)
{
	struct torc_scope scope;
	int r, status;

	if (load->queued >= o->queue_max)
		return -EBUSY;
	load->queued++;
	torc_scope_enter_until(&scope, torc_turn_ns() + o->queue_ns);
	r = torc_sem_acquire(&load->handlers, 1);
	status = torc_scope_leave(&scope);
	load->queued--;
	/* It was this deadline unless an outer one has passed as well. */
	return r == -ETIMEDOUT && status == -ETIMEDOUT && !torc_scope_status() ? -EBUSY : r;
}

int torc__http_handler_enter(const struct torc_http_options *o, struct torc__http_load *load)
{
	if (torc__likely(!o->handlers_max) || !torc_sem_try_acquire(&load->handlers, 1))
		return 0;
	return wait_in_line(o, load);
}

void torc__http_handler_leave(const struct torc_http_options *o, struct torc__http_load *load)
{
	if (torc__unlikely(o->handlers_max))
		torc_sem_release(&load->handlers, 1);
}
