/*
 * A client beside servers of others: openssl(1) and gnutls-serv(1).
 */
#include "tests/io/tls.h"

#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/wait.h>

TestSuite(tls_peers, .timeout = 60);

/* --- servers --- */

struct peer {
	pid_t pid;
	int port;
	char address[32];
};

#define ARGS_MAX 40

static void need(const char *program)
{
	static const char *const where[] = { "/usr/bin", "/usr/local/bin", "/bin" };
	char path[128];

	for (size_t i = 0; i < COUNT(where); i++) {
		snprintf(path, sizeof(path), "%s/%s", where[i], program);
		if (!access(path, X_OK))
			return;
	}
	cr_skip_test("%s is not installed", program);
}

static bool is_listening(int port)
{
	FILE *f = fopen("/proc/net/tcp", "re"), *f6 = fopen("/proc/net/tcp6", "re");
	char line[512], wanted[32];
	bool found = false;

	check(f && f6);
	snprintf(wanted, sizeof(wanted), ":%04X ", (unsigned)port);
	while (!found && (fgets(line, sizeof(line), f) || fgets(line, sizeof(line), f6))) {
		const char *at = strstr(line, wanted);

		/* of our port, from nobody, state LISTEN */
		found = at && strstr(at, ":0000 0A ");
	}
	fclose(f);
	fclose(f6);
	return found;
}

static void run_peer(const char *const *argv)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* There is no telling when another program listens but to look again and again. */
static void await_peer(const struct peer *p)
{
	int status;

	while (!is_listening(p->port)) {
		check_eq(waitpid(p->pid, &status, WNOHANG), 0);
		poll(NULL, 0, 2);
	}
}

/* PORT in its arguments stands for the port that it is to listen on. */
static struct peer start_peer(const char *const *args)
{
	const char *argv[ARGS_MAX + 1] = { NULL };
	struct sockaddr_in a;
	struct peer p;
	char port[8];

	close(bound_socket(&a));
	p.port = ntohs(a.sin_port);
	snprintf(port, sizeof(port), "%d", p.port);
	snprintf(p.address, sizeof(p.address), "127.0.0.1:%d", p.port);
	for (size_t i = 0; args[i]; i++) {
		check_lt(i, ARGS_MAX);
		argv[i] = strcmp(args[i], "PORT") ? args[i] : port;
	}
	p.pid = fork();
	check_ge(p.pid, 0);
	if (!p.pid)
		run_peer(argv);
	await_peer(&p);
	return p;
}

static void stop_peer(struct peer *p)
{
	int status;

	if (p->pid <= 0)
		return;
	check_eq(kill(p->pid, SIGKILL), 0);
	check_eq(waitpid(p->pid, &status, 0), p->pid);
	p->pid = 0;
}

/* It sends lines back reversed. */
#define S_SERVER(cert, ...)                                                          \
	((const char *const[]){ "openssl", "s_server", "-accept", "PORT", "-cert",   \
				(cert)->cert_file, "-key", (cert)->key_file, "-rev", \
				__VA_ARGS__ __VA_OPT__(, ) NULL })

/* --- clients --- */

struct visit {
	const struct peer *peer;
	struct torc_tls *tls;
	const char *host;
	uint64_t deadline_ns; /* of the handshake; 0: none */
	bool dialled;
	int result, read; /* of the handshake; and of the answer to a line */
	char answer[32], why[TORC_TLS_WHY_MAX];
	int version;
	bool resumed;
};

/* What comes until there are so many bytes, the end, or an error. */
static int read_all(struct torc_stream *s, char *buf, size_t len)
{
	struct torc_slice in;
	size_t done = 0;
	int r = 1;

	while (done < len && (r = torc_stream_peek(s, &in)) > 0) {
		size_t n = in.len < len - done ? in.len : len - done;

		memcpy(buf + done, in.data, n);
		torc_stream_consume(s, n);
		done += n;
	}
	return r < 0 ? r : (int)done;
}

static void say_hello(struct visit *v, struct torc_stream *s)
{
	struct torc_tls_info info;

	check(torc_tls_info(s, &info));
	v->version = info.version;
	v->resumed = info.resumed;
	v->read = torc_stream_write(s, "hello\n", 6);
	if (!v->read)
		v->read = read_all(s, v->answer, 6);
}

