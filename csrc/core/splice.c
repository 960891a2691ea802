/* Moving bytes inside the kernel: see splice.h. */
#include "core/splice.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <stdlib.h>

enum { PIPE_SIZE = 1 << 20 };

struct tn_splice {
  tn_fd ends[2];
  size_t held;
};

static struct tn_splice *splice_of(const struct tn_source *from) {
  return from->rare ? from->rare->splice : NULL;
}

bool tn_splice_begin(struct tn_source *from, const struct tn_source *to) {
  if (splice_of(from)) {
    return true;
  }
  if (from->reactor->no_splice || from->no_splice || from->takes_fds || from->is_pipe ||
      to->is_pipe) {
    return false;
  }
  struct tn_rare *rare = tn_source_rare(from);
  struct tn_splice *splice = rare ? malloc(sizeof *splice) : NULL;
  if (!splice || tn_splice_open(splice->ends, PIPE_SIZE) < 0) {
    free(splice);
    from->no_splice = true;
    return false;
  }
  splice->held = 0;
  rare->splice = splice;
  return true;
}

ptrdiff_t tn_splice_fill(struct tn_source *from, size_t want) {
  struct tn_splice *splice = splice_of(from);
  want = want < PIPE_SIZE ? want : PIPE_SIZE;
  ptrdiff_t count = tn_source_splice_in(from, splice->ends[1], want);
  splice->held += count > 0 ? (size_t)count : 0;
  from->no_splice |= count == TN_EINVAL;
  return count;
}

ptrdiff_t tn_splice_send(struct tn_source *from, struct tn_source *to, size_t want) {
  struct tn_splice *splice = splice_of(from);
  ptrdiff_t count =
      tn_source_splice_out(to, splice->ends[0], want < splice->held ? want : splice->held);
  splice->held -= count > 0 ? (size_t)count : 0;
  from->no_splice |= count == TN_EINVAL; /* nor is this writer one for it */
  return count;
}

size_t tn_splice_held(const struct tn_source *from) {
  const struct tn_splice *splice = splice_of(from);
  return splice ? splice->held : 0;
}

void tn_splice_drop(struct tn_source *from) {
  struct tn_splice *splice = splice_of(from);
  if (splice) {
    tn_socket_close(splice->ends[0]);
    tn_socket_close(splice->ends[1]);
    free(splice);
    from->rare->splice = NULL;
  }
}

int tn_splice_end(struct tn_source *from) {
  struct tn_splice *splice = splice_of(from);
  while (splice && splice->held > 0) {
    struct tn_slice room = {tn_bytes_reserve(&from->input, splice->held), splice->held};
    if (!room.base) {
      return TN_ENOMEM;
    }
    ptrdiff_t count = tn_pipe_recv(splice->ends[0], &room, 1);
    if (count <= 0) {
      return count < 0 ? (int)count : TN_EINVAL;
    }
    tn_bytes_commit(&from->input, (size_t)count);
    splice->held -= (size_t)count;
  }
  tn_splice_drop(from);
  return 0;
}
