/* The threads that work for a reactor's program. None is waited for for ever: at the end of the
 * program each has a moment to leave, and whoever does not is left behind. */
#ifndef TCPNET_CREW_H
#define TCPNET_CREW_H

#include "core/reactor.h"

struct tn_crew;

/* How many threads can run at once on this machine (for this process). */
unsigned tn_crew_parallelism(void);
/* One more; NULL without memory. */
struct tn_crew *tn_crew_join(struct tn_reactor *reactor);
/* The last thing that the thread does. */
void tn_crew_leave(struct tn_crew *crew);
/* The reactor goes: waits until all have left, so long at most. */
void tn_crew_dismiss(struct tn_reactor *reactor, uint64_t limit_ns);

#endif
