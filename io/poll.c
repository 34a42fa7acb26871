#include <torc/io/poll.h>

#include "io/internal/call.h"

int torc_poll(int fd, short events)
{
	return TORC__CALL(poll_add, fd, (unsigned short)events);
}
