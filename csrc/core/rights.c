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
  int count, capacity;
  struct right list[];
};

static bool grow(struct tn_rights **queue, int capacity) {
  struct tn_rights *rights = *queue;
  if (rights && rights->capacity >= capacity) {
    return true;
  }
  rights = realloc(rights, sizeof *rights + (size_t)capacity * sizeof rights->list[0]);
  if (!rights) {
    return false;
  }
  if (!*queue) {
    *rights = (struct tn_rights){0};
  }
  rights->capacity = capacity;
  *queue = rights;
  return true;
}

bool tn_rights_prepare(struct tn_rights **queue, size_t buffered) {
  if (*queue && (*queue)->count < (*queue)->capacity) {
    return true;
  }
  bool is_new = !*queue;
  int count = is_new ? 0 : (*queue)->count;
  if (count <= RIGHTS_MAX && !grow(queue, count + 1)) {
    return false;
  }
  if (is_new) {
    (*queue)->received = buffered;
  }
  return true;
}

void tn_rights_note(struct tn_rights **queue, const struct tn_control *control, bool cut,
                    size_t count) {
  if (control->length == 0 && !cut) { /* nearly always */
    (*queue)->received += count;
    return;
  }
  tn_fd fds[TN_FDS_MAX];
  int came = tn_control_fds(control, fds, TN_FDS_MAX);
  int wanted = (*queue)->count + came;
  if (came > 0) {
    grow(queue, (wanted < RIGHTS_MAX ? wanted : RIGHTS_MAX) + 1);
  }
  struct tn_rights *rights = *queue;
  rights->received += count;
  for (int i = 0; i < came; i++) {
    if (rights->count + 1 < rights->capacity) { /* the last place is for what is lost */
      rights->list[rights->count++] = (struct right){fds[i], rights->received - 1};
    } else {
      tn_socket_close(fds[i]);
      cut = true;
    }
  }
  if (cut && rights->count < rights->capacity) {
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
