/* For every file of the checked Lua: when a collection is due that nothing but a test would want.
 * TCPNET_COLLECT_EVERY says at how many of the allocations; 0 is never, 1 is HARDMEMTESTS as Lua
 * has it. */
#ifndef TCPNET_CHECKED_LUA_H
#define TCPNET_CHECKED_LUA_H

#include <stdlib.h>

static inline int tn_collection_is_due(void) {
  static _Thread_local long every = -1;
  static _Thread_local unsigned long count;
  if (every < 0) {
    const char *text = getenv("TCPNET_COLLECT_EVERY");
    every = text ? atol(text) : 4999;
  }
  return every > 0 && ++count % (unsigned long)every == 0;
}

#endif
