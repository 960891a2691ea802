/* JoinSet: tasks whose ends are taken in the order in which they come. Under select, scope and
 * each, too. */
#ifndef TCPNET_JOIN_SET_H
#define TCPNET_JOIN_SET_H

#include "binding/method.h"

/* The task on top of the stack, which belongs to a set, has ended. Will somebody hear of it? */
bool tn_join_set_finished(lua_State *L, struct tn_runtime *rt, struct tn_task *task);

/* Reports what failed in the sets and nobody took, of one set; was there any? */
bool tn_join_sets_report(lua_State *L, struct tn_runtime *rt);

extern const struct tn_class tn_join_set_class;
extern const struct tn_method tn_join_set_methods[];

#endif
