/*
 * torc.h - all of torc: fibers on io_uring rings.
 *
 * Each header stands alone and teaches one thing; this one includes them all.
 */
#ifndef TORC_H
#define TORC_H

#include <torc/core/api.h>
#include <torc/core/chan.h>
#include <torc/core/context.h>
#include <torc/core/defer.h>
#include <torc/core/dump.h>
#include <torc/core/fiber.h>
#include <torc/core/gather.h>
#include <torc/core/gen.h>
#include <torc/core/group.h>
#include <torc/core/interval.h>
#include <torc/core/local.h>
#include <torc/core/op.h>
#include <torc/core/run.h>
#include <torc/core/scope.h>
#include <torc/core/sim.h>
#include <torc/core/slice.h>
#include <torc/core/sockaddr.h>
#include <torc/core/sync.h>
#include <torc/core/sys.h>
#include <torc/core/timeout.h>
#include <torc/core/waiters.h>
#include <torc/executor/call.h>
#include <torc/executor/executor.h>
#include <torc/executor/fork.h>
#include <torc/executor/future.h>
#include <torc/executor/map.h>
#include <torc/executor/offload.h>
#include <torc/executor/pool.h>
#include <torc/executor/process.h>
#include <torc/executor/wait.h>
#include <torc/http/auth.h>
#include <torc/http/authorize.h>
#include <torc/http/client.h>
#include <torc/http/compress.h>
#include <torc/http/cookie.h>
#include <torc/http/cors.h>
#include <torc/http/events.h>
#include <torc/http/exchange.h>
#include <torc/http/files.h>
#include <torc/http/filter.h>
#include <torc/http/form.h>
#include <torc/http/form_data.h>
#include <torc/http/health.h>
#include <torc/http/jar.h>
#include <torc/http/limit.h>
#include <torc/http/log.h>
#include <torc/http/metrics.h>
#include <torc/http/multipart.h>
#include <torc/http/recover.h>
#include <torc/http/request_id.h>
#include <torc/http/router.h>
#include <torc/http/security.h>
#include <torc/http/server.h>
#include <torc/http/url.h>
#include <torc/io/activation.h>
#include <torc/io/address.h>
#include <torc/io/child.h>
#include <torc/io/contents.h>
#include <torc/io/datagram.h>
#include <torc/io/direct.h>
#include <torc/io/directory.h>
#include <torc/io/file.h>
#include <torc/io/listener.h>
#include <torc/io/name.h>
#include <torc/io/pipe.h>
#include <torc/io/poll.h>
#include <torc/io/proxy.h>
#include <torc/io/rate.h>
#include <torc/io/server.h>
#include <torc/io/signal.h>
#include <torc/io/socket.h>
#include <torc/io/stream.h>
#include <torc/io/tls.h>
#include <torc/io/tty.h>
#include <torc/io/unix.h>
#include <torc/io/watch.h>

#endif
