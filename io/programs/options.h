/*
 * io/programs/options.h - the command line that torc-echo and torc-httpd share.
 */
#ifndef TORC_IO_PROGRAMS_OPTIONS_H
#define TORC_IO_PROGRAMS_OPTIONS_H

#include <stdbool.h>

#include <torc/core/group.h>
#include <torc/io/server.h>

#define PROGRAM_ADDRESSES_MAX 64

struct program {
	const char *name; /* "torc-echo" */
	const char *what; /* one line for --help */
	const char *default_address;
	const char *unit;  /* what program_end counts; default "requests" */
	bool serves_files; /* --root is known */
	bool serves_udp;   /* udp:// is known */

	const char *addresses[PROGRAM_ADDRESSES_MAX + 1];
	int address_count;
	int loops;
	bool quiet;
	const char *root;
	const char *handover; /* NULL: none */
	enum torc_balance balance;
	const char *tls_cert, *tls_key, *tls_client_ca; /* NULL: none */
	bool tls_kernel;
	struct torc_tls *tls; /* program_serve */
};

/*
 * Read the command line. Returns -1: go on; otherwise the exit status: 0 after --help and --version, 2
 * after one line on standard error about what is wrong.
 */
int program_parse(struct program *p, int argc, char **argv);

/*
 * As many connections as the system allows: raise the soft limit of open files, which is 1024 by an old
 * custom (select(2)), to the hard one.
 */
void program_raise_limits(void);

/*
 * In a fiber: serve(arg), with p->tls from what --tls-cert and the like say, if anything, and read again at SIGHUP. Returns what
 * serve has returned, or -EINVAL after a line on standard error.
 */
int program_serve(struct program *p, torc_fn *serve, void *arg);

/* For torc_serve_with, with the program as its arg behind the first member of the server's own. */
void program_on_listen(const struct program *p, const char *address);
void program_on_error(const struct program *p, const char *address, int error);

/* The last line: "torc-httpd: stopped after N requests". Returns the exit status for torc_run's result. */
int program_end(const struct program *p, int result, unsigned long long count);

#endif
