/* A list whose links are in its members, which know nothing of its head: each knows what points to
 * it. So one leaves whichever list it is in, without a search. */
#ifndef TCPNET_LIST_H
#define TCPNET_LIST_H

#include <stddef.h>

struct tn_member {
  struct tn_member *next;
  struct tn_member **at; /* the head, or the `next` of the one before */
};

/* At the front. */
static inline void tn_list_enter(struct tn_member **list, struct tn_member *member) {
  member->next = *list;
  member->at = list;
  if (member->next) {
    member->next->at = &member->next;
  }
  *list = member;
}

/* The first one leaves; NULL: there is none. */
static inline struct tn_member *tn_list_take(struct tn_member **list) {
  struct tn_member *member = *list;
  if (member) {
    *list = member->next;
    if (*list) {
      (*list)->at = list;
    }
  }
  return member;
}

static inline void tn_list_leave(struct tn_member *member) {
  if (member->next) {
    member->next->at = member->at;
  }
  *member->at = member->next;
}

#endif
