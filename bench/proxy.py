"""The test "proxy": a TCP proxy made of copy_bidirectional beside socat and haproxy, iperf3 through each."""

import contextlib
import glob
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from harness import LOAD_CPU, LUA, ROOT, SERVER_CPU, cpu_busy_seconds, environment, running

HAPROXY = """global
  nbthread 1
  maxconn 100
defaults
  mode tcp
{splice}  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen proxy
  bind 127.0.0.1:{port}
  server target 127.0.0.1:{target}
"""


# By itself haproxy decides to read and write here; the second is made to splice.
SPLICE = {
    "haproxy": "  option splice-auto\n",
    "haproxy-splice": "  option splice-request\n  option splice-response\n",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command_of(name, port, target, folder):
    if name == "tcpnet":
        return [LUA, f"{ROOT}/examples/tcp_proxy.lua", str(port), "127.0.0.1", str(target)]
    if name == "socat":
        # 64 KiB at a time, as tcpnet reads; socat's own 8 KiB would be no match
        listen = f"TCP4-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr"
        return ["socat", "-b", "65536", listen, f"TCP4:127.0.0.1:{target}"]
    config = os.path.join(folder, name)
    with open(config, "w") as file:
        file.write(HAPROXY.format(port=port, target=target, splice=SPLICE[name]))
    return ["haproxy", "-db", "-q", "-f", config]


def await_port(port, process):
    """Asks the kernel's table, for a connection would be one more to serve."""
    for _ in range(500):
        with open("/proc/net/tcp") as table:
            if f"0100007F:{port:04X} 00000000:0000 0A" in table.read():
                return
        if process.poll() is not None:
            raise RuntimeError("ended at once")
        time.sleep(0.01)
    raise RuntimeError("does not listen")


def family(pid):
    """The process and those that it forked."""
    pids = [pid]
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            with open(path) as stat:
                fields = stat.read().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                pids.append(int(path.split("/")[2]))
    return pids


def cpu_seconds(pid):
    total = 0
    for one in family(pid):
        for path in glob.glob(f"/proc/{one}/task/*/schedstat"):
            with contextlib.suppress(OSError):
                with open(path) as stat:
                    total += int(stat.read().split()[0])
    return total / 1e9


def sample(up, secs, tries=20):
    """iperf3 serves one at a time, and is busy for a moment after each."""
    for _ in range(tries - 1):
        try:
            return one_sample(up, secs)
        except RuntimeError as error:
            if "busy" not in str(error):
                raise
        time.sleep(0.3)
    return one_sample(up, secs)


def one_sample(up, secs):
    """What went through the proxy in the middle of a run, and its CPU time for that: read while iperf3 is at it, for
    socat's children take theirs along when they end."""
    pid, port = up
    secs = max(1, round(secs))
    iperf = ["taskset", "-c", LOAD_CPU, "iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(secs), "-J"]
    with subprocess.Popen(iperf, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as client:
        time.sleep(secs * 0.25)
        cpu, busy, start = cpu_seconds(pid), cpu_busy_seconds(SERVER_CPU), time.monotonic()
        time.sleep(secs * 0.5)
        took = time.monotonic() - start
        cpu, busy = cpu_seconds(pid) - cpu, cpu_busy_seconds(SERVER_CPU) - busy
        said = json.loads(client.communicate()[0])
    if "error" in said:
        raise RuntimeError(said["error"])
    received = said["end"]["sum_received"]
    through = received["bytes"] / received["seconds"] * took
    return {"bytes": through, "secs": took, "cpu_s": cpu, "foreign": (busy - cpu) / took}


@contextlib.contextmanager
def all_up(build, report):
    """Those that are installed, by name: their pid and port."""
    names = ["tcpnet"] + [name for name in ("socat", *SPLICE) if shutil.which(name.partition("-")[0])]
    report.absent.update({name: "not installed" for name in ("socat", "haproxy") if name not in names})
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with contextlib.ExitStack() as stack:
        up = {}
        if not shutil.which("iperf3"):
            report.notes.append("proxy: no iperf3")
            names = []
        else:
            target = free_port()
            server = ["taskset", "-c", LOAD_CPU, "iperf3", "-s", "-B", "127.0.0.1", "-p", str(target)]
            await_port(target, stack.enter_context(running(server, **quiet)))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for name in names:
            port = free_port()
            command = ["taskset", "-c", SERVER_CPU, *command_of(name, port, target, folder)]
            process = stack.enter_context(running(command, env=environment(build), **quiet))
            await_port(port, process)
            up[name] = (process.pid, port)
        yield up
