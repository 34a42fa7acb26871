#include "tests/io/names.h"

#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <torc/core/sim.h>
#include <torc/core/timeout.h>
#include <torc/executor/offload.h>

TestSuite(name, .timeout = 30, .init = use_fake);

static int resolve(const char *host, struct torc_addresses *ret)
{
	return torc_resolve(host, 80, NULL, ret);
}

static int resolve_one(const char *host)
{
	struct torc_addresses all;

	return resolve(host, &all);
}

static int find_one(void *arg)
{
	return resolve_one(arg);
}

static struct torc__name_counts counts(void)
{
	struct torc__name_counts c;

	torc__name_counts(&c);
	return c;
}

/* --- without a lookup --- */

static void check_text(const struct torc_address *a, const char *expected)
{
	char text[TORC_ADDRESS_MAX];

	torc_address_format(a, text, sizeof(text));
	if (strcmp(text, expected) != 0) {
		fprintf(stderr, "%s instead of %s\n", text, expected);
		abort();
	}
}

static int known(void *arg)
{
	static const struct {
		const char *host;
		struct torc_resolve_options o;
		int result;
		const char *first, *second;
	} cases[] = {
		{ "127.0.0.1", { 0, 0 }, 0, "127.0.0.1:80", NULL },
		{ "192.0.2.7", { AF_INET, SOCK_STREAM }, 0, "tcp://192.0.2.7:80", NULL },
		{ "192.0.2.7", { AF_INET6, 0 }, -ENODATA, NULL, NULL },
		{ "::1", { 0, SOCK_DGRAM }, 0, "udp://[::1]:80", NULL },
		{ "2001:DB8::1", { AF_INET6, 0 }, 0, "[2001:db8::1]:80", NULL },
		{ "2001:db8::1", { AF_INET, 0 }, -ENODATA, NULL, NULL },
		{ "fe80::1%1", { 0, 0 }, 0, "[fe80::1%1]:80", NULL },
		{ "fe80::1%nosuchthing", { 0, 0 }, -ENODEV, NULL, NULL },
		{ "localhost", { 0, 0 }, 0, "[::1]:80", "127.0.0.1:80" },
		{ "LocalHost.", { 0, SOCK_STREAM }, 0, "tcp://[::1]:80", "tcp://127.0.0.1:80" },
		{ "a.b.localhost", { AF_INET, 0 }, 0, "127.0.0.1:80", NULL },
		{ "localhost", { AF_INET6, 0 }, 0, "[::1]:80", NULL },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct torc_addresses all = { .count = 0 };

		check_eq(torc_resolve(cases[i].host, 80, &cases[i].o, &all), cases[i].result);
		check_eq(all.count, (cases[i].first != NULL) + (cases[i].second != NULL));
		if (cases[i].first)
			check_text(&all.list[0], cases[i].first);
		if (cases[i].second)
			check_text(&all.list[1], cases[i].second);
	}
	check_eq(fake_calls(), 0);
	check_eq(resolve_one("notlocalhost"), 0);
	check_eq(resolve_one("localhost.example"), 0);
	check_eq(fake_calls(), 2);
	return 0;
}

Test(name, numeric_addresses_and_localhost_are_not_looked_up)
{
	run(known, NULL);
}

static int no_names(void *arg)
{
	static const char *const hosts[] = {
		"",           ".",        "..",        "a..b",         ".a",
		"a.b..",      "a b",      "a\nb",      "a\x01",        "\x7f",
		"a/b",        "a:b",      "[::1]",     "::1]:5",       "h\xc3\xa9",
		"*",          "a%lo",     "1.2.3",     "127.1",        "2130706433",
		"0x7f000001", "0x7f.1",   "1.2.3.4.5", "example.1.",   "256.0.0.1",
		"1.2.3.4%lo", "::1%lo",   "a.0x1f",    "01.2.3.4",     "a@b",
		"a\\b",       "12345::1", "1.2.3.4.",  "::ffff:1.2.3", "-\t",
	};
	struct torc_addresses all = { .count = 77 };

	(void)arg;
	for (size_t i = 0; i < COUNT(hosts); i++)
		if (resolve(hosts[i], &all) != -EINVAL) {
			fprintf(stderr, "\"%s\" is taken for a name\n", hosts[i]);
			abort();
		}
	check_eq(torc_resolve("a", 1, &(struct torc_resolve_options){ .family = AF_UNIX }, &all),
		 -EINVAL);
	check_eq(torc_resolve("a", 1, &(struct torc_resolve_options){ .type = 77 }, &all), -EINVAL);
	check_eq(all.count, 77);
	check_eq(fake_calls(), 0);
	return 0;
}

