/* Finding, reading and setting options: see option.h. */
#include "core/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *canonical(const char *name) {
  for (const struct tn_option_alias *alias = tn_option_aliases; alias->option; alias++) {
    if (alias->getter && strcmp(alias->getter, name) == 0) {
      return alias->option;
    }
  }
  return name;
}

const struct tn_option *tn_option_find(const char *name, unsigned classes) {
  name = canonical(name);
  for (size_t i = 0; i < tn_options_count; i++) {
    if ((tn_options[i].classes & classes) && strcmp(tn_options[i].name, name) == 0) {
      return &tn_options[i];
    }
  }
  return NULL;
}

const struct tn_option *tn_option_by_system_name(const char *name, unsigned classes) {
  for (size_t i = 0; i < tn_options_count; i++) {
    if ((tn_options[i].classes & classes) && strcmp(tn_options[i].system_name, name) == 0) {
      return &tn_options[i];
    }
  }
  return NULL;
}

int tn_option_get(tn_fd fd, struct tn_option_value *value) {
  const struct tn_option *option = value->option;
  if (option->number == TN_ABSENT) {
    return -ENOTSUP;
  }
  /* Linux wants the exact size of some. */
  value->length = option->kind == TN_OPTION_UINT64 ? sizeof(uint64_t) : sizeof value->bytes;
  return tn_socket_get_option(fd, option->level, option->number, value->bytes, &value->length);
}

int tn_option_set(tn_fd fd, const struct tn_option_value *value) {
  if (value->status < 0) {
    return value->status;
  }
  const struct tn_option *option = value->option;
  if (option->number == TN_ABSENT) {
    return -ENOTSUP;
  }
  return tn_socket_set_option(fd, option->level, option->number, value->bytes, value->length);
}

void tn_option_values_free(struct tn_option_value *first) {
  while (first) {
    struct tn_option_value *next = first->next;
    free(first);
    first = next;
  }
}
