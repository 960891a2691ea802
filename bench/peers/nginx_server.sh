#!/bin/sh
# nginx_server.sh FOLDER PORT echo|sink: the same server in nginx, one worker, in Lua over the socket of a request. The
# client sends the request first and gets one byte back. FOLDER has nginx's Lua module and what that needs (`./dev bench
# --all-peers` unpacks it there); PORT 0 is one that is free now.
set -eu
folder=$1 port=$2 kind=$3
if [ "$port" = 0 ]; then
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi
place=$(mktemp -d)
cat >"$place/nginx.conf" <<CONF
load_module $folder/usr/lib/nginx/modules/ndk_http_module.so;
load_module $folder/usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid $place/pid;
error_log $place/error.log error;
events {
  worker_connections 15000;
  use epoll;
}
http {
  access_log off;
  client_body_temp_path $place/body;
  proxy_temp_path $place/proxy;
  fastcgi_temp_path $place/fastcgi;
  uwsgi_temp_path $place/uwsgi;
  scgi_temp_path $place/scgi;
  lua_package_path "$folder/usr/share/lua/5.1/?.lua;;";
  lua_socket_read_timeout 600s;
  lua_socket_log_errors off;
  tcp_nodelay on;
  server {
    listen 127.0.0.1:$port backlog=1024;
    location / {
      content_by_lua_block {
        local stream = ngx.req.socket(true)
        stream:send("!")
        while true do
          local data = stream:receiveany(65536)
          if not data or ("$kind" == "echo" and not stream:send(data)) then
            return
          end
        end
      }
    }
  }
}
CONF
# nginx does not say that it listens; the kernel's table does. Its folder goes when it ends.
(
  trap 'rm -rf "$place"' EXIT
  hex=$(printf '0100007F:%04X 00000000:0000 0A' "$port")
  until grep -q "$hex" /proc/net/tcp; do
    kill -0 $$ 2>/dev/null || exit 1
    sleep 0.02
  done
  echo "listening on 127.0.0.1:$port"
  while kill -0 $$ 2>/dev/null; do sleep 1; done
) &
LD_LIBRARY_PATH=$(dirname "$(find "$folder" -name 'libluajit*.so.2' | head -n 1)")
export LD_LIBRARY_PATH
exec nginx -p "$place" -c "$place/nginx.conf"
