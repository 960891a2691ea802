/* load: the load generator.
 *
 *   load [-p PIDS] [-w WARM_SECS] [-n MAX_OPS] [-g GAP_US] [-r] rtt ADDRESS CONNS SIZE SECS
 *   load [-p PIDS] [-w WARM_SECS] [-n MAX_OPS] [-g GAP_US] [-r] conn ADDRESS CONNS SIZE SECS
 *   load [-p PIDS] [-w WARM_SECS] [-n MAX_OPS] dgram ADDRESS COUNT SIZE SECS
 *   load [-p PIDS] [-r] stream ADDRESS SECONDSs|BYTES            "2s", or "1073741824"
 *   load [-p PIDS] [-r] sink ADDRESS CONNS SECS
 *   load [-r] idle ADDRESS N
 *
 * ADDRESS is 127.x.y.z:PORT or @NAME, a Unix socket in the abstract namespace. dgram keeps COUNT
 * datagrams under way through one UDP socket; one that does not come back is sent again. It takes
 * joined datagrams (UDP_GRO): a server that has the kernel cut them is not to pay for the cutting,
 * which is a network card's, but on loopback falls to whoever sends.
 *
 * sink sends lines of 40 bytes, 64 KiB or so at a time, and expects no answer. With -r every
 * connection begins with a request of HTTP and a byte in return, for servers that have it so.
 *
 * It spins instead of sleeping, so that the server never pays for waking it. With -p it reads the
 * server's CPU time (of all PIDS, with commas between them) while the server rests, before the
 * first request and after the last answer: the scheduler brings that number up to date only when a
 * process stops running. GAP_US passes between an answer and the next request: a server that a
 * tracer slows down then still finds nothing to read and has to wait, as it does at full speed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 40, LINES = 1638 }; /* sink sends so many at a time: 64 KiB but for 16 bytes */
enum { MAX_SERVERS = 16 };
enum { BATCH = 512, MAX_SIZE = 65536, CHUNK = 262144, SUB_BITS = 6, BUCKETS = 64 << SUB_BITS };
enum { MAX_DATAGRAM = 1400, LOST_NS = 200000000, JOINED_MAX = 65536, RECEIVES = 64 };
enum { PINNED_CPUS = 2 }; /* the runner pins the server to cpu 0 and this program to cpu 1 */

struct conn {
  int fd;
  size_t received;
  uint64_t started_ns;
};

/* What a datagram begins with. A turn that is not its slot's is of one given up as lost. */
struct stamp {
  uint32_t slot;
  uint32_t turn;
};

struct datagram {
  struct stamp stamp;
  char rest[MAX_DATAGRAM - sizeof(struct stamp)];
};

struct slot {
  uint32_t turn;
  bool waiting;
  uint64_t sent_ns;
};

struct usage {
  uint64_t wall_ns;
  uint64_t self_ns;
  uint64_t server_ns;
  uint64_t machine_ns; /* all that ran on the pinned CPUs, by tick */
};

static union {
  struct sockaddr any;
  struct sockaddr_in ip;
  struct sockaddr_un local;
} server;
static socklen_t server_length;
static int server_pids[MAX_SERVERS];
static int server_count;
static double warm_secs = 0.2;
static uint64_t max_ops = UINT64_MAX;
static uint64_t gap_ns;
static bool http;
static bool redial; /* conn: a new connection for every request */
static int epoll_fd;
static struct conn *conns;
static size_t size;
static char buffer[CHUNK];

static uint64_t started;
static uint64_t ops;
static uint64_t lost;
static int active;
static uint64_t latencies[BUCKETS]; /* log-linear, 1.6 % wide */

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void wait_ns(uint64_t ns) {
  uint64_t end_ns = now_ns() + ns;
  while (now_ns() < end_ns) {
    continue;
  }
}

/* ---- latencies ---- */

static int bucket_of(uint64_t ns) {
  if (ns >> SUB_BITS == 0) {
    return (int)ns;
  }
  int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
  return ((shift + 1) << SUB_BITS) + (int)((ns >> shift) & ((1u << SUB_BITS) - 1));
}

