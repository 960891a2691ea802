/* A source on its way: see goods.h. */
#include "core/goods.h"

#include "core/option.h"
#include "core/status.h"

void tn_goods_pack(struct tn_goods *goods, struct tn_source *source) {
  goods->stash = source->stash;
  goods->input = source->input;
  goods->rights = source->rights;
  goods->accept_options = source->accept_options;
  goods->read_timeout_ns = source->read_timeout_ns;
  goods->write_timeout_ns = source->write_timeout_ns;
  goods->connecting = source->connecting;
  goods->read_shut = source->read_shut;
  goods->write_shut = source->write_shut;
  goods->loss = source->loss;
  goods->owed = source->owed;
  goods->peer_length = source->peer_length;
  goods->peer = source->peer;
  source->stash = TN_NO_FD;
  source->input = (struct tn_bytes){0};
  source->rights = NULL;
  source->accept_options = NULL;
  goods->fd = tn_source_into_fd(source);
}

int tn_goods_unpack(struct tn_goods *goods, struct tn_reactor *reactor) {
  struct tn_source *source = goods->source ? NULL : tn_source_new(reactor, goods->fd);
  if (!source) {
    return goods->source ? 0 : TN_ENOMEM;
  }
  source->stash = goods->stash;
  source->input = goods->input;
  source->rights = goods->rights;
  source->accept_options = goods->accept_options;
  source->read_timeout_ns = goods->read_timeout_ns;
  source->write_timeout_ns = goods->write_timeout_ns;
  source->connecting = goods->connecting;
  source->read_shut = goods->read_shut;
  source->write_shut = goods->write_shut;
  source->loss = goods->loss;
  source->owed = goods->owed;
  source->peer_length = goods->peer_length;
  source->peer = goods->peer;
  goods->fd = TN_NO_FD;
  goods->source = source;
  return 0;
}

struct tn_source *tn_goods_take(struct tn_goods *goods) {
  struct tn_source *source = goods->source;
  goods->source = NULL;
  return source;
}

void tn_goods_discard(struct tn_goods *goods) {
  if (goods->source) {
    tn_source_release(goods->source);
    goods->source = NULL;
  }
  if (goods->fd == TN_NO_FD) {
    return;
  }
  tn_socket_close(goods->fd);
  goods->fd = TN_NO_FD;
  if (goods->stash != TN_NO_FD) {
    tn_socket_close(goods->stash);
  }
  tn_bytes_free(&goods->input);
  tn_rights_free(goods->rights);
  tn_option_values_free(goods->accept_options);
}
