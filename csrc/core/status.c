/* The codes and their words: tcpnet's own and those that libuv does not name are rows here; the
 * rest is libuv's table, which has the same names on every platform. */
#include "core/status.h"

#include <stddef.h>
#include <string.h>
#include <uv.h>

struct row {
  int status;
  const char *name;
  const char *message;
};

/* clang-format off */
static const struct row rows[] = {
  {TN_EOF,       "EOF",       "end of stream"},
  {TN_TIMEOUT,   "TIMEOUT",   "timed out"},
  {TN_CANCELED,  "CANCELED",  "canceled"},
  {TN_CLOSED,    "CLOSED",    "closed"},
  {TN_LIMIT,     "LIMIT",     "longer than allowed"},
  {TN_LAGGED,    "LAGGED",    "the receiver was left behind"},
  {UV_EAI_NONAME, "EAI_NONAME", "unknown host"},
  {UV_EAI_AGAIN,  "EAI_AGAIN",  "temporary failure of name resolution"},
  {-EAGAIN,      "EAGAIN",    "the operation would wait"},
  {-EBADF,       "EBADF",     "bad descriptor"},
#ifdef EINPROGRESS
  {-EINPROGRESS, "EINPROGRESS", "operation in progress"},
#endif
#ifdef ECHILD
  {-ECHILD,      "ECHILD",    "no child processes"},
#endif
#ifdef EPFNOSUPPORT
  {-EPFNOSUPPORT, "EPFNOSUPPORT", "protocol family not supported"},
#endif
#ifdef ENOMSG
  {-ENOMSG,      "ENOMSG",    "no message of that kind"},
#endif
#ifdef EBADMSG
  {-EBADMSG,     "EBADMSG",   "bad message"},
#endif
#ifdef ENODATA
  {-ENODATA,     "ENODATA",   "no data available"},
#endif
#ifdef EDQUOT
  {-EDQUOT,      "EDQUOT",    "disk quota exceeded"},
#endif
#ifdef ENOMEDIUM
  {-ENOMEDIUM,   "ENOMEDIUM", "no medium found"},
#endif
};
/* clang-format on */

/* libuv's list, as data: the names that tn_status_by_name knows beside the rows above. */
#define TN_UV_CODE(name, message) UV_##name,
static const int uv_codes[] = {UV_ERRNO_MAP(TN_UV_CODE)};
#undef TN_UV_CODE

static const struct row *find(int status) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].status == status) {
      return &rows[i];
    }
  }
  return NULL;
}

/* libuv allocates a text for a code that it does not know; such a one is looked for first. */
static int is_uv_code(int status) {
  for (size_t i = 0; i < sizeof uv_codes / sizeof uv_codes[0]; i++) {
    if (uv_codes[i] == status) {
      return 1;
    }
  }
  return 0;
}

const char *tn_status_name(int status) {
  const struct row *row = find(status);
  if (row) {
    return row->name;
  }
  return is_uv_code(status) ? uv_err_name(status) : "EUNKNOWN";
}

const char *tn_status_message(int status) {
  const struct row *row = find(status);
  if (row) {
    return row->message;
  }
  return is_uv_code(status) ? uv_strerror(status) : "unknown error";
}

int tn_status_by_name(const char *name) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (strcmp(rows[i].name, name) == 0) {
      return rows[i].status;
    }
  }
  for (size_t i = 0; i < sizeof uv_codes / sizeof uv_codes[0]; i++) {
    if (strcmp(uv_err_name(uv_codes[i]), name) == 0) {
      return uv_codes[i];
    }
  }
  return 0;
}

int tn_status_errno(int status) {
  return status < 0 && status > -3000 ? -status : 0;
}
