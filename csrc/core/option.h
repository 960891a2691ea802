/* THE table of socket options. A row is an option: its getter and setter, its key in an options
 * table, its line in the manual and its round-trip test come from that row. Adding an option is
 * adding a line in option.c. */
#ifndef TCPNET_OPTION_H
#define TCPNET_OPTION_H

#include "platform/platform.h"

enum tn_option_kind {
  TN_OPTION_BOOL,
  TN_OPTION_INT,         /* within the row's range */
  TN_OPTION_LINGER,      /* seconds, or nil for off */
  TN_OPTION_ZERO_LINGER, /* linger of 0: setting takes no value */
  TN_OPTION_TEXT,        /* a name, nil for none */
};

/* Which kinds of socket have it, bits. */
enum tn_option_class {
  TN_ON_TCP_SOCKET = 1,
  TN_ON_TCP_STREAM = 2,
  TN_ON_TCP_LISTENER = 4,
  TN_ON_TCP = 7,
  TN_INHERITED =
      1 << 30, /* an accepted socket has what its listener has: one system call less for each */
};

struct tn_option {
  const char *name;
  const char *system_name;
  int level;
  int number; /* TN_ABSENT where the platform lacks it */
  enum tn_option_kind kind;
  unsigned classes;
  int least, most;  /* of an integer */
  const char *text; /* one sentence, with the unit */
};

extern const struct tn_option tn_options[];
extern const size_t tn_options_count;

enum { TN_OPTION_VALUE_MAX = 64 };

/* A value as the system has it. */
struct tn_option_value {
  const struct tn_option *option;
  struct tn_option_value *next;
  socklen_t length;
  char bytes[TN_OPTION_VALUE_MAX];
};

const struct tn_option *tn_option_find(const char *name, unsigned classes);
int tn_option_get(tn_fd fd, struct tn_option_value *value);
int tn_option_set(tn_fd fd, const struct tn_option_value *value);
void tn_option_values_free(struct tn_option_value *first);

#endif
