#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the services call of the kernel, held to the SystemCallFilter= of their units.

    systemd_calls.py SOURCE_DIR BUILD_DIR

Runs broker, worker and exporter under strace as their units do (a socket that is passed, a manager that is
told and keeps descriptors) through what they have to do, and expands the filters by systemd-analyze. A call
that only the filter's error answers would be a feature that works everywhere but in the service. Exits with
77, for "skipped", where strace or systemd-analyze is missing.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SOURCE, BUILD = [pathlib.Path(word).resolve() for word in sys.argv[1:3]]
PLACE = pathlib.Path(tempfile.mkdtemp(prefix="sw-calls-"))
SOCKET = PLACE / "s"
MODELS = PLACE / "models"
failed = False


def complain(text):
    global failed
    failed = True
    print(f"systemd-calls: {text}", file=sys.stderr)


def skip(text):
    print(f"systemd-calls: skipped: {text}")
    sys.exit(77)


# ---- the filters

def members(name, seen={}):
    """The calls of a set, sets in it included."""
    if not name.startswith("@"):
        return {name}
    if name not in seen:
        said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True,
                              text=True, check=True).stdout
        lines = [line.strip() for line in said.splitlines()[1:]]
        seen[name] = set().union(*(members(line) for line in lines if line and line[0] != "#"))
    return seen[name]


def allowed(unit):
    """As systemd reads it: the first line says that only what is listed is allowed, later ones add or take."""
    calls = set()
    lines = re.findall(r"^SystemCallFilter=(~?)(.*)$", (SOURCE / "broker/deploy/systemd" / unit).read_text(), re.M)
    assert lines and not lines[0][0], f"{unit} allows everything"
    for taken, names in lines:
        listed = set().union(*(members(name) for name in names.split()))
        calls = calls - listed if taken else calls | listed
    return calls


def hold(unit, traces):
    used = set()
    for trace in traces:
        # "PID name(…", and "PID <... name resumed>…" for its second half
        used |= set(re.findall(r"^(?:\d+ +)?([a-z_][a-z0-9_]*)\(", trace.read_text(errors="replace"), re.M))
    if not {"openat", "mmap", "write", "close"} <= used or len(used) < 20:
        complain(f"{unit}: strace saw nearly nothing: {sorted(used)}")
    beyond = used - allowed(unit)
    if beyond:
        complain(f"{unit} uses {', '.join(sorted(beyond))}, which its SystemCallFilter= forbids")
    print(f"{unit}: {len(used)} calls, all of them allowed" if not beyond else f"{unit}: {sorted(used)}")


# ---- running

def strace(trace, *command, **options):
    # execve is the manager's: the filter is in force from there on; a child of ours must not hang on to strace
    return subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), "--", *map(str, command)], **options)


def swctl(*words, exit_codes=(0,)):
    run = subprocess.run([BUILD / "swctl", "--socket", SOCKET, *map(str, words)], capture_output=True, text=True)
    if run.returncode not in exit_codes:
        raise AssertionError(f"swctl {words}: {run.returncode}: {run.stderr}")
    return run.stdout


class Manager:
    """Of the protocol of systemd's: takes messages, closes the descriptors that come along."""

    def __init__(self, path):
        self.path = path
        self.messages = []
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.peer.bind(str(path))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            text, fds, _, _ = socket.recv_fds(self.peer, 8192, 16)
            self.messages.append(text.decode(errors="replace"))
            for fd in fds:
                os.close(fd)

    def wait_for(self, word):
        for _ in range(3000):
            if any(word in message for message in self.messages):
                return
            time.sleep(0.02)
        raise AssertionError(f"the manager never heard {word}: {self.messages}")


