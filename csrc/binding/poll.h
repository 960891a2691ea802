/* Poll, Registry, Events, Event, Waker, SourceFd: mio's layer, for scripts that want a loop of
 * their own. */
#ifndef TCPNET_POLL_H
#define TCPNET_POLL_H

#include "binding/method.h"

extern const struct tn_class tn_poll_class, tn_registry_class, tn_events_class, tn_event_class,
    tn_waker_class, tn_source_fd_class;
extern const struct tn_method tn_poll_methods[];

#endif
