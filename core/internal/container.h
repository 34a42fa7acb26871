/*
 * core/internal/container.h - from a member to the structure it is embedded in.
 */
#ifndef TORC_CORE_INTERNAL_CONTAINER_H
#define TORC_CORE_INTERNAL_CONTAINER_H

#include <stddef.h>

#define torc__container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
