/* raw_echo PORT [echo|sink|reply1|unix|udp|udp32 [spin|reuseport]]: the floor that tcpnet is
 * measured against.
 *
 * One thread, level-triggered epoll, one recv and one send per message, no state for a connection
 * unless its peer stops reading. On 127.0.0.1; port 0 picks one, and the address is printed. unix
 * is echo in the abstract namespace, under a name that the kernel picks; udp and udp32 echo
 * datagrams, one and up to 32 of them in a system call. With spin it polls and never sleeps; with
 * reuseport it shares its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
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
#include <unistd.h>

enum { BATCH = 256, CHUNK = 65536, MAX_FD = 1 << 20, MANY = 32 };
enum { RUN_BYTES = 65507 };
enum { STRIDE = CHUNK + 320 }; /* not the same lines of the CPU's cache for all */

enum mode { ECHO, SINK, REPLY1, UNIX, UDP, UDP32, MODES };

/* What the kernel did not take at once. */
struct rest {
  size_t offset;
  size_t length;
  char bytes[];
};

static int epoll_fd;
static int listener;
static enum mode mode;
static int wait_ms = -1;
static bool shared_port;
static char buffer[CHUNK];
static struct rest *rests[MAX_FD]; /* by descriptor; never touched without back-pressure */

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int operation, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll_fd, operation, fd, &event) < 0) {
    die("epoll_ctl");
  }
}

static void drop(int fd) {
  free(rests[fd]);
  rests[fd] = NULL;
  close(fd);
}

/* Sends what fits; negative when the connection is lost. */
static ssize_t send_some(int fd, const char *bytes, size_t length) {
  ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
  return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/* Keeps the rest and reads no more from this peer until it is out. */
static void keep(int fd, const char *bytes, size_t length) {
  struct rest *rest = malloc(sizeof *rest + length);
  if (rest == NULL) {
    die("malloc");
  }
  rest->offset = 0;
  rest->length = length;
  memcpy(rest->bytes, bytes, length);
  rests[fd] = rest;
  watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void flush_rest(int fd) {
  struct rest *rest = rests[fd];
  ssize_t sent = send_some(fd, rest->bytes + rest->offset, rest->length - rest->offset);
  if (sent < 0) {
    drop(fd);
    return;
  }
  rest->offset += (size_t)sent;
  if (rest->offset == rest->length) {
    free(rest);
    rests[fd] = NULL;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
  }
}

static void serve(int fd) {
  ssize_t received = recv(fd, buffer, sizeof buffer, 0);
  if (received <= 0) {
    if (received == 0 || errno != EAGAIN) {
      drop(fd);
    }
    return;
  }
  if (mode == SINK) {
    return;
  }
  ssize_t length = mode == REPLY1 ? 1 : received;
  ssize_t sent = send_some(fd, buffer, (size_t)length);
  if (sent < 0) {
    drop(fd);
  } else if (sent < length) {
    keep(fd, buffer + sent, (size_t)(length - sent));
  }
}

/* One connection per event: the listener reports again while there are more. */
static void welcome(void) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

/* ---- datagrams: what the kernel does not take at once is lost, as datagrams are ---- */

static void serve_datagrams(void) {
  struct sockaddr_in peer;
  for (;;) {
    socklen_t size = sizeof peer;
    ssize_t length = recvfrom(listener, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &size);
    if (length < 0) {
      return;
    }
    sendto(listener, buffer, (size_t)length, 0, (struct sockaddr *)&peer, size);
  }
}

/* The first of the messages and those of its size for its peer that follow, as one that the kernel
 * cuts: how many. */
static int send_run(struct mmsghdr *messages, int count) {
  union {
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
    struct cmsghdr header;
  } control;
  struct msghdr *first = &messages->msg_hdr;
  uint16_t size = (uint16_t)first->msg_iov->iov_len;
  int length = 1;
  while (length < count && messages[length].msg_len == size && size > 0 &&
         (length + 1) * size <= RUN_BYTES &&
         memcmp(first->msg_name, messages[length].msg_hdr.msg_name, first->msg_namelen) == 0) {
    length++;
  }
  if (length > 1) {
    control.header = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof size), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(&control.header), &size, sizeof size);
    first->msg_iovlen = (size_t)length;
    first->msg_control = &control;
    first->msg_controllen = sizeof control;
  }
  sendmsg(listener, first, 0);
  return length;
}

