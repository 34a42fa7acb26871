#include "http/programs/httpd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* The program is the first member. */
#define HTTPD(p) ((struct httpd *)(void *)(p))

/* --- files --- */

static int set_root(struct program *p, const struct program_option *option, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return program_wrong(p, option, path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return program_wrong(p, option, path, "not a directory");
	HTTPD(p)->options.root = path;
	return -1;
}

static int set_index(struct program *p, const struct program_option *option, const char *name)
{
	struct httpd *h = HTTPD(p);

	if (!*name || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return program_wrong(p, option, name, "not the name of a file in a directory");
	if (h->index_count == HTTPD_INDEX_MAX)
		return program_wrong(p, option, name, "there are too many");
	h->index[h->index_count++] = name;
	h->options.index = h->index;
	return -1;
}

static int set_list(struct program *p, const struct program_option *option, const char *value)
{
	(void)option, (void)value;
	HTTPD(p)->options.listing = true;
	return -1;
}

static int set_spa(struct program *p, const struct program_option *option, const char *value)
{
	(void)option, (void)value;
	HTTPD(p)->spa = true;
	return -1;
}

/* --- header fields --- */

static int set_cache_control(struct program *p, const struct program_option *option,
			     const char *value)
{
	if (!*value || !program_is_line(value))
		return program_wrong(p, option, value, "not a value of Cache-Control");
	HTTPD(p)->options.cache_control = value;
	return -1;
}

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789!#$%&'*+-.^_`|~";

	return *name && !name[strspn(name, letters)];
}

/* What the server says by itself: two of them would contradict each other. */
static bool is_servers(const char *name)
{
	static const char *const names[] = { "Connection", "Content-Length", "Content-Type",
					     "Date",       "Content-Range",  "Transfer-Encoding",
					     "ETag" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

static int set_header(struct program *p, const struct program_option *option, const char *text)
{
	struct httpd *h = HTTPD(p);
	char *name = strdup(text), *colon; /* for as long as the program runs */

	if (!name)
		return program_wrong(p, option, text, strerror(ENOMEM));
	colon = strchr(name, ':');
	if (!colon)
		return program_wrong(p, option, text, "not 'Name: value'");
	*colon = '\0';
	if (!is_name(name) || !program_is_line(colon + 1))
		return program_wrong(p, option, text, "not 'Name: value' as HTTP has it");
	if (is_servers(name))
		return program_wrong(p, option, text, "the server says that by itself");
	h->header_bytes += strlen(text);
	if (h->header_count == HTTPD_HEADERS_MAX || h->header_bytes > HTTPD_HEADER_BYTES_MAX)
		return program_wrong(p, option, text, "there are too many");
	h->headers[h->header_count++] =
		(struct torc_http_pair){ name, colon + 1 + strspn(colon + 1, " \t") };
	return -1;
}

/* --- around the answers --- */

static int set_compress(struct program *p, const struct program_option *option, const char *value)
{
	(void)option, (void)value;
	HTTPD(p)->compress = true;
	return -1;
}

static int set_access_log(struct program *p, const struct program_option *option, const char *path)
{
	if (!*path)
		return program_wrong(p, option, path, "not a file");
	HTTPD(p)->log_path = path;
	return -1;
}

static int set_log_format(struct program *p, const struct program_option *option, const char *name)
{
	static const char *const names[] = {
		[TORC_HTTP_LOG_COMMON] = "common",
		[TORC_HTTP_LOG_COMBINED] = "combined",
		[TORC_HTTP_LOG_JSON] = "json",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i])) {
			HTTPD(p)->log_format = (enum torc_http_log_format)i;
			HTTPD(p)->has_log_format = true;
			return -1;
		}
	return program_wrong(p, option, name, "not common, combined or json");
}

static int set_metrics(struct program *p, const struct program_option *option, const char *where)
{
	if (!*where)
		return program_wrong(p, option, where, "neither a path nor an address");
	if (*where == '/')
		HTTPD(p)->metrics_path = where;
	else
		HTTPD(p)->metrics_address = where;
	return -1;
}

/* --- limits --- */

#define SETS_TIME(field)                                                               \
	static int set_##field(struct program *p, const struct program_option *option, \
			       const char *text)                                       \
	{                                                                              \
		return program_time(p, option, text, &HTTPD(p)->server.field);         \
	}

