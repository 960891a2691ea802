/* Control data of messages: the kinds that have names, as rows, and taking apart and putting
 * together the system's bytes (RFC 3542, section 4; cmsg(3)). */
#ifndef TCPNET_MESSAGE_H
#define TCPNET_MESSAGE_H

#include "platform/platform.h"

/* What a control message carries. */
enum tn_control_kind {
  TN_CONTROL_INT, /* of 1, 2, 4 or 8 bytes */
  TN_CONTROL_FDS,
  TN_CONTROL_CREDENTIALS,
  TN_CONTROL_PKTINFO_V4,
  TN_CONTROL_PKTINFO_V6,
  TN_CONTROL_TIMEVAL,
  TN_CONTROL_TIMESPEC,
  TN_CONTROL_TIMESPECS, /* software, none, hardware */
  TN_CONTROL_ADDRESS,
  TN_CONTROL_ERROR,
  TN_CONTROL_RAW,
};

struct tn_control_row {
  const char *type;
  int level;
  int number; /* TN_ABSENT where the system lacks it */
  enum tn_control_kind kind;
  size_t size; /* of an integer that is sent; 0: it is only received */
};

extern const struct tn_control_row tn_control_rows[]; /* ends with an empty row */

/* Flags of messages by name. */
struct tn_message_flag {
  const char *name;
  int bit;
  bool sends, receives, reports; /* where it may stand */
};

extern const struct tn_message_flag tn_message_flags[]; /* ends with an empty row */

enum { TN_CONTROL_MAX = 8192, TN_FDS_MAX = 253 /* SCM_MAX_FD of Linux */ };

/* Control data as it is put together, or as it came. */
struct tn_control {
  size_t length;
  union {
    char bytes[TN_CONTROL_MAX];
    struct cmsghdr aligned;
  };
};

/* One message of it. */
struct tn_control_entry {
  int level, number;
  const void *data;
  size_t length;
};

/* False: it does not fit. */
bool tn_control_append(struct tn_control *control, int level, int number, const void *data,
                       size_t length);
/* The entry at *position, which moves on; false: there is no more. */
bool tn_control_next(const struct tn_control *control, size_t *position,
                     struct tn_control_entry *entry);
/* Copies the descriptors in it; how many. */
int tn_control_fds(const struct tn_control *control, tn_fd *fds, int room);
/* The row of a received entry, or NULL. */
const struct tn_control_row *tn_control_row_of(const struct tn_control_entry *entry);

#endif
