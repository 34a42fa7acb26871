/*
 * A client's calls that are cancelled, at whatever point, and by fibers of several loops at once: nothing is left behind, and the next request finds everything
 * in order.
 */
#define world tls_world
#include "tests/io/tls.h"
#undef world

#include "tests/http/client.h"

#include <stdatomic.h>
#include <zlib.h>

TestSuite(client_cancel, .timeout = 60);

#define BULK ((size_t)100 << 10)

static struct tls_world secure;

/* --- the server --- */

static int answer_sum(struct torc_http_exchange *x)
{
	struct torc_slice part;
	uint64_t len = 0;
	char text[24];
	int r;

	while ((r = torc_http_body_peek(x, &part)) > 0) {
		check(same_bytes(part.data, part.len, 7, len));
		len += part.len;
		torc_http_body_consume(x, part.len);
	}
	snprintf(text, sizeof(text), "%llu", (unsigned long long)len);
	return r ? r : torc_http_respond_text(x, 200, text);
}

static int answer_parts(struct torc_http_exchange *x)
{
	int r = torc_http_begin(x, 200, "text/plain", TORC_NEVER);

	for (int i = 0; !r && i < 3; i++) {
		r = torc_http_write(x, "part ", 5);
		if (!r)
			r = torc_http_flush(x);
		if (!r)
			r = torc_yield();
	}
	return r ? r : torc_http_end(x);
}

static int answer_zip(struct torc_http_exchange *x)
{
	char zipped[256];
	z_stream z = { .next_out = (Bytef *)zipped, .avail_out = sizeof(zipped) };
	int r;

	z.next_in = (Bytef *)(uintptr_t) "hello";
	z.avail_in = 5;
	check_eq(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	check_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	check_eq(deflateEnd(&z), Z_OK);
	r = torc_http_add_field(x, "Content-Encoding", "gzip");
	return r ? r : torc_http_respond(x, 200, NULL, zipped, sizeof(zipped) - z.avail_out);
}

static int answer(struct torc_http_exchange *x, void *arg)
{
	int r;

	(void)arg;
	if (torc_http_path_is(x, "/sum"))
		return answer_sum(x);
	if (torc_http_path_is(x, "/parts"))
		return answer_parts(x);
	if (torc_http_path_is(x, "/zip"))
		return answer_zip(x);
	if (!torc_http_path_is(x, "/away"))
		return torc_http_respond_text(x, 200, "hello");
	r = torc_http_add_field(x, "Location", "/parts");
	return r ? r : torc_http_respond_text(x, 302, "there");
}

/* --- what is asked --- */

static int uploading; /* bodies that are being written */

static int upload_bulk(struct torc_http_upload *u, void *arg)
{
	const char *data = arg;
	int r = 0;

	uploading++;
	for (size_t at = 0; !r && at < BULK; at += 20000)
		r = torc_http_upload_write(u, data + at, BULK - at < 20000 ? BULK - at : 20000);
	uploading--;
	return r;
}

static char bulk[BULK];

static const struct {
	const char *path;
	const char *body; /* that comes back */
	struct torc_http_request q;
	bool in_line; /* behind another one */
} asks[] = {
	{ "/get", "hello", { 0 }, false },
	{ "/parts", "part part part ", { 0 }, false },
	{ "/zip", "hello", { 0 }, false },
	{ "/away", "part part part ", { 0 }, false },
	{ "/get", "hello", { 0 }, true },
	{ "/sum", "102400", { .body_fn = upload_bulk, .body_arg = bulk }, false },
	{ "/sum", "102400", { .body = bulk, .body_len = BULK }, false },
	{ "/sum", "100", { .body = bulk, .body_len = 100, .expect_continue = true }, false },
	{ "/sum", "102400", { .body = bulk, .body_len = BULK, .expect_continue = true }, false },
};

struct ask {
	struct torc_http_client *client;
	unsigned n;
	const char *url;
	int result;
};

static const char *url_in(const struct world *w, const char *path, char *to, size_t size)
{
	const char *address = strstr(w->address, "://");

	snprintf(to, size, "%s://%s%s", w->options.tls ? "https" : "http",
		 address ? address + 3 : w->address, path);
	return to;
}

static int ask_main(void *arg)
{
	struct ask *a = arg;
	struct torc_http_request q = asks[a->n].q;
	struct torc_http_response *res;
	struct torc_slice body;

	q.url = a->url;
	a->result = torc_http_request(a->client, &q, &res);
	if (a->result < 0)
		return 0;
	a->result = torc_http_response_read(res, 1000, &body);
	if (!a->result) {
		check_eq(torc_http_response_status(res), 200);
		check(same_text(body, asks[a->n].body));
	}
	torc_http_response_close(res);
	return 0;
}

/* --- cancelled at each turn --- */

static void expect_order(struct torc_http_client *client)
{
	struct torc_http_client_stats stats = stats_of(client);

	check_eq(stats.connections, stats.idle);
	check_eq(stats.waiting, 0);
	check_eq(uploading, 0);
}

/* Does it end by itself before that? */
static bool cancel_after(struct torc_http_client *client, const char *url, unsigned n,
			 unsigned turns)
{
	struct ask a = { client, n, url, 1 }, first = { client, n, url, 0 };
	struct torc_group g, other;

	torc_group_enter(&other);
	if (asks[n].in_line)
		check_eq(torc_group_spawn(&other, ask_main, &first), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, ask_main, &a), 0);
	for (unsigned i = 0; i < turns; i++)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&g);
	torc_group_wait(&g);
	check_eq(torc_group_wait(&other), 0);
	check_eq(first.result, 0);
	check(a.result == 0 || a.result == -ECANCELED);
	expect_order(client);
	return !a.result;
}

