/* Memory that reads go into: see scratch.h. */
#include "core/scratch.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

char *tn_reactor_scratch(struct tn_reactor *reactor) {
  if (reactor->loan) {
    tn_loan_end(reactor->loan);
  }
  return reactor->scratch;
}

ptrdiff_t tn_scratch_recv(struct tn_source *source, size_t want, const char **bytes) {
  struct tn_reactor *reactor = source->reactor;
  *bytes = tn_reactor_scratch(reactor);
  ptrdiff_t count =
      tn_source_recv(source, reactor->scratch, want < TN_SCRATCH_SIZE ? want : TN_SCRATCH_SIZE);
  if (count > 0) {
    tn_scratch_hold(source, reactor->scratch, (size_t)count);
  }
  return count;
}

void tn_scratch_hold(struct tn_source *source, const char *bytes, size_t count) {
  struct tn_reactor *reactor = source->reactor;
  if (bytes == reactor->scratch && count > 0) {
    reactor->unclaimed = source;
    reactor->unclaimed_length = count;
  }
}

bool tn_scratch_hold_ahead(struct tn_source *source) {
  struct tn_reactor *reactor = source->reactor;
  if (reactor->unclaimed) {
    return false;
  }
  reactor->unclaimed = source;
  reactor->unclaimed_length = 0;
  return true;
}

bool tn_scratch_take(struct tn_reactor *reactor, const struct tn_source *source) {
  if (reactor->unclaimed != source) { /* a finalizer's, in the middle of another's read */
    return false;
  }
  reactor->unclaimed = NULL;
  return true;
}

void tn_scratch_take_first(struct tn_reactor *reactor, struct tn_source *source, size_t count) {
  if (reactor->unclaimed != source) { /* a finalizer's, in the middle of another's read */
    return;
  }
  size_t rest = reactor->unclaimed_length - count;
  const char *first = reactor->scratch + count;
  if (rest == 0 || tn_bytes_put_back(&source->input, first, rest)) {
    reactor->unclaimed = NULL;
  } else { /* without memory it waits here for the next call */
    memmove(reactor->scratch, first, rest);
    reactor->unclaimed_length = rest;
  }
}

int tn_scratch_rescue(struct tn_reactor *reactor) {
  struct tn_source *source = reactor->unclaimed;
  if (source) {
    if (reactor->unclaimed_length > 0 &&
        !tn_bytes_put_back(&source->input, reactor->scratch, reactor->unclaimed_length)) {
      return TN_ENOMEM;
    }
    reactor->unclaimed = NULL;
  }
  return 0;
}

bool tn_scratch_busy(const struct tn_reactor *reactor) {
  return reactor->unclaimed != NULL;
}

bool tn_scratch_holds(const struct tn_source *source) {
  return source->reactor->unclaimed == source;
}

ptrdiff_t tn_scratch_borrow(struct tn_source *source, size_t want, struct tn_loan *loan,
                            char **bytes) {
  struct tn_reactor *reactor = source->reactor;
  *bytes = tn_reactor_scratch(reactor);
  ptrdiff_t count = tn_source_recv(source, *bytes, want);
  if (count > 0) {
    reactor->loan = loan;
    loan->reactor = reactor;
  }
  return count;
}

void tn_loan_end(struct tn_loan *loan) {
  if (loan->reactor) {
    loan->end(loan);
    loan->reactor->loan = NULL;
    loan->reactor = NULL;
  }
}

char *tn_reactor_batch(struct tn_reactor *reactor, int count) {
  if (count > reactor->batch_count) {
    char *batch = malloc((size_t)count * TN_BATCH_STRIDE);
    if (!batch) {
      return NULL;
    }
    free(reactor->batch);
    reactor->batch = batch;
    reactor->batch_count = count;
  }
  return reactor->batch;
}