static double bucket_us(int bucket) {
  int shift = (bucket >> SUB_BITS) - 1;
  if (shift < 0) {
    return bucket / 1e3;
  }
  uint64_t base = (uint64_t)(bucket & ((1 << SUB_BITS) - 1)) + (1u << SUB_BITS);
  return (double)(base << shift) / 1e3;
}

static double percentile_us(double share) {
  uint64_t seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += latencies[i];
    if (seen > 0 && (double)seen >= share * (double)ops) {
      return bucket_us(i);
    }
  }
  return 0;
}

/* ---- CPU time ---- */

static uint64_t first_number(const char *path) {
  unsigned long long value = 0;
  FILE *file = fopen(path, "r");
  if (file != NULL) {
    if (fscanf(file, "%llu", &value) != 1) {
      value = 0;
    }
    fclose(file);
  }
  return value;
}

/* Every thread of a server: a thread pool's work is the server's too. */
static uint64_t process_cpu_ns(int pid) {
  char path[64];
  char file[400];
  uint64_t sum = 0;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *threads = opendir(path);
  if (threads == NULL) {
    die(path);
  }
  for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
    if (entry->d_name[0] != '.') {
      snprintf(file, sizeof file, "%s/%s/schedstat", path, entry->d_name);
      sum += first_number(file);
    }
  }
  closedir(threads);
  return sum;
}

static uint64_t server_cpu_ns(void) {
  uint64_t sum = 0;
  for (int i = 0; i < server_count; i++) {
    sum += process_cpu_ns(server_pids[i]);
  }
  return sum;
}

static uint64_t machine_cpu_ns(void) {
  char line[512];
  uint64_t ticks = 0;
  FILE *file = fopen("/proc/stat", "r");
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    int cpu;
    unsigned long long t[8];
    if (sscanf(line, "cpu%d %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &t[0], &t[1], &t[2],
               &t[3], &t[4], &t[5], &t[6], &t[7]) == 9 &&
        cpu < PINNED_CPUS) {
      ticks += t[0] + t[1] + t[2] + t[5] + t[6] + t[7];
    }
  }
  if (file != NULL) {
    fclose(file);
  }
  return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static struct usage usage_now(void) {
  struct timespec self;
  struct usage usage = {0};
  wait_ns(5000000); /* the server finishes what the last answer left it to do */
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &self);
  usage.self_ns = (uint64_t)self.tv_sec * 1000000000u + (uint64_t)self.tv_nsec;
  usage.server_ns = server_cpu_ns();
  usage.machine_ns = machine_cpu_ns();
  usage.wall_ns = now_ns();
  return usage;
}

static void print_usage_since(const struct usage *before) {
  struct usage after = usage_now();
  double server_ns = (double)(after.server_ns - before->server_ns);
  double machine_ns = (double)(after.machine_ns - before->machine_ns);
  double self_ns = (double)(after.self_ns - before->self_ns);
  double foreign = (machine_ns - server_ns - self_ns) / (double)(after.wall_ns - before->wall_ns);
  if (server_count > 0) {
    printf(",\"server_cpu_us\":%.1f,\"foreign\":%.3f", server_ns / 1e3, foreign);
  }
}

/* ---- connections ---- */

/* A new source address for every dial: ports in TIME_WAIT are never in the way. */
static void bind_next_source(int fd) {
  static uint32_t next;
  int on = 1;
  struct sockaddr_in source = {.sin_family = AF_INET};
  if (next == 0) {
    next = (uint32_t)(now_ns() / 1000) % 0x800000u;
  }
  next = (next + 1) & 0x7fffffu;
  source.sin_addr.s_addr = htonl(0x7f800000u | next);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) {
    die("bind");
  }
}

static void greet(int fd) {
  static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
  char answer;
  if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1 ||
      recv(fd, &answer, 1, 0) != 1) {
    die("greeting");
  }
}