static struct torc_http_client *new_client(void)
{
	const struct torc_http_client_options o = { .no_environment = true,
						    .origin_max = 1,
						    .tls = secure.client };
	struct torc_http_client *client;

	check_eq(torc_http_client_open(&o, &client), 0);
	return client;
}

/* fresh: on a new connection each time. */
static void cancel_everywhere(const struct world *w, unsigned n, bool fresh)
{
	struct torc_http_client *client = new_client();
	unsigned turns = 0, done = 0;
	char url[256], good[256];

	url_in(w, asks[n].path, url, sizeof(url));
	url_in(w, "/get", good, sizeof(good));
	/* until it is done before it is cancelled, some times in a row */
	while (done < 4 && turns < 20000) {
		if (fresh) {
			torc_http_client_close(client);
			client = new_client();
		}
		done = cancel_after(client, url, n, turns) ? done + 1 : 0;
		turns += 1 + turns / 24; /* the later, the more alike */
		if (!fresh)
			get_and_expect(client, good, 200, "hello");
	}
	check_eq(done, 4);
	check_ge(turns, 6);
	torc_http_client_close(client);
}

static void cancel_all(struct world *w)
{
	fill_bytes(bulk, BULK, 7, 0);
	for (unsigned n = 0; n < COUNT(asks); n++)
		for (int fresh = 0; fresh < 2; fresh++)
			cancel_everywhere(w, n, fresh);
}

Test(client_cancel, a_request_is_cancelled_at_any_turn)
{
	run_world_with(&(struct world){ .options.body_bytes = 2 * BULK }, answer, cancel_all);
}

static void cancel_secure(struct world *w)
{
	fill_bytes(bulk, BULK, 7, 0);
	cancel_everywhere(w, 1, true);
	cancel_everywhere(w, 5, false);
}

Test(client_cancel, so_is_one_by_tls_and_its_handshake)
{
	static const char *const addresses[] = { "tls://127.0.0.1:0", NULL };

	open_world(&secure, (struct cert_wish){ 0 });
	run_world_with(&(struct world){ .options = { .tls = secure.server,
						     .addresses = addresses,
						     .body_bytes = 2 * BULK } },
		       answer, cancel_secure);
	close_world(&secure);
}

/* --- several loops --- */

struct crowd {
	struct torc_http_client *client;
	char url[COUNT(asks)][256];
	atomic_uint asked, answered;
};

/* One of several on each loop; every third request is cut short. */
static int crowd_main(void *arg)
{
	struct crowd *c = arg;

	for (unsigned i = 0; i < 60; i++) {
		struct ask a = { c->client, i % 5, c->url[i % 5], 0 };
		struct torc_scope scope;

		torc_scope_enter(&scope, i % 3 ? TORC_NEVER : 50000u * (i % 8));
		check_eq(ask_main(&a), 0);
		torc_scope_leave(&scope);
		check(a.result == 0 || (a.result == -ETIMEDOUT && !(i % 3)));
		check_le(stats_of(c->client).connections, 2);
		c->asked++;
		c->answered += !a.result;
	}
	return 0;
}

static void crowd_together(struct world *w)
{
	const struct torc_http_client_options o = { .no_environment = true, .origin_max = 2 };
	struct crowd c = { .asked = 0 };
	struct torc_group g;

	for (unsigned n = 0; n < COUNT(asks); n++)
		url_in(w, asks[n].path, c.url[n], sizeof(c.url[n]));
	check_eq(torc_http_client_open(&o, &c.client), 0);
	torc_group_enter(&g);
	for (int i = 0; i < 16; i++) {
		struct torc_spawn_options spawn = { .loop = TORC_ON_LOOP(i % 4) };

		check_eq(torc_group_spawn_with(&g, &spawn, crowd_main, &c), 0);
	}
	check_eq(torc_group_wait(&g), 0);
	expect_order(c.client);
	torc_http_client_close(c.client);
	check_eq(c.asked, 16 * 60);
	check_ge(c.answered, 16 * 40);
}

Test(client_cancel, fibers_of_all_loops_share_a_client)
{
	run_world_with(&(struct world){ .runtime.loops = 4 }, answer, crowd_together);
}