static int visit_main(void *arg)
{
	struct visit *v = arg;
	struct torc_scope scope;
	struct torc_stream s;
	int fd = torc_dial(v->peer->address);

	check_ge(fd, 0);
	check_eq(torc_stream_open(&s, fd), 0);
	v->dialled = true;
	torc_scope_enter(&scope, v->deadline_ns ? v->deadline_ns : TORC_NEVER);
	v->result = torc_tls_connect(&s, v->tls, v->host);
	torc_scope_leave(&scope);
	if (!v->result)
		say_hello(v, &s);
	torc_tls_why(&s, v->why);
	torc_stream_close(&s);
	return 0;
}

static struct visit visit(const struct peer *p, struct torc_tls *tls, const char *host)
{
	struct visit v = { .peer = p, .tls = tls, .host = host };

	run(visit_main, &v);
	return v;
}

static void check_friendly(const struct visit *v, int version)
{
	check_eq(v->result, 0);
	check_eq(v->read, 6);
	check(!memcmp(v->answer, "olleh\n", 6));
	check_eq(v->version, version);
}

static void check_refused(const struct visit *v, int result, const char *why, const char *label)
{
	int outcome = v->result ? v->result : v->read;

	cr_assert(outcome == result, "%s: %d instead of %d: %s", label, outcome, result, v->why);
	cr_assert(strstr(v->why, why) && strstr(v->why, v->peer->address), "%s: says '%s'", label,
		  v->why);
}

static const char *const versions[] = { "-tls1_2", "-tls1_3" };

/* A line, twice: the second connection resumes the first one's session. */
static void visit_twice(const struct cert *leaf, const struct cert *authority)
{
	for (size_t i = 0; i < COUNT(versions); i++) {
		struct peer p = start_peer(S_SERVER(leaf, versions[i]));
		struct torc_tls *tls = client_with(authority, (struct torc_tls_options){ 0 });

		for (int again = 0; again < 2; again++) {
			struct visit v = visit(&p, tls, "a.test");

			check_friendly(&v, 12 + (int)i);
			check_eq(v.resumed, again);
		}
		torc_tls_unref(tls);
		stop_peer(&p);
	}
}

Test(tls_peers, openssl_answers_in_both_versions_and_sessions_are_resumed)
{
	struct world w;

	need("openssl");
	open_world(&w, (struct cert_wish){ 0 });
	visit_twice(&w.leaf, &w.authority);
	close_world(&w);
}

Test(tls_peers, openssl_answers_with_an_rsa_key_too)
{
	struct cert_wish rsa = { .subject = "a.test", .names = "DNS:a.test", .rsa_bits = 2048 };
	struct world w;

	need("openssl");
	open_world(&w, rsa);
	visit_twice(&w.leaf, &w.authority);
	close_world(&w);
}

/* --- gnutls --- */

#define MANY 200000

/* All of it comes back although our direction is closed behind it. */
static int send_and_close(void *arg)
{
	struct torc_stream *s = arg;
	char *line = malloc(MANY);
	int r;

	memset(line, 'x', MANY);
	for (size_t i = 99; i < MANY; i += 100)
		line[i] = '\n';
	r = torc_stream_write(s, line, MANY);
	free(line);
	return r ? r : torc_stream_shutdown(s);
}

static int echo_main(void *arg)
{
	struct visit *v = arg;
	char *back = malloc(MANY + 1);
	struct torc_stream s;
	struct torc_group g;
	int fd = torc_dial(v->peer->address);

	check_ge(fd, 0);
	check_eq(torc_stream_open(&s, fd), 0);
	check_eq(torc_tls_connect(&s, v->tls, v->host), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, send_and_close, &s), 0);
	check_eq(read_all(&s, back, MANY + 1), MANY);
	check_eq(torc_group_wait(&g), 0);
	for (size_t i = 0; i < MANY; i++)
		check_eq(back[i], i % 100 == 99 ? '\n' : 'x');
	free(back);
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(tls_peers, gnutls_sends_everything_back_after_our_goodbye)
{
	static const char *const priorities[] = { "NORMAL:-VERS-ALL:+VERS-TLS1.2",
						  "NORMAL:-VERS-ALL:+VERS-TLS1.3" };
	struct world w;

	need("gnutls-serv");
	open_world(&w, (struct cert_wish){ 0 });
	for (size_t i = 0; i < COUNT(priorities); i++) {
		struct peer p = start_peer((const char *const[]){
			"gnutls-serv", "--echo", "-q", "--port", "PORT", "--x509certfile",
			w.leaf.cert_file, "--x509keyfile", w.leaf.key_file, "--priority",
			priorities[i], NULL });
		struct visit v = { .peer = &p, .tls = w.client, .host = "a.test" };

		run(echo_main, &v);
		stop_peer(&p);
	}
	close_world(&w);
}