/* Blocking: on loopback the handshake is over before connect would sleep. */
static int dial(void) {
  int on = 1;
  int fd = socket(server.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    die("socket");
  }
  if (redial) {
    bind_next_source(fd);
  }
  if (connect(fd, &server.any, server_length) < 0) {
    die("connect");
  }
  if (server.any.sa_family == AF_INET) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (http) {
    greet(fd);
  }
  return fd;
}

static void dial_watched(struct conn *conn, uint32_t interest) {
  struct epoll_event event = {.events = interest, .data.ptr = conn};
  conn->fd = dial();
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
    die("epoll_ctl");
  }
}

static size_t send_some(int fd, const char *bytes, size_t length) {
  ssize_t sent = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) {
    die("send");
  }
  return sent < 0 ? 0 : (size_t)sent;
}

/* 0 where there is nothing yet. */
static size_t receive_some(int fd) {
  ssize_t received = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (received == 0) {
    fputs("load: the server closed a connection\n", stderr);
    exit(1);
  }
  if (received < 0 && errno != EAGAIN) {
    die("recv");
  }
  return received < 0 ? 0 : (size_t)received;
}

/* ---- rtt and conn ---- */

static void request(struct conn *conn) {
  conn->received = 0;
  conn->started_ns = now_ns();
  if (redial) {
    dial_watched(conn, EPOLLIN);
  }
  for (size_t sent = 0; sent < size;) {
    sent += send_some(conn->fd, buffer, size - sent);
  }
  started++;
  active++;
}

static void finish(struct conn *conn, bool again) {
  latencies[bucket_of(now_ns() - conn->started_ns)]++;
  ops++;
  active--;
  if (redial) {
    close(conn->fd);
  }
  if (gap_ns > 0) {
    wait_ns(gap_ns);
  }
  if (again) {
    request(conn);
  }
}

static void open_conns(int count, uint32_t interest) {
  conns = calloc((size_t)count, sizeof *conns);
  if (conns == NULL) {
    die("calloc");
  }
  for (int i = 0; i < count && !redial; i++) {
    dial_watched(&conns[i], interest);
  }
}

/* Requests until the time is up or there are enough, then waits for what is under way. */
static void run_conns(int count, uint64_t end_ns) {
  struct epoll_event events[BATCH];
  for (int i = 0; i < count; i++) {
    request(&conns[i]);
  }
  while (active > 0) {
    int ready = epoll_wait(epoll_fd, events, BATCH, 0);
    bool open = now_ns() < end_ns;
    for (int i = 0; i < ready; i++) {
      struct conn *conn = events[i].data.ptr;
      conn->received += receive_some(conn->fd);
      if (conn->received >= size) {
        finish(conn, open && started < max_ops);
      }
    }
  }
}

/* ---- dgram ---- */

static int datagram_fd;
static struct slot slots[BATCH];
static struct datagram outgoing[BATCH]; /* by slot */
static struct mmsghdr sending[BATCH];
static unsigned sending_count;
static char incoming[RECEIVES][JOINED_MAX];
static struct mmsghdr receiving[RECEIVES];
static union {
  char bytes[CMSG_SPACE(sizeof(int))];
  struct cmsghdr header;
} joining[RECEIVES]; /* by received message: of how many bytes each datagram in it is */

