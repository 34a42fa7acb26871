/*
 * io/programs/options.h - the command line that torc's programs share.
 */
#ifndef TORC_IO_PROGRAMS_OPTIONS_H
#define TORC_IO_PROGRAMS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <torc/core/group.h>
#include <torc/io/server.h>

#define PROGRAM_ADDRESSES_MAX 64

struct program;

/* An option of the command line. What it sets is done by its function, which returns -1, or the exit status. */
struct program_option {
	const char *name;  /* "listen"; NULL ends a table */
	const char *value; /* "ADDR"; NULL: it has none */
	const char *text;  /* for --help; lines end with '\n' but for the last */
	int (*set)(struct program *p, const struct program_option *option, const char *value);
};

struct program {
	const char *name; /* "torc-echo" */
	const char *what; /* for --help */
	const char *default_address;
	const char *unit;    /* what program_end counts; default "requests" */
	bool serves_udp;     /* udp:// is known */
	const char *operand; /* "URL": a client's; it has no --listen and the like */
	const struct program_option *options; /* besides those that all have; NULL: none */

	const char *addresses[PROGRAM_ADDRESSES_MAX + 1];
	int address_count;
	const char *target; /* the operand */
	int loops;
	bool quiet;
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

/* For an option's function: one line on standard error about what is wrong with it; the exit status. */
int program_wrong(const struct program *p, const struct program_option *option, const char *value,
		  const char *why);

/* A number; one of bytes, with K, M or G behind it; a time in seconds, or with ms, s, m or h behind it. -1, or the exit status. */
int program_number(const struct program *p, const struct program_option *option, const char *text,
		   uint64_t least, uint64_t most, uint64_t *ret);
int program_bytes(const struct program *p, const struct program_option *option, const char *text,
		  uint64_t *ret);
int program_time(const struct program *p, const struct program_option *option, const char *text,
		 uint64_t *ret_ns);

/* Can it stand in a line of text: no control characters but tabs? */
bool program_is_line(const char *text);

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
