/*
 * http/client_head.c - the head of a request, as it is sent.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <torc/http/form_data.h>

#include "http/internal/client.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Room for a Cookie field at first, and at most: above that there is none. */
#define COOKIES_BYTES ((size_t)512)
#define COOKIES_MOST  ((size_t)512 << 10)

/* --- text that grows --- */

static bool grow(struct torc__http_string *s, size_t more)
{
	size_t capacity = s->capacity ? s->capacity : 512;
	char *larger;

	while (capacity < s->len + more)
		capacity *= 2;
	larger = realloc(s->borrowed ? NULL : s->data, capacity);
	if (!larger) {
		s->error = -ENOMEM;
		return false;
	}
	if (s->borrowed)
		memcpy(larger, s->data, s->len);
	s->borrowed = false;
	s->data = larger;
	s->capacity = capacity;
	return true;
}

static int reserve(struct torc__http_string *s, size_t len)
{
	return s->len + len > s->capacity && !grow(s, len) ? -ENOMEM : 0;
}

void torc__http_string_add(struct torc__http_string *s, const void *data, size_t len)
{
	if (torc__unlikely(s->len + len > s->capacity) && !grow(s, len))
		return;
	if (len)
		memcpy(s->data + s->len, data, len);
	s->len += len;
}

void torc__http_string_text(struct torc__http_string *s, const char *text)
{
	torc__http_string_add(s, text, strlen(text));
}

void torc__http_string_done(struct torc__http_string *s)
{
	if (!s->borrowed)
		free(s->data);
	*s = (struct torc__http_string){ .data = NULL };
}

static void add_field(struct torc__http_string *s, const char *name, const char *value)
{
	torc__http_string_text(s, name);
	torc__http_string_add(s, ": ", 2);
	torc__http_string_text(s, value);
	torc__http_string_add(s, "\r\n", 2);
}

/* --- the program's fields --- */

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcasecmp(name, list[i]))
			return true;
	return false;
}

/* How a message ends, and what becomes of the connection, is not the program's to say. */
static bool is_ours(const char *name)
{
	static const char *const names[] = {
		"Connection", "Content-Length",    "Expect",  "Keep-Alive", "Proxy-Connection",
		"TE",         "Transfer-Encoding", "Trailer", "Upgrade",
	};

	return is_one_of(name, names, COUNT(names));
}

/* Not for another origin than that which the program has asked: the Fetch standard, "HTTP-redirect fetch". */
static bool is_secret(const char *name)
{
	static const char *const names[] = { "Authorization", "Cookie", "Host",
					     "Proxy-Authorization" };

	return is_one_of(name, names, COUNT(names));
}

/* What goes with a body. */
static bool is_of_body(const char *name)
{
	static const char *const names[] = { "Content-Encoding", "Content-Language",
					     "Content-Location", "Content-Type", "Content-Range" };

	return is_one_of(name, names, COUNT(names));
}

static bool is_left_out(const struct torc_http_response *res, const char *name)
{
	const struct torc__http_place *place = res->place;

	return (res->crossed && is_secret(name)) || (res->body_dropped && is_of_body(name)) ||
	       (res->to_server.value && !strcasecmp(name, "Authorization")) ||
	       ((place->secure || torc__http_said_to_proxy(res)) && place->proxy &&
		!strcasecmp(name, "Proxy-Authorization"));
}

static bool has_field(const struct torc_http_response *res, const char *name)
{
	const struct torc_http_request *q = &res->request;

	for (size_t i = 0; i < q->field_count; i++)
		if (!strcasecmp(q->fields[i].name, name) && !is_left_out(res, name))
			return true;
	return false;
}

static unsigned count_bodies(const struct torc_http_request *q)
{
	return 0u + (q->body != NULL) + (q->body_file != NULL) + (q->form != NULL) +
	       (q->body_stream != NULL) + (q->body_gen != NULL) + (q->body_fn != NULL);
}

int torc__http_request_check(const struct torc_http_request *q)
{
	if (!q->url || count_bodies(q) > 1 || (q->body_len && !q->body))
		return -EINVAL;
	if (q->method && (!torc__http_is_token(q->method) || !strcmp(q->method, "CONNECT")))
		return -EINVAL;
	for (size_t i = 0; i < q->field_count; i++) {
		const struct torc_http_pair *f = &q->fields[i];

		if (!torc__http_is_token(f->name) || !torc__http_is_field_value(f->value) ||
		    is_ours(f->name))
			return -EINVAL;
	}
	return 0;
}

/* --- the head --- */

static void add_line(struct torc_http_response *res)
{
	struct torc__http_string *s = &res->head;
	const struct torc__http_place *place = res->place;
	bool own_host = has_field(res, "Host");

	torc__http_string_text(s, res->method);
	torc__http_string_add(s, place->line, own_host ? place->line_len : place->line_host_len);
}

