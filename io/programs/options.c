#include "io/programs/options.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <torc/core/api.h>
#include <torc/core/run.h>
#include <torc/io/signal.h>
#include <torc/io/tls.h>

static int wrong(const struct program *p, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s%s%s; try --help\n", p->name, what, value ? ": " : "",
		value ? value : "");
	return 2;
}

int program_wrong(const struct program *p, const struct program_option *option, const char *value,
		  const char *why)
{
	fprintf(stderr, "%s: --%s ", p->name, option->name);
	for (; *value; value++) /* one line, whatever is in it */
		fputc((unsigned char)*value < ' ' ? '?' : *value, stderr);
	fprintf(stderr, ": %s; try --help\n", why);
	return 2;
}

/* --- numbers --- */

/* Digits, and what follows them. */
static bool read_number(const char *text, uint64_t *ret, const char **ret_rest)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	*ret_rest = end;
	return errno == 0;
}

int program_number(const struct program *p, const struct program_option *option, const char *text,
		   uint64_t least, uint64_t most, uint64_t *ret)
{
	const char *rest;
	char why[80];
	uint64_t n;

	if (read_number(text, &n, &rest) && !*rest && n >= least && n <= most) {
		*ret = n;
		return -1;
	}
	snprintf(why, sizeof(why), "not a number from %llu to %llu", (unsigned long long)least,
		 (unsigned long long)most);
	return program_wrong(p, option, text, why);
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* [count] units, the first of which need not be written. */
static bool read_with_unit(const char *text, const struct unit *units, size_t count, uint64_t *ret)
{
	const char *rest;
	uint64_t n;

	if (!read_number(text, &n, &rest) || !n)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rest, units[i].name) != 0 && (i || *rest))
			continue;
		return !__builtin_mul_overflow(n, units[i].factor, ret) && *ret <= INT64_MAX;
	}
	return false;
}

int program_bytes(const struct program *p, const struct program_option *option, const char *text,
		  uint64_t *ret)
{
	static const struct unit units[] = {
		{ "", 1 }, { "K", 1u << 10 }, { "M", 1u << 20 }, { "G", 1u << 30 }
	};

	return read_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret)
		       ? -1
		       : program_wrong(p, option, text,
				       "not a number of bytes, such as 4096, 64K, 10M or 1G");
}

int program_time(const struct program *p, const struct program_option *option, const char *text,
		 uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{ "s", 1000000000 }, { "ms", 1000000 }, { "m", 60000000000 }, { "h", 3600000000000 }
	};

	return read_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret_ns)
		       ? -1
		       : program_wrong(p, option, text, "not a time, such as 10, 500ms, 5m or 1h");
}

bool program_is_line(const char *text)
{
	for (; *text; text++)
		if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7f)
			return false;
	return true;
}

/* --- the options that all programs have --- */

static int set_loops(struct program *p, const struct program_option *option, const char *text)
{
	uint64_t n = 0;
	int status = program_number(p, option, text, 1, 256, &n);

	p->loops = (int)n;
	return status;
}

static int set_address(struct program *p, const struct program_option *option, const char *text)
{
	if (p->address_count == PROGRAM_ADDRESSES_MAX)
		return program_wrong(p, option, text, "there are too many");
	p->addresses[p->address_count++] = text;
	return -1;
}

#define SETS(field, to)                                                                \
	static int set_##field(struct program *p, const struct program_option *option, \
			       const char *text)                                       \
	{                                                                              \
		(void)option, (void)text;                                              \
		p->field = to;                                                         \
		return -1;                                                             \
	}

SETS(tls_cert, text)
SETS(tls_key, text)
SETS(tls_client_ca, text)
SETS(tls_kernel, true)
SETS(handover, text)
SETS(balance, TORC_BALANCE_LEAST)
SETS(quiet, true)

static void help(const struct program *p);

static int show_help(struct program *p, const struct program_option *option, const char *text)
{
	(void)option, (void)text;
	help(p);
	return 0;
}

static int show_version(struct program *p, const struct program_option *option, const char *text)
{
	(void)option, (void)text;
	printf("%s %s\n", p->name, TORC_VERSION);
	return 0;
}

