/* Name lookup: see resolver.h. */
#include "core/resolver.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

struct request {
  struct tn_lookup lookup;
  uv_getaddrinfo_t uv;
  uint16_t port;
  bool released;
};

static void free_request(struct request *request) {
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

static void on_result(uv_getaddrinfo_t *uv, int status, struct addrinfo *results) {
  struct request *request = uv->data;
  if (request->released) {
    free_request(request);
  } else {
    request->lookup.done = true;
    request->lookup.status = status < 0 ? status : keep_results(request, results);
    tn_wake_all(uv->loop->data, &request->lookup.waiters, 0);
  }
  uv_freeaddrinfo(results);
}

int tn_lookup_start(struct tn_reactor *reactor, const char *host, int family, uint16_t port,
                    struct tn_lookup **lookup) {
  struct request *request = calloc(1, sizeof *request);
  if (!request) {
    return TN_ENOMEM;
  }
  /* one entry for an address, not one for each type of socket */
  struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
  request->port = port;
  request->uv.data = request;
  int status = uv_getaddrinfo(&reactor->loop, &request->uv, on_result, host, NULL, &hints);
  if (status < 0) {
    free(request);
    return status;
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
    uv_cancel((uv_req_t *)&request->uv);
  }
}
