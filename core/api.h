/*
 * core/api.h - attributes that every public header uses.
 */
#ifndef TORC_CORE_API_H
#define TORC_CORE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TORC_VERSION "0.1.0"

/* A function of the library's interface: the only symbols that the shared library exports. */
#define TORC_API __attribute__((visibility("default")))

/* The result says whether it worked: ignoring it is a compiler warning. */
#define TORC_MUST_CHECK __attribute__((warn_unused_result))

/* An absolute time that never comes, or a timeout that never ends. */
#define TORC_NEVER UINT64_MAX

#define TORC_MS(n)      ((uint64_t)(n)*1000000u)
#define TORC_SECONDS(n) ((uint64_t)(n)*1000000000u)

#ifdef __cplusplus
#define TORC_BEGIN_DECLS extern "C" {
#define TORC_END_DECLS   }
#else
#define TORC_BEGIN_DECLS
#define TORC_END_DECLS
#endif

#endif
