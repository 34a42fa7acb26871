/*
 * io/internal/proxy.h - headers of the PROXY protocol as bytes. Pure functions.
 */
#ifndef TORC_IO_INTERNAL_PROXY_H
#define TORC_IO_INTERNAL_PROXY_H

#include <torc/io/proxy.h>

/* What torc__proxy_format needs at most. */
#define TORC__PROXY_FORMAT_MAX 232

/*
 * Read a header. Returns its length, with *ret written; 0: it may become one, with *ret_need the bytes that are needed
 * before it makes sense to ask again, more than len; or -EPROTO, which more bytes do not change.
 */
int torc__proxy_parse(const char *data, size_t len, struct torc_proxy *ret, size_t *ret_need);

/* Into [TORC__PROXY_FORMAT_MAX] bytes. Returns how many, or an error of torc_proxy_write. */
int torc__proxy_format(char *to, int version, const struct torc_address *source,
		       const struct torc_address *destination);

#endif
