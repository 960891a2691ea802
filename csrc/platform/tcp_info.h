/* What TCP_INFO tells, a row for each field: its name is the system's without "tcpi_". Apart from
 * platform.h because its source cannot include the C library's headers of TCP. */
#ifndef TCPNET_TCP_INFO_H
#define TCPNET_TCP_INFO_H

#include <stddef.h>
#include <stdint.h>

enum tn_info_kind {
  TN_INFO_COUNT,
  TN_INFO_SECONDS, /* the system counts `scale` of them in a second */
  TN_INFO_FLAG,    /* the bits of `scale` */
  TN_INFO_STATE,
  TN_INFO_CA_STATE,
};

struct tn_tcp_info_row {
  const char *name;
  const char *unit;
  size_t offset, size;
  unsigned (*part)(const void *info); /* of a field that is a part of a byte */
  enum tn_info_kind kind;
  unsigned scale;
};

extern const struct tn_tcp_info_row tn_tcp_info_rows[]; /* ends with an empty row */

/* The number of a field, out of `length` bytes that the system gave; 0: it has none. */
int tn_tcp_info_field(const struct tn_tcp_info_row *row, const void *info, size_t length,
                      uint64_t *number);

#endif