Test(name, what_is_neither_a_name_nor_an_address_is_refused)
{
	run(no_names, NULL);
}

/* Labels of `label` bytes, `len` in all. */
static char *long_name(char *text, size_t len, size_t label)
{
	for (size_t i = 0; i < len; i++)
		text[i] = i % (label + 1) == label ? '.' : 'a';
	text[len] = '\0';
	return text;
}

static int lengths(void *arg)
{
	char text[5000];

	(void)arg;
	check_eq(resolve_one(long_name(text, 253, 63)), 0);
	strcat(text, ".");
	check_eq(resolve_one(text), 0);
	check_eq(strlen(fake.last), 254);
	check_eq(resolve_one(strcat(text, ".")), -ENAMETOOLONG);
	check_eq(resolve_one(long_name(text, 254, 62)), -ENAMETOOLONG);
	check_eq(resolve_one(long_name(text, 255, 63)), -ENAMETOOLONG);
	check_eq(resolve_one(long_name(text, 4999, 9)), -ENAMETOOLONG);
	check_eq(resolve_one(long_name(text, 63, 63)), 0);
	check_eq(resolve_one(long_name(text, 64, 64)), -ENAMETOOLONG);
	check_eq(fake_calls(), 3);
	return 0;
}

Test(name, names_have_253_bytes_and_labels_63)
{
	run(lengths, NULL);
}

/* --- errors --- */

Test(name, each_error_of_the_library_has_a_number)
{
	static const struct {
		int error, system, expected;
	} cases[] = {
		{ EAI_NONAME, 0, -ENOENT },         { EAI_NODATA, 0, -ENODATA },
		{ EAI_ADDRFAMILY, 0, -ENODATA },    { EAI_AGAIN, 0, -EAGAIN },
		{ EAI_FAIL, 0, -EREMOTEIO },        { EAI_MEMORY, 0, -ENOMEM },
		{ EAI_FAMILY, 0, -EINVAL },         { EAI_SOCKTYPE, 0, -EINVAL },
		{ EAI_SERVICE, 0, -EINVAL },        { EAI_BADFLAGS, 0, -EINVAL },
		{ EAI_SYSTEM, EMFILE, -EMFILE },    { EAI_SYSTEM, 0, -EIO },
		{ EAI_SYSTEM, EINTR, -EAGAIN },     { EAI_SYSTEM, ECANCELED, -EAGAIN },
		{ EAI_SYSTEM, ETIMEDOUT, -EAGAIN }, { -4711, 0, -EREMOTEIO },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		check_eq(torc__name_error(cases[i].error, cases[i].system), cases[i].expected);
}

static int failures(void *arg)
{
	static const struct {
		const char *host;
		int error;
		unsigned lookups; /* of two calls */
	} cases[] = {
		{ "missing", -ENOENT, 1 },
		{ "nodata", -ENODATA, 1 },
		{ "again", -EAGAIN, 2 },
		{ "fail", -EREMOTEIO, 2 },
	};

	(void)arg;
	for (size_t i = 0; i < COUNT(cases); i++) {
		unsigned before = fake_calls();
		struct torc_addresses all = { .count = 77 };

		check_eq(resolve(cases[i].host, &all), cases[i].error);
		check_eq(resolve(cases[i].host, &all), cases[i].error);
		check_eq(all.count, 77);
		check_eq(fake_calls() - before, cases[i].lookups);
	}
	check_eq(counts().kept, 2);
	return 0;
}

Test(name, failures_are_told_and_only_lasting_ones_are_kept)
{
	run(failures, NULL);
}

static int in_cancelled_scope(void *arg)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost", "kept", "new", "a..b" };
	struct torc_scope t;

	(void)arg;
	check_eq(resolve_one("kept"), 0);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	for (size_t i = 0; i < COUNT(hosts); i++)
		check_eq(resolve_one(hosts[i]), -ECANCELED);
	torc_scope_leave(&t);
	torc_within(0) check_eq(resolve_one("kept"), -ETIMEDOUT);
	check_eq(fake_calls(), 1);
	return 0;
}

