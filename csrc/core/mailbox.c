/* Letters for a reactor: see mailbox.h. */
#include "core/mailbox.h"

#include "core/reactor_private.h"

#include <stdlib.h>

struct tn_mailbox {
  uv_mutex_t lock;            /* of all but `async`'s insides */
  struct tn_reactor *reactor; /* NULL once it is gone */
  struct tn_letter *first;
  struct tn_letter **last;
  int users; /* the reactor, and whoever may post */
  uv_async_t async;
};

static struct tn_letter *take_all(struct tn_mailbox *mailbox) {
  struct tn_letter *letters = mailbox->first;
  mailbox->first = NULL;
  mailbox->last = &mailbox->first;
  return letters;
}

static void deliver_all(struct tn_letter *letter, struct tn_reactor *reactor) {
  while (letter) {
    struct tn_letter *next = letter->next;
    letter->deliver(letter, reactor);
    letter = next;
  }
}

void tn_mailbox_look(struct tn_reactor *reactor) {
  struct tn_mailbox *mailbox = reactor->mailbox;
  uv_mutex_lock(&mailbox->lock);
  struct tn_letter *letters = take_all(mailbox);
  uv_mutex_unlock(&mailbox->lock);
  deliver_all(letters, reactor);
}

static void on_letters(uv_async_t *async) {
  tn_mailbox_look(async->loop->data);
}

static struct tn_mailbox *mailbox_new(struct tn_reactor *reactor) {
  struct tn_mailbox *mailbox = calloc(1, sizeof *mailbox);
  if (!mailbox) {
    return NULL;
  }
  if (uv_mutex_init(&mailbox->lock) < 0) {
    free(mailbox);
    return NULL;
  }
  if (uv_async_init(&reactor->loop, &mailbox->async, on_letters) < 0) {
    uv_mutex_destroy(&mailbox->lock);
    free(mailbox);
    return NULL;
  }
  mailbox->reactor = reactor;
  mailbox->last = &mailbox->first;
  mailbox->users = 1;
  return mailbox;
}

struct tn_mailbox *tn_mailbox_of(struct tn_reactor *reactor) {
  if (!reactor->mailbox) {
    reactor->mailbox = mailbox_new(reactor);
  }
  struct tn_mailbox *mailbox = reactor->mailbox;
  if (mailbox) {
    uv_mutex_lock(&mailbox->lock);
    mailbox->users++;
    uv_mutex_unlock(&mailbox->lock);
  }
  return mailbox;
}

void tn_mailbox_release(struct tn_mailbox *mailbox) {
  uv_mutex_lock(&mailbox->lock);
  bool last = --mailbox->users == 0;
  uv_mutex_unlock(&mailbox->lock);
  if (last) {
    uv_mutex_destroy(&mailbox->lock);
    free(mailbox);
  }
}

bool tn_mailbox_begin(struct tn_mailbox *mailbox) {
  uv_mutex_lock(&mailbox->lock);
  if (mailbox->reactor) {
    return true;
  }
  uv_mutex_unlock(&mailbox->lock);
  return false;
}

void tn_mailbox_finish(struct tn_mailbox *mailbox, struct tn_letter *letter) {
  letter->next = NULL;
  *mailbox->last = letter;
  mailbox->last = &letter->next;
  uv_async_send(&mailbox->async);
  uv_mutex_unlock(&mailbox->lock);
}

void tn_mailbox_post(struct tn_mailbox *mailbox, struct tn_letter *letter) {
  if (tn_mailbox_begin(mailbox)) {
    tn_mailbox_finish(mailbox, letter);
  } else {
    letter->deliver(letter, NULL);
  }
}

void tn_mailbox_close(struct tn_reactor *reactor) {
  struct tn_mailbox *mailbox = reactor->mailbox;
  if (!mailbox) {
    return;
  }
  uv_mutex_lock(&mailbox->lock);
  mailbox->reactor = NULL;
  struct tn_letter *letters = take_all(mailbox);
  uv_mutex_unlock(&mailbox->lock);
  deliver_all(letters, NULL);
  uv_close((uv_handle_t *)&mailbox->async, NULL);
}

void tn_mailbox_free(struct tn_reactor *reactor) {
  if (reactor->mailbox) {
    tn_mailbox_release(reactor->mailbox);
    reactor->mailbox = NULL;
  }
}
