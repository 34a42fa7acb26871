/*
 * core/internal/compat.h - kernel interfaces that are newer than the headers torc builds with.
 *
 * liburing 2.3 stops at Linux 6.0, glibc 2.36 at 5.19. Each is probed at run time before it is used.
 */
#ifndef TORC_CORE_INTERNAL_COMPAT_H
#define TORC_CORE_INTERNAL_COMPAT_H

#ifndef MADV_GUARD_INSTALL /* Linux 6.13 */
#define MADV_GUARD_INSTALL 102
#endif

/* Linux 6.12: min_wait_usec in struct io_uring_getevents_arg, the padding of older headers. */
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#define TORC__MIN_WAIT_USEC     pad
#else
#define TORC__MIN_WAIT_USEC min_wait_usec
#endif

/* Operations, which are enumerators there. */
#define TORC__OP_FUTEX_WAIT 51 /* Linux 6.7 */
#define TORC__OP_FTRUNCATE  55 /* Linux 6.9 */

#define TORC__SCM_PIDFD 4 /* Linux 6.5; an enumerator in some headers */

#ifndef IORING_ENTER_NO_IOWAIT /* Linux 6.15 */
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif

#ifndef IORING_FEAT_NO_IOWAIT /* Linux 6.15 */
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

#endif
