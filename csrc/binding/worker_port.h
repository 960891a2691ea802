/* Worker and Parent: the two ends of the channel between a worker and the state that started it, as
 * objects. */
#ifndef TCPNET_WORKER_PORT_H
#define TCPNET_WORKER_PORT_H

#include "binding/method.h"
#include "core/thread_channel.h"

/* Worker, Parent, and what the task that stands for a worker holds of it. */
struct tn_worker_port {
  struct tn_header header;
  struct tn_end *end; /* NULL: never opened */
  lua_Integer index;
};

/* Leaves one of that kind, which has no end yet. */
struct tn_worker_port *tn_worker_port_new(lua_State *L, struct tn_runtime *rt, uint64_t kind,
                                          lua_Integer index);

extern const struct tn_class tn_worker_class;
extern const struct tn_class tn_parent_class;
extern const struct tn_class tn_outcome_class;
extern const struct tn_method tn_worker_methods[];

#endif
