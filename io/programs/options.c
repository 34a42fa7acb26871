#include "io/programs/options.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <torc/core/api.h>
#include <torc/core/run.h>
#include <torc/io/signal.h>
#include <torc/io/tls.h>

static void help(const struct program *p)
{
	printf("Usage: %s [OPTION]...\n%s\n\n"
	       "  --listen ADDR   HOST:PORT, tcp://HOST:PORT, [::]:PORT, unix:/path, unix:@name,\n"
	       "                  %ssystemd:NAME or fd:N; repeatable\n"
	       "                  (default %s)\n"
	       "  --loops N       event loops, each a thread on a core (default: one per core)\n",
	       p->name, p->what, p->serves_udp ? "udp://HOST:PORT, " : "", p->default_address);
	printf("  --tls-cert FILE PEM: a certificate and those above it: HOST:PORT, [::]:PORT and\n"
	       "                  tls://HOST:PORT are encrypted then; SIGHUP reads the files again\n"
	       "  --tls-key FILE  PEM: its private key (default: in the same file)\n"
	       "  --tls-client-ca FILE\n"
	       "                  PEM: clients must have a certificate of one of these authorities\n"
	       "  --tls-kernel    the kernel encrypts what is sent, where it can\n");
	printf("  --handover PATH a later process with the same path takes over without losing a connection\n");
	printf("  --balance       a connection runs on the loop that has the fewest\n");
	if (p->serves_files)
		printf("  --root DIR      serve the files of a directory\n");
	printf("  --quiet         print errors only\n"
	       "  --help          this text\n"
	       "  --version       the version\n");
}

static int wrong(const struct program *p, const char *what, const char *value)
{
	fprintf(stderr, "%s: %s%s%s; try --help\n", p->name, what, value ? ": " : "",
		value ? value : "");
	return 2;
}

static int set_loops(struct program *p, const char *text)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || end == text || n < 1 || n > 256)
		return wrong(p, "--loops takes a number from 1 to 256, not", text);
	p->loops = (int)n;
	return -1;
}

static int add_address(struct program *p, const char *text)
{
	if (p->address_count == PROGRAM_ADDRESSES_MAX)
		return wrong(p, "too many --listen", NULL);
	p->addresses[p->address_count++] = text;
	return -1;
}

static int set_root(struct program *p, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: --root %s: %s\n", p->name, path, strerror(errno));
		return 2;
	}
	if (!S_ISDIR(st.st_mode)) {
		fprintf(stderr, "%s: --root %s: not a directory\n", p->name, path);
		return 2;
	}
	p->root = path;
	return -1;
}

static int take(struct program *p, int option, char **argv)
{
	switch (option) {
	case 'l': return add_address(p, optarg);
	case 'n': return set_loops(p, optarg);
	case 'r':
		return p->serves_files ? set_root(p, optarg) : wrong(p, "unknown option", "--root");
	case 'C': p->tls_cert = optarg; return -1;
	case 'K': p->tls_key = optarg; return -1;
	case 'A': p->tls_client_ca = optarg; return -1;
	case 'T': p->tls_kernel = true; return -1;
	case 'o': p->handover = optarg; return -1;
	case 'b': p->balance = TORC_BALANCE_LEAST; return -1;
	case 'q': p->quiet = true; return -1;
	case 'h': help(p); return 0;
	case 'v': printf("%s %s\n", p->name, TORC_VERSION); return 0;
	case ':': return wrong(p, "option needs a value", argv[optind - 1]);
	default: return wrong(p, "unknown option", argv[optind - 1]);
	}
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

int program_parse(struct program *p, int argc, char **argv)
{
	static const struct option options[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "loops", required_argument, NULL, 'n' },
		{ "handover", required_argument, NULL, 'o' },
		{ "balance", no_argument, NULL, 'b' },
		{ "root", required_argument, NULL, 'r' },
		{ "tls-cert", required_argument, NULL, 'C' },
		{ "tls-key", required_argument, NULL, 'K' },
		{ "tls-client-ca", required_argument, NULL, 'A' },
		{ "tls-kernel", no_argument, NULL, 'T' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	p->loops = TORC_LOOP_PER_CORE;
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		int status = take(p, option, argv);

		if (status >= 0)
			return status;
	}
	if (optind < argc)
		return wrong(p, "unexpected argument", argv[optind]);
	if (!p->address_count)
		p->addresses[p->address_count++] = p->default_address;
	return check_tls(p);
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
