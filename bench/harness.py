"""What all benches share: where things are, programs that are built, processes that end with whoever started them.

It measures nothing; run and instructions do."""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.path.join(ROOT, "build-bench")
LUA = os.environ.get("LUA", "lua5.4")
SERVER_CPU, LOAD_CPU = "0", "1"

libc = ctypes.CDLL(None)


def environment(build):
    """Where Lua finds tcpnet: its Lua files in the tree, its C module in a build folder."""
    env = dict(os.environ)
    env["LUA_PATH_5_4"] = f"{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua;;"
    env["LUA_CPATH_5_4"] = f"{build}/?.so;{BUILD}/?.so;;"
    return env


def stale(target, *sources):
    return not os.path.exists(target) or any(os.path.getmtime(target) < os.path.getmtime(one) for one in sources)


def compile_c(source, binary, *flags):
    """binary, in the build folder, from a source beside this file."""
    source, binary = f"{HERE}/{source}", f"{BUILD}/{binary}"
    if stale(binary, source):
        os.makedirs(BUILD, exist_ok=True)
        fresh = f"{binary}.{os.getpid()}"
        command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-Wall", "-Wextra", "-o", fresh, source, *flags]
        subprocess.run(command, check=True)
        os.replace(fresh, binary)  # another bench may run the old one


def pkg_config(*words):
    return subprocess.run(["pkg-config", *words], capture_output=True, text=True, check=True).stdout.split()


def cpu_busy_seconds(cpu):
    """How long that CPU has not been idle since the machine started."""
    with open("/proc/stat") as stat:
        ticks = next(line for line in stat if line.startswith(f"cpu{cpu} ")).split()
    return sum(int(ticks[i]) for i in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")


# ---- processes: each is ours, and ends with the context that started it ----


def end_with_parent():
    """In the child: a bench that is killed leaves no server behind."""
    libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def stop(process):
    if process.poll() is None:
        process.terminate()
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen(command, preexec_fn=end_with_parent, **options)
    try:
        yield process
    finally:
        stop(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def read_line(pipe, seconds):
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline().decode() if ready else ""


def first_line(text):
    return next((line for line in text.splitlines() if line.strip()), "no message")


@contextlib.contextmanager
def listening(command, env, seconds=5):
    """The process of a server that prints "listening on ADDRESS", and that address."""
    with tempfile.TemporaryFile() as errors:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors}
        with running(command, env=env, **pipes) as process:
            line = read_line(process.stdout, seconds)
            if not line.startswith("listening on "):
                stop(process)
                errors.seek(0)
                raise RuntimeError("did not start: " + first_line(errors.read().decode()))
            yield process, line.split()[-1]
