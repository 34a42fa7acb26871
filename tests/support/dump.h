/*
 * tests/support/dump.h - a dump as a string.
 */
#ifndef TESTS_SUPPORT_DUMP_H
#define TESTS_SUPPORT_DUMP_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <torc/core/dump.h>

#include "tests/support/check.h"

static inline int memory_file(void)
{
	int fd = memfd_create("dump", MFD_CLOEXEC);

	check_ge(fd, 0);
	return fd;
}

/* What was written to fd, which is closed. The caller frees it. */
static inline char *contents(int fd)
{
	off_t len = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)len + 1);

	check(text);
	check_eq(pread(fd, text, (size_t)len, 0), len);
	close(fd);
	return text;
}

static inline char *dump_text(void)
{
	int fd = memory_file();

	check_eq(torc_dump(fd), 0);
	return contents(fd);
}

#endif
