"""Runs in a container: dumps or restores each given program in a PID and mount namespace of its own, and says what became of it.

usage: inside.py dump|restore [--without-hook] DIRECTORY < CASES.json      outcomes go to stdout as JSON

This is a script of its own, which needs nothing of llmux but its hook: the standard library alone.
"""

import contextlib
import json
import os
import pty
import signal
import subprocess  # noqa: TID251 - see above
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOTES = Path("/run/kinds")
PROGRAMS = Path("/kinds/protocol.py")
ROOT = Path("/run/root")
TUN = Path("/dev/net/tun")
HOOK = ("--action-script", "/usr/local/bin/llmux-criu-hook")
SECONDS = 30
FIRST_ID, LATER_ID = 1000, 5000
WORDS = ("Error", "Warn", "llmux-criu-hook:")


def main():
    mode, *flags, directory = sys.argv[1:]
    if "--one" in flags:
        # An instance of its own: terminals have numbers, and a restore asks for the same ones.
        subprocess.run(["mount", "-t", "devpts", "-o", "ptmxmode=0666", "devpts", "/dev/pts"], check=True)
        outcome = MODES[mode](json.load(sys.stdin), Path(directory), hooked="--without-hook" not in flags)
        sys.stdout.write(json.dumps(outcome))
        return
    NOTES.mkdir(exist_ok=True)
    if not TUN.exists():  # as a container is given it by `docker run --device`
        TUN.parent.mkdir()
        os.mknod(TUN, 0o20666, os.makedev(10, 200))
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda case: sandboxed(mode, flags, directory, case), json.load(sys.stdin))
        sys.stdout.write(json.dumps(list(outcomes)))


def sandboxed(mode, flags, directory, case):
    """Run one case in fresh namespaces, all of whose processes end with this script's first process there."""
    unshare = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc", *case["unshare"]]
    argv = [*unshare, sys.executable, "-B", __file__, mode, "--one", *flags, directory]
    try:
        done = subprocess.run(
            argv, input=json.dumps(case), capture_output=True, text=True, check=False, timeout=2 * SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"name": case["name"], "code": None, "said": ["it did not end"], "verdict": None}
    if done.returncode:
        return {"name": case["name"], "code": None, "said": done.stderr.splitlines(), "verdict": None}
    return json.loads(done.stdout)


def dump(case, directory, *, hooked):
    name = case["name"]
    images = directory / name
    images.mkdir()
    last_id(FIRST_ID - 1)
    program = start(case)
    wait_for(NOTES / f"{name}.ready", program)
    pid = int((NOTES / f"{name}.ready").read_text())
    options = ["--tree", str(pid), *case["dump_options"]]
    if case["pre_dump"]:
        (images / "before").mkdir()
        criu("pre-dump", case, images / "before", options)
        options += ["--prev-images-dir", "before", "--track-mem"]
    outcome = criu("dump", case, images, [*options, *(HOOK if hooked else ())])
    if outcome["code"]:  # what CRIU refuses goes on as if nothing had been
        outcome["verdict"] = verdict(name, pid)
    return outcome


def restore(case, directory, *, hooked):
    name = case["name"]
    last_id(LATER_ID - 1)
    if "--root" in case["restore_options"]:  # a mount namespace of the dump's own is made below a mount
        ROOT.mkdir(exist_ok=True)
        subprocess.run(["mount", "--rbind", "/", str(ROOT)], check=True)
    images = directory / name
    pidfile = NOTES / f"{name}.pid"
    options = [
        "--restore-detached",
        "--pidfile",
        str(pidfile),
        *case["restore_options"],
        *(HOOK if hooked else ()),
    ]
    outcome = criu("restore", case, images, options)
    if not outcome["code"]:
        outcome["verdict"] = verdict(name, int(pidfile.read_text()))
    return outcome


MODES = {"dump": dump, "restore": restore}


def start(case):
    """Start the program without a terminal, or as the job of a shell in one."""
    argv = [sys.executable, "-EsSB", str(PROGRAMS), case["name"]]
    if case["terminal"]:
        return in_terminal(["sh", "-c", '"$@"; true', "shell", *argv])
    nothing = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True).pid


def in_terminal(argv):
    """Run a program that leads a session with a terminal of its own, and keep reading what it prints."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)

    def drain():
        with contextlib.suppress(OSError):
            while os.read(master, 4096):
                pass

    threading.Thread(target=drain, daemon=True).start()
    return pid


def criu(command, case, images, options):
    log = NOTES / f"{case['name']}.{command}.log"
    argv = [
        *(
            "criu",
            command,
            "--images-dir",
            str(images),
            "--work-dir",
            str(NOTES),
            "--log-file",
            str(log),
            "-v4",
        ),
        *("--network-lock", "skip", *case["options"], *options),
    ]
    if case["terminal"] and command == "restore":
        ended = NOTES / f"{case['name']}.ended"
        in_terminal(["sh", "-c", '"$@"; echo $? > "$0"; sleep 60', str(ended), *argv])
        wait_for(ended, None)
        code = int(ended.read_text())
    else:
        code = subprocess.run(
            argv, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=SECONDS
        ).returncode
    lines = log.read_text(errors="replace").splitlines()
    said = [line for line in lines if any(word in line for word in WORDS)]
    return {"name": case["name"], "code": code, "said": said, "verdict": None}


def verdict(name, pid):
    """Ask the program to check itself; return its answer: "ok", or what it found."""
    path = NOTES / f"{name}.verdict"
    os.kill(pid, signal.SIGUSR1)
    with contextlib.suppress(TimeoutError):
        wait_for(path, None)
        return path.read_text()
    return f"no answer; {Path(f'/proc/{pid}/status').read_text() if Path(f'/proc/{pid}').exists() else 'it is gone'}"


def wait_for(path, program):
    deadline = time.monotonic() + SECONDS / 3
    while not (path.exists() and path.stat().st_size):
        if program is not None and os.waitpid(program, os.WNOHANG) != (0, 0):
            sys.exit(f"the program ended: {words_of(path)}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {path}")
        time.sleep(0.01)


def words_of(path):
    said = path.with_suffix(".verdict")
    return said.read_text() if said.exists() else "without a word"


def last_id(number):
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(number))


main()
