/* PipeSender and PipeReceiver: the ends of anonymous pipes and FIFOs. */
#ifndef TCPNET_PIPE_H
#define TCPNET_PIPE_H

#include "binding/method.h"

extern const struct tn_class tn_pipe_sender_class, tn_pipe_receiver_class;
extern const struct tn_method tn_pipe_methods[];

/* pipe() → sender, receiver; open_fifo(path, sends, read_write, unchecked) → the end that is
 * wanted.
 */
int tn_pipe_new(lua_State *L);
int tn_pipe_open_fifo(lua_State *L);

#endif
