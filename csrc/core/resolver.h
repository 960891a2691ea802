/* getaddrinfo as something to wait for. A lookup that runs cannot be stopped: whoever no longer
 * cares lets go of it, and it is freed when it comes back. Each runs on a thread of its own, not on
 * libuv's pool, whose four threads a few slow names would block, and which is waited for at the end
 * of the program. */
#ifndef TCPNET_RESOLVER_H
#define TCPNET_RESOLVER_H

#include "core/address.h"
#include "core/reactor.h"

struct tn_lookup {
  struct tn_queue waiters;
  bool done;
  int status;
  size_t count;
  struct tn_address *addresses;
};

/* The name's addresses, each once; `family` AF_UNSPEC, AF_INET or AF_INET6. Sets `lookup`, or
 * returns a failure. */
int tn_lookup_start(struct tn_reactor *reactor, const char *host, int family, uint16_t port,
                    struct tn_lookup **lookup);
void tn_lookup_release(struct tn_lookup *lookup);

/* The reactor goes: what still runs is on its own. */
void tn_resolver_free(struct tn_reactor *reactor);

#endif
