/*
 * http/internal/save.h - what comes in parts, as a new file: of a form, or of a response.
 */
#ifndef TORC_HTTP_INTERNAL_SAVE_H
#define TORC_HTTP_INTERNAL_SAVE_H

#include <sys/types.h>

#include <torc/core/slice.h>

struct torc__http_parts {
	/* 1: there is more; 0: that was all; or an error. */
	int (*peek)(void *arg, struct torc_slice *ret_view);
	void (*consume)(void *arg, size_t n);
	void *arg;
};

/*
 * The rest of it into a file that was not there; after an error there is none again. 0; -EMSGSIZE: it is longer than `most`; what peek returns, or as
 * torc_openat and torc_pwrite_all. ret_bytes may be NULL.
 */
int torc__http_save(const struct torc__http_parts *from, int dirfd, const char *path, mode_t mode,
		    uint64_t most, uint64_t *ret_bytes);

#endif
