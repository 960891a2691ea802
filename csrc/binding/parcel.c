/* Values as bytes: see parcel.h. One walk over the values measures them, which may raise, and a
 * second one writes them, which neither raises nor allocates: nothing of the program can run in
 * between. */
#include "binding/parcel.h"

#include "binding/address.h"
#include "binding/object.h"
#include "core/scratch.h"
#include "core/status.h"

#include <string.h>

enum tag {
  TAG_NIL,
  TAG_FALSE,
  TAG_TRUE,
  TAG_INTEGER,
  TAG_FLOAT,
  TAG_STRING,
  TAG_TABLE, /* keys and values until an end */
  TAG_END,
  TAG_OBJECT,
  TAG_ADDRESS,
  TAG_ERROR, /* its table of fields */
};

enum { PLACES_MAX = 65536 }; /* made beforehand: a table may claim more than it has */

struct writer {
  lua_State *L;
  enum tn_parcel_for use;
  int argument; /* which value it is at */
  int first;
  char *at; /* NULL: it only measures */
  struct tn_goods *list;
  size_t length;
  uint32_t goods;
};

static void refuse(const struct writer *writer, const char *place, int index) {
  lua_State *L = writer->L;
  const struct tn_header *header = tn_cast(L, index, UINT64_MAX);
  const char *type = header ? tn_kind_name(header->kind) : luaL_typename(L, index);
  bool one_alone = header && (header->kind & TN_MOVABLE) && writer->use == TN_PARCEL_ARGUMENTS;
  const char *text =
      lua_pushfstring(L, "%s%s cannot go to %s", place, type,
                      one_alone ? "several workers; send it to one" : "another thread");
  if (writer->use == TN_PARCEL_RESULTS) {
    luaL_error(L, "result #%d: %s", writer->argument - writer->first, text);
  }
  luaL_argerror(L, writer->argument, text);
}

static void put(struct writer *writer, const void *bytes, size_t length) {
  if (writer->at && length > 0) {
    memcpy(writer->at, bytes, length);
    writer->at += length;
  }
  writer->length += length;
}

static void put_tag(struct writer *writer, enum tag tag) {
  char byte = (char)tag;
  put(writer, &byte, 1);
}

static void put_string(struct writer *writer, int index) {
  size_t length;
  const char *bytes = lua_tolstring(writer->L, index, &length);
  put_tag(writer, TAG_STRING);
  put(writer, &length, sizeof length);
  put(writer, bytes, length);
}

static void put_number(struct writer *writer, int index) {
  if (lua_isinteger(writer->L, index)) {
    lua_Integer integer = lua_tointeger(writer->L, index);
    put_tag(writer, TAG_INTEGER);
    put(writer, &integer, sizeof integer);
  } else {
    lua_Number number = lua_tonumber(writer->L, index);
    put_tag(writer, TAG_FLOAT);
    put(writer, &number, sizeof number);
  }
}

/* Strings, numbers and booleans: what may be a key, too. */
static bool put_plain(struct writer *writer, int index) {
  switch (lua_type(writer->L, index)) {
  case LUA_TBOOLEAN:
    put_tag(writer, lua_toboolean(writer->L, index) ? TAG_TRUE : TAG_FALSE);
    return true;
  case LUA_TNUMBER:
    put_number(writer, index);
    return true;
  case LUA_TSTRING:
    put_string(writer, index);
    return true;
  default:
    return false;
  }
}

static void put_fields(struct writer *writer, int index);

static bool put_userdata(struct writer *writer, int index) {
  lua_State *L = writer->L;
  struct tn_header *header = tn_cast(L, index, TN_MOVABLE | TN_SOCKET_ADDR | TN_ERROR_VALUE);
  if (!header) {
    return false;
  }
  if (header->kind == TN_SOCKET_ADDR) {
    const struct tn_address *address = tn_address_at(L, index); /* only as long as it has to be */
    put_tag(writer, TAG_ADDRESS);
    put(writer, &address->length, sizeof address->length);
    put(writer, &address->storage, address->length);
    return true;
  }
  if (header->kind == TN_ERROR_VALUE) {
    put_tag(writer, TAG_ERROR);
    lua_getiuservalue(L, index, 1);
    put_fields(writer, lua_gettop(L));
    lua_pop(L, 1);
    return true;
  }
  if (writer->use == TN_PARCEL_ARGUMENTS) {
    return false;
  }
  put_tag(writer, TAG_OBJECT);
  put(writer, &writer->goods, sizeof writer->goods);
  if (writer->at) {
    writer->list[writer->goods].kind = header->kind;
    writer->list[writer->goods].owner = header;
  }
  writer->goods++;
  return true;
}

