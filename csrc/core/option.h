/* THE table of socket options. A row is an option: its getter and setter, its key in an options
 * table, its line in docs/options.md and its round-trip test come from that row. Adding an option
 * is adding a row in option_table.c. */
#ifndef TCPNET_OPTION_H
#define TCPNET_OPTION_H

#include "platform/platform.h"

/* What a value is, for the system and in Lua. */
enum tn_option_kind {
  TN_OPTION_BOOL,
  TN_OPTION_INT,          /* within the row's range */
  TN_OPTION_UINT,         /* 32 bits without sign */
  TN_OPTION_UINT64,       /* nil: the largest, which stands for "no limit" */
  TN_OPTION_SECONDS,      /* an int of whole seconds */
  TN_OPTION_MILLISECONDS, /* an int; Lua sees seconds, as everywhere */
  TN_OPTION_MICROSECONDS,
  TN_OPTION_TIMEVAL,     /* seconds, nil for no limit */
  TN_OPTION_LINGER,      /* seconds, or nil for off */
  TN_OPTION_ZERO_LINGER, /* linger of 0: setting takes no value */
  TN_OPTION_TEXT,        /* a name, nil for none */
  TN_OPTION_BYTES,
  TN_OPTION_DOMAIN, /* a name of socket_kind.h, or a number */
  TN_OPTION_TYPE,
  TN_OPTION_PROTOCOL,
  TN_OPTION_INTERFACE,    /* an index; set by name too */
  TN_OPTION_INTERFACE_V4, /* an address of it; set by name or index too */
  TN_OPTION_ADDRESS,
  TN_OPTION_CREDENTIALS,
  TN_OPTION_SERVICE, /* 32 bits in network order */
  TN_OPTION_MD5SIG,
  TN_OPTION_TCP_INFO,
  TN_OPTION_GROUP_V4, /* (group[, interface]) */
  TN_OPTION_GROUP_V6,
  TN_OPTION_SOURCE_V4, /* (source, group[, interface]) */
  TN_OPTION_SOURCE_V6,
};

enum tn_option_access {
  TN_OPTION_GET = 1,
  TN_OPTION_SET = 2,
  TN_OPTION_DO = 4, /* an action of its own name, without set_ */
  /* an accepted socket has what its listener has: one system call less for each */
  TN_OPTION_INHERITED = 8,
};

/* Which kinds of socket have it, bits. */
enum tn_option_class {
  TN_ON_TCP_SOCKET = 1,
  TN_ON_TCP_STREAM = 2,
  TN_ON_TCP_LISTENER = 4,
  TN_ON_SOCKET = 1 << 15,
  TN_ON_UDP_SOCKET = 1 << 17,
  TN_ON_UNIX_SOCKET = 1 << 18,
  TN_ON_UNIX_STREAM = 1 << 19,
  TN_ON_UNIX_LISTENER = 1 << 20,
  TN_ON_UNIX_DATAGRAM = 1 << 21,
  TN_ON_TCP = TN_ON_TCP_SOCKET | TN_ON_TCP_STREAM | TN_ON_TCP_LISTENER,
  TN_ON_UNIX = TN_ON_UNIX_SOCKET | TN_ON_UNIX_STREAM | TN_ON_UNIX_LISTENER | TN_ON_UNIX_DATAGRAM,
  TN_ON_ANY = TN_ON_TCP | TN_ON_UDP_SOCKET | TN_ON_UNIX | TN_ON_SOCKET,
};

struct tn_option {
  const char *name;
  const char *system_name;
  int level;
  int number; /* TN_ABSENT where the platform lacks it */
  enum tn_option_kind kind;
  unsigned access;
  unsigned classes;
  int least, most; /* of an integer; most: the length of a text */
  const char *unit;
  const char *platforms;
  const char *text; /* one sentence */
};

extern const struct tn_option tn_options[];
extern const size_t tn_options_count;

/* Other names for accessors of an option. */
struct tn_option_alias {
  const char *option;
  const char *getter, *setter; /* or NULL */
};

extern const struct tn_option_alias tn_option_aliases[]; /* ends with an empty row */

enum { TN_OPTION_VALUE_MAX = 512 };

/* A value as the system has it. */
struct tn_option_value {
  const struct tn_option *option;
  struct tn_option_value *next;
  int status; /* what setting it fails by: the system has no such interface */
  int behind; /* of the values of an action: how far behind the first stands the one that is wrong
               */
  socklen_t length;
  _Alignas(8) char bytes[TN_OPTION_VALUE_MAX]; /* structures are read where they are */
};

/* By its name, an alias or the system's name; NULL: these classes have none of that name. */
const struct tn_option *tn_option_find(const char *name, unsigned classes);
const struct tn_option *tn_option_by_system_name(const char *name, unsigned classes);
int tn_option_get(tn_fd fd, struct tn_option_value *value);
int tn_option_set(tn_fd fd, const struct tn_option_value *value);
void tn_option_values_free(struct tn_option_value *first);

#endif
