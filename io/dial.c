/*
 * io/dial.c - torc_dial of io/socket.h: connect to an address, or to the best address of a name.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>

#include <torc/core/group.h>
#include <torc/core/sys.h>
#include <torc/io/address.h>

#include "core/internal/container.h"
#include "io/internal/address.h"
#include "io/internal/call.h"
#include "io/internal/dial.h"
#include "io/internal/sockopt.h"

/* RFC 8305, section 8. */
#define ATTEMPT_DELAY_NS  TORC_MS(250)
#define ATTEMPT_DELAY_MIN TORC_MS(10)
#define ATTEMPT_DELAY_MAX TORC_SECONDS(2)

/* --- one address --- */

static int bind_locally(int fd, const struct torc_address *to, const char *text)
{
	const int one = 1;
	struct torc_address local;
	int r = torc_address_parse(text, TORC_ADDRESS_WILDCARD, &local);

	if (r < 0)
		return r;
	if (local.any.sa_family != to->any.sa_family)
		return -EINVAL;
	/* A port of 0 is chosen when the peer is known, and may then be in use with another peer: the kernel has more of them. */
	if (local.any.sa_family != AF_UNIX && torc__on_linux())
		(void)torc_sys_setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
					  sizeof(one));
	return torc_sys_bind(fd, &local.any, local.len);
}

static int set_tcp_options(int fd, const struct torc_dial_options *o)
{
	int r = o->delay ? 0 : torc_set_nodelay(fd, true);

	if (!r && torc__keepalive_is_set(&o->keepalive))
		r = torc_set_keepalive(fd, &o->keepalive);
	if (!r && o->user_timeout_ms)
		r = torc_set_user_timeout(fd, o->user_timeout_ms);
	if (!r && o->fast_open)
		r = torc__set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
	return r;
}

static int prepare(int fd, const struct torc_address *to, const struct torc_dial_options *o)
{
	int r = torc_set_buffers(fd, o->recv_bytes, o->send_bytes);

	if (!r && to->any.sa_family != AF_UNIX && to->type != SOCK_DGRAM)
		r = set_tcp_options(fd, o);
	if (!r && o->device)
		r = torc__set_device(fd, o->device);
	if (!r && o->local)
		r = bind_locally(fd, to, o->local);
	return r;
}

static int connect_one(const struct torc_address *to, const struct torc_dial_options *o)
{
	int fd = torc_sys_socket(to->any.sa_family, to->type, 0), r;

	if (fd < 0)
		return fd;
	r = prepare(fd, to, o);
	if (!r)
		r = torc_connect(fd, &to->any, to->len);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	return fd;
}

/* --- the first of several --- */

struct attempt {
	struct torc_task task;
	const struct torc_address *to;
	const struct torc_dial_options *options;
	int result; /* a descriptor, until it is taken; or an error */
};

struct race {
	struct torc_group group;
	struct attempt attempts[TORC_NAME_ADDRESSES_MAX]; /* in the order in which they are tried */
	unsigned count, started, running;
	uint64_t next_ns; /* when the next one is to begin; 0: at once */
	int fd;           /* that has won; -1: none has yet */
};

static int run_attempt(void *arg)
{
	struct attempt *a = arg;

	a->result = connect_one(a->to, a->options);
	return a->result < 0 ? a->result : 0;
}

/* The best of one family, the best of the other one, the second best of the first one ... (section 4). */
static void arrange(struct race *race, const struct torc_addresses *all,
		    const struct torc_dial_options *o)
{
	const sa_family_t first = all->list[0].any.sa_family;
	unsigned at[2] = { 0, 0 }, which = 0;

	for (race->count = 0; race->count < all->count; which ^= 1) {
		unsigned *i = &at[which];

		while (*i < all->count && (all->list[*i].any.sa_family != first) != which)
			++*i;
		if (*i < all->count)
			race->attempts[race->count++] = (struct attempt){ .to = &all->list[(*i)++],
									  .options = o,
									  .result = -ECANCELED };
	}
}

/* One that cannot be started has failed: those under way may still succeed. */
static void start_next(struct race *race, uint64_t delay_ns)
{
	struct attempt *a = &race->attempts[race->started++];
	const struct torc_spawn_options o = { .name = "dial", .task = &a->task };
	int r = torc_group_spawn_with(&race->group, &o, run_attempt, a);

	if (r < 0) {
		a->result = r;
		return;
	}
	race->running++;
	race->next_ns = torc_now_ns() + delay_ns;
}

/* Returns 1: the attempt has ended; 0: the next one is to begin; or the scope's status. */
static int await_one(struct race *race, struct attempt **ret)
{
	struct torc_scope until;
	struct torc_task *task;
	int r, status;

	torc_scope_enter_until(&until, race->started < race->count ? race->next_ns : TORC_NEVER);
	r = torc_group_next(&race->group, &task);
	torc_scope_leave(&until);
	if (r > 0)
		*ret = torc__container_of(task, struct attempt, task);
	status = torc_scope_status();
	return r < 0 ? status : r;
}

/* A connection that has come: the first one wins. What has failed keeps its error. */
static void take(struct race *race, struct attempt *a)
{
	if (a->result < 0)
		return;
	if (race->fd < 0)
		race->fd = a->result;
	else
		torc_close(a->result);
	a->result = -ECANCELED;
}

