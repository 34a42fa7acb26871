/*
 * tests/sim/client.h - the HTTP client, shared by fibers of all loops, and the library's server: bodies both ways, redirects, requests that are cut short, pauses
 * just as long as a server keeps a connection.
 *
 * Checked: each request ends with its own answer, or an error that such weather explains, and says so; what is not idempotent is carried out once at
 * most; what is, is answered as long as nothing breaks; never more connections than there may be, and none in use that nobody uses.
 */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include <stdlib.h>

#include <torc/http/client.h>
#include <torc/http/server.h>

#include "tests/sim/serving.h"

#define ASKED_MOST 128

struct asking {
	struct serving serving; /* first */
	struct torc_http_client *client;
	unsigned most;           /* connections to an origin, of each loop */
	struct torc_scope scope; /* that it is all in */
	int loop;                /* of it */
	atomic_bool over;        /* it was cancelled: the server may know first */
	atomic_uint next;
	atomic_uint done[ASKED_MOST]; /* how often each was carried out */
};

#define ASKING(s) ((struct asking *)(void *)(s))

/* --- the server --- */

static inline int asked_sum(struct torc_http_exchange *x, unsigned n)
{
	struct torc_slice part;
	size_t len = 0;
	char text[64];
	int r;

	while ((r = torc_http_body_peek(x, &part)) > 0) {
		check_bytes(part.data, part.len, n, len);
		len += part.len;
		torc_http_body_consume(x, part.len);
		if (one_in(6) && (r = do_something()) < 0)
			return r;
	}
	if (r < 0)
		return r;
	r = snprintf(text, sizeof(text), "%u: %zu", n, len);
	return torc_http_respond(x, 200, "text/plain", text, (size_t)r);
}

static inline int asked_bytes(struct torc_http_exchange *x, unsigned n)
{
	size_t len = n % 7 * 997, part;
	char bytes[1000];
	int r = torc_http_begin(x, 200, "text/plain", n % 2 ? len : TORC_NEVER);

	for (size_t at = 0; !r && at < len; at += part) {
		part = len - at < sizeof(bytes) ? len - at : sizeof(bytes);
		fill_bytes(bytes, part, n, at);
		r = torc_http_write(x, bytes, part);
		if (!r && one_in(4))
			r = do_something();
	}
	return r ? r : torc_http_end(x);
}

/* "/N/..." */
static inline int asked(struct torc_http_exchange *x, void *arg)
{
	struct asking *a = arg;
	struct torc_slice path = torc_http_path(x);
	unsigned n = 0;
	char text[32];
	size_t i;
	int r = 0;

	for (i = 1; i < path.len && path.data[i] != '/'; i++)
		n = n * 10 + (unsigned)(path.data[i] - '0');
	check_lt(n, ASKED_MOST);
	path = (struct torc_slice){ path.data + i, path.len - i };
	if (!memcmp(path.data, "/away", 5)) {
		snprintf(text, sizeof(text), "/%u/bytes", n);
		r = torc_http_add_field(x, "Location", text);
		return r ? r : torc_http_respond(x, 302, "text/plain", "there", 5);
	}
	a->done[n]++;
	if (one_in(3))
		r = do_something();
	if (r < 0)
		return r;
	return path.data[1] == 's' ? asked_sum(x, n) : asked_bytes(x, n);
}

static inline int serve_asked(struct serving *s)
{
	static const char *const addresses[] = { "tcp://127.0.0.1:0", NULL };

	s->idle_ns = TORC_SECONDS(15);
	return torc_http_serve(&(struct torc_http_options){
		.addresses = addresses,
		.handler = asked,
		.arg = s,
		.body_bytes = 100000,
		.idle_ns = s->idle_ns,
		.on_listen = on_listen,
	});
}

/* --- requests --- */

struct asked_body {
	unsigned n;
	size_t len;
};

static inline int asked_upload(struct torc_http_upload *u, void *arg)
{
	const struct asked_body *body = arg;
	char bytes[3000];
	int r = 0;

	for (size_t at = 0, part; !r && at < body->len; at += part) {
		part = 1 + dice(sizeof(bytes));
		part = body->len - at < part ? body->len - at : part;
		fill_bytes(bytes, part, body->n, at);
		r = torc_http_upload_write(u, bytes, part);
		if (!r && one_in(4))
			r = do_something();
	}
	return r;
}

/* What a wrong answer would be, or a call that was none. */
static inline void check_error(int r, const char *why)
{
	check(r != -EBADMSG && r != -EMSGSIZE && r != -EPROTO && r != -EINVAL && r != -EINTR &&
	      r != -EAGAIN && r != -ENODATA && r != -ELOOP && r != -ESPIPE && r != -EIO &&
	      r != -EPROTONOSUPPORT);
	check(*why);
}

