/* Name lookup: see resolver.h. What the reactor and the threads share is a mailbox with a lock; it
 * goes with the last of them. */
#include "core/resolver.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 32 };

struct request {
  struct tn_lookup lookup;
  struct tn_resolver *resolver;
  struct request *next; /* in a list of the resolver */
  uint16_t port;
  int family;
  bool released; /* nobody waits for it any more */
  int error;     /* of getaddrinfo */
  struct addrinfo *results;
  char host[TN_HOST_MAX + 1];
};

struct tn_resolver {
  uv_mutex_t lock;            /* of the next three */
  struct tn_reactor *reactor; /* NULL once it is gone */
  struct request *done;
  int users; /* the reactor, and each thread */
  uv_async_t async;
  struct request *queued;
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

static void leave(struct tn_resolver *resolver, struct request *request) {
  uv_mutex_lock(&resolver->lock);
  bool delivered = request && resolver->reactor;
  if (delivered) {
    request->next = resolver->done;
    resolver->done = request;
    uv_async_send(&resolver->async);
  }
  bool last = --resolver->users == 0;
  uv_mutex_unlock(&resolver->lock);
  if (request && !delivered) {
    free_request(request);
  }
  if (last) {
    uv_mutex_destroy(&resolver->lock);
    free(resolver);
  }
}

static void work(void *argument) {
  struct request *request = argument;
  /* one entry for an address, not one for each type of socket */
  struct addrinfo hints = {.ai_family = request->family, .ai_socktype = SOCK_STREAM};
  request->error = getaddrinfo(request->host, NULL, &hints, &request->results);
  leave(request->resolver, request);
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

static void deliver(struct tn_reactor *reactor, struct request *request) {
  if (request->released) {
    free_request(request);
    return;
  }
  request->lookup.status =
      request->error ? status_of(request->error) : keep_results(request, request->results);
  request->lookup.done = true;
  tn_wake_all(reactor, &request->lookup.waiters, 0);
}

static int start(struct tn_resolver *resolver, struct request *request) {
  uv_mutex_lock(&resolver->lock);
  resolver->users++;
  uv_mutex_unlock(&resolver->lock);
  int status = tn_thread_start(work, request);
  if (status < 0) {
    uv_mutex_lock(&resolver->lock);
    resolver->users--;
    uv_mutex_unlock(&resolver->lock);
    return status;
  }
  if (resolver->running++ == 0) {
    uv_ref((uv_handle_t *)&resolver->async);
  }
  return 0;
}

static void start_queued(struct tn_resolver *resolver) {
  while (resolver->queued && resolver->running < THREADS_MAX) {
    struct request *request = resolver->queued;
    resolver->queued = request->next;
    if (request->released) {
      free_request(request);
    } else if (start(resolver, request) < 0) {
      request->error = EAI_MEMORY;
      deliver(resolver->reactor, request);
    }
  }
}

static void on_done(uv_async_t *async) {
  struct tn_resolver *resolver = async->data;
  uv_mutex_lock(&resolver->lock);
  struct request *done = resolver->done;
  resolver->done = NULL;
  uv_mutex_unlock(&resolver->lock);
  while (done) {
    struct request *next = done->next;
    deliver(resolver->reactor, done);
    done = next;
    if (--resolver->running == 0) {
      uv_unref((uv_handle_t *)&resolver->async);
    }
  }
  start_queued(resolver);
}

static struct tn_resolver *resolver_of(struct tn_reactor *reactor) {
  if (reactor->resolver) {
    return reactor->resolver;
  }
  struct tn_resolver *resolver = calloc(1, sizeof *resolver);
  if (!resolver) {
    return NULL;
  }
  if (uv_async_init(&reactor->loop, &resolver->async, on_done) < 0) {
    free(resolver);
    return NULL;
  }
  uv_unref((uv_handle_t *)&resolver->async); /* counts only while something runs */
  uv_mutex_init(&resolver->lock);
  resolver->async.data = resolver;
  resolver->reactor = reactor;
  resolver->users = 1;
  reactor->resolver = resolver;
  return resolver;
}

int tn_lookup_start(struct tn_reactor *reactor, const char *host, int family, uint16_t port,
                    struct tn_lookup **lookup) {
  struct tn_resolver *resolver = resolver_of(reactor);
  size_t length = strlen(host);
  if (length > TN_HOST_MAX) {
    return TN_EINVAL;
  }
  struct request *request = resolver ? calloc(1, sizeof *request) : NULL;
  if (!request) {
    return TN_ENOMEM;
  }
  request->resolver = resolver;
  request->port = port;
  request->family = family;
  memcpy(request->host, host, length + 1);
  if (resolver->running == THREADS_MAX) {
    struct request **end = &resolver->queued;
    while (*end) {
      end = &(*end)->next;
    }
    *end = request;
  } else {
    int status = start(resolver, request);
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

static void free_list(struct request *request) {
  while (request) {
    struct request *next = request->next;
    if (request->released) { /* any other is still looked at by its object, and goes with the
                                program */
      free_request(request);
    }
    request = next;
  }
}

void tn_resolver_close(struct tn_reactor *reactor) {
  struct tn_resolver *resolver = reactor->resolver;
  if (!resolver) {
    return;
  }
  uv_mutex_lock(&resolver->lock);
  resolver->reactor = NULL;
  struct request *done = resolver->done;
  resolver->done = NULL;
  uv_mutex_unlock(&resolver->lock);
  free_list(done);
  free_list(resolver->queued);
  resolver->queued = NULL;
  uv_close((uv_handle_t *)&resolver->async, NULL);
}

void tn_resolver_free(struct tn_reactor *reactor) {
  if (reactor->resolver) {
    leave(reactor->resolver, NULL);
    reactor->resolver = NULL;
  }
}
