#ifndef TORC_HTTP_AUTHORIZE_H
#define TORC_HTTP_AUTHORIZE_H
#include <torc/core/slice.h>
struct torc_http_challenge {
	int status;
	const char *method, *target;
	const struct torc_slice *challenges;
	size_t count;
	unsigned tries;
};
typedef int torc_http_authorize_fn(const struct torc_http_challenge *c, char *ret_value,
				   size_t size, void *arg);
#endif
