/*
 * io/internal/address.h - parts of addresses as text.
 */
#ifndef TORC_IO_INTERNAL_ADDRESS_H
#define TORC_IO_INTERNAL_ADDRESS_H

#include <torc/io/address.h>

/* A decimal port, in the order of the network. Returns 0, -EINVAL. */
int torc__port_parse(const char *text, in_port_t *ret_port);

#endif
