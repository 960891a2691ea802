/* SocketAddr: an immutable address. */
#ifndef TCPNET_BINDING_ADDRESS_H
#define TCPNET_BINDING_ADDRESS_H

#include "binding/runtime.h"
#include "core/address.h"

void tn_address_push(lua_State *L, struct tn_runtime *rt, const struct tn_address *address);
/* The same for an address that comes again and again, as a peer's: an equal SocketAddr that was
 * made lately serves again. */
void tn_address_push_kept(lua_State *L, struct tn_runtime *rt, const struct tn_address *address);
/* The address in a userdata that is a SocketAddr; NULL for NULL. */
const struct tn_address *tn_address_of(const void *userdata);
/* The address in a SocketAddr, or NULL. */
const struct tn_address *tn_address_at(lua_State *L, int index);
const struct tn_address *tn_check_address(lua_State *L, int index);
/* What is wrong with it as the one that an object of that kind is to send to, or NULL. */
TN_INLINE const char *tn_address_misfit(uint64_t kind, const struct tn_address *address) {
  return kind == TN_UNIX_DATAGRAM && address->any.sa_family != AF_UNIX
             ? "address of a Unix socket expected"
             : NULL;
}

extern const struct tn_class tn_socket_addr_class;
/* target(address) or target(host, port) → SocketAddr | false, host, port | nil, err. A name is for
 * the resolver. */
int tn_address_target(lua_State *L);

#endif