static void open_datagrams(int count) {
  static struct iovec out[BATCH];
  static struct iovec in[RECEIVES];
  int on = 1;
  datagram_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (datagram_fd < 0 || connect(datagram_fd, &server.any, server_length) < 0) {
    die("connect");
  }
  setsockopt(datagram_fd, SOL_UDP, UDP_GRO, &on, sizeof on); /* an old kernel does without */
  for (int i = 0; i < RECEIVES; i++) {
    in[i] = (struct iovec){incoming[i], sizeof incoming[i]};
    receiving[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
  }
  for (int i = 0; i < count; i++) {
    sending[i].msg_hdr = (struct msghdr){.msg_iov = &out[i], .msg_iovlen = 1};
  }
}

/* Goes out with the others at the next flush. */
static void post(uint32_t number, uint64_t now) {
  struct slot *slot = &slots[number];
  *slot = (struct slot){.turn = slot->turn + 1, .waiting = true, .sent_ns = now};
  outgoing[number].stamp = (struct stamp){number, slot->turn};
  *sending[sending_count++].msg_hdr.msg_iov = (struct iovec){&outgoing[number], size};
}

static void flush_posted(void) {
  for (unsigned sent = 0; sent < sending_count;) {
    int now = sendmmsg(datagram_fd, sending + sent, sending_count - sent, MSG_DONTWAIT);
    if (now < 0 && errno != EAGAIN) {
      die("sendmmsg");
    }
    sent += now < 0 ? 0 : (unsigned)now;
  }
  sending_count = 0;
}

/* How many messages came; negative where none did. */
static int receive_datagrams(void) {
  for (int i = 0; i < RECEIVES; i++) {
    struct msghdr *header = &receiving[i].msg_hdr;
    header->msg_control = &joining[i];
    header->msg_controllen = sizeof joining[i];
  }
  return recvmmsg(datagram_fd, receiving, RECEIVES, MSG_DONTWAIT, NULL);
}

/* Of how many bytes the datagrams in that message are. */
static size_t segment_of(const struct mmsghdr *message) {
  int segment = 0;
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message->msg_hdr);
  if (header != NULL && header->cmsg_level == SOL_UDP && header->cmsg_type == UDP_GRO) {
    memcpy(&segment, CMSG_DATA(header), sizeof segment);
  }
  return segment > 0 ? (size_t)segment : message->msg_len;
}

/* Its slot, where it answers what was sent last from there; NULL: it came too late. */
static struct slot *slot_of(size_t length, const struct stamp *stamp, int count) {
  if (length != size || stamp->slot >= (uint32_t)count) {
    fputs("load: a datagram came back changed\n", stderr);
    exit(1);
  }
  struct slot *slot = &slots[stamp->slot];
  return slot->waiting && slot->turn == stamp->turn ? slot : NULL;
}

static void post_lost_again(int count, uint64_t now) {
  for (int i = 0; i < count; i++) {
    if (slots[i].waiting && now - slots[i].sent_ns >= LOST_NS) {
      lost++;
      post((uint32_t)i, now);
    }
  }
}

/* What a datagram that came back at that time is good for. */
static void take_datagram(const struct stamp *stamp, size_t length, int count, uint64_t now,
                          bool again) {
  struct slot *slot = slot_of(length, stamp, count);
  if (slot == NULL) {
    return;
  }
  latencies[bucket_of(now - slot->sent_ns)]++;
  ops++;
  if (again && started < max_ops) {
    started++;
    post(stamp->slot, now);
  } else {
    slot->waiting = false;
    active--;
  }
}

static void run_datagrams(int count, uint64_t end_ns) {
  uint64_t look_ns = 0;
  for (int i = 0; i < count; i++) {
    post((uint32_t)i, now_ns());
    started++;
    active++;
  }
  flush_posted();
  while (active > 0) {
    int came = receive_datagrams();
    uint64_t now = now_ns();
    if (came < 0 && errno != EAGAIN) {
      die("recvmmsg");
    }
    for (int i = 0; i < came; i++) {
      size_t segment = segment_of(&receiving[i]);
      for (size_t at = 0; at + sizeof(struct stamp) <= receiving[i].msg_len; at += segment) {
        struct stamp stamp;
        size_t left = receiving[i].msg_len - at;
        memcpy(&stamp, incoming[i] + at, sizeof stamp);
        take_datagram(&stamp, left < segment ? left : segment, count, now, now < end_ns);
      }
    }
    if (now >= look_ns) {
      look_ns = now + LOST_NS / 10;
      post_lost_again(count, now);
    }
    flush_posted();
  }
}

/* ---- rtt, conn and dgram: phases ---- */

typedef void run(int count, uint64_t end_ns);

static void run_phase(run *run, int count, double secs) {
  started = ops = lost = 0;
  memset(latencies, 0, sizeof latencies);
  run(count, now_ns() + (uint64_t)(secs * 1e9));
}

