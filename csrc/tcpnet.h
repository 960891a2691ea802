/* tcpnet for C programs around Lua: what may be called from other threads and from signal handlers.
 * The module tcpnet/core.so has these functions. */
#ifndef TCPNET_H
#define TCPNET_H

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the Poll of a Waker return. `fd`: what waker:fd() gave. 0, or a negative errno. Safe in any
 * thread and in a signal handler, as long as the Waker is open. */
int tcpnet_waker_wake(int fd);

#ifdef __cplusplus
}
#endif

#endif
