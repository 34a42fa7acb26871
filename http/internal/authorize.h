/*
 * http/internal/authorize.h - challenges, and what Digest computes.
 */
#ifndef TORC_HTTP_INTERNAL_AUTHORIZE_H
#define TORC_HTTP_INTERNAL_AUTHORIZE_H

#include <torc/http/authorize.h>

/* A walk through the value of a WWW-Authenticate field: schemes, and the parameters of each. */
struct torc__http_challenge_walk {
	struct torc_slice left;
	bool begun;  /* a scheme was seen */
	bool fresh;  /* and nothing behind it */
	bool broken; /* what is left makes no sense */
};

enum torc__http_challenge_part {
	TORC__HTTP_CHALLENGE_END, /* or it makes no sense from here on */
	TORC__HTTP_CHALLENGE_SCHEME,
	TORC__HTTP_CHALLENGE_PARAMETER,
	TORC__HTTP_CHALLENGE_TOKEN, /* instead of parameters, in `value` */
};

enum torc__http_challenge_part torc__http_challenge_next(struct torc__http_challenge_walk *w,
							 struct torc_slice *ret_name,
							 struct torc_slice *ret_value);

/* A value, without the quotes and backslashes of a quoted string: a string in `to`. False: it does not fit, or has control characters. */
bool torc__http_unquote(struct torc_slice value, char *to, size_t size);

/* "response" of Digest, and the name to be sent if that is hashed: 64 hexadecimal digits at most. 0 or -EOPNOTSUPP. */
int torc__http_digest_response(const struct torc__http_digest_session *s,
			       const struct torc_http_credentials *credentials, const char *method,
			       const char *target, char ret_response[65], char ret_user[65]);

#endif
