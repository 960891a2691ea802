/* raw_client PORT CONNS SIZE SECS: ping-pong, the floor for clients. One thread, level-triggered
 * epoll, one recv and one send for each answer. Prints JSON: what was done, in how long, with how
 * much CPU time. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 256, MAX_SIZE = 65536, TURNS = 16 }; /* the clock is asked after so many turns */

struct conn {
  int fd;
  size_t received;
};

static int epoll_fd;
static size_t size;
static char message[MAX_SIZE];
static char buffer[MAX_SIZE];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void dial(struct conn *conn, int port) {
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0) {
    die("connect");
  }
  setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
    die("epoll_ctl");
  }
}

static void request(struct conn *conn) {
  conn->received = 0;
  if (send(conn->fd, message, size, MSG_NOSIGNAL) != (ssize_t)size) {
    die("send");
  }
}

/* True at the end of an answer. */
static int receive(struct conn *conn) {
  ssize_t received = recv(conn->fd, buffer, sizeof buffer, 0);
  if (received <= 0) {
    die("recv");
  }
  conn->received += (size_t)received;
  return conn->received >= size;
}

int main(int argc, char **argv) {
  struct epoll_event events[BATCH];
  if (argc != 5) {
    fputs("usage: raw_client PORT CONNS SIZE SECS\n", stderr);
    return 2;
  }
  size_t count = strtoul(argv[2], NULL, 10);
  struct conn *conns = calloc(count, sizeof *conns);
  size = strtoul(argv[3], NULL, 10);
  if (conns == NULL || size < 1 || size > MAX_SIZE) {
    die("arguments");
  }
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < count; i++) {
    dial(&conns[i], atoi(argv[1]));
  }
  uint64_t ops = 0;
  uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
  uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  uint64_t end_ns = start_ns + (uint64_t)(atof(argv[4]) * 1e9);
  for (size_t i = 0; i < count; i++) {
    request(&conns[i]);
  }
  for (unsigned turn = 1; turn % TURNS != 0 || clock_ns(CLOCK_MONOTONIC) < end_ns; turn++) {
    int ready = epoll_wait(epoll_fd, events, BATCH, -1);
    for (int i = 0; i < ready; i++) {
      struct conn *conn = events[i].data.ptr;
      if (receive(conn)) {
        ops++;
        request(conn);
      }
    }
  }
  printf("{\"ops\":%llu,\"secs\":%.6f,\"cpu_us\":%.1f}\n", (unsigned long long)ops,
         (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9,
         (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) / 1e3);
}
