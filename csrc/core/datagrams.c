/* Cutting and joining of datagrams: see datagrams.h. */
#include "core/datagrams.h"

#include "core/message.h"
#include "core/scratch.h"
#include "core/status.h"

#include <stdlib.h>
#include <string.h>

enum {
  SLOTS = TN_DATAGRAMS_MAX,
  LIKELY_LEAST = 2,  /* with the second, the system says whether there is one */
  CONTROL_ROOM = 320 /* gro_size is the last of all that the options ask for */
};
enum { MESSAGES = 64, SEGMENTS = 64, RUN_BYTES = 65507 }; /* what every kernel takes as one */

/* A message as it came. */
struct slot {
  size_t length;
  size_t segment; /* of each datagram in it */
  struct tn_address from;
};

struct tn_datagrams {
  int first, count; /* of the slots, those that are not given out yet */
  int likely;       /* so many messages will be there, and one more */
  size_t offset;    /* in the first of them */
  struct slot slots[SLOTS];
  char memory[SLOTS * TN_BATCH_STRIDE]; /* the system gives it when it is touched */
};

/* What is known of an option. */
enum { UNKNOWN, OFF, ON, REFUSED };

static bool option_is_set(const struct tn_source *source, int level, int number, bool otherwise) {
  int value[4] = {0};
  socklen_t length = sizeof value;
  if (number == TN_ABSENT || tn_socket_get_option(source->fd, level, number, value, &length) < 0) {
    return otherwise;
  }
  return value[0] != 0;
}

void tn_datagrams_forget(struct tn_source *source) {
  source->joins = UNKNOWN;
  source->cuts = source->cuts == REFUSED ? REFUSED : UNKNOWN;
}

/* --- sending --- */

/* Not where the script has the kernel cut or join by an option, or tell of each datagram. */
static bool cuts(struct tn_source *source) {
  if (source->cuts == UNKNOWN) {
    bool off = option_is_set(source, SOL_UDP, UDP_SEGMENT, true) ||
               option_is_set(source, SOL_UDP, UDP_CORK, false) ||
               option_is_set(source, IPPROTO_IP, IP_RECVERR, false) ||
               option_is_set(source, IPPROTO_IPV6, IPV6_RECVERR, false) ||
               option_is_set(source, SOL_SOCKET, SO_TIMESTAMPING, false);
    source->cuts = off ? OFF : ON;
  }
  return source->cuts == ON;
}

static bool same_address(const struct tn_message *a, const struct tn_message *b) {
  return a->address_length == b->address_length &&
         (a->address == b->address || memcmp(a->address, b->address, a->address_length) == 0);
}

/* How many of the messages, from the first, are datagrams of one message that is cut: all of one
 * size, but for the last, which may be shorter. */
static int run_length(const struct tn_message *messages, int count) {
  size_t size = messages->slices->length;
  size_t total = size;
  int length = 1;
  while (length < count && length < SEGMENTS) {
    const struct tn_message *next = &messages[length];
    size_t more = next->slices->length;
    if (more == 0 || more > size || total + more > RUN_BYTES || !same_address(messages, next)) {
      break;
    }
    total += more;
    length++;
    if (more < size) {
      break;
    }
  }
  return length;
}

struct runs {
  int count;
  int lengths[MESSAGES];
  struct tn_message messages[MESSAGES];
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr header;
  } control[MESSAGES];
};

static void join(struct runs *runs, const struct tn_message *messages, int count) {
  runs->count = 0;
  for (int i = 0; i < count; i += runs->lengths[runs->count++]) {
    int length = run_length(&messages[i], count - i);
    struct tn_message *run = &runs->messages[runs->count];
    runs->lengths[runs->count] = length;
    *run = messages[i];
    if (length > 1) {
      uint16_t size = (uint16_t)messages[i].slices->length;
      struct cmsghdr *header = &runs->control[runs->count].header;
      memset(header, 0, CMSG_SPACE(sizeof size)); /* what is behind the value goes along */
      header->cmsg_level = SOL_UDP;
      header->cmsg_type = UDP_SEGMENT;
      header->cmsg_len = CMSG_LEN(sizeof size);
      memcpy(CMSG_DATA(header), &size, sizeof size);
      run->count = length;
      run->control = header;
      run->control_length = CMSG_SPACE(sizeof size);
    }
  }
}

/* A segment larger than the device's MTU, a device or a kernel that cannot. */
static bool is_refusal(int status) {
  return status == -EINVAL || status == -EMSGSIZE || status == -EIO || status == -EOPNOTSUPP;
}

