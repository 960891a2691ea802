/* lines_floor, a Lua module: listen(port) prints the address, accept() waits for the next
 * connection, line() returns the next line of it, or nil at its end. What any program in Lua pays
 * that gets those lines as strings: plain reads, and the strings. It does not look for the ends of
 * lines: it is told that each has LINE bytes and ends with a newline. */
#include <arpa/inet.h>
#include <lauxlib.h>
#include <lua.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE = 40, CHUNK = 65536 };

static int listener = -1;
static int stream = -1;
static char bytes[LINE + CHUNK];
static size_t next;
static size_t end;

static int listen_on(lua_State *L) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  address.sin_port = htons((uint16_t)luaL_checkinteger(L, 1));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) < 0 || listen(listener, 1) < 0) {
    return luaL_error(L, "no listener");
  }
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return 0;
}

static int accept_next(lua_State *L) {
  if (stream >= 0) {
    close(stream);
  }
  next = end = 0;
  stream = accept(listener, NULL, NULL);
  return stream < 0 ? luaL_error(L, "accept failed") : 0;
}

static int line(lua_State *L) {
  while (end - next < LINE) {
    memmove(bytes, bytes + next, end - next);
    end -= next;
    next = 0;
    ssize_t received = recv(stream, bytes + end, CHUNK, 0);
    if (received <= 0) {
      return 0;
    }
    end += (size_t)received;
  }
  lua_pushlstring(L, bytes + next, LINE - 1);
  next += LINE;
  return 1;
}

int luaopen_lines_floor(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"listen", listen_on}, {"accept", accept_next}, {"line", line}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