def run_broker(trace, *options):
    manager = Manager(PLACE / f"notify{trace.name}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    SOCKET.unlink(missing_ok=True)
    listener.bind(str(SOCKET))
    listener.listen(64)
    environment = dict(os.environ, NOTIFY_SOCKET=str(manager.path), LISTEN_FDS="1", FDSTORE="64",
                       WATCHDOG_USEC="2000000")
    # the process whose number LISTEN_PID has to be is a child of strace
    words = [BUILD / "swbrokerd", "--config", "/dev/null", "--chunks-dir", MODELS, "--cache-size", "32",
             "--max-cache-size", "64", "--trace", PLACE / f"trace-{trace.stem}", *options]
    process = strace(trace, "sh", "-c", 'exec 3<&"$0"; LISTEN_PID=$$ exec "$@"', listener.fileno(), *words,
                     pass_fds=[listener.fileno()], env=environment, stderr=subprocess.PIPE)
    manager.wait_for("READY=1")
    listener.close()
    return process, manager


def work(process, manager, worker_trace=None):
    """What operators and workers ask of a broker."""
    pid = int(json.loads(swctl("--json", "stats"))["pid"])
    swctl("warm", "--all")
    swctl("pin", "tiny/layer_0")
    for words in (["ls"], ["models"], ["clients"], ["verify"], ["resize", "48"], ["resize", "16"], ["clear"],
                  ["trace", "status"]):
        swctl(*words)
    if worker_trace:
        run_worker(worker_trace)
    shutil.copytree(MODELS / "tiny", MODELS / "copy", dirs_exist_ok=True)
    swctl("reload")
    os.kill(pid, signal.SIGHUP)
    manager.wait_for("RELOADING=1")
    manager.wait_for("WATCHDOG=1")
    os.kill(pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    if process.returncode != 0:
        raise AssertionError(f"the broker ended with {process.returncode}: {said.decode()}")


def run_worker(trace):
    mine, its = socket.socketpair()
    environment = dict(os.environ, SW_SOCKET=str(SOCKET))
    process = strace(trace, BUILD / "swbert", "embed", "--model", "tiny", "--normalize", "--threads", "3",
                     stdin=its, stdout=its, stderr=subprocess.PIPE, env=environment)
    its.close()
    mine.sendall(b"Hello world\n" + b"one two three four five " * 40 + b"\n")
    mine.shutdown(socket.SHUT_WR)
    said = b"".join(iter(lambda: mine.recv(65536), b""))
    _, wrong = process.communicate(timeout=60)
    if process.returncode != 0 or said.count(b'"embedding"') != 2:
        raise AssertionError(f"swbert ended with {process.returncode}: {wrong.decode()}")


def run_exporter(trace):
    process = strace(trace, BUILD / "sw-exporter", "--socket", SOCKET, "--listen", "127.0.0.1:0",
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    if not address:
        _, wrong = process.communicate(timeout=60)
        raise AssertionError(f"the exporter: {wrong}")
    for path, word in (("", b"swbroker_up 1"), ("/../nothing", None)):
        try:
            with urllib.request.urlopen(address + path, timeout=30) as answer:
                said = answer.read()
            assert word and word in said, said
        except urllib.error.HTTPError as error:
            assert word is None and error.code == 404, error
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    _, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong


def main():
    for tool in ("strace", "systemd-analyze"):
        if not shutil.which(tool):
            skip(f"{tool} is not installed (apt-get install strace systemd)")
    if subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode:
        skip("strace may trace nothing here")
    MODELS.mkdir()
    subprocess.run([BUILD / "swchunk", "synth", "bert-tiny", MODELS / "tiny", "--layers", "3"], check=True,
                   capture_output=True)
    traces = {word: PLACE / f"{word}.strace" for word in ("uring", "threads", "worker", "export")}
    process, manager = run_broker(traces["uring"])
    exports = (BUILD / "sw-exporter").exists()  # not built without libmicrohttpd
    if exports:
        run_exporter(traces["export"])
    work(process, manager, traces["worker"])
    work(*run_broker(traces["threads"], "--io-engine", "threads"))
    hold("swbrokerd.service.in", [traces["uring"], traces["threads"]])
    hold("swbert@.service.in", [traces["worker"]])
    if exports:
        hold("sw-exporter.service.in", [traces["export"]])

    # What libsw does for schedules of its own, also where no call above came by: an executor's threads.
    sources = "".join(path.read_text() for path in sorted((SOURCE / "libsw").rglob("*.c")))
    schedules = set(re.findall(r"\b(sched_set[a-z]+|setpriority|ioprio_set|mbind|set_mempolicy)\(", sources))
    assert schedules, "libsw sets no schedule: this check looks for the wrong words"
    beyond = schedules - allowed("swbert@.service.in")
    if beyond:
        complain(f"swbert@.service forbids {', '.join(sorted(beyond))}, which libsw uses")


try:
    main()
finally:
    shutil.rmtree(PLACE, ignore_errors=True)
sys.exit(failed)
