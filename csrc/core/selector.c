/* A shared selector: see selector.h. */
#include "core/selector.h"

#include <stdlib.h>

struct tn_selector *tn_selector_new(tn_fd fd) {
  struct tn_selector *selector = malloc(sizeof *selector);
  if (selector) {
    *selector = (struct tn_selector){.fd = fd, .references = 1};
  }
  return selector;
}

struct tn_selector *tn_selector_retain(struct tn_selector *selector) {
  selector->references++;
  return selector;
}

void tn_selector_release(struct tn_selector *selector) {
  if (--selector->references == 0) {
    free(selector);
  }
}
