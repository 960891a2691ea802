rockspec_format = "3.0"
package = "tcpnet"
version = "scm-1"

source = {
  url = "git+https://github.com/tcpnet/tcpnet.git",
}

description = {
  summary = "TCP for Lua 5.4 in coroutines, after Tokio's interface, on libuv",
  detailed = [[
    Non-blocking sockets, tasks and time on libuv. Every operation that may wait suspends only the task
    it stands in; outside of tasks the same call simply blocks.
  ]],
  license = "MIT",
  labels = { "network", "async", "tcp", "udp", "socket", "libuv" },
}

supported_platforms = { "unix" }

dependencies = {
  "lua >= 5.4, < 5.6",
}

external_dependencies = {
  LIBUV = { header = "uv.h", library = "uv" },
}

build = {
  type = "builtin",
  modules = {
    ["tcpnet.core"] = {
      -- The list of CMakeLists.txt; a spec compares them.
      sources = {
        "csrc/binding/address.c",
        "csrc/binding/argument.c",
        "csrc/binding/batch.c",
        "csrc/binding/buffer.c",
        "csrc/binding/channel.c",
        "csrc/binding/child.c",
        "csrc/binding/class.c",
        "csrc/binding/clock.c",
        "csrc/binding/connection.c",
        "csrc/binding/control.c",
        "csrc/binding/copy.c",
        "csrc/binding/error.c",
        "csrc/binding/inner.c",
        "csrc/binding/input.c",
        "csrc/binding/interest.c",
        "csrc/binding/join_set.c",
        "csrc/binding/lookup.c",
        "csrc/binding/message.c",
        "csrc/binding/method.c",
        "csrc/binding/module.c",
        "csrc/binding/object.c",
        "csrc/binding/option_codec.c",
        "csrc/binding/options.c",
        "csrc/binding/output.c",
        "csrc/binding/parcel.c",
        "csrc/binding/pipe.c",
        "csrc/binding/poll.c",
        "csrc/binding/readiness.c",
        "csrc/binding/scheduler.c",
        "csrc/binding/signal.c",
        "csrc/binding/slices.c",
        "csrc/binding/socket.c",
        "csrc/binding/stream.c",
        "csrc/binding/task.c",
        "csrc/binding/task_class.c",
        "csrc/binding/tcp_listener.c",
        "csrc/binding/tcp_socket.c",
        "csrc/binding/tcp_stream.c",
        "csrc/binding/udp_socket.c",
        "csrc/binding/unix_datagram.c",
        "csrc/binding/unix_listener.c",
        "csrc/binding/unix_socket.c",
        "csrc/binding/unix_stream.c",
        "csrc/binding/worker.c",
        "csrc/core/address.c",
        "csrc/core/bytes.c",
        "csrc/core/crew.c",
        "csrc/core/datagrams.c",
        "csrc/core/goods.c",
        "csrc/core/mailbox.c",
        "csrc/core/message.c",
        "csrc/core/option.c",
        "csrc/core/option_table.c",
        "csrc/core/poller_own.c",
        "csrc/core/poller_uv.c",
        "csrc/core/reactor.c",
        "csrc/core/resolver.c",
        "csrc/core/rights.c",
        "csrc/core/selector.c",
        "csrc/core/socket_kind.c",
        "csrc/core/source.c",
        "csrc/core/splice.c",
        "csrc/core/status.c",
        "csrc/core/thread_channel.c",
        "csrc/core/watch.c",
        "csrc/platform/process.c",
        "csrc/platform/selector.c",
        "csrc/platform/tcp_info.c",
        "csrc/platform/unix.c",
      },
      defines = { "_GNU_SOURCE" },
      incdirs = { "csrc", "$(LIBUV_INCDIR)" },
      libdirs = { "$(LIBUV_LIBDIR)" },
      libraries = { "uv" },
    },
    ["tcpnet"] = "lua/tcpnet/init.lua",
    ["tcpnet.adapters"] = "lua/tcpnet/adapters.lua",
    ["tcpnet.bytes"] = "lua/tcpnet/bytes.lua",
    ["tcpnet.check"] = "lua/tcpnet/check.lua",
    ["tcpnet.codec"] = "lua/tcpnet/codec.lua",
    ["tcpnet.codec.delimited"] = "lua/tcpnet/codec/delimited.lua",
    ["tcpnet.codec.encoding"] = "lua/tcpnet/codec/encoding.lua",
    ["tcpnet.codec.framed"] = "lua/tcpnet/codec/framed.lua",
    ["tcpnet.codec.length_delimited"] = "lua/tcpnet/codec/length_delimited.lua",
    ["tcpnet.copy"] = "lua/tcpnet/copy.lua",
    ["tcpnet.duplex"] = "lua/tcpnet/duplex.lua",
    ["tcpnet.io"] = "lua/tcpnet/io.lua",
    ["tcpnet.net"] = "lua/tcpnet/net.lua",
    ["tcpnet.outside"] = "lua/tcpnet/outside.lua",
    ["tcpnet.process"] = "lua/tcpnet/process.lua",
    ["tcpnet.reader"] = "lua/tcpnet/reader.lua",
    ["tcpnet.resolve"] = "lua/tcpnet/resolve.lua",
    ["tcpnet.socket"] = "lua/tcpnet/socket.lua",
    ["tcpnet.sync"] = "lua/tcpnet/sync.lua",
    ["tcpnet.sync.barrier"] = "lua/tcpnet/sync/barrier.lua",
    ["tcpnet.sync.broadcast"] = "lua/tcpnet/sync/broadcast.lua",
    ["tcpnet.sync.cancellation_token"] = "lua/tcpnet/sync/cancellation_token.lua",
    ["tcpnet.sync.channel"] = "lua/tcpnet/sync/channel.lua",
    ["tcpnet.sync.coop"] = "lua/tcpnet/sync/coop.lua",
    ["tcpnet.sync.errors"] = "lua/tcpnet/sync/errors.lua",
    ["tcpnet.sync.mutex"] = "lua/tcpnet/sync/mutex.lua",
    ["tcpnet.sync.notify"] = "lua/tcpnet/sync/notify.lua",
    ["tcpnet.sync.oneshot"] = "lua/tcpnet/sync/oneshot.lua",
    ["tcpnet.sync.semaphore"] = "lua/tcpnet/sync/semaphore.lua",
    ["tcpnet.sync.waiters"] = "lua/tcpnet/sync/waiters.lua",
    ["tcpnet.sync.watch"] = "lua/tcpnet/sync/watch.lua",
    ["tcpnet.task"] = "lua/tcpnet/task.lua",
    ["tcpnet.time"] = "lua/tcpnet/time.lua",
    ["tcpnet.udp"] = "lua/tcpnet/udp.lua",
    ["tcpnet.unix"] = "lua/tcpnet/unix.lua",
    ["tcpnet.waiting"] = "lua/tcpnet/waiting.lua",
    ["tcpnet.workers"] = "lua/tcpnet/workers.lua",
    ["tcpnet.writer"] = "lua/tcpnet/writer.lua",
  },
}

test = {
  type = "command",
  command = "./dev test",
}