static void add_accept_encoding(struct torc__http_string *s,
				const struct torc_http_coding *const *codings)
{
	const char *before = "Accept-Encoding: ";

	for (; *codings; codings++) {
		torc__http_string_text(s, before);
		torc__http_string_text(s, (*codings)->name);
		before = ", ";
	}
	torc__http_string_add(s, "\r\n", 2);
}

int torc__http_lines_init(struct torc_http_client *client)
{
	const struct torc_http_client_options *o = &client->options;
	struct torc__http_string *s = &client->lines;

	if (*client->user_agent)
		add_field(s, "User-Agent", client->user_agent);
	add_field(s, "Accept", "*/*");
	if (!o->no_decode && *o->codings)
		add_accept_encoding(s, o->codings);
	return s->error;
}

static void add_defaults_but(struct torc_http_response *res)
{
	const struct torc_http_client_options *o = &res->client->options;
	struct torc__http_string *s = &res->head;
	const char *agent = res->client->user_agent;

	if (*agent && !has_field(res, "User-Agent"))
		add_field(s, "User-Agent", agent);
	if (!has_field(res, "Accept"))
		add_field(s, "Accept", "*/*");
	if (res->decodes_body && *o->codings)
		add_accept_encoding(s, o->codings);
}

static void add_defaults(struct torc_http_response *res)
{
	const char *to_proxy = res->place->secure ? NULL : torc__http_said_to_proxy(res);
	struct torc__http_string *s = &res->head;

	if (res->request.field_count)
		add_defaults_but(res);
	else
		torc__http_string_add(s, res->client->lines.data, res->client->lines.len);
	if (res->to_server.value)
		add_field(s, "Authorization", res->to_server.value);
	if (to_proxy)
		add_field(s, "Proxy-Authorization", to_proxy);
}

static void add_cookies(struct torc_http_response *res)
{
	struct torc__http_string *s = &res->head;
	struct torc_http_jar *jar = res->client->options.jar;
	const struct torc_http_jar_site site = torc__http_jar_site(res);
	size_t before = s->len, room = COOKIES_BYTES;
	int n;

	torc__http_string_text(s, "Cookie: ");
	do {
		if (reserve(s, room) < 0)
			return;
		n = torc_http_jar_cookies(jar, &site, s->data + s->len, room);
		room *= 2;
	} while (n == -ERANGE && room <= COOKIES_MOST);
	if (n <= 0) {
		s->len = before;
		return;
	}
	s->len += (size_t)n;
	torc__http_string_add(s, "\r\n", 2);
}

static void add_body_fields(struct torc_http_response *res)
{
	struct torc__http_string *s = &res->head;
	const struct torc_http_request *q = &res->request;
	char text[24];

	if (!res->has_body) {
		/* RFC 9110, section 8.6: where a body would be expected, that there is none. */
		if (*res->method == 'P' &&
		    (!strcmp(res->method, "POST") || !strcmp(res->method, "PUT") ||
		     !strcmp(res->method, "PATCH")))
			add_field(s, "Content-Length", "0");
		return;
	}
	if (q->form && !has_field(res, "Content-Type"))
		add_field(s, "Content-Type", torc_http_form_data_type(q->form));
	if (res->upload.left == TORC_NEVER) {
		add_field(s, "Transfer-Encoding", "chunked");
	} else {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)res->upload.left);
		add_field(s, "Content-Length", text);
	}
	if (res->expects)
		add_field(s, "Expect", "100-continue");
}

int torc__http_head_write(struct torc_http_response *res)
{
	const struct torc_http_request *q = &res->request;
	struct torc__http_string *s = &res->head;

	s->len = 0;
	s->error = 0;
	add_line(res);
	add_defaults(res);
	for (size_t i = 0; i < q->field_count; i++)
		if (!is_left_out(res, q->fields[i].name))
			add_field(s, q->fields[i].name, q->fields[i].value);
	if (res->client->options.jar && !has_field(res, "Cookie"))
		add_cookies(res);
	add_body_fields(res);
	torc__http_string_add(s, "\r\n", 2);
	return s->error;
}

/* --- who we are --- */

int torc__http_basic_of_url(const struct torc_url *url, char *ret_value, size_t size)
{
	static const struct torc_http_challenge unasked;
	char user[512], password[512];
	const struct torc_http_credentials c = { .user = user, .password = password };
	struct torc_slice parts[2];

	if (!torc_url_credentials(url, &parts[0], &parts[1]))
		return 0;
	if (torc_url_decode(parts[0], user, sizeof(user)) < 0 ||
	    torc_url_decode(parts[1], password, sizeof(password)) < 0)
		return -EINVAL;
	return torc_http_authorize_basic(&unasked, ret_value, size, (void *)(uintptr_t)&c);
}
