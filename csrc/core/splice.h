/* Moving the bytes of one source to another inside the kernel, by way of a pipe (splice(2)). The
 * pipe belongs to the reading source; what lies in it has left the socket and is that source's next
 * bytes, behind those in `input`. */
#ifndef TCPNET_SPLICE_H
#define TCPNET_SPLICE_H

#include "core/source.h"

/* Gives the source a pipe; false: the system, or these kinds of source, cannot. */
bool tn_splice_begin(struct tn_source *from, const struct tn_source *to);
/* Fills the pipe from its source; 0: the end. -EINVAL: it cannot be done, read and write serve. */
ptrdiff_t tn_splice_fill(struct tn_source *from, size_t want);
/* Empties the pipe into the other. */
ptrdiff_t tn_splice_send(struct tn_source *from, struct tn_source *to, size_t want);
size_t tn_splice_held(const struct tn_source *from);
/* Takes the pipe away with what lies in it: the source closes. */
void tn_splice_drop(struct tn_source *from);
/* Takes the pipe away; what lies in it becomes readable in `input`: 0, or TN_ENOMEM. */
int tn_splice_end(struct tn_source *from);

#endif
