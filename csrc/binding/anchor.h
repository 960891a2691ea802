/* Keeps Lua values alive by number: a list in the registry whose free places are a chain, so that
 * one that is left needs no memory, and the next to be taken is at hand. */
#ifndef TCPNET_ANCHOR_H
#define TCPNET_ANCHOR_H

#include <lua.h>
#include <stdbool.h>

struct tn_anchors {
  int list;   /* in the registry */
  int length; /* of it */
  int free;   /* its first free place, which holds the next; 0: none */
};

void tn_anchors_open(lua_State *L, struct tn_anchors *anchors);
/* Pops the value on top and keeps it; the place, from 1. */
int tn_anchor(lua_State *L, struct tn_anchors *anchors);
/* The next one needs no memory then; without memory for that: false, with the error on top. */
bool tn_anchor_reserve(lua_State *L, struct tn_anchors *anchors);
void tn_anchor_push(lua_State *L, const struct tn_anchors *anchors, int place);
/* Pops the value on top, which takes the place of what is there. Raises nothing. */
void tn_anchor_replace(lua_State *L, struct tn_anchors *anchors, int place);
/* What is there may be collected. Raises nothing. */
void tn_anchor_leave(lua_State *L, struct tn_anchors *anchors, int place);

#endif
