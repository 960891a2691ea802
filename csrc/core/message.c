/* Control data of messages: see message.h. */
#include "core/message.h"

#include <string.h>

/* clang-format off */
const struct tn_control_row tn_control_rows[] = {
  {"fds",          SOL_SOCKET,   SCM_RIGHTS,         TN_CONTROL_FDS, 0},
  {"credentials",  SOL_SOCKET,   SCM_CREDENTIALS,    TN_CONTROL_CREDENTIALS, 0},
  {"timestamp",    SOL_SOCKET,   SCM_TIMESTAMPNS,    TN_CONTROL_TIMESPEC, 0},
  {"timestamp",    SOL_SOCKET,   SCM_TIMESTAMP,      TN_CONTROL_TIMEVAL, 0},
  {"timestamping", SOL_SOCKET,   SCM_TIMESTAMPING,   TN_CONTROL_TIMESPECS, 0},
  {"mark",         SOL_SOCKET,   SO_MARK,            TN_CONTROL_INT, 4},
  {"drops",        SOL_SOCKET,   SO_RXQ_OVFL,        TN_CONTROL_INT, 0},
  {"tos",          IPPROTO_IP,   IP_TOS,             TN_CONTROL_INT, 4},
  {"ttl",          IPPROTO_IP,   IP_TTL,             TN_CONTROL_INT, 4},
  {"pktinfo",      IPPROTO_IP,   IP_PKTINFO,         TN_CONTROL_PKTINFO_V4, 0},
  {"original_dst", IPPROTO_IP,   IP_RECVORIGDSTADDR, TN_CONTROL_ADDRESS, 0},
  {"error",        IPPROTO_IP,   IP_RECVERR,         TN_CONTROL_ERROR, 0},
  {"tclass",       IPPROTO_IPV6, IPV6_TCLASS,        TN_CONTROL_INT, 4},
  {"hoplimit",     IPPROTO_IPV6, IPV6_HOPLIMIT,      TN_CONTROL_INT, 4},
  {"pktinfo",      IPPROTO_IPV6, IPV6_PKTINFO,       TN_CONTROL_PKTINFO_V6, 0},
  {"error",        IPPROTO_IPV6, IPV6_RECVERR,       TN_CONTROL_ERROR, 0},
  {"gro_size",     SOL_UDP,      UDP_GRO,            TN_CONTROL_INT, 0},
  {"segment_size", SOL_UDP,      UDP_SEGMENT,        TN_CONTROL_INT, 2},
  {"inq",          IPPROTO_TCP,  TCP_INQ,            TN_CONTROL_INT, 0},
  {0},
};

const struct tn_message_flag tn_message_flags[] = {
  /* name               bit            sends  receives reports */
  {"oob",               MSG_OOB,       true,  true,  false},
  {"dontroute",         MSG_DONTROUTE, true,  false, true},
  {"eor",               MSG_EOR,       true,  false, false},
  {"more",              MSG_MORE,      true,  false, false},
  {"confirm",           MSG_CONFIRM,   true,  false, true},
  {"fastopen",          MSG_FASTOPEN,  true,  false, false},
  {"peek",              MSG_PEEK,      false, true,  false},
  {"errqueue",          MSG_ERRQUEUE,  false, true,  false},
  {"truncated",         MSG_TRUNC,     false, false, true},
  {"control_truncated", MSG_CTRUNC,    false, false, true},
  {"end_of_record",     MSG_EOR,       false, false, true},
  {"out_of_band",       MSG_OOB,       false, false, true},
  {"error_queue",       MSG_ERRQUEUE,  false, false, true},
  {0},
};
/* clang-format on */

bool tn_control_append(struct tn_control *control, int level, int number, const void *data,
                       size_t length) {
  if (length > sizeof control->bytes ||
      CMSG_SPACE(length) > sizeof control->bytes - control->length) {
    return false;
  }
  char *place = control->bytes + control->length;
  struct cmsghdr header;
  memset(place, 0, CMSG_SPACE(length));
  memset(&header, 0, sizeof header);
  header.cmsg_len = CMSG_LEN(length);
  header.cmsg_level = level;
  header.cmsg_type = number;
  memcpy(place, &header, sizeof header);
  memcpy(place + CMSG_LEN(0), data, length);
  control->length += CMSG_SPACE(length);
  return true;
}

/* A message that was cut ends where the data ends. */
bool tn_control_next(const struct tn_control *control, size_t *position,
                     struct tn_control_entry *entry) {
  struct cmsghdr header;
  if (*position + CMSG_LEN(0) > control->length) {
    return false;
  }
  const char *place = control->bytes + *position;
  memcpy(&header, place, sizeof header);
  size_t room = control->length - *position;
  size_t length = header.cmsg_len < room ? header.cmsg_len : room;
  if (length < CMSG_LEN(0)) {
    return false;
  }
  *entry = (struct tn_control_entry){header.cmsg_level, header.cmsg_type, place + CMSG_LEN(0),
                                     length - CMSG_LEN(0)};
  *position += CMSG_SPACE(entry->length);
  return true;
}

const struct tn_control_row *tn_control_row_of(const struct tn_control_entry *entry) {
  for (const struct tn_control_row *row = tn_control_rows; row->type; row++) {
    if (row->number != TN_ABSENT && row->level == entry->level && row->number == entry->number) {
      return row;
    }
  }
  return NULL;
}

int tn_control_fds(const struct tn_control *control, tn_fd *fds, int room) {
  struct tn_control_entry entry;
  size_t position = 0;
  int count = 0;
  while (tn_control_next(control, &position, &entry)) {
    if (entry.level != SOL_SOCKET || entry.number != SCM_RIGHTS) {
      continue;
    }
    for (size_t i = 0; i < entry.length / sizeof(tn_fd) && count < room; i++) {
      memcpy(&fds[count++], (const tn_fd *)entry.data + i, sizeof(tn_fd));
    }
  }
  return count;
}