static void measure_requests(run *run, int count, double secs) {
  if (warm_secs > 0) {
    run_phase(run, count, warm_secs);
  }
  struct usage before = usage_now();
  uint64_t start_ns = now_ns();
  run_phase(run, count, secs);
  printf("{\"ops\":%llu,\"lost\":%llu,\"secs\":%.6f", (unsigned long long)ops,
         (unsigned long long)lost, (double)(now_ns() - start_ns) / 1e9);
  printf(",\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f", percentile_us(.5), percentile_us(.99),
         percentile_us(.999));
  print_usage_since(&before);
  puts("}");
}

/* ---- stream ---- */

static void measure_stream(const char *amount) {
  char *unit;
  double number = strtod(amount, &unit);
  bool timed = *unit == 's';
  uint64_t limit = timed ? UINT64_MAX : (uint64_t)number;
  uint64_t sent = 0;
  uint64_t received = 0;
  int fd = dial();
  struct usage before = usage_now();
  uint64_t start_ns = now_ns();
  while (received < limit) {
    if (timed && sent > 0 && limit == UINT64_MAX &&
        now_ns() - start_ns >= (uint64_t)(number * 1e9)) {
      limit = sent; /* and now for the rest of the echo */
    }
    if (sent < limit) {
      sent += send_some(fd, buffer, limit - sent < MAX_SIZE ? (size_t)(limit - sent) : MAX_SIZE);
    }
    received += received < sent ? receive_some(fd) : 0;
  }
  printf("{\"bytes\":%llu,\"secs\":%.6f", (unsigned long long)received,
         (double)(now_ns() - start_ns) / 1e9);
  print_usage_since(&before);
  puts("}");
}

/* ---- sink ---- */

static void write_lines(void) {
  memset(buffer, 'x', sizeof buffer);
  for (size_t i = LINE - 1; i < sizeof buffer; i += LINE) {
    buffer[i] = '\n';
  }
}

/* conn->received is where in a line the connection is. */
static uint64_t send_lines(uint64_t end_ns) {
  struct epoll_event events[BATCH];
  uint64_t bytes = 0;
  while (now_ns() < end_ns || bytes == 0) {
    int ready = epoll_wait(epoll_fd, events, BATCH, 0);
    for (int i = 0; i < ready; i++) {
      struct conn *conn = events[i].data.ptr;
      size_t sent = send_some(conn->fd, buffer + conn->received, (size_t)LINES * LINE);
      conn->received = (conn->received + sent) % LINE;
      bytes += sent;
    }
  }
  return bytes;
}

/* What lies in the socket buffers when the time is up, the server reads while it comes to rest. */
static void measure_sink(int count, double secs) {
  write_lines();
  open_conns(count, EPOLLOUT);
  send_lines(now_ns() + (uint64_t)(warm_secs * 1e9));
  struct usage before = usage_now();
  uint64_t start_ns = now_ns();
  uint64_t bytes = send_lines(start_ns + (uint64_t)(secs * 1e9));
  double took = (double)(now_ns() - start_ns) / 1e9;
  printf("{\"bytes\":%llu,\"secs\":%.6f", (unsigned long long)bytes, took);
  print_usage_since(&before);
  puts("}");
}

/* ---- idle ---- */

static void ping(int fd) {
  if (send(fd, buffer, 1, MSG_NOSIGNAL) != 1 || recv(fd, buffer, 1, 0) != 1) {
    die("ping");
  }
}

/* "ready" once all are accepted; a newline on stdin has a byte sent each way on each ("used"). */
static void hold_idle(int count) {
  int *fds = calloc((size_t)count, sizeof *fds);
  if (fds == NULL || count < 1) {
    die("calloc");
  }
  for (int i = 0; i < count; i++) {
    fds[i] = dial();
  }
  ping(fds[count - 1]); /* accepted in order: the last one answers, so all are */
  puts("ready");
  fflush(stdout);
  while (getchar() != EOF) {
    for (int i = 0; i < count; i++) {
      ping(fds[i]);
    }
    puts("used");
    fflush(stdout);
  }
}

/* ---- command line ---- */

