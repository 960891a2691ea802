/* TCP_INFO as rows. A file of its own: the kernel's header, which knows all of its fields, cannot
 * stand beside the C library's. */
#include "platform/tcp_info.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<linux/tcp.h>)
#include <linux/tcp.h>
#define HAVE_TCP_INFO
#endif
#endif

#ifdef HAVE_TCP_INFO
#define AT(field) offsetof(struct tcp_info, field), sizeof(((struct tcp_info *)0)->field)
#define COUNT(name, unit)                                                                          \
  { #name, unit, AT(tcpi_##name), NULL, TN_INFO_COUNT, 0 }
#define SECONDS(name, per_second)                                                                  \
  { #name, "seconds", AT(tcpi_##name), NULL, TN_INFO_SECONDS, (per_second) }
#define OPTION(name, bit)                                                                          \
  { #name, "", AT(tcpi_options), NULL, TN_INFO_FLAG, (bit) }
/* Within the byte before the first word. */
#define PART(name, kind)                                                                           \
  { #name, "", offsetof(struct tcp_info, tcpi_rto) - 1, 1, name, (kind), 1 }

static unsigned snd_wscale(const void *info) {
  return ((const struct tcp_info *)info)->tcpi_snd_wscale;
}

static unsigned rcv_wscale(const void *info) {
  return ((const struct tcp_info *)info)->tcpi_rcv_wscale;
}

static unsigned delivery_rate_app_limited(const void *info) {
  return ((const struct tcp_info *)info)->tcpi_delivery_rate_app_limited;
}

/* clang-format off */
const struct tn_tcp_info_row tn_tcp_info_rows[] = {
  {"state",    "", AT(tcpi_state), NULL, TN_INFO_STATE, 0},
  {"ca_state", "", AT(tcpi_ca_state), NULL, TN_INFO_CA_STATE, 0},
  COUNT(retransmits, "timeouts"), COUNT(probes, "packets"), COUNT(backoff, "doublings"),
  OPTION(timestamps, 1), OPTION(sack, 2), OPTION(wscale, 4), OPTION(ecn, 8), OPTION(ecn_seen, 16),
  OPTION(syn_data, 32),
  PART(snd_wscale, TN_INFO_COUNT), PART(rcv_wscale, TN_INFO_COUNT),
  PART(delivery_rate_app_limited, TN_INFO_FLAG),
  SECONDS(rto, 1000000), SECONDS(ato, 1000000),
  COUNT(snd_mss, "bytes"), COUNT(rcv_mss, "bytes"),
  COUNT(unacked, "segments"), COUNT(sacked, "segments"), COUNT(lost, "segments"),
  COUNT(retrans, "segments"), COUNT(fackets, "segments"),
  SECONDS(last_data_sent, 1000), SECONDS(last_data_recv, 1000), SECONDS(last_ack_recv, 1000),
  COUNT(pmtu, "bytes"), COUNT(rcv_ssthresh, "bytes"),
  SECONDS(rtt, 1000000), SECONDS(rttvar, 1000000),
  COUNT(snd_ssthresh, "segments"), COUNT(snd_cwnd, "segments"), COUNT(advmss, "bytes"),
  COUNT(reordering, "segments"), SECONDS(rcv_rtt, 1000000), COUNT(rcv_space, "bytes"),
  COUNT(total_retrans, "segments"),
  COUNT(pacing_rate, "bytes per second"), COUNT(max_pacing_rate, "bytes per second"),
  COUNT(bytes_acked, "bytes"), COUNT(bytes_received, "bytes"),
  COUNT(segs_out, "segments"), COUNT(segs_in, "segments"), COUNT(notsent_bytes, "bytes"),
  SECONDS(min_rtt, 1000000), COUNT(data_segs_in, "segments"), COUNT(data_segs_out, "segments"),
  COUNT(delivery_rate, "bytes per second"),
  SECONDS(busy_time, 1000000), SECONDS(rwnd_limited, 1000000), SECONDS(sndbuf_limited, 1000000),
  COUNT(delivered, "segments"), COUNT(delivered_ce, "segments"),
  COUNT(bytes_sent, "bytes"), COUNT(bytes_retrans, "bytes"), COUNT(dsack_dups, "segments"),
  COUNT(reord_seen, "events"), COUNT(rcv_ooopack, "segments"), COUNT(snd_wnd, "bytes"),
  {0},
};
/* clang-format on */
#else
const struct tn_tcp_info_row tn_tcp_info_rows[] = {{0}};
#endif

/* How the kernel writes "no limit": a rate of all ones, a threshold that was never set. */
static bool is_infinite(const struct tn_tcp_info_row *row, uint64_t number) {
  return row->size == 8 ? number == UINT64_MAX
                        : number == INT32_MAX && strcmp(row->name, "snd_ssthresh") == 0;
}

int tn_tcp_info_field(const struct tn_tcp_info_row *row, const void *info, size_t length,
                      uint64_t *number) {
  if (row->offset + row->size > length) {
    return 0; /* an older kernel's table is shorter */
  }
  const char *field = (const char *)info + row->offset;
  uint8_t narrow;
  uint32_t word;
  uint64_t wide;
  if (row->part) {
    *number = row->part(info);
  } else if (row->size == sizeof narrow) {
    memcpy(&narrow, field, sizeof narrow);
    *number = narrow;
  } else if (row->size == sizeof word) {
    memcpy(&word, field, sizeof word);
    *number = word;
  } else {
    memcpy(&wide, field, sizeof wide);
    *number = wide;
  }
  return !is_infinite(row, *number);
}