Test(name, a_call_in_a_cancelled_scope_does_nothing)
{
	run(in_cancelled_scope, NULL);
}

/* --- the cache --- */

static void configure(unsigned names_max, uint64_t found_ns, uint64_t missing_ns)
{
	const struct torc_name_cache_options o = { names_max, found_ns, missing_ns };

	check_eq(torc_name_cache_configure(&o), 0);
}

static int cached(void *arg)
{
	struct torc_addresses a, b;

	(void)arg;
	add_ip(&fake.ips, "192.0.2.9");
	add_ip(&fake.ips, "2001:db8::9");
	check_eq(resolve("Some.Name", &a), 0);
	check(!strcmp(fake.last, "some.name"));
	fake.ips.count = 0;
	check_eq(torc_resolve("SOME.name", 81, NULL, &b), 0);
	check_eq(fake_calls(), 1);
	check_eq(b.count, 2);
	check_text(&a.list[1], "[2001:db8::9]:80");
	check_text(&b.list[0], "192.0.2.9:81");
	check_text(&b.list[1], "[2001:db8::9]:81");
	/* Search domains are for one of these only, and other families are other questions. */
	check_eq(resolve_one("some.name."), 0);
	check_eq(torc_resolve("some.name", 80, &(struct torc_resolve_options){ .family = AF_INET },
			      &a),
		 0);
	check_eq(fake_calls(), 3);
	return 0;
}

Test(name, a_name_is_looked_up_once_and_kept)
{
	run(cached, NULL);
}

static int expires(void *arg)
{
	(void)arg;
	configure(0, 1, 0);
	check_eq(resolve_one("found"), 0);
	check_eq(resolve_one("found"), 0);
	check_eq(fake_calls(), 2);
	check_eq(resolve_one("missing"), -ENOENT);
	check_eq(resolve_one("missing"), -ENOENT);
	check_eq(fake_calls(), 3);
	configure(0, 0, 1);
	check_eq(resolve_one("found"), 0); /* the new age is for new ones */
	check_eq(resolve_one("found"), 0);
	check_eq(fake_calls(), 4);
	check_eq(resolve_one("missing2"), -ENOENT);
	check_eq(resolve_one("missing2"), -ENOENT);
	check_eq(fake_calls(), 6);
	check_eq(torc_name_cache_configure(&(struct torc_name_cache_options){ .names_max = 65537 }),
		 -EINVAL);
	check_eq(torc_name_cache_configure(NULL), 0);
	return 0;
}

Test(name, what_is_too_old_is_looked_up_again)
{
	run(expires, NULL);
}

static int expires_on_time(void *arg)
{
	(void)arg;
	check_eq(resolve_one("found"), 0);
	check_eq(resolve_one("missing"), -ENOENT);
	check_eq(torc_sleep(TORC_MS(4990)), 0);
	check_eq(resolve_one("missing"), -ENOENT);
	check_eq(fake_calls(), 2);
	check_eq(torc_sleep(TORC_MS(11)), 0);
	check_eq(resolve_one("missing"), -ENOENT);
	check_eq(fake_calls(), 3);
	check_eq(torc_sleep(TORC_MS(24980)), 0);
	check_eq(resolve_one("found"), 0);
	check_eq(fake_calls(), 3);
	check_eq(torc_sleep(TORC_MS(20)), 0);
	check_eq(resolve_one("found"), 0);
	check_eq(fake_calls(), 4);
	return 0;
}