static void serve_batches(void) {
  static char memory[MANY * STRIDE];
  static struct sockaddr_in peers[MANY];
  static struct iovec slices[MANY];
  static struct mmsghdr messages[MANY];
  for (;;) {
    for (int i = 0; i < MANY; i++) {
      slices[i] = (struct iovec){memory + (size_t)i * STRIDE, CHUNK};
      messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                            .msg_namelen = sizeof peers[i],
                                            .msg_iov = &slices[i],
                                            .msg_iovlen = 1};
    }
    int count = recvmmsg(listener, messages, MANY, 0, NULL);
    if (count < 0) {
      return;
    }
    for (int i = 0; i < count; i++) {
      slices[i].iov_len = messages[i].msg_len;
    }
    for (int sent = 0; sent < count;) {
      sent += send_run(messages + sent, count - sent);
    }
  }
}

/* ---- start ---- */

static int open_socket(int domain, int type) {
  int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    die("socket");
  }
  return fd;
}

static int open_ip(int type, int port) {
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = open_socket(AF_INET, type);
  if ((type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) ||
      (shared_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
      bind(fd, (struct sockaddr *)&address, size) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
    die("bind");
  }
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  return fd;
}

/* An address without a name has the kernel pick one. */
static int open_unix(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  socklen_t size = sizeof address;
  int fd = open_socket(AF_UNIX, SOCK_STREAM);
  if (bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
    die("bind");
  }
  size_t length = size - offsetof(struct sockaddr_un, sun_path) - 1;
  printf("listening on @%.*s\n", (int)length, address.sun_path + 1);
  return fd;
}

/* NODELAY on the listener is inherited: a system call less per connection. */
static int open_listener(int port) {
  int on = 1;
  int fd = mode == UNIX ? open_unix() : open_ip(mode >= UDP ? SOCK_DGRAM : SOCK_STREAM, port);
  if ((mode < UNIX && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) ||
      (mode < UDP && listen(fd, 1024) < 0)) {
    die("listen");
  }
  fflush(stdout);
  return fd;
}

static void serve_listener(void) {
  if (mode == UDP) {
    serve_datagrams();
  } else if (mode == UDP32) {
    serve_batches();
  } else {
    welcome();
  }
}

static void loop(void) {
  struct epoll_event events[BATCH];
  for (;;) {
    int count = epoll_wait(epoll_fd, events, BATCH, wait_ms);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        serve_listener();
      } else if (events[i].events & EPOLLOUT) {
        flush_rest(fd);
      } else {
        serve(fd);
      }
    }
  }
}

static enum mode mode_of(const char *name) {
  static const char *const names[] = {[ECHO] = "echo", [SINK] = "sink", [REPLY1] = "reply1",
                                      [UNIX] = "unix", [UDP] = "udp",   [UDP32] = "udp32"};
  for (int i = 0; i < MODES; i++) {
    if (strcmp(name, names[i]) == 0) {
      return (enum mode)i;
    }
  }
  fprintf(stderr, "raw_echo: no mode called %s\n", name);
  exit(2);
}

static void raise_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max < MAX_FD ? limit.rlim_max : MAX_FD;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: raw_echo PORT [echo|sink|reply1|unix|udp|udp32 [spin|reuseport]]\n", stderr);
    return 2;
  }
  if (argc > 3) {
    wait_ms = strcmp(argv[3], "spin") == 0 ? 0 : -1;
    shared_port = strcmp(argv[3], "reuseport") == 0;
  }
  mode = mode_of(argc > 2 ? argv[2] : "echo");
  raise_descriptor_limit();
  listener = open_listener(atoi(argv[1]));
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  loop();
}