static const struct program_option first_options[] = {
	{ "listen", "ADDR",
	  "HOST:PORT, tcp://HOST:PORT, [::]:PORT, unix:/path, unix:@name,\n"
	  "systemd:NAME or fd:N; repeatable",
	  set_address },
	{ "loops", "N", "event loops, each a thread on a core (default: one per core)", set_loops },
	{ "tls-cert", "FILE",
	  "PEM: a certificate and those above it: HOST:PORT, [::]:PORT and\n"
	  "tls://HOST:PORT are encrypted then; SIGHUP reads the files again",
	  set_tls_cert },
	{ "tls-key", "FILE", "PEM: its private key (default: in the same file)", set_tls_key },
	{ "tls-client-ca", "FILE",
	  "PEM: clients must have a certificate of one of these authorities", set_tls_client_ca },
	{ "tls-kernel", NULL, "the kernel encrypts what is sent, where it can", set_tls_kernel },
	{ "handover", "PATH",
	  "a later process with the same path takes over without losing\n"
	  "a connection",
	  set_handover },
	{ "balance", NULL, "a connection runs on the loop that has the fewest", set_balance },
	{ NULL, NULL, NULL, NULL },
};

static const struct program_option last_options[] = {
	{ "quiet", NULL, "print errors only", set_quiet },
	{ "help", NULL, "this text", show_help },
	{ "version", NULL, "the version", show_version },
	{ NULL, NULL, NULL, NULL },
};

/* A client's, first and last. */
static const struct program_option client_options[] = {
	{ "loops", "N", "event loops, each a thread on a core (default: 1)", set_loops },
	{ NULL, NULL, NULL, NULL },
};

/* The [i]th of all, or NULL. */
static const struct program_option *option_at(const struct program *p, size_t i)
{
	const struct program_option *const tables[] = {
		p->operand ? client_options : first_options, p->options,
		p->operand ? last_options + 1 : last_options, /* what quiet means is its own */
	};

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct program_option *o = tables[t]; o && o->name; o++)
			if (!i--)
				return o;
	return NULL;
}

#define TEXT_COLUMN 24

static void help_option(const struct program_option *o)
{
	const char *line = o->text, *end;
	int n = printf("  --%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");

	if (n >= TEXT_COLUMN) {
		putchar('\n');
		n = 0;
	}
	for (; line; line = end ? end + 1 : NULL, n = 0) {
		end = strchr(line, '\n');
		printf("%*s%.*s\n", TEXT_COLUMN - n, "",
		       end ? (int)(end - line) : (int)strlen(line), line);
	}
}

static void help(const struct program *p)
{
	const struct program_option *o;

	printf("Usage: %s [OPTION]...%s%s\n%s\n\n", p->name, p->operand ? " " : "",
	       p->operand ? p->operand : "", p->what);
	for (size_t i = 0; (o = option_at(p, i)); i++)
		help_option(o);
	if (p->operand)
		return;
	printf("\nWithout --listen it listens on %s.%s\n", p->default_address,
	       p->serves_udp ? " An address may be udp://HOST:PORT, too." : "");
}

/* --- the command line --- */

#define OPTIONS_MAX 64

/* For getopt_long: an option's `val` is its index, behind what getopt itself returns. */
#define FIRST_VAL 256

static void list_options(const struct program *p, struct option list[OPTIONS_MAX + 1])
{
	const struct program_option *o;

	for (size_t i = 0; i < OPTIONS_MAX && (o = option_at(p, i)); i++)
		list[i] = (struct option){ o->name, o->value ? required_argument : no_argument,
					   NULL, FIRST_VAL + (int)i };
}

static int take(struct program *p, int option, char **argv)
{
	const struct program_option *o;

	if (option == ':')
		return wrong(p, "option needs a value", argv[optind - 1]);
	if (option < FIRST_VAL)
		return wrong(p, "unknown option", argv[optind - 1]);
	o = option_at(p, (size_t)(option - FIRST_VAL));
	return o->set(p, o, optarg);
}

/* HOST:PORT means TLS when there is a certificate. */
static int encrypt_addresses(struct program *p)
{
	for (int i = 0; i < p->address_count; i++) {
		const char *text = p->addresses[i];
		char *with;

		if (strstr(text, "://") || !strncmp(text, "unix:", 5) ||
		    !strncmp(text, "systemd:", 8) || !strncmp(text, "fd:", 3))
			continue;
		if (asprintf(&with, "tls://%s", text) < 0)
			return wrong(p, "no memory", NULL);
		p->addresses[i] = with; /* for as long as the program runs */
	}
	return -1;
}

