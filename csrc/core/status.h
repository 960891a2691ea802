/* Result codes. A status is 0 or more for success, a negative number otherwise: the system's errno
 * negated, libuv's EAI codes, or one of tcpnet's own below, which are never mistaken for the
 * kernel's. Everything above core reports failures by these; only error.c makes them visible. */
#ifndef TCPNET_STATUS_H
#define TCPNET_STATUS_H

#include <errno.h>

enum tn_status {
  TN_EAGAIN = -EAGAIN,
  TN_EINVAL = -EINVAL,
  TN_ENOMEM = -ENOMEM,
  TN_EBUSY = -EBUSY,
  TN_EOF = -20001,
  TN_TIMEOUT = -20002,
  TN_CANCELED = -20003,
  TN_CLOSED = -20004,
  TN_LIMIT = -20005,
  TN_LAGGED = -20006,
};

/* "ECONNREFUSED", "EAI_NONAME", "TIMEOUT": the same on every platform. */
const char *tn_status_name(int status);
/* "connection refused" */
const char *tn_status_message(int status);
/* The status of a name, or 0. */
int tn_status_by_name(const char *name);
/* The platform's positive number, or 0 where the status is not the platform's. */
int tn_status_errno(int status);

#endif
