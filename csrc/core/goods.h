/* A source on its way to another reactor: the descriptor and all that belongs to it, bytes read
 * ahead included. Nobody holds it but the message that it is in. */
#ifndef TCPNET_GOODS_H
#define TCPNET_GOODS_H

#include "core/source.h"

struct tn_goods {
  uint64_t kind;            /* of the object, for whoever knows kinds */
  void *owner;              /* the object that it is taken from */
  struct tn_source *source; /* on arrival */
  tn_fd fd;                 /* TN_NO_FD: not packed, or unpacked */
  struct tn_source cargo;   /* what of the source goes with the descriptor */
};

/* Takes everything out of the source, which is closed after that: cannot fail. Its bytes have to be
 * in its buffer (tn_splice_end, tn_scratch_rescue). */
void tn_goods_pack(struct tn_goods *goods, struct tn_source *source);
/* Makes the source in its new reactor, with one reference, if there is none yet: 0 or TN_ENOMEM. */
int tn_goods_unpack(struct tn_goods *goods, struct tn_reactor *reactor);
/* The source is somebody's now. */
struct tn_source *tn_goods_take(struct tn_goods *goods);
/* Closes what nobody took. */
void tn_goods_discard(struct tn_goods *goods);

#endif
