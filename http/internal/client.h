/*
 * http/internal/client.h - the client: its pools, and one request with its response.
 *
 *	client.c             options, opening, closing, the keeper of each loop's connections
 *	client_pool.c        connections that are kept, and who waits for one
 *	client_connect.c     the way to a server: address, proxy, tunnel, TLS
 *	client_proxy.c       which proxy, if any
 *	client_place.c       URLs that were understood
 *	client_request.c     one call: attempts and redirects
 *	client_authorize.c   challenges
 *	client_head.c        the text of a request's head
 *	client_upload.c      a request's body
 *	client_response.c    what the program sees of a response
 *	reader.c             heads and bodies off the stream
 */
#ifndef TORC_HTTP_INTERNAL_CLIENT_H
#define TORC_HTTP_INTERNAL_CLIENT_H

#include <torc/core/group.h>
#include <torc/core/sync.h>
#include <torc/http/client.h>
#include <torc/http/url.h>
#include <torc/io/tls.h>

#include "http/internal/coding.h"
#include "http/internal/reader.h"

/* For what few requests need: its buffers would else be on the stack, and so in the cache, of all. */
#define TORC__HTTP_RARE __attribute__((noinline))

struct torc__http_pool;
struct torc__http_origin;

/* A connection: in use by one response, or idle in its pool. */
struct torc__http_conn {
	struct torc_stream stream;
	struct torc__http_origin *origin;
	bool open;
	bool kept; /* it has answered a request before */
	uint64_t idle_until_ns;
	/* while it is idle: of its origin, the latest first; of the pool, the oldest first */
	struct torc__http_conn *next, *prev;
	struct torc__http_conn *younger, *older;
};

/* Where connections go to: scheme, host and port, or the proxy that serves for all. */
struct torc__http_origin {
	struct torc__http_pool *pool;
	struct torc__http_origin *next; /* in the table */
	uint32_t hash;
	unsigned users; /* connections, and those who are about to ask for one: then it stays */
	unsigned connections;
	struct torc__http_conn *idle;
	char key[];
};

/* Where an URL leads. */
struct torc__http_place {
	unsigned users;
	uint32_t hash;
	const struct torc__http_proxy *proxy; /* NULL: none */
	bool secure;
	struct torc_url parts;                       /* of `url` */
	char origin[8 + TORC_URL_AUTHORITY_MAX + 1]; /* "https://example.org" */
	const char *host;                            /* the part of it that is in Host */
	const char *key; /* the same for all that may share a connection */
	uint32_t key_hash;
	/* What follows the method in the head of a request: its line without and with a Host field. */
	const char *line;
	size_t line_len, line_host_len;
	char *asked; /* [asked_len]: as the program has written it */
	size_t asked_len;
	char url[]; /* normalised; `asked` and `line` follow */
};

#define TORC__HTTP_PLACES 16

/* A fiber in line for a connection, on its stack. */
struct torc__http_claim {
	struct torc__wait *slot;
	struct torc__http_origin *origin;
	struct torc__http_claim *next, *prev;
	bool granted;
	struct torc__http_conn *conn; /* NULL: it may open one */
};

#define TORC__HTTP_ORIGIN_SLOTS 64

/* Of one loop, touched by its fibers only. */
struct torc__http_pool {
	_Alignas(64) struct torc_http_client *client;
	struct torc__http_origin *origins[TORC__HTTP_ORIGIN_SLOTS];
	struct torc__http_place *places[TORC__HTTP_PLACES];
	struct torc__http_conn *oldest, *youngest; /* idle */
	struct torc__http_conn *stale;             /* to be closed by the keeper */
	struct torc__http_claim *first, *last;     /* in line */
	unsigned waiting, connections, idle;
	unsigned responses; /* open */
	uint64_t requests, connects, retries, dropped;
	struct torc_group uploads; /* of the keeper: fibers that send bodies */
	struct torc_scope nap;     /* of the keeper: cancelled to wake it */
	uint64_t look_ns;          /* when it ends at the latest */
};

/* Text that grows. */
struct torc__http_string {
	char *data;
	size_t len, capacity;
	bool borrowed; /* data is not its own, until it grows */
	int error;     /* -ENOMEM: it is not all */
};

struct torc__http_proxy {
	char *address;       /* HOST:PORT; NULL: none */
	char *authorization; /* the value of Proxy-Authorization; NULL: none */
	char *origin;        /* "http://HOST:PORT", as others are written */
};

