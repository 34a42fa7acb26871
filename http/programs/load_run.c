#include "http/programs/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <torc/core/run.h>
#include <torc/core/timeout.h>
#include <torc/io/address.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

/*
 * The phases:
 *
 *	connect     until each connection has been tried once: load->settled
 *	start_ns    they begin to send: the warm-up
 *	begin_ns    what is sent from now on counts
 *	end_ns      nothing more is sent; what is under way has LOAD_DRAIN_NS
 *	            and then all fibers are cancelled, whatever the server does
 *
 * Fixing the times, and then setting load->begun, is what tells the other loops. Each of them looks at its clock by itself.
 */

static uint64_t cpu_ns(void)
{
	struct rusage u;
	long long us;

	if (getrusage(RUSAGE_SELF, &u) < 0)
		return 0;
	us = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000ll + u.ru_utime.tv_usec +
	     u.ru_stime.tv_usec;
	return (uint64_t)us * 1000;
}

/* --- a loop --- */

/* Often enough for the time limit, and for who looks at the progress. */
static uint64_t tick_ns(const struct load *load)
{
	uint64_t ns = load->timeout_ns / 8;

	return ns < TORC_MS(1) ? TORC_MS(1) : ns > TORC_MS(100) ? TORC_MS(100) : ns;
}

static void end_overdue(struct load_loop *l)
{
	uint64_t now = torc_turn_ns();

	for (unsigned i = 0; i < l->connection_count; i++) {
		struct load_connection *c = &l->connections[i];

		if (!c->since_ns || c->overdue || now < c->since_ns + l->load->timeout_ns)
			continue;
		c->overdue = true;
		torc_scope_cancel(&c->scope);
	}
}

/* A fiber: one timer for all connections of the loop, so that a request needs none. */
static int watch(void *arg)
{
	struct load_loop *l = arg;

	while (!torc_sleep(tick_ns(l->load))) {
		end_overdue(l);
		atomic_store_explicit(&l->published, l->counts.answers, memory_order_relaxed);
	}
	return 0;
}

/* There was no room for the fiber. */
static void skip_connection(struct load_loop *l, int error)
{
	if (!*l->why)
		snprintf(l->why, sizeof(l->why), "cannot start a connection: %s", strerror(-error));
	l->counts.errors[LOAD_CONNECT]++;
	torc_latch_count_down(&l->load->settled);
	if (!--l->live)
		torc_task_cancel(&l->watchdog);
}

static void start_connections(struct load_loop *l, struct torc_group *group)
{
	l->live = l->connection_count;
	for (unsigned i = 0; i < l->connection_count; i++) {
		int r = torc_group_spawn_with(group,
					      &(struct torc_spawn_options){
						      .name = "load connection" },
					      load_connection_main, &l->connections[i]);

		if (r < 0)
			skip_connection(l, r);
	}
}

/* A fiber on each loop. */
static int loop_main(void *arg)
{
	struct load_loop *l = arg;
	struct torc_group group;
	int r, ended;

	torc_group_enter(&group);
	r = torc_group_spawn_with(&group,
				  &(struct torc_spawn_options){ .name = "watchdog",
								.task = &l->watchdog },
				  watch, l);
	if (!r)
		start_connections(l, &group);
	ended = torc_group_wait(&group);
	torc_latch_count_down(&l->load->running);
	return r ? r : ended;
}

/* --- progress --- */

static uint64_t published(const struct load *load)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < load->loop_count; i++)
		sum += atomic_load_explicit(&load->loops[i].published, memory_order_relaxed);
	return sum;
}

/* A fiber: a line on the terminal, once a second. */
static int show_progress(void *arg)
{
	const struct load *load = arg;
	uint64_t before = 0, last_ns = load->start_ns;

	while (!torc_sleep(TORC_SECONDS(1))) {
		uint64_t now_ns = torc_turn_ns(), answers = published(load);
		double rate = (double)(answers - before) * 1e9 / (double)(now_ns - last_ns);

		fprintf(stderr, "\r\033[K%s: %s%.0f s, %llu answers, %.0f/s", load->program.name,
			now_ns < load->begin_ns ? "warm-up, " : "",
			(double)(now_ns - load->start_ns) / 1e9, (unsigned long long)answers, rate);
		before = answers;
		last_ns = now_ns;
	}
	fputs("\r\033[K", stderr);
	return 0;
}

static bool shows_progress(const struct load *load)
{
	return !load->program.quiet && isatty(STDERR_FILENO);
}

/* --- the phases --- */

static void fix_times(struct load *load)
{
	load->start_ns = torc_now_ns();
	load->begin_ns = load->start_ns + load->warm_up_ns;
	load->end_ns = load->begin_ns + load->duration_ns;
	torc_event_set(&load->begun);
}

/* All loops have ended by themselves: 0; or the moment has come: -ETIMEDOUT; or -ECANCELED. */
static int wait_until(struct load *load, uint64_t moment_ns)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter_until(&scope, moment_ns);
	r = torc_latch_wait(&load->running);
	torc_scope_leave(&scope);
	return r;
}

static uint64_t drain_ns(const struct load *load)
{
	return load->timeout_ns < LOAD_DRAIN_NS ? load->timeout_ns : LOAD_DRAIN_NS;
}

static int follow_phases(struct load *load)
{
	int r;

	fix_times(load);
	r = wait_until(load, load->begin_ns);
	if (r == -ETIMEDOUT) {
		load->measuring = true;
		load->cpu_begin_ns = cpu_ns();
		r = wait_until(load, load->end_ns);
	}
	if (r == -ETIMEDOUT)
		r = wait_until(load, load->end_ns + drain_ns(load));
	load->cpu_ns = load->measuring ? cpu_ns() - load->cpu_begin_ns : 0;
	return r;
}

