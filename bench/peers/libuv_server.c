/* libuv_server PORT echo|sink: libuv in C, uv_try_write first, uv_write for the rest. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* What the kernel did not take at once. */
struct rest {
  uv_write_t request;
  char bytes[];
};

static char buffer[65536];
static bool sink;

static void die(const char *what, int status) {
  fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
  exit(1);
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *lent) {
  (void)handle;
  (void)suggested;
  *lent = uv_buf_init(buffer, sizeof buffer);
}

static void release(uv_handle_t *handle) {
  free(handle);
}

static void drop(uv_stream_t *stream) {
  if (!uv_is_closing((uv_handle_t *)stream)) {
    uv_close((uv_handle_t *)stream, release);
  }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *lent);

static void on_written(uv_write_t *request, int status) {
  if (status == 0) {
    uv_read_start(request->handle, lend, on_read);
  }
  free(request);
}

/* Keeps the rest and reads no more from this peer until it is out. */
static void keep(uv_stream_t *stream, const char *bytes, size_t length) {
  struct rest *rest = malloc(sizeof *rest + length);
  if (rest == NULL) {
    die("malloc", UV_ENOMEM);
  }
  memcpy(rest->bytes, bytes, length);
  uv_buf_t slice = uv_buf_init(rest->bytes, (unsigned)length);
  uv_read_stop(stream);
  if (uv_write(&rest->request, stream, &slice, 1, on_written) < 0) {
    free(rest);
    drop(stream);
  }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *lent) {
  if (length < 0) {
    drop(stream);
    return;
  }
  if (length == 0 || sink) {
    return;
  }
  uv_buf_t slice = uv_buf_init(lent->base, (unsigned)length);
  int sent = uv_try_write(stream, &slice, 1);
  if (sent < 0 && sent != UV_EAGAIN) {
    drop(stream);
  } else if (sent < length) {
    sent = sent < 0 ? 0 : sent;
    keep(stream, lent->base + sent, (size_t)(length - sent));
  }
}

static void on_connection(uv_stream_t *listener, int status) {
  uv_tcp_t *client = status < 0 ? NULL : malloc(sizeof *client);
  if (client == NULL) {
    return;
  }
  uv_tcp_init(listener->loop, client);
  if (uv_accept(listener, (uv_stream_t *)client) == 0) {
    uv_tcp_nodelay(client, 1);
    uv_read_start((uv_stream_t *)client, lend, on_read);
  } else {
    drop((uv_stream_t *)client);
  }
}

int main(int argc, char **argv) {
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t listener;
  struct sockaddr_in address;
  int size = sizeof address;
  if (argc < 3) {
    fputs("usage: libuv_server PORT echo|sink\n", stderr);
    return 2;
  }
  sink = strcmp(argv[2], "sink") == 0;
  signal(SIGPIPE, SIG_IGN); /* libuv leaves this to its user */
  uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address);
  uv_tcp_init(loop, &listener);
  int status = uv_tcp_bind(&listener, (struct sockaddr *)&address, 0);
  if (status == 0) {
    status = uv_listen((uv_stream_t *)&listener, 1024, on_connection);
  }
  if (status == 0) {
    status = uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size);
  }
  if (status != 0) {
    die("listen", status);
  }
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
