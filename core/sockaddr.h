/*
 * core/sockaddr.h - an address of a socket, of any family that torc knows. What to do with it: io/address.h.
 */
#ifndef TORC_CORE_SOCKADDR_H
#define TORC_CORE_SOCKADDR_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct torc_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un; /* sun_path begins with a zero byte: an abstract name */
	};
	socklen_t len; /* bytes of the above that count; 0: no address */
	int type;      /* SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET; 0: not said */
};

#endif
