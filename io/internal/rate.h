/*
 * io/internal/rate.h - for those who learn how much it is when it has gone.
 */
#ifndef TORC_IO_INTERNAL_RATE_H
#define TORC_IO_INTERNAL_RATE_H

#include <torc/io/rate.h>

/* Take n, which has gone. Returns when it is paid for, and more may go; that may be in the past. */
uint64_t torc__rate_charge(struct torc_rate *rate, uint64_t n);

#endif
