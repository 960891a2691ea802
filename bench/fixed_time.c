/* fixed_time: the same second for everybody, preloaded by bench/instructions. Lua seeds the hashes
 * of its strings with the time, and so the instructions of a lookup would change from run to run.
 */
#include <time.h>

time_t time(time_t *result) {
  if (result != NULL) {
    *result = 1000000000;
  }
  return 1000000000;
}
