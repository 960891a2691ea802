/* Descriptors among the bytes of a stream: see rights.h. */
#include "core/rights.h"

#include <stdlib.h>
#include <string.h>

enum { RIGHTS_MAX = 1024 }; /* a peer may send them faster than anybody asks for them */

struct right {
  tn_fd fd;
  uint64_t position; /* of the last byte that it came with */
};

struct tn_rights {
  uint64_t received; /* bytes of the stream since the queue is there */
  int count;
  struct right list[RIGHTS_MAX];
};

static bool has_rights(const struct tn_control *control) {
  tn_fd fd;
  return tn_control_fds(control, &fd, 1) > 0;
}

static void close_all(const struct tn_control *control) {
  tn_fd fds[TN_FDS_MAX];
  int count = tn_control_fds(control, fds, TN_FDS_MAX);
  while (count > 0) {
    tn_socket_close(fds[--count]);
  }
}

void tn_rights_note(struct tn_rights **queue, const struct tn_control *control, bool cut,
                    size_t count, size_t buffered) {
  struct tn_rights *rights = *queue;
  if (!rights && !cut && !has_rights(control)) {
    return;
  }
  if (!rights) {
    rights = malloc(sizeof *rights);
    if (!rights) {
      close_all(control);
      return;
    }
    rights->received = buffered;
    rights->count = 0;
    *queue = rights;
  }
  rights->received += count;
  tn_fd fds[TN_FDS_MAX];
  int came = tn_control_fds(control, fds, TN_FDS_MAX);
  for (int i = 0; i < came; i++) {
    if (rights->count == RIGHTS_MAX) {
      tn_socket_close(fds[i]);
    } else {
      rights->list[rights->count++] = (struct right){fds[i], rights->received - 1};
    }
  }
  if (cut && rights->count < RIGHTS_MAX) {
    rights->list[rights->count++] = (struct right){TN_LOST_FD, rights->received - 1};
  }
}

tn_fd tn_rights_take(struct tn_rights *queue, size_t buffered, bool *carried) {
  if (!queue || queue->count == 0) {
    return TN_NO_FD;
  }
  struct right first = queue->list[0];
  uint64_t read = queue->received - buffered;
  if (first.position > read) {
    return TN_NO_FD;
  }
  /* several that came with one byte: the last one takes it */
  bool last = queue->count == 1 || queue->list[1].position != first.position;
  *carried = last && first.position == read && buffered > 0;
  queue->count--;
  memmove(queue->list, queue->list + 1, (size_t)queue->count * sizeof queue->list[0]);
  return first.fd;
}

int tn_rights_count(const struct tn_rights *queue) {
  return queue ? queue->count : 0;
}

void tn_rights_free(struct tn_rights *queue) {
  while (queue && queue->count > 0) {
    if (queue->list[--queue->count].fd != TN_LOST_FD) {
      tn_socket_close(queue->list[queue->count].fd);
    }
  }
  free(queue);
}
