#include "http/programs/load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal/parse.h"

/* What is made here lasts as long as the program. */

static int wrong(const struct load *load, const char *what, const char *why)
{
	fprintf(stderr, "%s: ", load->program.name);
	for (; *what; what++) /* one line, whatever is in it */
		fputc((unsigned char)*what < ' ' ? '?' : *what, stderr);
	fprintf(stderr, ": %s; try --help\n", why);
	return 2;
}

static int no_memory(const struct load *load)
{
	return wrong(load, "memory", strerror(ENOMEM));
}

/* --- where to --- */

/* As RFC 3986 has it, for what goes into a request line: anything else has to be encoded. */
static bool is_url(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~' || strchr("\"<>\\^`{|}", *text))
			return false;
	return true;
}

/* HOST[:PORT]: what is before the port, or all. */
static size_t host_len(const char *authority)
{
	const char *colon = strrchr(authority, ':');

	if (!colon || (*authority == '[' && colon < strrchr(authority, ']')))
		return strlen(authority);
	return (size_t)(colon - authority);
}

static int set_host(struct load *load)
{
	size_t len = host_len(load->authority);
	bool bracketed = *load->authority == '[';

	load->host =
		bracketed ? strndup(load->authority + 1, len - 2) : strndup(load->authority, len);
	return load->host ? -1 : no_memory(load);
}

/* "HOST:PORT" from "HOST", "HOST:" or "HOST:PORT". */
static int set_address(struct load *load, const char *default_port)
{
	size_t len = host_len(load->authority);
	const char *port = load->authority + len;
	bool has_port = port[0] && port[1];
	int n;

	if (load->connect) {
		load->address = strdup(load->connect);
		return load->address ? -1 : no_memory(load);
	}
	n = asprintf(&load->address, "tcp://%.*s:%s", (int)len, load->authority,
		     has_port ? port + 1 : default_port);
	return n >= 0 ? -1 : no_memory(load);
}

static int take_url(struct load *load)
{
	const char *url = load->program.target, *scheme_end = strstr(url, "://");
	const char *authority = scheme_end ? scheme_end + 3 : url, *path;
	size_t len = strcspn(authority, "/?#");
	int status;

	if (!scheme_end || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
	    !is_url(url))
		return wrong(load, url, "not an URL");
	if (!torc__http_authority_valid((struct torc_slice){ authority, len }, false))
		return wrong(load, url, "not an URL with a host, or with more than host and port");
	path = authority + len;
	load->authority = strndup(authority, len);
	if (!load->authority || asprintf(&load->path, "%s%.*s", *path == '/' ? "" : "/",
					 (int)strcspn(path, "#"), path) < 0)
		return no_memory(load);
	status = set_host(load);
	return status < 0 ? set_address(load, load->is_tls ? "443" : "80") : status;
}

static int take_address(struct load *load)
{
	const char *target = load->program.target;
	const char *tls = load->is_tls ? target + strlen("tls://") : NULL;

	if (strncmp(target, "tcp://", 6) != 0 && strncmp(target, "unix:", 5) != 0 && !tls)
		return wrong(load, target, "neither http://, https://, tcp://, tls:// nor unix:");
	if (tls) {
		load->authority = strdup(tls);
		return load->authority && set_host(load) < 0 &&
				       asprintf(&load->address, "tcp://%s", tls) >= 0
			       ? -1
			       : no_memory(load);
	}
	load->address = strdup(target);
	return load->address ? -1 : no_memory(load);
}

/* --- what --- */

/* At most LOAD_TRAIN_BYTES_MAX and one more, so that too much is seen. */
static int read_body(struct load *load, char **ret, size_t *ret_len)
{
	FILE *f = fopen(load->body_file, "rbe");
	int error = errno, status = -1;

	if (!f)
		return wrong(load, load->body_file, strerror(error));
	*ret = malloc(LOAD_TRAIN_BYTES_MAX + 1);
	errno = 0;
	*ret_len = *ret ? fread(*ret, 1, LOAD_TRAIN_BYTES_MAX + 1, f) : 0;
	error = errno;
	if (!*ret)
		status = no_memory(load);
	else if (ferror(f))
		status = wrong(load, load->body_file, strerror(error));
	fclose(f);
	return status;
}

static bool has_header(const struct load *load, const char *name)
{
	for (size_t i = 0; i < load->header_count; i++)
		if (load->headers[i].len > strlen(name) &&
		    load->headers[i].data[strlen(name)] == ':' &&
		    !strncasecmp(load->headers[i].data, name, strlen(name)))
			return true;
	return false;
}

/* GET and the like say nothing of a body that they do not have. */
static bool says_length(const struct load *load, size_t body_len)
{
	return body_len || load->body || load->body_file || !strcmp(load->method, "POST") ||
	       !strcmp(load->method, "PUT") || !strcmp(load->method, "PATCH");
}

static void write_request(const struct load *load, FILE *to, const char *body, size_t body_len)
{
	fprintf(to, "%s %s HTTP/1.1\r\n", load->method, load->path);
	if (!has_header(load, "Host"))
		fprintf(to, "Host: %s\r\n", load->authority);
	for (size_t i = 0; i < load->header_count; i++)
		fprintf(to, "%s\r\n", load->headers[i].data);
	if (says_length(load, body_len))
		fprintf(to, "Content-Length: %zu\r\n", body_len);
	fputs("\r\n", to);
	fwrite(body, 1, body_len, to);
}

static int make_request(struct load *load, char **ret, size_t *ret_len)
{
	char *of_file = NULL;
	size_t body_len = load->body ? strlen(load->body) : 0;
	int status = load->body_file ? read_body(load, &of_file, &body_len) : -1;
	FILE *to;
	bool complete;

	if (status >= 0) {
		free(of_file);
		return status;
	}
	to = open_memstream(ret, ret_len);
	if (to)
		write_request(load, to, of_file ? of_file : load->body ? load->body : "", body_len);
	complete = to && !ferror(to);
	if (to && fclose(to))
		complete = false;
	free(of_file);
	return complete ? -1 : no_memory(load);
}

/* Bytes in which no part is like another: what is out of place is seen. */
static int make_echo(struct load *load, char **ret, size_t *ret_len)
{
	uint64_t state = 0x9e3779b97f4a7c15;

	*ret_len = load->size;
	*ret = malloc(load->size);
	for (size_t i = 0; *ret && i < load->size; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		(*ret)[i] = (char)(state >> 56);
	}
	return *ret ? -1 : no_memory(load);
}

static int make_train(struct load *load, const char *request, size_t len)
{
	char *train;

	if (len > LOAD_TRAIN_BYTES_MAX / load->pipeline)
		return wrong(load, load->program.target,
			     "the requests of a connection are more than 64M");
	train = malloc(len * load->pipeline);
	if (!train)
		return no_memory(load);
	for (size_t i = 0; i < load->pipeline; i++)
		memcpy(train + i * len, request, len);
	load->train = (struct torc_slice){ train, len * load->pipeline };
	load->request_bytes = len;
	return -1;
}

int load_prepare(struct load *load)
{
	char *request = NULL;
	size_t len = 0;
	int status = load->is_http ? take_url(load) : take_address(load);

	if (status < 0)
		status = load->is_http ? make_request(load, &request, &len)
				       : make_echo(load, &request, &len);
	if (status < 0)
		status = make_train(load, request, len);
	free(request);
	load->read_answers = load->is_http ? load_read_http : load_read_echo;
	if (status < 0 && load->svg_path) {
		load->svg = fopen(load->svg_path, "we");
		if (!load->svg)
			status = wrong(load, load->svg_path, strerror(errno));
	}
	return status;
}