static void run_on_sim(torc_fn *fn)
{
	struct torc_options o = { .loops = 1 };

	check_eq(torc_sim_new(NULL, &o.sim), 0);
	check_eq(run_with(&o, fn, NULL), 0);
	torc_sim_free(o.sim);
}

Test(name, by_default_names_are_kept_for_30_seconds_and_missing_ones_for_5)
{
	run_on_sim(expires_on_time);
	fake.calls = 0;
	run_on_sim(expires_on_time); /* and a run has nothing of the one before */
}

static int on_simulator(void *arg)
{
	struct torc_addresses all;

	(void)arg;
	check_eq(resolve("localhost", &all), 0);
	check_eq(resolve("192.0.2.1", &all), 0);
	check_eq(resolve("example.org", &all), -ENOSYS);
	return 0;
}

/* No loop has used the cache: nobody would tidy it up. */
static int offloaded_on_simulator(void *arg)
{
	(void)arg;
	check_eq(torc_offload(find_one, (void *)(uintptr_t) "found"), 0);
	check_eq(torc_offload(find_one, (void *)(uintptr_t) "found"), 0);
	check_eq(fake_calls(), 2);
	return 0;
}

Test(name, on_the_simulator_threads_may_resolve_too)
{
	run_on_sim(offloaded_on_simulator);
}

Test(name, the_simulator_knows_no_names)
{
	torc__resolver = torc__resolve_by_libc;
	run_on_sim(on_simulator);
}

static int evicts(void *arg)
{
	(void)arg;
	configure(2, 0, 0);
	check_eq(resolve_one("a"), 0);
	check_eq(resolve_one("b"), 0);
	check_eq(resolve_one("a"), 0);
	check_eq(resolve_one("c"), 0); /* instead of b */
	check_eq(fake_calls(), 3);
	check_eq(counts().kept, 2);
	check_eq(resolve_one("a"), 0);
	check_eq(fake_calls(), 3);
	check_eq(resolve_one("b"), 0);
	check_eq(fake_calls(), 4);
	configure(1, 0, 0);
	check_eq(counts().kept, 1);
	check_eq(resolve_one("b"), 0);
	check_eq(fake_calls(), 4);
	configure(0, 0, 0);
	for (unsigned i = 0; i < 1500; i++) {
		char host[32];

		snprintf(host, sizeof(host), "host-%u.example", i);
		check_eq(resolve_one(host), 0);
		check_le(counts().kept, 1024);
	}
	check_eq(counts().kept, 1024);
	check_eq(resolve_one("host-476.example"), 0);
	check_eq(fake_calls(), 1504);
	check_eq(resolve_one("host-475.example"), 0);
	check_eq(fake_calls(), 1505);
	return 0;
}

Test(name, what_was_used_longest_ago_makes_room)
{
	run(evicts, NULL);
}

/* --- lookups that take their time --- */

static void start(struct torc_group *g, const char *host, int loop, struct torc_task *task)
{
	const struct torc_spawn_options o = { .loop = loop, .task = task };

	check_eq(torc_group_spawn_with(g, &o, find_one, (void *)(uintptr_t)host), 0);
}

static int joined(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 10; i++)
		start(&g, i % 2 ? "HELD" : "held", 0, NULL);
	await_held(1);
	check_eq(torc_yield(), 0);
	check_eq(counts().running, 1);
	let_go();
	check_eq(torc_group_wait(&g), 0);
	check_eq(fake_calls(), 1);
	return 0;
}

Test(name, calls_for_the_same_name_share_one_lookup)
{
	run(joined, NULL);
}

static int joined_by_loops(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < 32; i++)
		start(&g, i % 8 < 4 ? "held-1" : "held-2", TORC_ON_LOOP(i % 4), NULL);
	await_held(2);
	let_go();
	check_eq(torc_group_wait(&g), 0);
	check_eq(fake_calls(), 2);
	return 0;
}

