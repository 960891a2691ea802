/* Names of the domains, types and protocols of sockets. */
#ifndef TCPNET_SOCKET_KIND_H
#define TCPNET_SOCKET_KIND_H

struct tn_socket_kind {
  const char *name;
  int number; /* TN_ABSENT where the system has none */
};

/* Each ends with an empty row. */
extern const struct tn_socket_kind tn_domains[], tn_types[], tn_protocols[];

/* NULL: there is none of that name, or number. */
const struct tn_socket_kind *tn_socket_kind_named(const struct tn_socket_kind *kinds,
                                                  const char *name);
const struct tn_socket_kind *tn_socket_kind_numbered(const struct tn_socket_kind *kinds,
                                                     int number);

#endif
