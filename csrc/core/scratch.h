/* The memory that reads go into: one piece of the reactor's, warm from the read before. What
 * becomes a string is *held* there on its way into Lua, until that has it; what a Buffer was given
 * stays on loan until somebody else needs the memory. */
#ifndef TCPNET_SCRATCH_H
#define TCPNET_SCRATCH_H

#include "core/source.h"

enum { TN_SCRATCH_SIZE = 65536 };

/* The memory itself, for whoever asks: a loan of it ends. */
char *tn_reactor_scratch(struct tn_reactor *reactor);

/* One read into it, which is held for the caller of tn_scratch_take. Whatever was not taken (Lua
 * had no memory for it) is the source's again with tn_scratch_rescue: to be called before any other
 * use.
 */
ptrdiff_t tn_scratch_recv(struct tn_source *source, size_t want, const char **bytes);
/* The same for bytes of a stream that were received there by other means; nothing where `bytes` are
 * elsewhere. */
void tn_scratch_hold(struct tn_source *source, const char *bytes, size_t count);
/* The same for bytes that stay in the source's buffer until they are taken; false: nothing to be
 * taken, for it is a finalizer that reads, which no other can interrupt. */
bool tn_scratch_hold_ahead(struct tn_source *source);
/* false: nothing of that source's was held, or a finalizer has closed it meanwhile. */
bool tn_scratch_take(struct tn_reactor *reactor, const struct tn_source *source);
/* The first `count` bytes of them alone; the others are the source's again. */
void tn_scratch_take_first(struct tn_reactor *reactor, struct tn_source *source, size_t count);
int tn_scratch_rescue(struct tn_reactor *reactor);
/* Is a read on its way into Lua this moment? A finalizer that reads must not use the scratch memory
 * then, nor read from that source. */
bool tn_scratch_busy(const struct tn_reactor *reactor);
bool tn_scratch_holds(const struct tn_source *source);

/* The same memory lent: whoever borrows it has the bytes in there until somebody else needs it, who
 * has `end` called before, which moves them away. */
struct tn_loan {
  void (*end)(struct tn_loan *loan);
  struct tn_reactor *reactor; /* NULL: it is over */
};

/* One read for the borrower; a loan only where there are bytes. */
ptrdiff_t tn_scratch_borrow(struct tn_source *source, size_t want, struct tn_loan *loan,
                            char **bytes);
/* Nothing where it is over. */
void tn_loan_end(struct tn_loan *loan);

enum {
  TN_BATCH_STRIDE = TN_SCRATCH_SIZE + 320 /* not the same lines of the CPU's cache for all */
};

/* Other memory, for `count` messages of TN_SCRATCH_SIZE bytes; the first one's place, the others
 * follow every TN_BATCH_STRIDE bytes. NULL without memory. */
char *tn_reactor_batch(struct tn_reactor *reactor, int count);

#endif
