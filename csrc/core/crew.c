/* Threads of a program: see crew.h. */
#include "core/crew.h"

#include "core/reactor_private.h"

#include <stdlib.h>

struct tn_crew {
  uv_mutex_t lock;
  uv_cond_t left;
  int members;
  bool dismissed; /* the last to leave takes it along */
};

static struct tn_crew *crew_new(void) {
  struct tn_crew *crew = calloc(1, sizeof *crew);
  if (!crew) {
    return NULL;
  }
  if (uv_mutex_init(&crew->lock) < 0) {
    free(crew);
    return NULL;
  }
  if (uv_cond_init(&crew->left) < 0) {
    uv_mutex_destroy(&crew->lock);
    free(crew);
    return NULL;
  }
  return crew;
}

static void crew_free(struct tn_crew *crew) {
  uv_cond_destroy(&crew->left);
  uv_mutex_destroy(&crew->lock);
  free(crew);
}

unsigned tn_crew_parallelism(void) {
  return uv_available_parallelism();
}

struct tn_crew *tn_crew_join(struct tn_reactor *reactor) {
  if (!reactor->crew) {
    reactor->crew = crew_new();
  }
  struct tn_crew *crew = reactor->crew;
  if (crew) {
    uv_mutex_lock(&crew->lock);
    crew->members++;
    uv_mutex_unlock(&crew->lock);
  }
  return crew;
}

void tn_crew_leave(struct tn_crew *crew) {
  uv_mutex_lock(&crew->lock);
  bool last = --crew->members == 0;
  bool alone = last && crew->dismissed;
  if (last) {
    uv_cond_signal(&crew->left);
  }
  uv_mutex_unlock(&crew->lock);
  if (alone) {
    crew_free(crew);
  }
}

void tn_crew_dismiss(struct tn_reactor *reactor, uint64_t limit_ns) {
  struct tn_crew *crew = reactor->crew;
  if (!crew) {
    return;
  }
  uint64_t until = tn_now_ns() + limit_ns;
  uint64_t now;
  uv_mutex_lock(&crew->lock);
  while (crew->members > 0 && (now = tn_now_ns()) < until) {
    uv_cond_timedwait(&crew->left, &crew->lock, until - now);
  }
  bool alone = crew->members == 0;
  crew->dismissed = true;
  uv_mutex_unlock(&crew->lock);
  reactor->crew = NULL;
  if (alone) {
    crew_free(crew);
  }
}
