/* UnixStream: a connection between programs of one machine, over which descriptors can be passed.
 * Each travels with one byte, and keeps its place among the bytes (core/rights.h). */
#include "binding/unix_stream.h"

#include "binding/control.h"
#include "binding/object.h"

#include <errno.h>
#include <limits.h>

enum { FILL = 4096 }; /* the system stops at the end of the message that has descriptors */

static int stream_pair(lua_State *L) {
  return tn_object_open_pair(L, TN_UNIX_STREAM, SOCK_STREAM);
}

static int stream_from_fd(lua_State *L) {
  return tn_object_from_fd(L, TN_UNIX_STREAM);
}

static int prepare_send_fd(lua_State *L, struct tn_runtime *rt) {
  (void)rt;
  if (!tn_cast(L, 2, TN_SOURCES)) {
    tn_check_integer(L, 2, "fd", 0, INT_MAX);
  }
  return 0;
}

static int attempt_send_fd(lua_State *L, struct tn_call *call) {
  struct tn_control control = {.length = 0};
  tn_fd fd;
  int status = tn_control_fd(L, 2, &fd, &call->message);
  if (status < 0) {
    return status;
  }
  struct tn_slice byte = {"", 1};
  tn_control_append(&control, SOL_SOCKET, SCM_RIGHTS, &fd, sizeof fd);
  struct tn_message message = {
      .slices = &byte, .count = 1, .control = control.bytes, .control_length = control.length};
  ptrdiff_t sent = tn_source_send_message(call->source, &message, 0);
  if (sent < 0) {
    return (int)sent;
  }
  lua_settop(L, 1);
  return 1;
}

static int attempt_recv_fd(lua_State *L, struct tn_call *call) {
  struct tn_source *source = call->source;
  for (;;) {
    bool carried;
    tn_fd fd = source->rare ? tn_rights_take(source->rare->rights, source->input.length, &carried)
                            : TN_NO_FD;
    if (fd != TN_NO_FD) {
      if (carried) {
        tn_bytes_consume(&source->input, 1);
      }
      if (fd == TN_LOST_FD) {
        call->message =
            "a descriptor came, and was lost: this process has too many open, or no memory";
        return -EMFILE;
      }
      lua_pushinteger(L, fd);
      return 1;
    }
    if (source->input.length > 0) {
      call->message = "bytes that carry no descriptor come first";
      return TN_EBUSY;
    }
    ptrdiff_t count = tn_source_fill(source, FILL);
    if (count == 0) {
      lua_pushnil(L);
      return 1;
    }
    if (count < 0) {
      return (int)count;
    }
  }
}

static const luaL_Reg functions[] = {
    {"pair", stream_pair}, {"from_fd", stream_from_fd}, {NULL, NULL}};
const struct tn_class tn_unix_stream_class = {"UnixStream", TN_UNIX_STREAM, functions,
                                              tn_object_metamethods};

/* clang-format off */
const struct tn_method tn_unix_stream_methods[] = {
  {.name = "send_fd", .kinds = TN_UNIX_STREAM, .interest = TN_WRITABLE, .slots = 2, .flags = TN_WRITES,
   .prepare = prepare_send_fd, .attempt = attempt_send_fd},
  {.name = "recv_fd", .kinds = TN_UNIX_STREAM, .interest = TN_READABLE, .slots = 1, .flags = TN_READS,
   .attempt = attempt_recv_fd},
  {0},
};
/* clang-format on */
