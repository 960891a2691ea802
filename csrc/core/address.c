/* Text and socket addresses: see address.h. */
#include "core/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const char *parse_port(const char *text, size_t length, uint16_t *port) {
  unsigned value = 0;
  if (length == 0 || length > 5) {
    return length == 0 ? "the port is missing" : "the port is not a number from 0 to 65535";
  }
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9') {
      return "the port is not a number from 0 to 65535";
    }
    value = value * 10 + (unsigned)(text[i] - '0');
  }
  if (value > 65535) {
    return "the port is not a number from 0 to 65535";
  }
  *port = (uint16_t)value;
  return NULL;
}

const char *tn_address_split(const char *text, size_t length, const char **host,
                             size_t *host_length, uint16_t *port) {
  if (memchr(text, '\0', length)) {
    return "the address contains a NUL byte";
  }
  const char *colon = NULL;
  if (length > 0 && text[0] == '[') {
    const char *bracket = memchr(text, ']', length);
    if (!bracket) {
      return "the bracket is not closed";
    }
    *host = text + 1;
    *host_length = (size_t)(bracket - text) - 1;
    colon = bracket + 1;
    if (!memchr(*host, ':', *host_length)) {
      return "brackets are for IPv6 addresses";
    }
    if (colon == text + length || *colon != ':') {
      return "a port is expected after the bracket, as in [::1]:80";
    }
  } else {
    colon = memchr(text, ':', length);
    if (!colon) {
      return "a port is expected, as in 127.0.0.1:80";
    }
    *host = text;
    *host_length = (size_t)(colon - text);
    if (length - *host_length > 2 && memcmp(colon, "://", 3) == 0) {
      return "a host and a port are expected, not a URL";
    }
    if (memchr(colon + 1, ':', length - *host_length - 1)) {
      return "an IPv6 address with a port takes brackets, as in [::1]:80";
    }
  }
  if (*host_length == 0) {
    return "the host is missing";
  }
  return parse_port(colon + 1, length - (size_t)(colon + 1 - text), port);
}

static const char *parse_v6(const char *text, size_t length, uint16_t port,
                            struct tn_address *address) {
  char ip[INET6_ADDRSTRLEN];
  char zone[64];
  const char *percent = memchr(text, '%', length);
  size_t ip_length = percent ? (size_t)(percent - text) : length;
  if (ip_length >= sizeof ip) {
    return "it is not an IPv6 address";
  }
  memcpy(ip, text, ip_length);
  ip[ip_length] = '\0';
  address->v6.sin6_family = AF_INET6;
  address->v6.sin6_port = htons(port);
  address->length = sizeof address->v6;
  if (uv_inet_pton(AF_INET6, ip, &address->v6.sin6_addr) < 0) {
    return "it is not an IPv6 address";
  }
  if (!percent) {
    return NULL;
  }
  size_t zone_length = length - ip_length - 1;
  if (zone_length == 0 || zone_length >= sizeof zone) {
    return "the zone after % is not an interface";
  }
  memcpy(zone, percent + 1, zone_length);
  zone[zone_length] = '\0';
  char *end = NULL;
  unsigned long long number = strtoull(zone, &end, 10); /* a long may have 32 bits */
  bool is_number = zone[0] >= '0' && zone[0] <= '9' && *end == '\0' && number <= UINT32_MAX;
  address->v6.sin6_scope_id = is_number ? (uint32_t)number : tn_interface_index(zone);
  return address->v6.sin6_scope_id ? NULL : "the zone after % is not an interface";
}

/* Numbers with dots between: no name, for inet_aton(3), and getaddrinfo with it, takes fewer than
 * four for an address, and hexadecimal ones. */
static bool is_numeric(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    bool hexadecimal =
        length - i > 2 && text[i] == '0' && (text[i + 1] == 'x' || text[i + 1] == 'X');
    i += hexadecimal ? 2 : 0;
    while (i < length && strchr(hexadecimal ? "0123456789abcdefABCDEF" : "0123456789", text[i])) {
      i++;
    }
    if (i < length && text[i] != '.') {
      return false;
    }
  }
  return true;
}

