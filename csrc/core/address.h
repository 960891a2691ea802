/* Text and socket addresses, all families. Literals only: names are the resolver's. The parsers are
 * strict (no "127.1", no embedded NUL) and say what is wrong. */
#ifndef TCPNET_ADDRESS_H
#define TCPNET_ADDRESS_H

#include "platform/platform.h"

#include <stdbool.h>
#include <stdint.h>

struct tn_address {
  socklen_t length;
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
    struct sockaddr_storage storage;
  };
};

/* Whom a message is for; NULL: the peer that the socket has. The system only reads the address. */
TN_INLINE void tn_message_to(struct tn_message *message, const struct tn_address *address) {
  if (address) {
    message->address = (struct sockaddr *)&address->any;
    message->address_length = address->length;
  }
}

enum { TN_ADDRESS_TEXT_MAX = 260, TN_HOST_MAX = 255 };

/* "host:port" or "[host]:port" taken apart. Returns NULL, or what is wrong with the text. */
const char *tn_address_split(const char *text, size_t length, const char **host,
                             size_t *host_length, uint16_t *port);
/* An IP literal, IPv6 with an optional %zone. Returns NULL, or what is wrong; `literal` tells
 * whether it was meant as one (a text with a colon, or of numbers and dots): otherwise it may be a
 * host's name. */
const char *tn_address_parse_ip(const char *text, size_t length, uint16_t port,
                                struct tn_address *address, bool *literal);
/* Both: the text of an IP address and a port. Returns NULL, or what is wrong. */
const char *tn_address_parse(const char *text, size_t length, struct tn_address *address);

/* A path, "@name" for an abstract one, "" for unnamed. Returns NULL, or what is wrong. */
const char *tn_address_parse_local(const char *text, size_t length, struct tn_address *address);

/* The parts of a packet socket's address: interface, Ethernet type, hardware address. */
struct tn_link {
  int interface;
  uint16_t protocol;
  size_t hardware_length;
  unsigned char hardware[8];
};

/* False: the address is of another family, or the system lacks it. */
bool tn_address_set_vsock(struct tn_address *address, unsigned cid, unsigned port);
bool tn_address_vsock(const struct tn_address *address, unsigned *cid, unsigned *port);
bool tn_address_set_link(struct tn_address *address, const struct tn_link *link);
bool tn_address_link(const struct tn_address *address, struct tn_link *link);

unsigned tn_address_port(const struct tn_address *address);
void tn_address_set_port(struct tn_address *address, uint16_t port);
/* The IP without port, "fe80::1%eth0" with zone; "" where the family has none. */
void tn_address_format_ip(const struct tn_address *address, char *text, size_t size);
/* "127.0.0.1:80", "[::1]:80", the path of a Unix socket, "@name" with a NUL as \0. */
void tn_address_format(const struct tn_address *address, char *text, size_t size);
/* Orders by family, address, port, flow information, scope; 0 where they are the same. */
int tn_address_compare(const struct tn_address *a, const struct tn_address *b);
bool tn_address_is_loopback(const struct tn_address *address);
bool tn_address_is_unspecified(const struct tn_address *address);
bool tn_address_is_multicast(const struct tn_address *address);

#endif
