"""Who is measured: the servers and clients, what each needs, and how it is built.

A server is a command that takes PORT KIND [STYLE], listens on 127.0.0.1 and prints "listening on ADDRESS"; a client one
that takes PORT CONNS SIZE SECS and prints {"ops":…,"secs":…,"cpu_us":…}. Each peer is the shortest good
program of its kind, through the public interface of what it stands for."""

import dataclasses
import functools
import glob
import os
import shutil
import subprocess
import sys

from harness import BUILD, HERE, LUA, ROOT, compile_c, pkg_config, stale

PEERS = f"{HERE}/peers"
CRATES = "/usr/share/cargo/registry"
NGINX = f"{BUILD}/nginx-lua"


class Missing(Exception):
    """What a peer needs is not installed."""


def program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        raise Missing(f"no {name}")
    return path


def output(*command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    if done.returncode != 0:
        raise Missing((done.stderr.strip().splitlines() or ["no message"])[-1])
    return done.stdout.strip()


def lua_version(module, expression):
    """The version of a Lua module, or Missing."""
    try:
        return output(LUA, "-e", f"local m = require '{module}' io.write({expression})")
    except Missing:
        raise Missing(f"no Lua module {module}") from None


# ---- what makes a peer ready; each returns its version ----


def raw():
    compile_c("raw_echo.c", "raw_echo")
    compile_c("raw_client.c", "raw_client")
    compile_c("load.c", "load")
    lua = next((name for name in ("lua5.4", "lua-5.4", "lua") if not os.system(f"pkg-config --exists {name}")), None)
    if lua:
        compile_c("lines_floor.c", "lines_floor.so", "-shared", "-fPIC", *pkg_config("--cflags", lua))
    return output(os.environ.get("CC", "cc"), "--version").splitlines()[0]


def tcpnet():
    return output(LUA, "-v")


def libuv():
    try:
        flags = pkg_config("--cflags", "--libs", "libuv")
    except (OSError, subprocess.CalledProcessError):
        raise Missing("no libuv") from None
    compile_c("peers/libuv_server.c", "libuv_server", *flags)
    return "libuv " + output("pkg-config", "--modversion", "libuv")


@functools.lru_cache
def tokio():
    """From the crates that Debian packages, without a network."""
    found = sorted(glob.glob(f"{CRATES}/tokio-[0-9]*"))
    if not found:
        raise Missing("no tokio among Debian's crates")
    cargo, folder = program("cargo"), f"{BUILD}/tokio"
    binary = f"{folder}/target/release/server"
    if stale(binary, f"{PEERS}/tokio/Cargo.toml", *glob.glob(f"{PEERS}/tokio/src/bin/*.rs")):
        shutil.copytree(f"{PEERS}/tokio", folder, dirs_exist_ok=True)
        print("building tokio's programs …", file=sys.stderr, flush=True)
        command = [cargo, "build", "--release", "--offline", "--manifest-path", f"{folder}/Cargo.toml"]
        command += ["--target-dir", f"{folder}/target", "--config", 'source.crates-io.replace-with="debian"']
        output(*command, "--config", f'source.debian.directory="{CRATES}"')
        os.utime(binary)
    return os.path.basename(found[-1]).replace("-", " ") + ", " + output(program("rustc"), "--version")


@functools.lru_cache
def go():
    compiler = program("go")
    for name in ("server", "client"):
        source, binary = f"{PEERS}/go/{name}.go", f"{BUILD}/go_{name}"
        if stale(binary, source):
            env = dict(os.environ, GO111MODULE="off", GOFLAGS="")
            output(compiler, "build", "-o", binary, source, env=env)
    return output(compiler, "version").replace("go version ", "")


def node():
    return "node " + output(program("node"), "--version")


@functools.lru_cache
def python():
    """The interpreter that has uvloop."""
    for path in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([path, "-c", "import uvloop"], stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            return path
    return sys.executable


def uvloop():
    try:
        return "uvloop " + output(python(), "-c", "import uvloop; print(uvloop.__version__)")
    except Missing:
        raise Missing("no Python module uvloop") from None


def luv():
    return "luv with libuv " + lua_version("luv", "m.version_string()")


def cqueues():
    return "cqueues " + lua_version("cqueues", "m.VERSION")


def copas():
    module = "package.path = package.path .. ';/usr/share/lua/5.2/?.lua' "
    try:
        return output(LUA, "-e", module + "io.write(require('copas')._VERSION, ', ', require('socket')._VERSION)")
    except Missing:
        raise Missing("no Lua modules copas and socket") from None


def nginx():
    if not glob.glob(f"{NGINX}/usr/lib/nginx/modules/ngx_http_lua_module.so"):
        raise Missing("its Lua module is not in build-bench/nginx-lua")
    done = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True)
    return done.stderr.strip().replace("nginx version: ", "")


# ---- the list ----


@dataclasses.dataclass(frozen=True)
class Peer:
    name: str
    command: tuple
    prepare: object
    style: str = ""
    kinds: tuple = ("echo", "sink")
    only: tuple = ()  # tests that it is for; all of its kinds otherwise
    base: str = "raw"  # whom it is compared with
    most: int = 1 << 30  # connections
    http: bool = False  # begins with a request
    spins: bool = False  # never sleeps: stopped while others are measured
    client: tuple = ()

    def server(self, port, kind):
        if self.name == "raw" and kind == "lines":
            return [LUA, f"{HERE}/lines_floor.lua", str(port)]
        return [*self.command, str(port), kind, *([self.style] if self.style else [])]


RAW, TCPNET = (f"{BUILD}/raw_echo",), (LUA, f"{HERE}/echo.lua")
LUV = (LUA, f"{PEERS}/luv_server.lua")
EVERY_KIND = ("echo", "sink", "lines", "unix", "udp", "udp32")
BUFFERED = ("rtt64", "rtt1k", "rtt10k", "large64", "stream", "sink")
COPIED = ("rtt64", "rtt1k", "unix1", "unix64")
TOKIO, GO = f"{BUILD}/tokio/target/release", f"{BUILD}/go"

ALL = [
    Peer("raw", RAW, raw, kinds=EVERY_KIND, client=(f"{BUILD}/raw_client",)),
    Peer("tcpnet", TCPNET, tcpnet, kinds=EVERY_KIND, client=(LUA, f"{HERE}/client.lua")),
    Peer("tcpnet-buffer", TCPNET, tcpnet, style="buffer", only=BUFFERED),
    Peer("tcpnet-copy", TCPNET, tcpnet, style="copy", kinds=("echo", "unix"), only=COPIED),
    Peer("tcpnet-iterator", TCPNET, tcpnet, style="iterator", kinds=("lines",), only=("lines",)),
    Peer("tcpnet-gro", TCPNET, tcpnet, style="gro", kinds=("udp",), only=("udp1",)),
    Peer("raw-spin", RAW, raw, style="spin", only=("rtt1",), spins=True),
    Peer("tcpnet-spin", TCPNET, tcpnet, style="spin", only=("rtt1",), spins=True, base="raw-spin"),
    Peer("libuv", (f"{BUILD}/libuv_server",), libuv),
    Peer("tokio", (f"{TOKIO}/server",), tokio, style="current", client=(f"{TOKIO}/client",)),
    Peer("tokio-mt", (f"{TOKIO}/server",), tokio, style="multi"),
    Peer("go", (f"{GO}_server",), go, client=(f"{GO}_client",)),
    Peer("node", ("node", f"{PEERS}/node_server.js"), node, client=("node", f"{PEERS}/node_client.js")),
    Peer("uvloop", (python(), f"{PEERS}/uvloop_server.py"), uvloop, style="protocol"),
    Peer("uvloop-streams", (python(), f"{PEERS}/uvloop_server.py"), uvloop, style="streams"),
    Peer("luv", LUV, luv, style="write"),
    Peer("luv-try", LUV, luv, style="try"),
    Peer("luv-coroutine", LUV, luv, style="coroutine", client=(LUA, f"{PEERS}/luv_client.lua")),
    Peer("cqueues", (LUA, f"{PEERS}/cqueues_server.lua"), cqueues, kinds=("echo", "sink", "lines"),
         client=(LUA, f"{PEERS}/cqueues_client.lua")),
    Peer("copas", (LUA, f"{PEERS}/copas_server.lua"), copas, most=900),
    Peer("nginx", (f"{PEERS}/nginx_server.sh", NGINX), nginx, http=True, most=12000),
]
BY_NAME = {peer.name: peer for peer in ALL}
