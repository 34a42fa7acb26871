/*
 * core/slice.h - a borrowed run of bytes.
 *
 * A slice owns nothing: whoever hands one out says how long its bytes stay valid.
 */
#ifndef TORC_CORE_SLICE_H
#define TORC_CORE_SLICE_H

#include <torc/core/api.h>

struct torc_slice {
	const char *data; /* [len] bytes, not terminated; may be NULL when len is 0 */
	size_t len;
};

#endif