/* --- who is not believed --- */

Test(tls_peers, a_server_whose_certificate_does_not_verify_is_refused_with_a_reason)
{
	static const struct {
		const char *label, *host, *why;
		struct cert_wish leaf;
		bool known; /* the authority */
		int result;
	} cases[] = {
		{ "expired",
		  "a.test",
		  "expired",
		  { .from_s = -7200, .to_s = -3600 },
		  true,
		  -EKEYEXPIRED },
		{ "not yet valid",
		  "a.test",
		  "not yet valid",
		  { .from_s = 3600, .to_s = 7200 },
		  true,
		  -EKEYEXPIRED },
		{ "another host", "b.test", "mismatch", { 0 }, true, -EKEYREJECTED },
		{ "another address", "127.0.0.2", "mismatch", { 0 }, true, -EKEYREJECTED },
		{ "unknown authority", "a.test", "issuer", { 0 }, false, -EKEYREJECTED },
	};

	need("openssl");
	for (size_t i = 0; i < COUNT(cases) * COUNT(versions); i++) {
		size_t n = i / COUNT(versions);
		struct cert_wish leaf = cases[n].leaf;
		struct torc_tls *tls;
		struct world w;
		struct peer p;
		struct visit v;

		leaf.subject = "a.test";
		leaf.names = "DNS:a.test,IP:127.0.0.1";
		open_world(&w, leaf);
		tls = client_with(cases[n].known ? &w.authority : NULL,
				  (struct torc_tls_options){ 0 });
		p = start_peer(S_SERVER(&w.leaf, versions[i % COUNT(versions)]));
		v = visit(&p, tls, cases[n].host);
		check_refused(&v, cases[n].result, cases[n].why, cases[n].label);
		stop_peer(&p);
		torc_tls_unref(tls);
		close_world(&w);
	}
}

/* --- servers that want a certificate --- */

Test(tls_peers, a_server_that_wants_a_certificate_gets_ours_or_refuses_us)
{
	struct world w;
	struct cert ours;

	need("openssl");
	open_world(&w, (struct cert_wish){ 0 });
	ours = cert_make(&w.all, &w.authority, (struct cert_wish){ .subject = "us" });
	for (size_t i = 0; i < COUNT(versions); i++) {
		struct torc_tls_certificate c = { .cert_file = ours.cert_file,
						  .key_file = ours.key_file };
		struct torc_tls *tls =
			client_with(&w.authority,
				    (struct torc_tls_options){ .certificates = &c,
							       .certificate_count = 1 });
		struct peer p = start_peer(S_SERVER(&w.leaf, versions[i], "-Verify", "1",
						    "-verify_return_error", "-CAfile",
						    w.authority.cert_file));
		struct visit v = visit(&p, tls, "a.test");

		check_friendly(&v, 12 + (int)i);
		v = visit(&p, w.client, "a.test");
		/* In 1.3 a client has said all that it has to when the server refuses it: the first read tells. */
		check_eq(!v.result, i);
		check_refused(&v, -EPROTO, "alert", versions[i]);
		stop_peer(&p);
		torc_tls_unref(tls);
	}
	cert_free(&ours);
	close_world(&w);
}

/* --- servers of old, and weak ones --- */

