/*
 * server_ticks.h - the processor time of the server under load, for the programs that make the load.
 */
#ifndef TORC_BENCH_SERVER_TICKS_H
#define TORC_BENCH_SERVER_TICKS_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/*
 * Of a process, in ticks of which sysconf(_SC_CLK_TCK) are a second: fields 14 and 15 of proc_pid_stat(5), user and system
 * time; the second field may have anything but ')' last. Returns 0, or a negative errno.
 */
static inline int server_ticks_read(unsigned pid, uint64_t *ret_ticks)
{
	unsigned long user, system;
	char path[32], text[1024];
	const char *fields;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	fields = fgets(text, sizeof(text), file) ? strrchr(text, ')') : NULL;
	fclose(file);
	if (!fields || sscanf(fields, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu",
			      &user, &system) != 2)
		return -EPROTO;
	*ret_ticks = user + system;
	return 0;
}

#endif