Test(name, fibers_of_several_loops_share_one_lookup)
{
	check_eq(run_with(&(struct torc_options){ .loops = 4 }, joined_by_loops, NULL), 0);
}

static int cancelled(void *arg)
{
	struct torc_task patient, hasty;
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	start(&g, "held", 0, &patient);
	start(&g, "held", 0, &hasty);
	await_held(1);
	torc_task_cancel(&hasty);
	check_eq(torc_task_join(&hasty), -ECANCELED); /* the lookup is held still */
	torc_within(TORC_MS(1)) check_eq(resolve_one("held"), -ETIMEDOUT);
	check_eq(counts().running, 1);
	let_go();
	check_eq(torc_task_join(&patient), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(fake_calls(), 1);
	return 0;
}

Test(name, a_cancelled_fiber_leaves_at_once_and_the_others_get_their_answer)
{
	run(cancelled, NULL);
}

static int abandoned(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	start(&g, "held", 0, NULL);
	await_held(1);
	torc_group_cancel(&g);
	torc_group_wait(&g);
	let_go();
	check_eq(resolve_one("held"), 0); /* joins it, or finds what it has left */
	check_eq(fake_calls(), 1);
	check_eq(counts().kept, 1);
	return 0;
}

Test(name, a_lookup_that_nobody_waits_for_any_more_fills_the_cache)
{
	run(abandoned, NULL);
}

enum { FLOOD = 100 };

static int flood_main(void *arg)
{
	char host[32];

	snprintf(host, sizeof(host), "held-%u", (unsigned)(uintptr_t)arg);
	return resolve_one(host);
}

static int flooded(void *arg)
{
	struct torc_group some, rest;

	(void)arg;
	torc_group_enter_supervisor(&some);
	for (uintptr_t i = 0; i < FLOOD / 2; i++)
		check_eq(torc_group_spawn(&some, flood_main, (void *)i), 0);
	await_held(TORC_LOOKUPS_MAX);
	torc_group_enter_supervisor(&rest);
	for (uintptr_t i = FLOOD / 2; i < FLOOD; i++)
		check_eq(torc_group_spawn(&rest, flood_main, (void *)i), 0);
	check_eq(torc_yield(), 0);
	check_eq(counts().running, TORC_LOOKUPS_MAX);
	check_eq(counts().workers, TORC_LOOKUPS_MAX);
	check_eq(counts().waiting, FLOOD - TORC_LOOKUPS_MAX);
	torc_group_cancel(&rest);
	torc_group_wait(&rest);
	check_eq(counts().waiting, FLOOD / 2 - TORC_LOOKUPS_MAX); /* nobody wants these any more */
	let_go();
	check_eq(torc_group_wait(&some), 0);
	check_eq(torc_group_failure_count(&some), 0);
	check_eq(fake_calls(), FLOOD / 2);
	check_eq(fake.inside_most, TORC_LOOKUPS_MAX);
	return 0;
}

Test(name, at_most_32_lookups_run_and_who_waits_in_line_can_be_cancelled)
{
	run(flooded, NULL);
}

static int cleared(void *arg)
{
	struct torc_group g;

	(void)arg;
	check_eq(resolve_one("a"), 0);
	torc_name_cache_clear();
	check_eq(counts().kept, 0);
	check_eq(resolve_one("a"), 0);
	check_eq(fake_calls(), 2);
	torc_group_enter(&g);
	start(&g, "held", 0, NULL);
	await_held(1);
	torc_name_cache_clear();
	start(&g, "held", 0, NULL); /* does not join the old one */
	await_held(1);
	let_go();
	check_eq(torc_group_wait(&g), 0);
	check_eq(fake_calls(), 4);
	check_eq(counts().kept, 1);
	return 0;
}

Test(name, clearing_forgets_also_what_is_under_way)
{
	run(cleared, NULL);
}

/* --- the ends of runtimes and processes --- */

static int leave_behind(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (uintptr_t i = 0; i < FLOOD; i++)
		check_eq(torc_group_spawn(&g, flood_main, (void *)i), 0);
	await_held(TORC_LOOKUPS_MAX);
	torc_group_cancel(&g);
	torc_group_wait(&g);
	return 0;
}

Test(name, a_runtime_may_end_while_lookups_run)
{
	run(leave_behind, NULL);
	check_eq(counts().running, TORC_LOOKUPS_MAX);
	check_eq(counts().waiting, 0);
	let_go();
	run(find_one, (void *)(uintptr_t) "held-0");
	check_eq(fake_calls(), TORC_LOOKUPS_MAX);
}

Test(name, a_process_may_end_while_lookups_run)
{
	run(leave_behind, NULL);
}

/* Also a name that the parent looks up just now: nobody would end that here. */
static int in_child(void)
{
	alarm(10);
	fake.let_go = true;
	pthread_mutex_unlock(&fake.lock);
	if (counts().running || counts().workers || counts().kept != 1)
		return 1;
	if (resolve_one("kept") < 0)
		return 2;
	return resolve_one("held-1") < 0 ? 3 : 0;
}

Test(name, a_child_of_fork_has_the_cache_and_not_the_lookups)
{
	int status;
	pid_t pid;

	run(find_one, (void *)(uintptr_t) "kept");
	run(leave_behind, NULL);
	pthread_mutex_lock(&fake.lock);
	pid = fork();
	check_ge(pid, 0);
	if (!pid)
		_exit(in_child());
	pthread_mutex_unlock(&fake.lock);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(counts().running, TORC_LOOKUPS_MAX);
	let_go();
	run(find_one, (void *)(uintptr_t) "held-1");
}

Test(name, threads_that_are_no_fibers_may_resolve)
{
	struct torc_addresses all;

	check_eq(resolve("example.org", &all), 0);
	check_text(&all.list[0], "192.0.2.1:80");
	check_eq(resolve("missing", &all), -ENOENT);
}

/* --- lists of the library --- */

static struct addrinfo *append(struct addrinfo *nodes, unsigned *n, const char *text)
{
	static union torc__ip ips[64];
	struct torc__ips one = { .count = 0 };
	struct addrinfo *a = &nodes[*n];

	add_ip(&one, text);
	ips[*n] = one.list[0];
	*a = (struct addrinfo){ .ai_family = one.list[0].any.sa_family,
				.ai_addr = &ips[*n].any,
				.ai_addrlen = sizeof(ips[*n]) };
	if (a->ai_family == AF_INET)
		a->ai_addrlen = sizeof(ips[*n].v4);
	if (*n)
		nodes[*n - 1].ai_next = a;
	++*n;
	return nodes;
}

static unsigned count_v6(const struct torc__ips *ips)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ips->count; i++)
		n += ips->list[i].any.sa_family == AF_INET6;
	return n;
}