/* What was given fits together: -1, or the exit status. */
static int check_tls(struct program *p)
{
	if (p->tls_cert)
		return encrypt_addresses(p);
	if (p->tls_key || p->tls_client_ca || p->tls_kernel)
		return wrong(p, "--tls-key, --tls-client-ca and --tls-kernel need --tls-cert",
			     NULL);
	for (int i = 0; i < p->address_count; i++)
		if (!strncmp(p->addresses[i], "tls://", 6))
			return wrong(p, "without --tls-cert there is no", p->addresses[i]);
	return -1;
}

/* What is no option: -1, or the exit status. */
static int take_rest(struct program *p, int argc, char **argv)
{
	if (p->operand && optind < argc)
		p->target = argv[optind++];
	if (optind < argc)
		return wrong(p, "unexpected argument", argv[optind]);
	if (p->operand)
		return p->target ? -1 : wrong(p, "what is missing is", p->operand);
	if (!p->address_count)
		p->addresses[p->address_count++] = p->default_address;
	return check_tls(p);
}

int program_parse(struct program *p, int argc, char **argv)
{
	struct option options[OPTIONS_MAX + 1] = { { NULL, 0, NULL, 0 } };
	int option;

	p->loops = p->operand ? 1 : TORC_LOOP_PER_CORE;
	list_options(p, options);
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		int status = take(p, option, argv);

		if (status >= 0)
			return status;
	}
	return take_rest(p, argc, argv);
}

static void reload(struct program *p)
{
	char why[TORC_TLS_WHY_MAX];

	if (torc_tls_reload(p->tls, why) < 0)
		fprintf(stderr, "%s: kept the old certificate: %s\n", p->name, why);
	else if (!p->quiet)
		fprintf(stderr, "%s: read the certificate again\n", p->name);
}

static int reload_main(void *arg)
{
	struct program *p = arg;
	struct torc_signals signals;
	int r = torc_signals_open(&signals, (const int[]){ SIGHUP }, 1);

	if (r < 0)
		return r;
	while ((r = torc_signals_next(&signals)) > 0)
		reload(p);
	torc_signals_close(&signals);
	return r;
}

static int serve_with_tls(struct program *p, torc_fn *serve, void *arg)
{
	const struct torc_spawn_options spawn = { .name = "certificate reload" };
	struct torc_group group;
	int r, ended;

	torc_group_enter(&group);
	r = torc_group_spawn_with(&group, &spawn, reload_main, p);
	if (!r)
		r = serve(arg);
	torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r || ended == -ECANCELED ? r : ended;
}

int program_serve(struct program *p, torc_fn *serve, void *arg)
{
	struct torc_tls_certificate certificate = { .cert_file = p->tls_cert,
						    .key_file = p->tls_key };
	struct torc_tls_options o = {
		.certificates = &certificate,
		.certificate_count = 1,
		.ca_file = p->tls_client_ca,
		.kernel_sends = p->tls_kernel,
	};
	char why[TORC_TLS_WHY_MAX];
	int r;

	if (!p->tls_cert)
		return serve(arg);
	if (torc_tls_server_create(&o, &p->tls, why) < 0) {
		fprintf(stderr, "%s: %s\n", p->name, why);
		return -EINVAL;
	}
	r = serve_with_tls(p, serve, arg);
	torc_tls_unref(p->tls);
	return r;
}

void program_raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files); /* otherwise the limit stays what it was */
}

void program_on_listen(const struct program *p, const char *address)
{
	if (p->quiet)
		return;
	fprintf(stderr, "%s: listening on %s\n", p->name, address);
}

void program_on_error(const struct program *p, const char *address, int error)
{
	const char *why = strerror(-error);

	if (error == -EINVAL)
		why = "not an address; HOST:PORT with a numeric HOST or localhost, or unix:/path";
	fprintf(stderr, "%s: cannot listen on %s: %s\n", p->name, address, why);
}

int program_end(const struct program *p, int result, unsigned long long count)
{
	if (result == -EINVAL)
		return 2;
	if (result < 0)
		return 1;
	if (!p->quiet)
		fprintf(stderr, "%s: stopped after %llu %s\n", p->name, count,
			p->unit ? p->unit : "requests");
	return 0;
}
