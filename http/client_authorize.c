/*
 * http/client_authorize.c - who we are: for servers what the request says, for proxies what the client says. Neither is told to the other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal/client.h"

/* Challenges to one request that are answered. */
#define ANSWERS_MAX 4

/* --- what is said --- */

void torc__http_said_done(struct torc__http_said *s)
{
	free(s->value);
	*s = (struct torc__http_said){ .value = NULL };
}

static int say(struct torc__http_said *s, const char *value)
{
	char *copy;

	if (!torc__http_is_field_value(value))
		return -EINVAL;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(s->value);
	s->value = copy;
	s->tries++;
	return 1;
}

static unsigned collect(const struct torc__http_field *fields, unsigned field_count,
			const char *name, struct torc_slice list[TORC_HTTP_CHALLENGES_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < field_count && count < TORC_HTTP_CHALLENGES_MAX; i++)
		if (torc__http_slice_is_word(fields[i].name, name))
			list[count++] = fields[i].value;
	return count;
}

static int ask(struct torc__http_said *s, struct torc_http_challenge *c, torc_http_authorize_fn *fn,
	       void *arg)
{
	char value[TORC_HTTP_AUTHORIZATION_MAX];
	int r;

	c->tries = s->tries;
	c->answers = s->answers;
	r = fn(c, value, sizeof(value), arg);
	return r > 0 ? say(s, value) : r;
}

/* --- to a server --- */

static TORC__HTTP_RARE int ask_server(struct torc_http_response *res, int status)
{
	const struct torc_http_request *q = &res->request;
	const char *origin = res->place->origin;
	struct torc_slice list[TORC_HTTP_CHALLENGES_MAX];
	char target[TORC_URL_MAX + 1];
	struct torc_http_challenge c = {
		.status = status,
		.method = res->method,
		.target = target,
		.origin = { origin, strlen(origin) },
		.challenges = list,
		.count = collect(res->fields, res->field_count, "WWW-Authenticate", list),
	};
	int r = torc_url_target(&res->place->parts, target, sizeof(target));

	return r < 0 ? r : ask(&res->to_server, &c, q->authorize, q->authorize_arg);
}

static int ask_for_server(struct torc_http_response *res, int status)
{
	return res->request.authorize && !res->crossed ? ask_server(res, status) : 0;
}

static bool has_authorization(const struct torc_http_request *q)
{
	for (size_t i = 0; i < q->field_count; i++)
		if (!strcasecmp(q->fields[i].name, "Authorization"))
			return true;
	return false;
}

/* "http://user:password@host/": as if Basic had been asked for. What the program has to say by other means comes first. */
static TORC__HTTP_RARE int say_url(struct torc_http_response *res)
{
	char value[TORC_HTTP_AUTHORIZATION_MAX];
	int r;

	if (res->crossed || has_authorization(&res->request))
		return 0;
	r = torc__http_basic_of_url(&res->place->parts, value, sizeof(value));
	return r > 0 ? say(&res->to_server, value) : r;
}

/* --- to a proxy --- */

static int ask_for_proxy(struct torc_http_response *res, int status, const char *method,
			 const char *target, unsigned field_count)
{
	const struct torc_http_client_options *o = &res->client->options;
	const char *origin = res->place->proxy->origin;
	struct torc_slice list[TORC_HTTP_CHALLENGES_MAX];
	struct torc_http_challenge c = {
		.status = status,
		.method = method,
		.target = target,
		.origin = { origin, strlen(origin) },
		.challenges = list,
		.count = collect(res->fields, field_count, "Proxy-Authenticate", list),
	};

	return o->proxy_authorize
		       ? ask(&res->to_proxy, &c, o->proxy_authorize, o->proxy_authorize_arg)
		       : 0;
}

/* With the target of a request that is no tunnel's: all of the URL, as client_head.c writes it. */
static TORC__HTTP_RARE int ask_for_plain_proxy(struct torc_http_response *res, int status)
{
	char target[8 + TORC_URL_AUTHORITY_MAX + TORC_URL_MAX + 1];
	size_t len = (size_t)sprintf(target, "http://%s", res->place->host);
	int r = torc_url_target(&res->place->parts, target + len, sizeof(target) - len);

	return r < 0 ? r : ask_for_proxy(res, status, res->method, target, res->field_count);
}

int torc__http_authorize_tunnel(struct torc_http_response *res, int status, const char *address)
{
	if (status && res->to_proxy.answers++ == ANSWERS_MAX)
		return 0;
	return ask_for_proxy(res, status, "CONNECT", address,
			     status ? res->reader.head.field_count : 0);
}

const char *torc__http_said_to_proxy(const struct torc_http_response *res)
{
	const struct torc__http_proxy *proxy = res->place->proxy;

	if (!proxy)
		return NULL;
	return res->to_proxy.value ? res->to_proxy.value : proxy->authorization;
}

/* --- before a request, and after --- */

/* No tunnel may be needed: then its proxy is asked nothing. client_connect.c does it. */
static bool has_plain_proxy(const struct torc_http_response *res)
{
	return res->place->proxy && !res->place->secure;
}

int torc__http_authorize_unasked(struct torc_http_response *res)
{
	int r;

	torc__http_said_done(&res->to_server);
	torc__http_said_done(&res->to_proxy);
	res->field_count = 0; /* nobody has asked */
	r = ask_for_server(res, 0);
	if (!r && res->place->parts.has_userinfo)
		r = say_url(res);
	if (r >= 0 && has_plain_proxy(res))
		r = ask_for_plain_proxy(res, 0);
	return r < 0 ? r : 0;
}

int torc__http_authorize(struct torc_http_response *res)
{
	bool by_proxy = res->status == 407 && has_plain_proxy(res);
	struct torc__http_said *s = by_proxy ? &res->to_proxy : &res->to_server;

	if ((res->status != 401 && !by_proxy) || s->answers++ == ANSWERS_MAX ||
	    !torc__http_upload_repeats(res))
		return 0;
	res->phase = "being asked who we are";
	return by_proxy ? ask_for_plain_proxy(res, 407) : ask_for_server(res, 401);
}
