/* A channel between two reactors: see thread_channel.h. */
#include "core/thread_channel.h"

#include "core/reactor_private.h"
#include "core/status.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

/* A letter that says one thing, once, and so needs no memory when it is sent. */
struct notice {
  struct tn_letter letter;
  struct end *to;
};

struct end {
  struct tn_end end;
  struct tn_member listed; /* among those of its reactor */
  struct channel *channel;
  struct end *other;
  struct tn_mailbox *mailbox; /* of its reactor */
  struct tn_post *first;
  struct tn_post **last;
  atomic_bool closed; /* for the other end, which looks without a letter */
  size_t messages;    /* sent from here and not yet taken there */
  size_t bytes;
  bool cancel_sent;
  struct tn_post *left; /* the outcome, until the other end has it */
  struct notice goodbye;
  struct notice cancel;
  struct notice finish;
};

struct channel {
  atomic_int users; /* objects, and letters on their way */
  struct end ends[2];
};

static struct end *inside(struct tn_end *end) {
  return (struct end *)end;
}

static void retain(struct channel *channel) {
  atomic_fetch_add(&channel->users, 1);
}

static void release(struct channel *channel) {
  if (atomic_fetch_sub(&channel->users, 1) != 1) {
    return;
  }
  for (int i = 0; i < 2; i++) {
    struct end *end = &channel->ends[i];
    tn_post_discard(end->end.outcome);
    tn_post_discard(end->left);
    tn_mailbox_release(end->mailbox);
  }
  free(channel);
}

/* --- messages --- */

struct tn_post *tn_post_new(size_t length, uint32_t goods) {
  size_t head = sizeof(struct tn_post) + goods * sizeof(struct tn_goods);
  struct tn_post *post = length < SIZE_MAX - head ? malloc(head + length) : NULL;
  if (post) {
    *post = (struct tn_post){.length = length, .count = goods, .bytes = (char *)post + head};
    for (uint32_t i = 0; i < goods; i++) {
      post->goods[i] = (struct tn_goods){.fd = TN_NO_FD};
    }
  }
  return post;
}

void tn_post_discard(struct tn_post *post) {
  for (uint32_t i = 0; post && i < post->count; i++) {
    tn_goods_discard(&post->goods[i]);
  }
  free(post);
}

static struct tn_post *post_of(struct tn_letter *letter) {
  return TN_CONTAINER(letter, struct tn_post, letter);
}

/* Is the end open, seen from its reactor's thread? NULL: the reactor is gone, and the end with it.
 */
static bool is_open(const struct tn_reactor *reactor, const struct end *end) {
  return reactor && end->end.reactor;
}

static void on_message(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct tn_post *post = post_of(letter);
  struct end *end = inside(post->to);
  struct channel *channel = end->channel;
  if (is_open(reactor, end)) {
    post->next = NULL;
    *end->last = post;
    end->last = &post->next;
    tn_wake_all(reactor, &end->end.receivers, 0);
  } else {
    tn_post_discard(post);
  }
  release(channel);
}

static void on_acknowledged(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct tn_post *post = post_of(letter);
  struct end *end = inside(post->to);
  struct channel *channel = end->channel;
  if (is_open(reactor, end)) {
    end->messages--;
    end->bytes -= post->length;
    tn_wake_all(reactor, &end->end.senders, 0);
  }
  tn_post_discard(post);
  release(channel);
}

/* A message that is larger than the room there ever is goes alone. */
bool tn_end_has_room(const struct tn_end *end) {
  const struct end *from = (const struct end *)end;
  return from->messages < TN_CHANNEL_MESSAGES && from->bytes < TN_CHANNEL_BYTES;
}

bool tn_end_begin(struct tn_end *end) {
  return tn_mailbox_begin(inside(end)->other->mailbox);
}

void tn_end_finish(struct tn_end *end, struct tn_post *post) {
  struct end *from = inside(end);
  from->messages++;
  from->bytes += post->length;
  retain(from->channel);
  post->to = &from->other->end;
  post->letter.deliver = on_message;
  tn_mailbox_finish(from->other->mailbox, &post->letter);
}

struct tn_post *tn_end_take(struct tn_end *end) {
  struct end *here = inside(end);
  struct tn_post *post = here->first;
  if (post) {
    here->first = post->next;
    if (!here->first) {
      here->last = &here->first;
    }
  }
  return post;
}

void tn_end_put_back(struct tn_end *end, struct tn_post *post) {
  struct end *here = inside(end);
  if (!end->reactor) { /* a finalizer closed it meanwhile */
    tn_post_discard(post);
    return;
  }
  post->next = here->first;
  here->first = post;
  if (!post->next) {
    here->last = &post->next;
  }
}

void tn_end_acknowledge(struct tn_end *end, struct tn_post *post) {
  struct end *here = inside(end);
  retain(here->channel);
  post->to = &here->other->end;
  post->letter.deliver = on_acknowledged;
  tn_mailbox_post(here->other->mailbox, &post->letter);
}