const char *tn_address_parse_ip(const char *text, size_t length, uint16_t port,
                                struct tn_address *address, bool *literal) {
  memset(address, 0, sizeof *address);
  *literal = true;
  if (memchr(text, '\0', length)) {
    return "the address contains a NUL byte";
  }
  if (memchr(text, ':', length)) {
    return parse_v6(text, length, port, address);
  }
  *literal = is_numeric(text, length);
  char ip[INET_ADDRSTRLEN];
  if (length == 0 || length >= sizeof ip) {
    return "it is not an IP address";
  }
  memcpy(ip, text, length);
  ip[length] = '\0';
  address->v4.sin_family = AF_INET;
  address->v4.sin_port = htons(port);
  address->length = sizeof address->v4;
  return uv_inet_pton(AF_INET, ip, &address->v4.sin_addr) < 0 ? "it is not an IP address" : NULL;
}

const char *tn_address_parse(const char *text, size_t length, struct tn_address *address) {
  const char *host;
  size_t host_length;
  uint16_t port;
  bool literal;
  const char *why = tn_address_split(text, length, &host, &host_length, &port);
  return why ? why : tn_address_parse_ip(host, host_length, port, address, &literal);
}

const char *tn_address_parse_local(const char *text, size_t length, struct tn_address *address) {
  memset(address, 0, sizeof *address);
  if (memchr(text, '\0', length)) {
    return "the path contains a NUL byte";
  }
  bool is_abstract = length > 0 && text[0] == '@';
  if (length + !is_abstract > sizeof address->local.sun_path) {
    return "the path is longer than the system allows";
  }
  address->local.sun_family = AF_UNIX;
  memcpy(address->local.sun_path, text, length);
  address->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  if (is_abstract) {
    address->local.sun_path[0] = '\0';
  } else if (length > 0) {
    address->length++; /* the NUL at the end */
  }
  return NULL;
}

bool tn_address_set_vsock(struct tn_address *address, unsigned cid, unsigned port) {
#ifdef TN_HAVE_VSOCK
  struct sockaddr_vm vsock;
  memset(&vsock, 0, sizeof vsock);
  vsock.svm_family = AF_VSOCK;
  vsock.svm_cid = cid;
  vsock.svm_port = port;
  memcpy(&address->storage, &vsock, sizeof vsock);
  address->length = sizeof vsock;
  return true;
#else
  (void)address, (void)cid, (void)port;
  return false;
#endif
}

bool tn_address_vsock(const struct tn_address *address, unsigned *cid, unsigned *port) {
#ifdef TN_HAVE_VSOCK
  struct sockaddr_vm vsock;
  if (address->any.sa_family == AF_VSOCK && address->length >= sizeof vsock) {
    memcpy(&vsock, &address->storage, sizeof vsock);
    *cid = vsock.svm_cid;
    *port = vsock.svm_port;
    return true;
  }
#endif
  (void)address, (void)cid, (void)port;
  return false;
}

bool tn_address_set_link(struct tn_address *address, const struct tn_link *link) {
#ifdef TN_HAVE_PACKET
  struct sockaddr_ll packet;
  memset(&packet, 0, sizeof packet);
  packet.sll_family = AF_PACKET;
  packet.sll_ifindex = link->interface;
  packet.sll_protocol = htons(link->protocol);
  memcpy(&address->storage, &packet, sizeof packet);
  address->length = sizeof packet;
  return true;
#else
  (void)address, (void)link;
  return false;
#endif
}

bool tn_address_link(const struct tn_address *address, struct tn_link *link) {
#ifdef TN_HAVE_PACKET
  struct sockaddr_ll packet;
  size_t fixed = offsetof(struct sockaddr_ll, sll_addr);
  if (address->any.sa_family == AF_PACKET && address->length >= fixed) {
    memset(&packet, 0, sizeof packet);
    memcpy(&packet, &address->storage,
           address->length < sizeof packet ? address->length : sizeof packet);
    link->interface = packet.sll_ifindex;
    link->protocol = ntohs(packet.sll_protocol);
    link->hardware_length =
        packet.sll_halen < sizeof link->hardware ? packet.sll_halen : sizeof link->hardware;
    memcpy(link->hardware, packet.sll_addr, link->hardware_length);
    return true;
  }
#endif
  (void)address, (void)link;
  return false;
}

unsigned tn_address_port(const struct tn_address *address) {
  switch (address->any.sa_family) {
  case AF_INET:
    return ntohs(address->v4.sin_port);
  case AF_INET6:
    return ntohs(address->v6.sin6_port);
  default: {
    unsigned cid, port;
    return tn_address_vsock(address, &cid, &port) ? port : 0;
  }
  }
}

void tn_address_set_port(struct tn_address *address, uint16_t port) {
  if (address->any.sa_family == AF_INET) {
    address->v4.sin_port = htons(port);
  } else if (address->any.sa_family == AF_INET6) {
    address->v6.sin6_port = htons(port);
  }
}