struct torc_http_client {
	struct torc_http_client_options options; /* with the defaults filled in */
	struct torc__http_limits limits;
	struct torc__http_proxy http_proxy, https_proxy;
	char *no_proxy, *user_agent, *connect_to;
	struct torc__http_string lines; /* of a request that has none of its own */
	struct torc_tls *tls;           /* NULL: none has been needed yet */
	struct torc_mutex tls_lock;
	char tls_why[TORC_TLS_WHY_MAX];
	struct torc_group keepers;
	struct torc_latch started, closing;
	int unstarted; /* why a keeper was not */
	bool alone;    /* for one request: on this loop only */
	int first_loop, pool_count;
	struct torc__http_pool *pools;
};

/* What a body is sent by. */
struct torc_http_upload {
	struct torc_http_response *res;
	struct torc_stream *stream;
	uint64_t left; /* of the length; TORC_NEVER: in chunks */
	bool running, begun;
	bool written; /* all of it, but perhaps not sent */
	bool refused; /* the server has answered: no more is wanted */
	int result;
	struct torc_scope scope; /* of its fiber */
	struct torc__wait *ended;
};

/* Of who we are, to a server or a proxy. */
struct torc__http_said {
	char *value;             /* malloc'd; NULL: nothing */
	unsigned tries, answers; /* requests with that, and 401 or 407 to this request */
};

/* Memory of a response. */
struct torc__http_keep {
	struct torc__http_keep *next;
	_Alignas(16) char data[];
};

struct torc_http_response {
	struct torc_http_client *client;
	struct torc__http_pool *pool;
	bool own_client;
	bool tried; /* once at least: then there is something to be forgotten */
	struct torc_http_request request;
	uint32_t capacity; /* of the chunk this lives in */
	char *room;        /* [room_left], behind the fields */
	size_t room_left;

	/* what is being asked */
	const char *method;
	enum torc__http_method
		method_token; /* as far as reading needs it: HEAD, CONNECT, or any other */
	struct torc__http_place *place; /* NULL: it makes no sense */
	bool has_body;
	bool body_dropped; /* by a redirect */
	bool decodes_body; /* if it comes in a coding that we know */
	bool expects;      /* 100 Continue, before the body */
	bool unexpected;   /* it has been refused: 417 */
	bool body_owed;    /* announced, and not sent */
	bool crossed;      /* another origin than the program has asked */
	unsigned redirects, interim;
	struct torc__http_said to_server, to_proxy;
	struct torc__http_string head; /* of the request, as it is sent */

	/* the exchange */
	struct torc__http_conn *conn;
	struct torc__http_reader reader;
	struct torc_http_upload upload;
	struct torc_scope await; /* of the server's next bytes */
	bool awaiting;
	uint64_t await_ns; /* for them, once the request's body was sent */
	const char *phase;

	/* the response */
	struct torc_slice reason;
	int status;
	unsigned field_count;
	struct torc__http_keep *memory;
	struct torc__http_string trailers, whole;
	uint64_t length;
	uint64_t waited_ns; /* for the body */
	uint64_t shown;     /* bytes of the body that were consumed */
	int error;          /* of the body: it stays */
	bool complete;
	bool whole_read; /* `whole` is all of it, with a NUL */
	struct torc__http_decoder decoder;
	bool decodes;
	struct torc_slice raw; /* of the reader, to be decoded */
	size_t raw_len;        /* that were shown */
	struct torc_slice out; /* decoded */

	/* From here on it is not cleared when it is made. */
	char detail[256];                 /* more about what went wrong */
	struct torc__http_field fields[]; /* [limits.fields] */
};

/* --- client.c --- */

/* Of the caller's loop. */
struct torc__http_pool *torc__http_client_pool(struct torc_http_client *client);

/* A client for one request. */
int torc__http_client_open_alone(struct torc_http_client **ret);

/* --- client_pool.c --- */

uint32_t torc__http_origin_hash(const char *key);

/* The origin with this key and its hash, which stays until it is put; NULL without memory. */
struct torc__http_origin *torc__http_origin_get(struct torc__http_pool *pool, const char *key,
						uint32_t hash);
void torc__http_origin_put(struct torc__http_origin *o);

/*
 * A connection of an origin: one that is open, or one to be opened. 0, -ETIMEDOUT (line_ns or the scope), -ECANCELED or -ENOMEM.
 */
int torc__http_conn_take(struct torc__http_origin *o, struct torc__http_conn **ret);

/* It can be used again. */
void torc__http_conn_give(struct torc__http_conn *c);

/* It cannot, and is closed; suspends. */
void torc__http_conn_drop(struct torc__http_conn *c);