/* The fields of an error: what is plain of them. */
static void put_fields(struct writer *writer, int index) {
  lua_State *L = writer->L;
  int length = 0;
  put(writer, &length, sizeof length);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int type = lua_type(L, -1);
    if (lua_type(L, -2) == LUA_TSTRING &&
        (type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN)) {
      put_plain(writer, -2);
      put_plain(writer, -1);
    }
  }
  put_tag(writer, TAG_END);
}

static void put_table(struct writer *writer, int index) {
  lua_State *L = writer->L;
  if (lua_getmetatable(L, index)) {
    lua_pop(L, 1);
    refuse(writer, "with a metatable, a ", index);
  }
  lua_Unsigned size = lua_rawlen(L, index);
  int length = size < PLACES_MAX ? (int)size : PLACES_MAX;
  put_tag(writer, TAG_TABLE);
  put(writer, &length, sizeof length);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    int value = lua_gettop(L);
    if (!put_plain(writer, value - 1)) {
      refuse(writer, "as a key, a ", value - 1);
    }
    if (!put_plain(writer, value) && !put_userdata(writer, value)) {
      refuse(writer, "in a table, a ", value);
    }
  }
  put_tag(writer, TAG_END);
}

static void put_value(struct writer *writer, int index) {
  if (lua_isnil(writer->L, index)) {
    put_tag(writer, TAG_NIL);
  } else if (lua_istable(writer->L, index)) {
    put_table(writer, index);
  } else if (!put_plain(writer, index) && !put_userdata(writer, index)) {
    refuse(writer, "a ", index);
  }
}

static void put_all(struct writer *writer, int first, int last) {
  int count = last - first + 1;
  writer->first = first;
  put(writer, &count, sizeof count);
  for (writer->argument = first; writer->argument <= last; writer->argument++) {
    put_value(writer, writer->argument);
  }
}

struct tn_parcel tn_parcel_measure(lua_State *L, int first, int last, enum tn_parcel_for use) {
  struct writer writer = {.L = L, .use = use};
  luaL_checkstack(L, 8, NULL);
  put_all(&writer, first, last);
  return (struct tn_parcel){first, last, writer.length, writer.goods};
}

struct tn_post *tn_parcel_write(lua_State *L, const struct tn_parcel *parcel) {
  struct tn_post *post = tn_post_new(parcel->length, parcel->goods);
  if (post) {
    struct writer writer = {.L = L, .at = post->bytes, .list = post->goods};
    put_all(&writer, parcel->first, parcel->last);
  }
  return post;
}

/* --- objects --- */

static int check_object(lua_State *L, const struct tn_object *object, const char **message) {
  int status = tn_object_check_moving(L, object, message);
  return status < 0 ? status : tn_scratch_rescue(object->source->reactor);
}

static bool is_twice(const struct tn_post *post, uint32_t at) {
  for (uint32_t i = 0; i < at; i++) {
    if (post->goods[i].owner == post->goods[at].owner) {
      return true;
    }
  }
  return false;
}

int tn_parcel_check(lua_State *L, const struct tn_post *post, const char **message) {
  for (uint32_t i = 0; i < post->count; i++) {
    int status = check_object(L, post->goods[i].owner, message);
    if (status == 0 && is_twice(post, i)) {
      status = TN_EINVAL;
      *message = "one object twice in a message";
    }
    if (status < 0) {
      return status;
    }
  }
  return 0;
}

void tn_parcel_pack(struct tn_post *post, const char *by) {
  for (uint32_t i = 0; i < post->count; i++) {
    struct tn_object *object = post->goods[i].owner;
    struct tn_source *source = object->source;
    tn_goods_pack(&post->goods[i], source);
    object->source = NULL;
    object->consumed_by = by;
    tn_source_release(source);
  }
}

