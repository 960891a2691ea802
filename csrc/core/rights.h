/* Descriptors that came with the bytes of a stream and were not asked for yet (SCM_RIGHTS): each
 * keeps its place among the bytes. */
#ifndef TCPNET_RIGHTS_H
#define TCPNET_RIGHTS_H

#include "core/message.h"

struct tn_rights;

enum { TN_LOST_FD = -2 }; /* one came, but this process had no room for it */

/* Makes room for the notice that one was lost, `buffered` bytes of the stream being unread now:
 * before each read, so that none is lost without it. false: no memory. */
bool tn_rights_prepare(struct tn_rights **queue, size_t buffered);
/* `control` (`cut`: the system had no descriptors for all of it) came with `count` bytes. What
 * there is no memory or room for is closed, and told as lost. */
void tn_rights_note(struct tn_rights **queue, const struct tn_control *control, bool cut,
                    size_t count);
/* The first descriptor, if the byte that it came with is the next one or has been read; else
 * TN_NO_FD. `carried`: that byte is still there, and is to be consumed with it. */
tn_fd tn_rights_take(struct tn_rights *queue, size_t buffered, bool *carried);
int tn_rights_count(const struct tn_rights *queue);
/* Closes what is left. */
void tn_rights_free(struct tn_rights *queue);

#endif