/* Until one has won, all have failed, or the scope ends it: then its status. */
static int watch(struct race *race, uint64_t delay_ns)
{
	struct attempt *a = NULL;
	int r = 0;

	while (race->fd < 0 && r >= 0) {
		if (race->started < race->count && torc_now_ns() >= race->next_ns) {
			start_next(race, delay_ns);
			continue;
		}
		if (!race->running)
			break;
		r = await_one(race, &a);
		if (r > 0) {
			race->running--;
			race->next_ns = 0; /* one less: the next one at once */
			take(race, a);
		}
	}
	return r;
}

/* All have failed. That there is no way to an address at all says less than what happened on the way to another one. */
static int choose_error(const struct race *race)
{
	for (unsigned i = 0; i < race->count; i++) {
		int error = race->attempts[i].result;

		if (error != -ENETUNREACH && error != -EADDRNOTAVAIL && error != -EAFNOSUPPORT)
			return error;
	}
	return race->attempts[0].result;
}

static int connect_first(const struct torc_addresses *all, const struct torc_dial_options *o)
{
	struct race race = { .fd = -1 };
	int r;

	arrange(&race, all, o);
	torc_group_enter_supervisor(&race.group);
	r = watch(&race, o->attempt_delay_ns ? o->attempt_delay_ns : ATTEMPT_DELAY_NS);
	torc_group_cancel_with(&race.group, "another address was faster");
	(void)torc_group_wait(&race.group);
	/* Connections that came before they heard of it: the first is still good where the scope has ended the wait. */
	for (unsigned i = 0; i < race.started; i++)
		take(&race, &race.attempts[i]);
	if (race.fd >= 0)
		return race.fd;
	return r < 0 ? r : choose_error(&race);
}

/* --- names --- */

/* NAME:PORT. */
static int parse_name(const char *text, struct torc__target *t)
{
	const char *colon = strrchr(text, ':');
	char host[TORC__NAME_BYTES];
	in_port_t port;
	size_t len;
	int r;

	if (!colon)
		return -EINVAL;
	r = torc__port_parse(colon + 1, &port);
	if (r < 0)
		return r;
	len = (size_t)(colon - text);
	if (len >= sizeof(host))
		return -ENAMETOOLONG;
	memcpy(host, text, len);
	host[len] = '\0';
	t->port = ntohs(port);
	return torc__name_read(host, t->name);
}

static int parse_name_and_type(const char *text, struct torc__target *t)
{
	if (!strncmp(text, "udp://", 6))
		t->type = SOCK_DGRAM;
	if (t->type == SOCK_DGRAM || !strncmp(text, "tcp://", 6))
		text += 6;
	return parse_name(text, t);
}

/* "localhost" is both: as a name it has two addresses. A path may look like a name, and is none. */
int torc__target_parse(const char *text, struct torc__target *ret)
{
	struct torc__target t = { .type = SOCK_STREAM };
	int r = torc_address_parse(text, 0, &t.address), named = -EINVAL;

	if (r < 0 || t.address.any.sa_family != AF_UNIX)
		named = parse_name_and_type(text, &t);
	if (named < 0) {
		t.name[0] = '\0';
		if (r < 0)
			return named == -EINVAL ? r : named;
		t.type = t.address.type = t.address.type ? t.address.type : SOCK_STREAM;
	}
	*ret = t;
	return 0;
}

/* Where a socket is to be bound only addresses of that family will do. */
static int family_of(const char *local)
{
	struct torc_address a;
	int r;

	if (!local)
		return AF_UNSPEC;
	r = torc_address_parse(local, TORC_ADDRESS_WILDCARD, &a);
	if (r < 0)
		return r;
	return a.any.sa_family == AF_UNIX ? -EINVAL : a.any.sa_family;
}

static int connect_name(const struct torc__target *t, const struct torc_dial_options *o)
{
	struct torc_resolve_options how = { .type = t->type };
	struct torc_addresses all;
	int r = how.family = family_of(o->local);

	if (r >= 0)
		r = torc_resolve(t->name, t->port, &how, &all);
	if (r < 0)
		return r;
	if (all.count == 1 || t->type == SOCK_DGRAM)
		return connect_one(&all.list[0], o);
	return connect_first(&all, o);
}

int torc__target_connect(const struct torc__target *t, const struct torc_dial_options *options)
{
	static const struct torc_dial_options defaults;
	const struct torc_dial_options *o = options ? options : &defaults;

	if (o->attempt_delay_ns &&
	    (o->attempt_delay_ns < ATTEMPT_DELAY_MIN || o->attempt_delay_ns > ATTEMPT_DELAY_MAX))
		return -EINVAL;
	return t->name[0] ? connect_name(t, o) : connect_one(&t->address, o);
}

int torc_dial_with(const char *text, const struct torc_dial_options *options)
{
	struct torc__target to;
	int r = torc__target_parse(text, &to);

	if (r < 0)
		return r;
	if (to.type == SOCK_DGRAM && !to.name[0] && to.address.any.sa_family == AF_UNIX)
		return -EINVAL; /* without a name of its own nobody could answer it */
	return torc__target_connect(&to, options);
}

int torc_dial(const char *text)
{
	return torc_dial_with(text, NULL);
}