Test(tls_peers, an_old_or_weak_server_is_refused_with_a_reason)
{
	static const struct {
		const char *version, *ciphers, *why;
	} cases[] = {
		{ "-tls1", "DEFAULT:@SECLEVEL=0", "protocol version" },
		{ "-tls1_1", "DEFAULT:@SECLEVEL=0", "protocol version" },
		{ "-tls1_2", "DHE:@SECLEVEL=0", "handshake failure" },
		{ "-tls1_2", "AES128-SHA:@SECLEVEL=0", "handshake failure" },
		{ "-tls1_2", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0", "handshake failure" },
	};
	struct cert_wish rsa = { .subject = "a.test", .names = "DNS:a.test", .rsa_bits = 2048 };
	struct world w;

	need("openssl");
	open_world(&w, rsa);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct peer p = start_peer(
			S_SERVER(&w.leaf, cases[i].version, "-cipher", cases[i].ciphers));
		struct visit v = visit(&p, w.client, "a.test");

		check_eq(v.result, -EPROTO);
		check_refused(&v, -EPROTO, cases[i].why, cases[i].ciphers);
		stop_peer(&p);
	}
	close_world(&w);
}

Test(tls_peers, a_server_with_a_weak_key_is_refused)
{
	struct cert_wish weak = { .subject = "a.test", .names = "DNS:a.test", .rsa_bits = 1024 };
	struct world w;
	struct cert leaf;
	struct peer p;
	struct visit v;

	need("openssl");
	open_world(&w, (struct cert_wish){ 0 });
	leaf = cert_make(&w.all, &w.authority, weak);
	p = start_peer(S_SERVER(&leaf, "-cipher", "DEFAULT:@SECLEVEL=0"));
	v = visit(&p, w.client, "a.test");
	check_refused(&v, -EKEYREJECTED, "too weak", "1024 bits");
	stop_peer(&p);
	cert_free(&leaf);
	close_world(&w);
}

/* --- servers that die, and such as say nothing --- */

static int die_main(void *arg)
{
	struct visit *v = arg;
	struct torc_stream s;
	struct torc_slice in;
	struct peer dead = *v->peer;
	int fd = torc_dial(v->peer->address);

	check_ge(fd, 0);
	check_eq(torc_stream_open(&s, fd), 0);
	check_eq(torc_tls_connect(&s, v->tls, v->host), 0);
	say_hello(v, &s);
	stop_peer(&dead);
	v->result = torc_stream_peek(&s, &in);
	torc_tls_why(&s, v->why);
	torc_stream_close(&s);
	return 0;
}

Test(tls_peers, a_server_that_is_killed_has_not_ended_the_stream)
{
	struct world w;

	need("openssl");
	open_world(&w, (struct cert_wish){ 0 });
	for (size_t i = 0; i < COUNT(versions); i++) {
		struct peer p = start_peer(S_SERVER(&w.leaf, versions[i]));
		struct visit v = { .peer = &p, .tls = w.client, .host = "a.test" };

		run(die_main, &v);
		check_friendly(&(struct visit){ .read = v.read,
						.version = v.version,
						.answer = "olleh\n" },
			       12 + (int)i);
		check(v.result == -ECONNABORTED || v.result == -ECONNRESET);
	}
	close_world(&w);
}

static int cancel_main(void *arg)
{
	struct visit *v = arg;
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, visit_main, v), 0);
	while (!v->dialled)
		torc_yield();
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

/* The kernel takes connections for one that is stopped. */
Test(tls_peers, a_server_that_says_nothing_is_left_by_a_cancel_or_a_deadline)
{
	struct world w;
	struct peer p;
	struct visit v;

	need("openssl");
	open_world(&w, (struct cert_wish){ 0 });
	p = start_peer(S_SERVER(&w.leaf));
	check_eq(kill(p.pid, SIGSTOP), 0);
	v = (struct visit){ .peer = &p, .tls = w.client, .host = "a.test" };
	run(cancel_main, &v);
	check_eq(v.result, -ECANCELED);
	v = (struct visit){
		.peer = &p, .tls = w.client, .host = "a.test", .deadline_ns = TORC_MS(20)
	};
	run(visit_main, &v);
	check_eq(v.result, -ETIMEDOUT);
	check_eq(kill(p.pid, SIGCONT), 0);
	v = visit(&p, w.client, "a.test");
	check_friendly(&v, 13);
	stop_peer(&p);
	close_world(&w);
}