/* So many of each family, IPv6 first. */
static void collect(unsigned v6, unsigned v4, struct torc__ips *ret)
{
	struct addrinfo nodes[64];
	unsigned n = 0;
	char text[64];

	for (unsigned i = 0; i < v6; i++) {
		snprintf(text, sizeof(text), "2001:db8::%x", i + 1);
		append(nodes, &n, text);
	}
	for (unsigned i = 0; i < v4; i++) {
		snprintf(text, sizeof(text), "192.0.2.%u", i + 1);
		append(nodes, &n, text);
	}
	check_eq(torc__ips_collect(n ? nodes : NULL, ret), n ? 0 : -ENODATA);
}

Test(name, of_many_addresses_both_families_are_kept)
{
	static const struct {
		unsigned v6, v4, kept_v6, kept_v4;
	} cases[] = {
		{ 0, 0, 0, 0 },   { 1, 0, 1, 0 },   { 20, 0, 16, 0 },
		{ 0, 20, 0, 16 }, { 20, 20, 8, 8 }, { 20, 3, 13, 3 },
		{ 3, 20, 3, 13 }, { 8, 8, 8, 8 },   { 30, 1, 15, 1 },
	};
	struct torc__ips ips;

	for (size_t i = 0; i < COUNT(cases); i++) {
		collect(cases[i].v6, cases[i].v4, &ips);
		check_eq(count_v6(&ips), cases[i].kept_v6);
		check_eq(ips.count, cases[i].kept_v6 + cases[i].kept_v4);
	}
}

