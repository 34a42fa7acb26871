#include <torc/io/pipe.h>

#include <torc/core/sys.h>

#include "core/internal/fiber.h"

int torc_pipe(int ret_fds[2], int flags)
{
	int r = torc__scope_check(torc__self());

	return r < 0 ? r : torc_sys_pipe(ret_fds, flags);
}