int tn_datagrams_send(struct tn_source *source, struct tn_message *messages, int count) {
  size_t lengths[MESSAGES];
  struct runs runs;
  count = count < MESSAGES ? count : MESSAGES;
  if (!cuts(source)) {
    return tn_source_send_messages(source, messages, count, lengths);
  }
  join(&runs, messages, count);
  if (runs.count == count) {
    return tn_source_send_messages(source, messages, count, lengths);
  }
  /* what is left of an earlier datagram must not be taken for a refusal */
  bool cut = runs.count > 0 && runs.lengths[0] > 1;
  int status = cut ? tn_source_take_error(source) : 0;
  status =
      status < 0 ? status : tn_source_send_messages(source, runs.messages, runs.count, lengths);
  if (status < 0 && cut && is_refusal(status)) {
    status = tn_source_send_messages(source, messages, count, lengths);
    source->cuts = status > 0 ? REFUSED : source->cuts;
    return status;
  }
  int sent = 0;
  for (int i = 0; i < status; i++) {
    sent += runs.lengths[i];
  }
  return status < 0 ? status : sent;
}

/* --- receiving --- */

bool tn_datagrams_kept(const struct tn_source *source) {
  const struct tn_datagrams *all = source->rare ? source->rare->datagrams : NULL;
  return all && all->count > 0;
}

bool tn_datagrams_joined(struct tn_source *source) {
  if (source->joins == UNKNOWN) {
    source->joins = option_is_set(source, SOL_UDP, UDP_GRO, false) ? ON : OFF;
  }
  return source->joins == ON || tn_datagrams_kept(source);
}

static size_t segment_of(struct tn_control *control, size_t length) {
  struct tn_control_entry entry;
  size_t position = 0;
  int size = 0;
  while (tn_control_next(control, &position, &entry)) {
    if (entry.level == SOL_UDP && entry.number == UDP_GRO && entry.length == sizeof size) {
      memcpy(&size, entry.data, sizeof size);
    }
  }
  return size > 0 ? (size_t)size : length;
}

int tn_datagrams_receive(struct tn_source *source, int count) {
  struct tn_message messages[SLOTS];
  struct tn_slice slices[SLOTS];
  size_t lengths[SLOTS];
  struct tn_control control;
  char controls[SLOTS][CONTROL_ROOM];
  struct tn_rare *rare = tn_source_rare(source);
  if (rare && !rare->datagrams) {
    rare->datagrams = malloc(sizeof *rare->datagrams);
    if (rare->datagrams) {
      rare->datagrams->likely = LIKELY_LEAST;
    }
  }
  if (!rare || !rare->datagrams) {
    return TN_ENOMEM;
  }
  struct tn_datagrams *all = rare->datagrams;
  bool guesses = count == TN_DATAGRAMS_LIKELY;
  count = guesses ? all->likely : count < SLOTS ? count : SLOTS;
  all->first = all->count = 0;
  all->offset = 0;
  for (int i = 0; i < count; i++) {
    slices[i] = (struct tn_slice){all->memory + (size_t)i * TN_BATCH_STRIDE, TN_SCRATCH_SIZE};
    messages[i] = (struct tn_message){.slices = &slices[i],
                                      .count = 1,
                                      .address = &all->slots[i].from.any,
                                      .address_length = sizeof all->slots[i].from.storage,
                                      .control = controls[i],
                                      .control_length = CONTROL_ROOM};
  }
  int came = tn_source_recv_messages(source, messages, count, lengths);
  for (int i = 0; i < came; i++) {
    struct slot *slot = &all->slots[i];
    control.length = messages[i].control_length;
    memcpy(control.bytes, controls[i], control.length);
    slot->length = lengths[i];
    slot->segment = segment_of(&control, lengths[i]);
    slot->from.length = messages[i].address_length;
    all->count++;
  }
  if (guesses && came > 0) {
    int next = came == count ? 2 * count : came + 1;
    all->likely = next < LIKELY_LEAST ? LIKELY_LEAST : next < SLOTS ? next : SLOTS;
  }
  /* no event tells of what is kept: whoever waits must look now */
  if (all->count > 1 || (all->count == 1 && all->slots[0].segment < all->slots[0].length)) {
    tn_source_wake(source, TN_READABLE, 0);
  }
  return came;
}

bool tn_datagrams_first(const struct tn_source *source, struct tn_datagram *datagram) {
  if (!tn_datagrams_kept(source)) {
    return false;
  }
  const struct tn_datagrams *all = source->rare->datagrams;
  const struct slot *slot = &all->slots[all->first];
  size_t left = slot->length - all->offset;
  datagram->bytes = all->memory + (size_t)all->first * TN_BATCH_STRIDE + all->offset;
  datagram->length = left < slot->segment ? left : slot->segment;
  datagram->from.length = slot->from.length;
  memcpy(&datagram->from.storage, &slot->from.storage, slot->from.length);
  return true;
}

void tn_datagrams_take(struct tn_source *source) {
  struct tn_datagrams *all = source->rare->datagrams;
  const struct slot *slot = &all->slots[all->first];
  all->offset += slot->segment;
  if (all->offset >= slot->length) {
    all->offset = 0;
    all->first++;
    all->count--;
  }
}

void tn_datagrams_free(struct tn_datagrams *datagrams) {
  free(datagrams);
}