SETS_TIME(header_ns)
SETS_TIME(body_ns)
SETS_TIME(handler_ns)
SETS_TIME(write_ns)
SETS_TIME(idle_ns)
SETS_TIME(grace_ns)

static int set_body_bytes(struct program *p, const struct program_option *option, const char *text)
{
	return program_bytes(p, option, text, &HTTPD(p)->server.body_bytes);
}

static int set_connections(struct program *p, const struct program_option *option, const char *text)
{
	return program_number(p, option, text, 1, 1u << 24, &HTTPD(p)->connections);
}

static int set_handlers(struct program *p, const struct program_option *option, const char *text)
{
	return program_number(p, option, text, 1, 1u << 24, &HTTPD(p)->handlers);
}

static int set_requests(struct program *p, const struct program_option *option, const char *text)
{
	return program_number(p, option, text, 1, UINT32_MAX, &HTTPD(p)->server.requests_max);
}

const struct program_option httpd_options[] = {
	{ "root", "DIR", "serve the files of a directory", set_root },
	{ "index", "NAME",
	  "what stands for a directory; repeatable, the first that is there\n"
	  "is it (default: index.html)",
	  set_index },
	{ "list", NULL, "show the names in a directory without an index", set_list },
	{ "spa", NULL,
	  "a path that is no file, and has no dot in its last part, is\n"
	  "answered with DIR/index.html",
	  set_spa },
	{ "cache-control", "VALUE", "Cache-Control of the files, such as max-age=3600",
	  set_cache_control },
	{ "header", "'NAME: VALUE'", "a field of each answer but those to errors; repeatable",
	  set_header },
	{ "compress", NULL, "compress what is worth it: brotli, zstd, gzip, deflate",
	  set_compress },
	{ "access-log", "FILE",
	  "a line for each request; -: on standard output. SIGHUP opens\n"
	  "the file anew",
	  set_access_log },
	{ "log-format", "NAME", "common, combined or json (default: combined)", set_log_format },
	{ "metrics", "WHERE",
	  "figures for Prometheus: at a path of this server, such as\n"
	  "/metrics, or at an address of their own; once of each",
	  set_metrics },
	{ "max-conns", "N",
	  "connections at once; further ones are answered with 503 and\n"
	  "closed (default: as many as there are descriptors)",
	  set_connections },
	{ "max-handlers", "N",
	  "requests that are answered at once; as many wait for up to a\n"
	  "second, further ones get a 503 (default: any number)",
	  set_handlers },
	{ "max-requests", "N", "requests of a connection, then it is closed (default: any number)",
	  set_requests },
	{ "max-body", "BYTES", "of a request: 4096, 64K, 10M, 1G (default: 64M)", set_body_bytes },
	{ "header-timeout", "TIME", "for a request's head: 10, 500ms, 5m, 1h (default: 10)",
	  set_header_ns },
	{ "body-timeout", "TIME", "for its body, besides a second for each KiB (default: 10)",
	  set_body_ns },
	{ "handler-timeout", "TIME", "for its answer; then 503 (default: none)", set_handler_ns },
	{ "write-timeout", "TIME", "for the client to take each 128 KiB (default: 30)",
	  set_write_ns },
	{ "idle-timeout", "TIME", "between the requests of a connection (default: 60)",
	  set_idle_ns },
	{ "grace", "TIME", "for what is under way when the server stops (default: 5)",
	  set_grace_ns },
	{ NULL, NULL, NULL, NULL },
};

static int lacks(const struct httpd *h, const char *what)
{
	fprintf(stderr, "%s: %s; try --help\n", h->program.name, what);
	return 2;
}

int httpd_check(const struct httpd *h)
{
	bool of_files = h->index_count || h->options.listing || h->spa || h->options.cache_control;

	if (of_files && !h->options.root)
		return lacks(h, "--index, --list, --spa and --cache-control need --root");
	if (h->has_log_format && !h->log_path)
		return lacks(h, "--log-format needs --access-log");
	return -1;
}