/* --- reading --- */

struct reader {
  lua_State *L;
  struct tn_runtime *rt;
  struct tn_post *post;
  const char *at;
};

static void get(struct reader *reader, void *bytes, size_t length) {
  memcpy(bytes, reader->at, length);
  reader->at += length;
}

static enum tag get_tag(struct reader *reader) {
  return (enum tag) * reader->at++;
}

static void get_value(struct reader *reader, enum tag tag);

static void get_table(struct reader *reader) {
  int length;
  get(reader, &length, sizeof length);
  lua_createtable(reader->L, length, 0);
  for (enum tag tag; (tag = get_tag(reader)) != TAG_END;) {
    get_value(reader, tag);
    get_value(reader, get_tag(reader));
    lua_rawset(reader->L, -3);
  }
}

static void get_string(struct reader *reader) {
  size_t length;
  get(reader, &length, sizeof length);
  lua_pushlstring(reader->L, reader->at, length);
  reader->at += length;
}

/* The object, which gets its source when all values are there. */
static void get_object(struct reader *reader) {
  uint32_t index;
  get(reader, &index, sizeof index);
  struct tn_goods *goods = &reader->post->goods[index];
  goods->owner = tn_object_new(reader->L, reader->rt, goods->kind);
}

static void get_value(struct reader *reader, enum tag tag) {
  lua_State *L = reader->L;
  lua_Integer integer;
  lua_Number number;
  struct tn_address address;
  switch (tag) {
  case TAG_FALSE:
  case TAG_TRUE:
    lua_pushboolean(L, tag == TAG_TRUE);
    break;
  case TAG_INTEGER:
    get(reader, &integer, sizeof integer);
    lua_pushinteger(L, integer);
    break;
  case TAG_FLOAT:
    get(reader, &number, sizeof number);
    lua_pushnumber(L, number);
    break;
  case TAG_STRING:
    get_string(reader);
    break;
  case TAG_TABLE:
    get_table(reader);
    break;
  case TAG_OBJECT:
    get_object(reader);
    break;
  case TAG_ADDRESS:
    get(reader, &address.length, sizeof address.length);
    get(reader, &address.storage, address.length);
    tn_address_push(L, reader->rt, &address);
    break;
  case TAG_ERROR:
    tn_new(L, reader->rt, TN_ERROR_VALUE, sizeof(struct tn_header), 1);
    get_table(reader);
    lua_setiuservalue(L, -2, 1);
    break;
  case TAG_NIL:
  case TAG_END:
    lua_pushnil(L);
    break;
  }
}

/* read(runtime, post) → the values */
static int read_protected(lua_State *L) {
  struct reader reader = {.L = L, .rt = lua_touserdata(L, 1), .post = lua_touserdata(L, 2)};
  int count;
  reader.at = reader.post->bytes;
  get(&reader, &count, sizeof count);
  luaL_checkstack(L, count + 8, "too many values");
  for (int i = 0; i < count; i++) {
    get_value(&reader, get_tag(&reader));
  }
  for (uint32_t i = 0; i < reader.post->count; i++) {
    struct tn_goods *goods = &reader.post->goods[i];
    tn_object_own(goods->owner, tn_goods_take(goods));
  }
  return count;
}

int tn_parcel_read(lua_State *L, struct tn_runtime *rt, struct tn_post *post) {
  int top = lua_gettop(L);
  for (uint32_t i = 0; i < post->count; i++) {
    int status = tn_goods_unpack(&post->goods[i], rt->reactor);
    if (status < 0) {
      return status;
    }
  }
  if (!lua_checkstack(L, 3)) {
    return TN_ENOMEM;
  }
  lua_pushcfunction(L, read_protected);
  lua_pushlightuserdata(L, rt);
  lua_pushlightuserdata(L, post);
  if (lua_pcall(L, 2, LUA_MULTRET, 0) != LUA_OK) {
    return TN_PARCEL_RAISED;
  }
  return lua_gettop(L) - top;
}
