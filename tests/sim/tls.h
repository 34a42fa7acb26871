/*
 * tests/sim/tls.h - encrypted connections: the two ends of a pair, and a server of echoes with its clients, good and bad.
 *
 * Checked, beside what those scenarios check: who gets an end has got all that was written before it, whatever broke or was
 * cancelled; nobody is left in the line of handshakes.
 *
 * Which seed comes to what must not depend on the random numbers of OpenSSL: the keys are of a kind whose signatures are
 * all of one length, and there are no tickets, whose length varies. They are made once: what is made in a run is of the run.
 */
#ifndef TESTS_SIM_TLS_H
#define TESTS_SIM_TLS_H

#include "io/internal/tls.h"
#include "tests/io/certs.h"
#include "tests/sim/echo.h"
#include "tests/sim/pair.h"

#define TLS_HOST "a.test"

/* A handshake takes as long as hundreds of other runs do: so few of the seeds have one. */
#define TLS_SEEDS 6

/* By version: 1.2, 1.3; the server's private key computes in the loop, or elsewhere. */
static struct torc_tls *tls_servers[2], *tls_clients[2];

/* Who waits for an answer has patience until it is a failure of the test. */
static inline struct torc_tls_options tls_options(int version)
{
	return (struct torc_tls_options){
		.min_version = version,
		.max_version = version,
		.no_resumption = true,
		.handshake_ns = PATIENT_NS,
	};
}

static inline void tls_make_keys(void)
{
	struct certs all;
	struct cert authority, leaf;
	struct torc_tls_certificate c;

	certs_open(&all);
	certs_make_even(&all, TLS_HOST, &authority, &leaf);
	c = (struct torc_tls_certificate){ .cert_file = leaf.cert_file, .key_file = leaf.key_file };
	for (int i = 0; i < 2; i++) {
		struct torc_tls_options server = tls_options(12 + i), client = server;

		server.certificates = &c;
		server.certificate_count = 1;
		server.compute = i ? TORC_TLS_COMPUTE_LOOP : TORC_TLS_COMPUTE_OTHER;
		client.compute = i ? TORC_TLS_COMPUTE_OTHER : TORC_TLS_COMPUTE_LOOP;
		client.ca_file = authority.cert_file;
		check_eq(torc_tls_server_create(&server, &tls_servers[i], NULL), 0);
		check_eq(torc_tls_client_create(&client, &tls_clients[i], NULL), 0);
	}
	cert_free(&leaf);
	cert_free(&authority);
	certs_close(&all);
}

/* Nobody has a place in the line, and no connection has been forgotten. */
static inline void tls_check_idle(void)
{
	for (int i = 0; i < 2; i++) {
		check_eq(torc_sem_units(&tls_servers[i]->handshakes), 1024);
		check_eq(torc_sem_units(&tls_clients[i]->handshakes), 1024);
		check_eq(tls_servers[i]->refs, 1);
		check_eq(tls_clients[i]->refs, 1);
	}
}

/* --- a pair --- */

struct tls_end {
	struct torc_stream *stream;
	struct torc_tls *tls;
	bool cut; /* it was given little time */
	int result;
};

static inline int tls_shake(struct tls_end *e)
{
	return e->tls->server ? torc_tls_accept(e->stream, e->tls)
			      : torc_tls_connect(e->stream, e->tls, TLS_HOST);
}

static inline int tls_end_main(void *arg)
{
	struct tls_end *e = arg;
	struct torc_scope scope;

	e->cut = one_in(8);
	torc_scope_enter(&scope, e->cut ? some_time() : TORC_SECONDS(100));
	e->result = tls_shake(e);
	torc_scope_leave(&scope);
	check(e->result <= 0 && e->result != -EINTR && e->result != -EAGAIN);
	return 0;
}

/* Are both ends ready? If nothing breaks and nobody runs out of time, they are. */
static inline bool tls_meet(struct torc_stream *a, struct torc_stream *b, int version)
{
	struct tls_end ends[2] = { { a, tls_servers[version], false, -ESRCH },
				   { b, tls_clients[version], false, -ESRCH } };
	struct torc_group group;
	bool both = true;

	torc_group_enter_supervisor(&group);
	for (int i = 0; i < 2; i++)
		both &= any_of_spawn(torc_group_spawn(&group, tls_end_main, &ends[i])) == 0;
	(void)any_of_spawn(torc_group_wait(&group));
	if (both && !ends[0].cut && !ends[1].cut && no_chaos(BREAKS | SLOWS)) {
		check_eq(ends[0].result, 0);
		check_eq(ends[1].result, 0);
	}
	/* In 1.3 a client is done before the server knows. */
	return !ends[0].result && !ends[1].result;
}

/* An end is said only by who has said all. */
static inline void tls_check_ways(const struct way *ways)
{
	check_ways(ways);
	for (int i = 0; i < 2; i++)
		if (ways[i].ended)
			check_eq(ways[i].read, ways[i].written);
}

static inline void tls_pair(int version)
{
	struct torc_stream a, b;
	struct way ways[2] = { { .from = &a, .to = &b, .number = 7 },
			       { .from = &b, .to = &a, .number = 8 } };
	bool in_memory = one_in(3);

	if (in_memory ? torc_stream_pair(&a, &b) < 0 : !open_ends(&a, &b))
		return;
	if (tls_meet(&a, &b, version)) {
		run_ways(ways);
		tls_check_ways(ways);
	}
	close_ends(&a, &b);
}

/* --- a server --- */

static inline void tls_on_listen(const char *address, void *arg)
{
	char text[128];

	check(!strncmp(address, "tls://", 6));
	snprintf(text, sizeof(text), "tcp://%s", address + 6);
	on_listen(text, arg);
}

static inline int tls_serve(struct serving *s)
{
	static const char *const address[] = { "tls://127.0.0.1:0", NULL };
	int most = one_in(3) ? 1 + (int)dice(3) : 0;

	s->most = most * torc_loop_count();
	s->grace_ns = one_in(2) ? some_time() : 0;
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = address,
		.tls = tls_servers[s->version],
		.handler = echo_handler,
		.arg = s,
		.connections_max = (size_t)most,
		.grace_ns = s->grace_ns,
		.on_listen = tls_on_listen,
	});
}

static inline int tls_visit(struct serving *s, struct torc_stream *stream, unsigned number)
{
	struct torc_tls *tls = tls_clients[s->version];
	int r = 0;

	if (one_in(8)) {
		torc_within(some_time()) r = torc_tls_connect(stream, tls, TLS_HOST);
	} else {
		r = served_or_stopped(s, torc_tls_connect(stream, tls, TLS_HOST));
	}
	return r < 0 ? r : echo_visit(s, stream, number);
}

static inline int tls_client(struct serving *s)
{
	return visit(s, tls_visit, dice(1000));
}

static inline int tls_scenario(void *arg)
{
	struct serving s = { .serve = tls_serve, .client = tls_client };

	(void)arg;
	if (!one_in(TLS_SEEDS))
		return 0;
	s.version = dice(2);
	if (one_in(2))
		tls_pair((int)s.version);
	else
		(void)run_serving(&s);
	tls_check_idle();
	return 0;
}

#endif
