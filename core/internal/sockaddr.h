/*
 * core/internal/sockaddr.h - an address of any family that torc knows.
 */
#ifndef TORC_CORE_INTERNAL_SOCKADDR_H
#define TORC_CORE_INTERNAL_SOCKADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct torc__address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	};
	socklen_t len;
};

#endif