static inline int check_answer(struct torc_http_response *res, bool sum, unsigned n, size_t sent)
{
	struct torc_slice part;
	char text[64];
	size_t len = 0;
	int r;

	if (torc_http_response_status(res) != 200) {
		/* the server's own trouble */
		check_ge(torc_http_response_status(res), 400);
		check(!no_chaos(BREAKS | SLOWS));
		return -EREMOTEIO;
	}
	if (sum) {
		r = torc_http_response_read(res, 1000, &part);
		snprintf(text, sizeof(text), "%u: %zu", n, sent);
		if (!r)
			check(part.len == strlen(text) && !memcmp(part.data, text, part.len));
		return r;
	}
	while ((r = torc_http_response_peek(res, &part)) > 0) {
		check_bytes(part.data, part.len, n, len);
		len += part.len;
		torc_http_response_consume(res, part.len);
		if (one_in(6) && (r = do_something()) < 0)
			return r;
	}
	check(r < 0 || len == n % 7 * 997);
	return r;
}

static inline void check_pool(const struct asking *a)
{
	struct torc_http_client_stats stats;

	torc_http_client_stats(a->client, &stats);
	check_le(stats.connections, a->most);
	check_le(stats.idle, stats.connections);
	check_le(stats.waiting, CLIENTS_MOST);
}

/* A request of some kind, and its answer. */
static inline int ask(struct asking *a, unsigned n, bool *ret_repeats)
{
	bool sum = one_in(2), away = !sum && one_in(4);
	struct asked_body body = { n, one_in(2) ? dice(1000) : dice(60000) };
	char url[200], why[TORC_HTTP_WHY_MAX] = "", *bytes = NULL;
	struct torc_http_request q = { .url = url, .ret_why = why };
	struct torc_http_response *res;
	int r;

	*ret_repeats = !sum;
	if (sum) {
		q.expect_continue = one_in(4);
		bytes = one_in(2) ? malloc(body.len + 1) : NULL;
		if (bytes)
			fill_bytes(bytes, body.len, n, 0);
		q.body = bytes;
		q.body_len = bytes ? body.len : 0;
		q.body_fn = bytes ? NULL : asked_upload;
		q.body_arg = &body;
		q.body_length = one_in(2) ? body.len : 0;
	}
	snprintf(url, sizeof(url), "http://%s/%u/%s", strstr(a->serving.addresses[0], "://") + 3, n,
		 sum    ? "sum"
		 : away ? "away"
			: "bytes");
	r = torc_http_request(a->client, &q, &res);
	check_pool(a);
	if (r < 0)
		check_error(r, why);
	if (!r) {
		if (!one_in(8))
			r = check_answer(res, sum, n, body.len);
		torc_http_response_close(res);
		if (r < 0)
			check_error(r, "its body");
	}
	free(bytes);
	if (sum)
		check_le(a->done[n], 1);
	return r;
}

static inline void ask_patiently(struct asking *a)
{
	struct torc_scope scope;
	unsigned n = a->next++;
	bool repeats, hurried = one_in(5);
	int r = 0;

	if (n >= ASKED_MOST)
		return;
	torc_scope_enter(&scope, PATIENT_NS);
	if (hurried)
		torc_within(some_time()) r = ask(a, n, &repeats);
	else
		r = ask(a, n, &repeats);
	if (r < 0 && !hurried && repeats && torc_scope_status() != -ECANCELED &&
	    !a->serving.stopping && !a->over)
		check(!no_chaos(BREAKS | SLOWS));
	leave_patiently(&scope);
}

/* Now and then it is all cancelled, with responses open, and bodies under way. */
static inline int asking_client(struct serving *s)
{
	struct asking *a = ASKING(s);

	for (unsigned n = 1 + dice(8); n && !torc_scope_status(); n--) {
		ask_patiently(a);
		if (one_in(40) && torc_loop_index() == a->loop) {
			a->over = true;
			torc_scope_cancel(&a->scope);
		}
		if (one_in(4))
			(void)do_sleep(one_in(2) ? TORC_SECONDS(15) + some_time() : some_time());
	}
	return 0;
}

/* --- the scenario --- */

static inline int client_scenario(void *arg)
{
	struct asking a = { .serving = { .serve = serve_asked, .client = asking_client },
			    .most = 1 + dice(4) };
	struct torc_http_client_options o = { .no_environment = true };
	struct torc_http_client_stats stats;

	(void)arg;
	o.origin_max = a.most;
	o.idle_ns = one_in(2) ? some_time() : 0;
	a.loop = torc_loop_index();
	torc_scope_enter(&a.scope, TORC_NEVER);
	if (!torc_http_client_open(&o, &a.client)) {
		(void)run_serving(&a.serving);
		torc_http_client_stats(a.client, &stats);
		check_eq(stats.connections, stats.idle);
		check_eq(stats.waiting, 0);
		torc_http_client_close(a.client);
	}
	torc_scope_leave(&a.scope);
	return 0;
}

#endif