/* --- notices --- */

static struct notice *notice_of(struct tn_letter *letter) {
  return TN_CONTAINER(letter, struct notice, letter);
}

/* Who watches is the first to run: a worker that is not wanted any more is cancelled before it goes
 * on. */
static void wake_everybody(struct tn_reactor *reactor, struct tn_end *end) {
  tn_wake_all(reactor, &end->watchers, 0);
  tn_wake_all(reactor, &end->receivers, 0);
  tn_wake_all(reactor, &end->senders, 0);
}

static void on_goodbye(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct end *end = notice_of(letter)->to;
  if (is_open(reactor, end)) {
    end->end.other_closed = true;
    end->end.outcome = end->other->left;
    end->other->left = NULL;
    wake_everybody(reactor, &end->end);
  }
  release(end->channel);
}

static void on_cancel(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct end *end = notice_of(letter)->to;
  if (is_open(reactor, end)) {
    end->end.cancelled = true;
    tn_wake_all(reactor, &end->end.watchers, 0);
  }
  release(end->channel);
}

static void on_finish(struct tn_letter *letter, struct tn_reactor *reactor) {
  struct end *end = notice_of(letter)->to;
  if (is_open(reactor, end)) {
    end->end.other_finished = true;
    tn_wake_all(reactor, &end->end.receivers, 0);
  }
  release(end->channel);
}

static void send_notice(struct end *from, struct notice *notice,
                        void (*deliver)(struct tn_letter *, struct tn_reactor *)) {
  retain(from->channel);
  notice->to = from->other;
  notice->letter.deliver = deliver;
  tn_mailbox_post(from->other->mailbox, &notice->letter);
}

void tn_end_cancel(struct tn_end *end) {
  struct end *here = inside(end);
  if (!here->cancel_sent) {
    here->cancel_sent = true;
    send_notice(here, &here->cancel, on_cancel);
  }
}

void tn_end_finish_sending(struct tn_end *end) {
  struct end *here = inside(end);
  if (!end->finished) {
    end->finished = true;
    tn_wake_all(end->reactor, &end->senders, 0);
    send_notice(here, &here->finish, on_finish);
  }
}

void tn_end_leave(struct tn_end *end, struct tn_post *outcome) {
  inside(end)->left = outcome;
}

/* --- life --- */

static void leave(struct end *end) {
  tn_list_leave(&end->listed);
  end->end.reactor = NULL;
}

int tn_thread_channel_open(struct tn_reactor *first, struct tn_reactor *second,
                           struct tn_end *ends[2]) {
  struct tn_reactor *reactors[2] = {first, second};
  struct channel *channel = calloc(1, sizeof *channel);
  if (!channel) {
    return TN_ENOMEM;
  }
  for (int i = 0; i < 2; i++) {
    struct end *end = &channel->ends[i];
    end->mailbox = tn_mailbox_of(reactors[i]);
    if (!end->mailbox) {
      if (i == 1) {
        tn_mailbox_release(channel->ends[0].mailbox);
      }
      free(channel);
      return TN_ENOMEM;
    }
    end->channel = channel;
    end->other = &channel->ends[1 - i];
    end->last = &end->first;
  }
  atomic_init(&channel->users, 2);
  for (int i = 0; i < 2; i++) {
    struct end *end = &channel->ends[i];
    end->end.reactor = reactors[i];
    tn_list_enter(&reactors[i]->ends, &end->listed);
    ends[i] = &end->end;
  }
  return 0;
}

struct tn_end *tn_end_retain(struct tn_end *end) {
  retain(inside(end)->channel);
  return end;
}

void tn_end_release(struct tn_end *end) {
  release(inside(end)->channel);
}

/* In a child of fork nobody answers, and a lock may be held for ever. */
void tn_end_close(struct tn_end *end) {
  struct end *here = inside(end);
  struct tn_reactor *reactor = end->reactor;
  if (!reactor || tn_reactor_forked(reactor)) {
    return;
  }
  leave(here);
  atomic_store_explicit(&here->closed, true, memory_order_relaxed);
  for (struct tn_post *post; (post = tn_end_take(end));) {
    tn_post_discard(post);
  }
  wake_everybody(reactor, end);
  send_notice(here, &here->goodbye, on_goodbye);
}

void tn_end_abandon(struct tn_end *end) {
  if (end->reactor) {
    leave(inside(end));
  }
}

bool tn_end_is_unaware(const struct tn_end *end) {
  const struct end *here = (const struct end *)end;
  return atomic_load_explicit(&here->other->closed, memory_order_relaxed) && !end->other_closed;
}

void tn_ends_close(struct tn_reactor *reactor) {
  while (reactor->ends) {
    tn_end_close(&TN_CONTAINER(reactor->ends, struct end, listed)->end);
  }
}
