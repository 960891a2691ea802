/* Name lookup: see resolver.h. A request is a letter that its thread posts to the reactor. */
#include "core/resolver.h"

#include "core/mailbox.h"
#include "core/reactor_private.h"
#include "core/status.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 32 };

struct request {
  struct tn_lookup lookup;
  struct tn_letter letter;
  struct tn_mailbox *mailbox; /* of whoever asked */
  struct request *next;       /* in the queue of the resolver */
  uint16_t port;
  int family;
  bool released; /* nobody waits for it any more */
  int error;     /* of getaddrinfo */
  int system;    /* errno, where that says no more than EAI_SYSTEM */
  struct addrinfo *results;
  char host[TN_HOST_MAX + 1];
};

struct tn_resolver {
  struct request *queued;
  struct request *last; /* of them; of no meaning where there are none */
  int running;
};

static void free_request(struct request *request) {
  if (request->results) {
    freeaddrinfo(request->results);
  }
  free(request->lookup.addresses);
  free(request);
}

static bool known(const struct tn_lookup *lookup, const struct tn_address *address) {
  for (size_t i = 0; i < lookup->count; i++) {
    if (tn_address_compare(&lookup->addresses[i], address) == 0) {
      return true;
    }
  }
  return false;
}

static int keep_results(struct request *request, const struct addrinfo *first) {
  struct tn_lookup *lookup = &request->lookup;
  size_t room = 0;
  for (const struct addrinfo *info = first; info; info = info->ai_next) {
    room++;
  }
  lookup->addresses = calloc(room ? room : 1, sizeof *lookup->addresses);
  if (!lookup->addresses) {
    return TN_ENOMEM;
  }
  for (const struct addrinfo *info = first; info; info = info->ai_next) {
    struct tn_address *address = &lookup->addresses[lookup->count];
    if (info->ai_addrlen > sizeof address->storage) {
      continue;
    }
    address->length = info->ai_addrlen;
    memcpy(&address->storage, info->ai_addr, info->ai_addrlen);
    tn_address_set_port(address, request->port);
    if (!known(lookup, address)) {
      lookup->count++;
    }
  }
  return 0;
}

/* --- on a thread --- */

static void work(void *argument) {
  struct request *request = argument;
  struct tn_mailbox *mailbox = request->mailbox;
  /* one entry for an address, not one for each type of socket */
  struct addrinfo hints = {.ai_family = request->family, .ai_socktype = SOCK_STREAM};
  request->error = getaddrinfo(request->host, NULL, &hints, &request->results);
  if (request->error == EAI_SYSTEM && errno == EAGAIN) {
    request->error = EAI_AGAIN; /* to who waits, EAGAIN means something else */
  }
  request->system = request->error == EAI_SYSTEM ? errno : 0;
  tn_mailbox_post(mailbox, &request->letter);
  tn_mailbox_release(mailbox);
}

/* --- on the reactor's thread --- */

static int status_of(int error) {
  static const int codes[][2] = {{EAI_AGAIN, UV_EAI_AGAIN},
                                 {EAI_BADFLAGS, UV_EAI_BADFLAGS},
                                 {EAI_FAIL, UV_EAI_FAIL},
                                 {EAI_FAMILY, UV_EAI_FAMILY},
                                 {EAI_MEMORY, UV_EAI_MEMORY},
                                 {EAI_NONAME, UV_EAI_NONAME},
#ifdef EAI_NODATA
                                 {EAI_NODATA, UV_EAI_NODATA},
#endif
#ifdef EAI_ADDRFAMILY
                                 {EAI_ADDRFAMILY, UV_EAI_ADDRFAMILY},
#endif
                                 {EAI_SERVICE, UV_EAI_SERVICE},
                                 {EAI_SOCKTYPE, UV_EAI_SOCKTYPE}};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    if (codes[i][0] == error) {
      return codes[i][1];
    }
  }
  return UV_EAI_FAIL;
}

static void finish(struct tn_reactor *reactor, struct request *request) {
  if (request->released) {
    free_request(request);
    return;
  }
  request->lookup.status = request->system  ? -request->system
                           : request->error ? status_of(request->error)
                                            : keep_results(request, request->results);
  request->lookup.done = true;
  tn_wake_all(reactor, &request->lookup.waiters, 0);
}

static void deliver(struct tn_letter *letter, struct tn_reactor *reactor);

static int start(struct tn_reactor *reactor, struct request *request) {
  request->letter.deliver = deliver;
  request->mailbox = tn_mailbox_of(reactor);
  if (!request->mailbox) {
    return TN_ENOMEM;
  }
  int status = tn_thread_start(work, request);
  if (status < 0) {
    tn_mailbox_release(request->mailbox);
    return status;
  }
  reactor->resolver->running++;
  return 0;
}

static void start_queued(struct tn_reactor *reactor) {
  struct tn_resolver *resolver = reactor->resolver;
  while (resolver->queued && resolver->running < THREADS_MAX) {
    struct request *request = resolver->queued;
    resolver->queued = request->next;
    if (request->released) {
      free_request(request);
    } else if (start(reactor, request) < 0) {
      request->error = EAI_MEMORY;
      finish(reactor, request);
    }
  }
}

static void deliver(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct request *request = TN_CONTAINER(letter, struct request, letter);
  if (!reactor) {
    free_request(request);
    return;
  }
  reactor->resolver->running--;
  finish(reactor, request);
  start_queued(reactor);
}

int tn_lookup_start(struct tn_reactor *reactor, const char *host, int family, uint16_t port,
                    struct tn_lookup **lookup) {
  size_t length = strlen(host);
  if (length > TN_HOST_MAX) {
    return TN_EINVAL;
  }
  if (!reactor->resolver) {
    reactor->resolver = calloc(1, sizeof *reactor->resolver);
  }
  struct tn_resolver *resolver = reactor->resolver;
  struct request *request = resolver ? calloc(1, sizeof *request) : NULL;
  if (!request) {
    return TN_ENOMEM;
  }
  request->port = port;
  request->family = family;
  memcpy(request->host, host, length + 1);
  if (resolver->running == THREADS_MAX) {
    *(resolver->queued ? &resolver->last->next : &resolver->queued) = request;
    resolver->last = request;
  } else {
    int status = start(reactor, request);
    if (status < 0) {
      free_request(request);
      return status;
    }
  }
  *lookup = &request->lookup;
  return 0;
}

void tn_lookup_release(struct tn_lookup *lookup) {
  struct request *request = (struct request *)lookup;
  if (lookup->done) {
    free_request(request);
  } else {
    request->released = true;
  }
}

void tn_resolver_free(struct tn_reactor *reactor) {
  struct tn_resolver *resolver = reactor->resolver;
  while (resolver && resolver->queued) {
    struct request *request = resolver->queued;
    resolver->queued = request->next;
    free_request(request);
  }
  free(resolver);
  reactor->resolver = NULL;
}