static int measure(struct load *load)
{
	struct torc_task progress;
	struct torc_group group;
	int r = 0;

	torc_group_enter(&group);
	if (shows_progress(load))
		r = torc_group_spawn_with(&group,
					  &(struct torc_spawn_options){ .name = "progress",
									.task = &progress },
					  show_progress, load);
	if (!r)
		r = follow_phases(load);
	torc_group_cancel(&group);
	(void)torc_group_wait(&group);
	return r;
}

/* Each connection has been tried, at the latest when its time is up. */
static int connect_all(struct load *load)
{
	int r = torc_latch_wait(&load->settled);

	if (r < 0)
		return r;
	return atomic_load_explicit(&load->connected, memory_order_relaxed) ? 0 : -ENOTCONN;
}

/* What was cut short by a signal ends then. Loops may still be looking at end_ns. */
static void note_end(struct load *load, bool cut_short)
{
	uint64_t now = torc_now_ns();

	load->over_ns = cut_short && now < load->end_ns ? now : load->end_ns;
}

static int run_loops(struct load *load)
{
	struct torc_group group;
	int r = 0, ended;

	torc_latch_init(&load->settled, (uint32_t)load->connections);
	torc_latch_init(&load->running, load->loop_count);
	torc_event_init(&load->begun);
	torc_group_enter(&group);
	for (unsigned i = 0; i < load->loop_count && !r; i++)
		r = torc_group_spawn_with(&group,
					  &(struct torc_spawn_options){
						  .name = "load", .loop = TORC_ON_LOOP((int)i) },
					  loop_main, &load->loops[i]);
	if (!r)
		r = connect_all(load);
	if (!r)
		r = measure(load);
	note_end(load, r == -ECANCELED);
	if (r)
		torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r ? r : ended;
}

/* --- before and after --- */

/* Among `parts`, as evenly as it gets: the [i]th one's share. */
static uint64_t share(uint64_t of_all, unsigned parts, unsigned i)
{
	return of_all / parts + (i < of_all % parts);
}

static int init_loop(struct load *load, unsigned i)
{
	struct load_loop *l = &load->loops[i];

	l->load = load;
	l->index = i;
	l->budget_left = load->requests ? share(load->requests, load->loop_count, i) : UINT64_MAX;
	l->seen.whole = SIZE_MAX;
	l->connection_count = (unsigned)share(load->connections, load->loop_count, i);
	l->connections = calloc(l->connection_count, sizeof(*l->connections));
	for (unsigned k = 0; l->connections && k < l->connection_count; k++)
		l->connections[k].loop = l;
	return l->connections ? 0 : -ENOMEM;
}

static int init_loops(struct load *load)
{
	uint64_t loops = (uint64_t)torc_loop_count();
	size_t bytes;
	int r = 0;

	if (loops > load->connections)
		loops = load->connections;
	load->loop_count = (unsigned)loops;
	bytes = load->loop_count * sizeof(*load->loops);
	load->loops = aligned_alloc(_Alignof(struct load_loop), bytes);
	if (!load->loops)
		return -ENOMEM;
	memset(load->loops, 0, bytes);
	for (unsigned i = 0; i < load->loop_count; i++)
		if (init_loop(load, i) < 0)
			r = -ENOMEM; /* and on: the others are looked at in the end, too */
	return r;
}

/*
 * A name is looked up once, and the address that answers is used from then on: it is not the resolver that is to be measured.
 * To find that address there is a connection that says nothing.
 */
static int fix_address(struct load *load)
{
	struct torc_address a;
	char text[TORC_ADDRESS_MAX];
	int fd, r;

	if (!strstr(load->address, "localhost") && !torc_address_parse(load->address, 0, &a))
		return 0;
	fd = torc_dial(load->address);
	if (fd < 0)
		return fd;
	r = torc_peer_address(fd, &a);
	torc_close(fd);
	if (r < 0)
		return r;
	free(load->address);
	load->address = strdup(torc_address_format(&a, text, sizeof(text)));
	return load->address ? 0 : -ENOMEM;
}

static int find_server(void *load)
{
	return fix_address(load);
}

static int open_tls(struct load *load)
{
	const struct torc_tls_options o = {
		.ca_file = load->tls_ca,
		.verify = load->tls_insecure ? TORC_TLS_VERIFY_NONE : TORC_TLS_VERIFY_DEFAULT,
	};
	char why[TORC_TLS_WHY_MAX];
	int r = load->is_tls ? torc_tls_client_create(&o, &load->tls, why) : 0;

	if (r < 0)
		fprintf(stderr, "%s: %s\n", load->program.name, why);
	return r;
}

static int say_unreachable(const struct load *load, int r)
{
	const char *why = strerror(-r);

	if (r == -EINVAL)
		why = "not an address; HOST:PORT, or unix:/path";
	if (r == -ECANCELED)
		why = "interrupted";
	fprintf(stderr, "%s: cannot connect to %s: %s\n", load->program.name, load->address, why);
	return r;
}

int load_run(void *arg)
{
	struct load *load = arg;
	int r = open_tls(load);

	if (r < 0)
		return r;
	r = torc_timeout(load->timeout_ns, find_server, load);
	if (r < 0)
		say_unreachable(load, r);
	if (!r)
		r = init_loops(load);
	if (!r)
		r = run_loops(load);
	if (load->tls)
		torc_tls_unref(load->tls);
	return r;
}