/* For the keeper: what has gone stale or has been idle for too long, to be closed; and when to look again. */
struct torc__http_conn *torc__http_pool_expired(struct torc__http_pool *pool, uint64_t now,
						uint64_t *ret_next_ns);
/* Close all that were handed out by it, or all that are idle. */
void torc__http_conns_close(struct torc__http_conn *list);
void torc__http_pool_clear(struct torc__http_pool *pool);

/* --- client_proxy.c --- */

int torc__http_proxies_init(struct torc_http_client *client,
			    const struct torc_http_client_options *options);
void torc__http_proxies_done(struct torc_http_client *client);

/* The proxy for an URL, or NULL. */
const struct torc__http_proxy *torc__http_proxy_for(const struct torc_http_client *client,
						    const struct torc_url *url);

static inline struct torc_http_jar_site torc__http_jar_site(const struct torc_http_response *res)
{
	return (struct torc_http_jar_site){ .host = res->place->parts.host,
					    .path = res->place->parts.path,
					    .secure = res->place->secure };
}

/* The value of Authorization that the userinfo of an URL means: 1; 0: it has none; -EINVAL: too long, or characters that must not be. */
int torc__http_basic_of_url(const struct torc_url *url, char *ret_value, size_t size);

/* --- client_place.c --- */

/* Where an URL leads: to be put. 0, -EPROTONOSUPPORT, -ENOMEM, or as torc_url_normalize. */
int torc__http_place_get(struct torc__http_pool *pool, const char *text, size_t len,
			 struct torc__http_place **ret);
void torc__http_place_put(struct torc__http_place *place);

/* --- client_connect.c --- */

/* Open the connection of a response; what it fails with is in res->detail too. */
int torc__http_connect(struct torc_http_response *res);

/* --- client_head.c --- */

/* 0, or -EINVAL: a field that is none, or the library's. */
int torc__http_request_check(const struct torc_http_request *q);

/* The fields that a client adds to all requests. 0, or -ENOMEM. */
int torc__http_lines_init(struct torc_http_client *client);

/* Write it to res->head. 0, or -ENOMEM. */
int torc__http_head_write(struct torc_http_response *res);

void torc__http_string_add(struct torc__http_string *s, const void *data, size_t len);
void torc__http_string_text(struct torc__http_string *s, const char *text);
void torc__http_string_done(struct torc__http_string *s);

/* --- client_authorize.c --- */

/* Before a request to a place: what goes without being asked for. 0, or an error. */
int torc__http_authorize_unasked(struct torc_http_response *res);

/* After a response. 1: there is something new to say; 0: it was no challenge, or there is not; or an error. */
int torc__http_authorize(struct torc_http_response *res);

/* The same for a tunnel, to a proxy: status 0 before, 407 after. */
int torc__http_authorize_tunnel(struct torc_http_response *res, int status, const char *address);

/* The value of Proxy-Authorization, or NULL. */
const char *torc__http_said_to_proxy(const struct torc_http_response *res);

void torc__http_said_done(struct torc__http_said *s);

/* --- client_upload.c --- */

/* The length of the body, TORC_NEVER for chunks. 0, or what a file fails with. */
int torc__http_upload_measure(struct torc_http_response *res, uint64_t *ret_length);

/* Can the body be sent once more? */
bool torc__http_upload_repeats(const struct torc_http_response *res);

/* Send the body: small ones at once, others by a fiber. 0, or a negative errno. */
int torc__http_upload_start(struct torc_http_response *res);

/*
 * Around the wait for more of a response: it may last until a deadline; or, while the body is being sent, for so long after that. What the
 * body fails with ends it. The result of the wait goes in, and comes out with that in its place.
 */
void torc__http_await_begin(struct torc_http_response *res, uint64_t now, uint64_t ns);
int torc__http_await_end(struct torc_http_response *res, int r);

/* Was all of it sent? */
bool torc__http_upload_is_done(struct torc_http_response *res);

/* Stop sending, and wait until that has ended. */
void torc__http_upload_stop(struct torc_http_response *res);

/* --- client_response.c --- */

/* The head is complete: keep it, and begin the body. */
int torc__http_response_begin(struct torc_http_response *res);

/* Before another attempt: what is left of a short body, for a short while, so that the connection can be used again. */
void torc__http_response_drain(struct torc_http_response *res);

/* Be done with the connection. */
void torc__http_response_release(struct torc_http_response *res);

/* Stop the upload, give back the connection and the memory; the structure may be used for another attempt. */
void torc__http_response_done(struct torc_http_response *res);

void *torc__http_response_alloc(struct torc_http_response *res, size_t bytes);

#endif