void tn_address_format_ip(const struct tn_address *address, char *text, size_t size) {
  text[0] = '\0';
  if (address->any.sa_family == AF_INET) {
    uv_ip4_name(&address->v4, text, size);
  } else if (address->any.sa_family == AF_INET6) {
    uv_ip6_name(&address->v6, text, size);
    if (address->v6.sin6_scope_id != 0) {
      size_t length = strlen(text);
      size_t room = size - length - 1;
      text[length++] = '%';
      if (uv_if_indextoname(address->v6.sin6_scope_id, text + length, &room) < 0) {
        snprintf(text + length, size - length, "%u", (unsigned)address->v6.sin6_scope_id);
      }
    }
  }
}

/* "@name", each NUL in it as two characters: it would be the end of the text. */
static void format_abstract(const char *name, size_t length, char *text, size_t size) {
  size_t used = (size_t)snprintf(text, size, "@");
  for (size_t i = 0; i < length && used + 2 < size; i++) {
    if (name[i] == '\0') {
      text[used++] = '\\';
    }
    text[used++] = name[i] == '\0' ? '0' : name[i];
  }
  text[used] = '\0';
}

static void format_local(const struct tn_address *address, char *text, size_t size) {
  size_t length = (size_t)address->length - offsetof(struct sockaddr_un, sun_path);
  const char *path = address->local.sun_path;
  if (address->length <= offsetof(struct sockaddr_un, sun_path)) {
    snprintf(text, size, "(unnamed)");
  } else if (path[0] == '\0') {
    format_abstract(path + 1, length - 1, text, size);
  } else {
    snprintf(text, size, "%.*s", (int)strnlen(path, length), path);
  }
}

static void format_other(const struct tn_address *address, char *text, size_t size) {
  unsigned cid, port;
  struct tn_link link;
  if (tn_address_vsock(address, &cid, &port)) {
    snprintf(text, size, "vsock:%u:%u", cid, port);
  } else if (tn_address_link(address, &link)) {
    snprintf(text, size, "packet:%d:0x%04x", link.interface, link.protocol);
  } else {
    snprintf(text, size, "(family %d)", address->any.sa_family);
  }
}

void tn_address_format(const struct tn_address *address, char *text, size_t size) {
  char ip[TN_ADDRESS_TEXT_MAX];
  tn_address_format_ip(address, ip, sizeof ip);
  switch (address->any.sa_family) {
  case AF_INET:
    snprintf(text, size, "%s:%u", ip, tn_address_port(address));
    break;
  case AF_INET6:
    snprintf(text, size, "[%s]:%u", ip, tn_address_port(address));
    break;
  case AF_UNIX:
    format_local(address, text, size);
    break;
  default:
    format_other(address, text, size);
  }
}

static int compare_numbers(uint64_t a, uint64_t b) {
  return (a > b) - (a < b);
}

int tn_address_compare(const struct tn_address *a, const struct tn_address *b) {
  int order = compare_numbers(a->any.sa_family, b->any.sa_family);
  if (order != 0) {
    return order;
  }
  if (a->any.sa_family == AF_INET) {
    order = compare_numbers(ntohl(a->v4.sin_addr.s_addr), ntohl(b->v4.sin_addr.s_addr));
  } else if (a->any.sa_family == AF_INET6) {
    order = memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr);
  } else {
    order = compare_numbers(a->length, b->length);
    return order != 0 ? order : memcmp(&a->storage, &b->storage, a->length);
  }
  if (order == 0) {
    order = compare_numbers(tn_address_port(a), tn_address_port(b));
  }
  if (order == 0 && a->any.sa_family == AF_INET6) {
    order = compare_numbers(ntohl(a->v6.sin6_flowinfo), ntohl(b->v6.sin6_flowinfo));
  }
  if (order == 0 && a->any.sa_family == AF_INET6) {
    order = compare_numbers(a->v6.sin6_scope_id, b->v6.sin6_scope_id);
  }
  return order;
}

bool tn_address_is_loopback(const struct tn_address *address) {
  return (address->any.sa_family == AF_INET && ntohl(address->v4.sin_addr.s_addr) >> 24 == 127) ||
         (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr));
}

bool tn_address_is_unspecified(const struct tn_address *address) {
  return (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == 0) ||
         (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr));
}

bool tn_address_is_multicast(const struct tn_address *address) {
  return (address->any.sa_family == AF_INET && ntohl(address->v4.sin_addr.s_addr) >> 28 == 14) ||
         (address->any.sa_family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&address->v6.sin6_addr));
}
