/* Faults on command, in test builds only: system calls and allocations of the library fail as a test says. The linker
 * puts these in front of the real ones (--wrap), so that no other file knows. */
#ifndef TCPNET_FAULTS_H
#define TCPNET_FAULTS_H

#include <stdbool.h>

/* How a call fails: with an errno, or by moving one byte only. */
enum { TN_FAULT_SHORT = -1 };

/* From the `nth` call from now on, `times` calls of that name fail so. False: there is no such call. */
bool tn_fault_set(const char *call, int nth, int times, int error);
/* Forgets all of that; how many calls were made to fail since. */
int tn_fault_clear(void);

#endif