Test(name, no_address_is_there_twice_and_others_than_ip_not_at_all)
{
	struct addrinfo nodes[64];
	struct torc__ips ips;
	unsigned n = 0;

	append(nodes, &n, "192.0.2.1");
	append(nodes, &n, "192.0.2.2");
	append(nodes, &n, "192.0.2.1");
	append(nodes, &n, "2001:db8::1");
	append(nodes, &n, "2001:db8::1");
	append(nodes, &n, "192.0.2.3");
	nodes[n - 1].ai_family = AF_UNIX;
	check_eq(torc__ips_collect(nodes, &ips), 0);
	check_eq(ips.count, 3);
	check_eq(torc__ips_collect(&nodes[n - 1], &ips), -ENODATA);
}

/* --- the library itself --- */

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	check(f != NULL);
	check(fputs(text, f) >= 0);
	check_eq(fclose(f), 0);
}

/* In a name space of its own, other files are there. */
static bool replace_files(const char *nsswitch, const char *hosts, const char *resolv)
{
	static const char *const paths[] = { "/etc/nsswitch.conf", "/etc/hosts",
					     "/etc/resolv.conf" };
	const char *texts[] = { nsswitch, hosts, resolv };
	char path[64];

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	for (size_t i = 0; i < COUNT(paths); i++) {
		bool mounted;

		snprintf(path, sizeof(path), "/tmp/torc-test-names-%d", getpid());
		write_file(path, texts[i]);
		mounted = mount(path, paths[i], NULL, MS_BIND, NULL) == 0;
		unlink(path);
		if (!mounted)
			return false;
	}
	return true;
}

static int real_names(void *arg)
{
	const struct torc_resolve_options v4 = { .family = AF_INET }, v6 = { .family = AF_INET6 };
	struct torc_addresses all;

	(void)arg;
	check_eq(torc_resolve("only-four.test", 443, NULL, &all), 0);
	check_eq(all.count, 1);
	check_text(&all.list[0], "192.0.2.4:443");
	check_eq(torc_resolve("Both.Test", 443, &v4, &all), 0);
	check_eq(all.count, 1);
	check_text(&all.list[0], "192.0.2.5:443");
	check_eq(torc_resolve("both.test", 443, &v6, &all), 0);
	check_eq(all.count, 1);
	check_text(&all.list[0], "[2001:db8::5]:443");
	check_eq(torc_resolve("both.test", 443, NULL, &all), 0);
	check_eq(all.count, 2);
	check_eq(torc_resolve("alias", 443, NULL, &all), 0);
	check_eq(torc_resolve("nobody.test", 443, NULL, &all), -ENOENT);
	check(torc_resolve("only-four.test", 443, &v6, &all) < 0);
	/* What the file says of localhost is not asked. */
	check_eq(torc_resolve("localhost", 443, &v4, &all), 0);
	check_text(&all.list[0], "127.0.0.1:443");
	return 0;
}

Test(name, the_library_finds_names_of_etc_hosts)
{
	torc__resolver = torc__resolve_by_libc;
	if (!replace_files("hosts: files\n",
			   "192.0.2.4 only-four.test alias\n"
			   "192.0.2.5 both.test\n2001:db8::5 both.test\n"
			   "192.0.2.6 localhost\n",
			   ""))
		cr_skip_test("mounting is not allowed here");
	run(real_names, NULL);
}

/* A name server that is not there: its port is closed. */
static int no_server(void *arg)
{
	(void)arg;
	return resolve_one("example.test");
}

Test(name, a_name_server_that_does_not_answer_is_a_failure_of_the_moment)
{
	torc__resolver = torc__resolve_by_libc;
	if (!replace_files("hosts: dns\n", "",
			   "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n"))
		cr_skip_test("mounting is not allowed here");
	check_eq(run_with(NULL, no_server, NULL), -EAGAIN);
}
