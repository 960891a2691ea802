/* Classes, and making their objects: see class.h. */
#include "binding/class.h"

#include "binding/field.h"
#include "binding/runtime.h"
#include "core/source.h"

#include <string.h>

const char tn_magic[] = "tcpnet";

static int kind_index(uint64_t kind) {
  return tn_lowest_bit(kind);
}

const char *tn_kind_name(uint64_t kind) {
  static const char *const names[TN_KINDS] = {
      "TcpSocket",     "TcpStream",      "TcpListener",     "ReadHalf",     "WriteHalf",
      "OwnedReadHalf", "OwnedWriteHalf", "Buffer",          "SocketAddr",   "Error",
      "Ready",         "Task",           "JoinSet",         "lookup",       "tcpnet runtime",
      "Socket",        "Message",        "UdpSocket",       "UnixSocket",   "UnixStream",
      "UnixListener",  "UnixDatagram",   "PipeSender",      "PipeReceiver", "Poll",
      "Signal",        "Child",          [32] = "Interest", "Registry",     "Events",
      "Event",         "Waker",          "SourceFd",        "Sender",       "Sender",
      "Receiver",      "ChannelPermit",  "Worker",          "Parent",       "outcome",
      "guard",         "claim"};
  return names[kind_index(kind)];
}

void *tn_check(lua_State *L, int index, uint64_t kinds, const char *expected) {
  void *object = tn_cast(L, index, kinds);
  if (!object) {
    luaL_typeerror(L, index, expected);
  }
  return object;
}

void tn_metatable_push(lua_State *L, struct tn_runtime *rt, uint64_t kind) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, rt->metatables[kind_index(kind)]);
}

void *tn_new_with(lua_State *L, struct tn_runtime *rt, uint64_t kind, size_t size, size_t more,
                  int user_values) {
  struct tn_header *header = lua_newuserdatauv(L, size + more, user_values);
  memset(header, 0, size);
  header->magic = tn_magic;
  header->kind = kind;
  tn_metatable_push(L, rt, kind);
  lua_setmetatable(L, -2);
  return header;
}

void *tn_new(lua_State *L, struct tn_runtime *rt, uint64_t kind, size_t size, int user_values) {
  return tn_new_with(L, rt, kind, size, 0, user_values);
}

struct tn_object *tn_object_new(lua_State *L, struct tn_runtime *rt, uint64_t kind) {
  return tn_new(L, rt, kind, sizeof(struct tn_object), 0);
}

void tn_object_own(struct tn_object *object, struct tn_source *source) {
  object->source = source;
  tn_source_set_sort(source, (uint8_t)(kind_index(object->header.kind) + 1));
  source->takes_fds |= object->header.kind == TN_UNIX_STREAM;
  source->is_pipe |= (object->header.kind & TN_PIPES) != 0;
  source->uncertain |= source->is_pipe; /* one of packets gives one at a time */
}

void tn_object_move(struct tn_object *object, struct tn_object *from, const char *by) {
  tn_object_own(object, from->source);
  from->source = NULL;
  from->consumed_by = by;
}

const char *tn_object_push_end(lua_State *L, const struct tn_object *object) {
  const char *kind = tn_kind_name(object->header.kind);
  return object->consumed_by
             ? lua_pushfstring(L, "the %s was consumed by %s", kind, object->consumed_by)
             : lua_pushfstring(L, "the %s is closed", kind);
}

void tn_functions_add(lua_State *L, struct tn_runtime *rt, const luaL_Reg *functions) {
  for (; functions && functions->name; functions++) {
    lua_pushlightuserdata(L, rt);
    lua_pushcclosure(L, functions->func, 1);
    lua_setfield(L, -2, functions->name);
  }
}

void tn_class_open(lua_State *L, struct tn_runtime *rt, const struct tn_class *class) {
  lua_newtable(L);
  tn_functions_add(L, rt, class->functions);
  lua_newtable(L);
  tn_functions_add(L, rt, class->metamethods);
  tn_set_string(L, "__name", class->name);
  tn_set_boolean(L, "__metatable", false);
  if (lua_getfield(L, -1, "__index") == LUA_TNIL) {
    lua_pushvalue(L, -3);
    lua_setfield(L, -3, "__index");
  }
  lua_pop(L, 1);
  if (class->kind & TN_NAMELESS) { /* as the classes written in Lua are */
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    tn_set_string(L, "__name", class->name);
    lua_setfield(L, -2, "__metatable");
  }
  rt->metatables[kind_index(class->kind)] = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, class->name);
}

int tn_index_fields(lua_State *L) {
  const struct tn_header *header = tn_cast(L, 1, UINT64_MAX);
  if (!header || lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
    return 0; /* somebody with the debug library was here */
  }
  lua_settop(L, 3);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 3) == LUA_TNIL && lua_rawgetp(L, LUA_REGISTRYINDEX, tn_magic) == LUA_TTABLE) {
    lua_getfield(L, -1, tn_kind_name(header->kind));
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
  }
  return 1;
}

int tn_concat(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}
