/* A source on its way: see goods.h. */
#include "core/goods.h"

#include "core/status.h"

/* What belongs to a descriptor, whichever reactor waits for it. */
static void carry(struct tn_source *to, const struct tn_source *from) {
  to->input = from->input;
  to->rare = from->rare;
  to->read_timeout_ns = from->read_timeout_ns;
  to->write_timeout_ns = from->write_timeout_ns;
  to->connecting = from->connecting;
  to->read_shut = from->read_shut;
  to->write_shut = from->write_shut;
  to->loss = from->loss;
  to->owed = from->owed;
  to->peer_length = from->peer_length;
  to->peer = from->peer;
}

void tn_goods_pack(struct tn_goods *goods, struct tn_source *source) {
  tn_source_leave_selector(source);
  carry(&goods->cargo, source);
  source->input = (struct tn_bytes){0};
  source->rare = NULL;
  goods->fd = tn_source_into_fd(source);
}

int tn_goods_unpack(struct tn_goods *goods, struct tn_reactor *reactor) {
  struct tn_source *source = goods->source ? NULL : tn_source_new(reactor, goods->fd);
  if (!source) {
    return goods->source ? 0 : TN_ENOMEM;
  }
  carry(source, &goods->cargo);
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
  tn_bytes_free(&goods->cargo.input);
  tn_source_free_rare(&goods->cargo);
}