static void refuse(void) {
  fputs(
      "usage: load [-p PIDS] [-w WARM] [-n OPS] [-g GAP_US] [-r] rtt|conn ADDRESS CONNS SIZE SECS\n"
      "       load [-p PIDS] [-w WARM] [-n OPS] dgram ADDRESS COUNT SIZE SECS\n"
      "       load [-p PIDS] [-r] stream ADDRESS SECONDSs|BYTES\n"
      "       load [-p PIDS] [-w WARM] [-r] sink ADDRESS CONNS SECS\n"
      "       load [-r] idle ADDRESS N\n",
      stderr);
  exit(2);
}

static void raise_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static void set_server(char *address) {
  char *colon = strrchr(address, ':');
  size_t length = strlen(address);
  if (address[0] == '@' && length < sizeof server.local.sun_path) {
    server.local.sun_family = AF_UNIX;
    memcpy(server.local.sun_path + 1, address + 1, length - 1);
    server_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return;
  }
  if (colon != NULL) {
    *colon = '\0';
    server.ip.sin_family = AF_INET;
    server.ip.sin_port = htons((uint16_t)atoi(colon + 1));
    server_length = sizeof server.ip;
  }
  if (colon == NULL || inet_pton(AF_INET, address, &server.ip.sin_addr) != 1 ||
      ntohl(server.ip.sin_addr.s_addr) >> 24 != 127) {
    fputs("load: ADDRESS is one in 127.0.0.0/8 with a port, or @NAME\n", stderr);
    exit(2);
  }
}

static void set_pids(char *list) {
  for (char *pid = strtok(list, ","); pid != NULL && server_count < MAX_SERVERS;
       pid = strtok(NULL, ",")) {
    server_pids[server_count++] = atoi(pid);
  }
}

static int options(int argc, char **argv) {
  for (int c; (c = getopt(argc, argv, "+p:w:n:g:r")) != -1;) {
    switch (c) {
    case 'p':
      set_pids(optarg);
      break;
    case 'w':
      warm_secs = atof(optarg);
      break;
    case 'n':
      max_ops = strtoull(optarg, NULL, 10);
      break;
    case 'g':
      gap_ns = strtoull(optarg, NULL, 10) * 1000;
      break;
    case 'r':
      http = true;
      break;
    default:
      refuse();
    }
  }
  return optind;
}

static void requests_main(int arguments, char **args) {
  int count = arguments == 5 ? atoi(args[2]) : 0;
  size = arguments == 5 ? strtoul(args[3], NULL, 10) : 0;
  if (size < 1 || size > MAX_SIZE || count < 1) {
    refuse();
  }
  redial = strcmp(args[0], "conn") == 0;
  open_conns(count, EPOLLIN);
  measure_requests(run_conns, count, atof(args[4]));
}

static void datagrams_main(int arguments, char **args) {
  int count = arguments == 5 ? atoi(args[2]) : 0;
  size = arguments == 5 ? strtoul(args[3], NULL, 10) : 0;
  if (size < sizeof(struct stamp) || size > MAX_DATAGRAM || count < 1 || count > BATCH ||
      server.any.sa_family != AF_INET) {
    refuse();
  }
  open_datagrams(count);
  measure_requests(run_datagrams, count, atof(args[4]));
}

int main(int argc, char **argv) {
  int first = options(argc, argv);
  int count = argc - first;
  char **args = argv + first;
  if (count < 3) {
    refuse();
  }
  raise_descriptor_limit();
  set_server(args[1]);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (strcmp(args[0], "rtt") == 0 || strcmp(args[0], "conn") == 0) {
    requests_main(count, args);
  } else if (strcmp(args[0], "dgram") == 0) {
    datagrams_main(count, args);
  } else if (strcmp(args[0], "stream") == 0) {
    measure_stream(args[2]);
  } else if (strcmp(args[0], "sink") == 0 && count == 4 && atoi(args[2]) > 0) {
    measure_sink(atoi(args[2]), atof(args[3]));
  } else if (strcmp(args[0], "idle") == 0) {
    hold_idle(atoi(args[2]));
  } else {
    refuse();
  }
}
