/* A bad wire: two TAP devices, each in a network namespace of its own, and what happens to the
 * frames between them. All chance comes from the seed, apart for each direction: the n-th frame of
 * a direction meets the same fate in every run. support/wire.lua starts it.
 *
 *   wire SEED DEVICE NAMESPACE NAMESPACE [KEY=NUMBER]...
 *
 * delay, jitter: milliseconds (jitter alone keeps the order). loss, duplicate, reorder, corrupt: of
 * a thousand frames how many; a reordered one is held back for `hold` milliseconds more, a corrupt
 * one has one bit turned over. It says "ready", then, ended by SIGTERM, what it did. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 2048, HEADERS = 54, NS_PER_MS = 1000000, THOUSAND = 1000 };

struct frame {
  struct frame *next;
  uint64_t due_ns;
  size_t length;
  char bytes[FRAME_MAX];
};

struct direction {
  int from, to;
  uint64_t chance;      /* the state of its generator */
  uint64_t last_due_ns; /* of what was not held back */
  struct frame *queue;  /* the next one due first */
  unsigned long frames, lost, duplicated, reordered, corrupted;
};

static unsigned delay, jitter, loss, duplicate, reorder, corrupt, hold = 5;

static const struct {
  const char *name;
  unsigned *value;
} keys[] = {
    {"delay", &delay},     {"jitter", &jitter},   {"loss", &loss}, {"duplicate", &duplicate},
    {"reorder", &reorder}, {"corrupt", &corrupt}, {"hold", &hold}};

static volatile sig_atomic_t ended;

static void on_signal(int number) {
  (void)number;
  ended = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* splitmix64 */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

static bool happens(uint64_t number, unsigned of_thousand) {
  return number % THOUSAND < of_thousand;
}

static int open_tap(const char *device, const char *space) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", space);
  int netns = open(path, O_RDONLY | O_CLOEXEC);
  if (netns < 0 || setns(netns, CLONE_NEWNET) < 0) {
    fail(path);
  }
  close(netns);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
    fail("/dev/net/tun");
  }
  return fd;
}

static void enqueue(struct direction *way, const char *bytes, size_t length, uint64_t due_ns) {
  struct frame *frame = malloc(sizeof *frame);
  if (!frame) {
    fail("malloc");
  }
  frame->due_ns = due_ns;
  frame->length = length;
  memcpy(frame->bytes, bytes, length);
  struct frame **place = &way->queue;
  while (*place && (*place)->due_ns <= due_ns) {
    place = &(*place)->next;
  }
  frame->next = *place;
  *place = frame;
}

/* Every frame draws the same numbers, whatever is made of them. */
static void carry(struct direction *way, char *bytes, size_t length) {
  uint64_t lose = draw(&way->chance), twice = draw(&way->chance), late = draw(&way->chance);
  uint64_t turn = draw(&way->chance), bit = draw(&way->chance), wait = draw(&way->chance);
  way->frames++;
  if (happens(lose, loss)) {
    way->lost++;
    return;
  }
  uint64_t due_ns = now_ns() + (uint64_t)delay * NS_PER_MS;
  due_ns += jitter ? wait % ((uint64_t)jitter * NS_PER_MS) : 0;
  if (happens(late, reorder)) {
    way->reordered++;
    due_ns += (uint64_t)hold * NS_PER_MS;
  } else {
    due_ns = due_ns > way->last_due_ns ? due_ns : way->last_due_ns;
    way->last_due_ns = due_ns;
  }
  if (happens(twice, duplicate)) {
    way->duplicated++;
    enqueue(way, bytes, length, due_ns);
  }
  /* behind the headers, where a checksum of TCP or UDP has to notice */
  if (length > HEADERS && happens(turn, corrupt)) {
    way->corrupted++;
    size_t at = HEADERS + bit / 8 % (length - HEADERS);
    bytes[at] = (char)(bytes[at] ^ (1 << (bit & 7)));
  }
  enqueue(way, bytes, length, due_ns);
}

static void receive(struct direction *way) {
  char bytes[FRAME_MAX];
  ssize_t length;
  while ((length = read(way->from, bytes, sizeof bytes)) > 0) {
    carry(way, bytes, (size_t)length);
  }
}

/* Delivers what is due; when the next one is, or 0. What a device that is down does not take is
 * gone, as on any wire. */
static uint64_t deliver(struct direction *way) {
  while (way->queue && way->queue->due_ns <= now_ns()) {
    struct frame *frame = way->queue;
    way->queue = frame->next;
    (void)!write(way->to, frame->bytes, frame->length);
    free(frame);
  }
  return way->queue ? way->queue->due_ns : 0;
}

static void wait_for(struct pollfd *fds, uint64_t due_ns, const sigset_t *signals) {
  uint64_t now = now_ns(), left = due_ns > now ? due_ns - now : 0;
  struct timespec pause = {.tv_sec = (time_t)(left / 1000000000),
                           .tv_nsec = (long)(left % 1000000000)};
  ppoll(fds, 2, due_ns ? &pause : NULL, signals);
}

static void read_key(const char *text) {
  const char *sign = strchr(text, '=');
  for (size_t i = 0; sign && i < sizeof keys / sizeof keys[0]; i++) {
    if (strlen(keys[i].name) == (size_t)(sign - text) &&
        strncmp(text, keys[i].name, (size_t)(sign - text)) == 0) {
      *keys[i].value = (unsigned)strtoul(sign + 1, NULL, 10);
      return;
    }
  }
  errno = EINVAL;
  fail(text);
}

int main(int argc, char **argv) {
  if (argc < 5) {
    errno = EINVAL;
    fail("SEED DEVICE NAMESPACE NAMESPACE");
  }
  for (int i = 5; i < argc; i++) {
    read_key(argv[i]);
  }
  uint64_t seed = strtoull(argv[1], NULL, 10);
  int near = open_tap(argv[2], argv[3]), far = open_tap(argv[2], argv[4]);
  struct direction there = {.from = near, .to = far, .chance = seed};
  struct direction back = {.from = far, .to = near, .chance = ~seed};

  sigset_t blocked, open_signals;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &open_signals);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
  printf("ready\n");
  fflush(stdout);
  struct pollfd fds[] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
  while (!ended) {
    uint64_t one = deliver(&there), other = deliver(&back);
    wait_for(fds, one && (!other || one < other) ? one : other, &open_signals);
    receive(&there);
    receive(&back);
  }
  printf("frames=%lu lost=%lu duplicated=%lu reordered=%lu corrupted=%lu\n",
         there.frames + back.frames, there.lost + back.lost, there.duplicated + back.duplicated,
         there.reordered + back.reordered, there.corrupted + back.corrupted);
  return 0;
}
