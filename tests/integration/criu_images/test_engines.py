"""podman and runc, whose CRIU reads a configuration file: the hook that it names brings what a fresh container lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proof.containers import Container, Mount, Run, check_image, started

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.demand("configuration-file", "mount-namespace"),
]

IMAGE = "llmux:programs"
HERE = Path(__file__).parent
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PROGRAM = "exec python3 /app/program.py > /var/log/app.log 2>&1 < /dev/null"
BARE = "link-remap"
HOOKED = f"{BARE}\naction-script /usr/local/bin/llmux-criu-hook"
MISSING = "Can't open file var/log/app.log: No such file or directory"
FIRST, SECOND = "ring 1, semaphore 1, by its name 1", "ring 2, semaphore 2, by its name 2"
JOURNALS = "/run/llmux/journals"
PODMAN = "podman --runtime runc"
RESTORE = f"{PODMAN} container restore --import"
CHECKPOINT = f"{PODMAN} container checkpoint"
PLAIN, WHOLE = "/checkpoint.tar", "/whole.tar"


@pytest.fixture(scope="module")
def host(nothing_left_behind: None) -> Iterator[Container]:
    """Give a machine, itself a container, on which engines run."""
    check_image(IMAGE)
    mounts = (
        Mount(HERE / "program.py", "/program.py", read_only=True),
        Mount(HERE / "engines", "/engines", read_only=True),
    )
    flags = (
        "--cgroupns=private",
        "--volume=/var/lib/containers",
        "--env=PODMAN_IGNORE_CGROUPSV1_WARNING=1",
    )
    with started(Run(IMAGE, mounts, flags=flags, command=REAPS), "engines") as container:
        container.exec("sh", "/engines/prepare.sh")
        yield container


@pytest.fixture(scope="module")
def exported(host: Container) -> None:
    """Make podman's checkpoints of a container, which is gone: PLAIN without its files, WHOLE with what differs from its image."""
    configure(host, HOOKED)
    host.exec(
        *f"{PODMAN} run --detach --name app --network none --volume /usr:/usr:ro program sh -c".split(),
        PROGRAM,
    )
    wait_for(log_in_podman(host), FIRST)
    shell(host, f"{CHECKPOINT} --leave-running --compress gzip --export {WHOLE} app")
    shell(host, f"{CHECKPOINT} --ignore-rootfs --export {PLAIN} app")
    remove(host)


@pytest.fixture(scope="module")
def dumped(host: Container) -> str:
    """Give runc's checkpoint of a container, which is gone with its bundle."""
    configure(host, HOOKED)
    bundle(host, "first")
    shell(host, "runc run --detach --bundle /first first < /dev/null > /dev/null 2>&1")
    wait_for(log_in(host, "/first"), FIRST)
    host.exec("mkdir", "--mode=700", "/dumped", "/criu-logs")
    shell(host, "runc checkpoint --image-path /dumped --work-path /criu-logs first")
    host.exec("rm", "--recursive", "/first")
    return "/dumped"


def shell(host: Container, command: str) -> str:
    return host.exec("sh", "-c", command)


def configure(host: Container, text: str) -> None:
    shell(host, f"echo '{text}' > /etc/criu/runc.conf")


def remove(host: Container) -> None:
    shell(host, "podman rm --force --time 0 app")


def bundle(host: Container, name: str) -> None:
    shell(host, f"mkdir /{name} && cp --archive /rootfs /{name} && runc spec --bundle /{name}")
    host.exec("python3", "/engines/configure.py", f"/{name}/config.json", PROGRAM)


def runc_restore(host: Container, name: str, dumped: str) -> int:
    command = f"runc restore --detach --bundle /{name} --image-path {dumped} --work-path /criu-logs {name}"
    return host.attempt("sh", "-c", f"{command} < /dev/null > /dev/null 2>&1").code


def log_in(host: Container, bundle: str) -> Callable[[], str]:
    return lambda: host.attempt("cat", f"{bundle}/rootfs/var/log/app.log").output


def log_in_podman(host: Container) -> Callable[[], str]:
    return lambda: host.attempt("podman", "exec", "app", "cat", "/var/log/app.log").output


def wait_for(log: Callable[[], str], *lines: str) -> None:
    deadline = time.monotonic() + 20
    while log().splitlines() != list(lines):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the program's log is not {lines}, but {log()!r}")
        time.sleep(0.05)


def runc_goes_on(host: Container, name: str) -> None:
    """Have the restored program check and change its state, then end it."""
    host.exec("runc", "kill", name, "USR1")
    wait_for(log_in(host, f"/{name}"), FIRST, SECOND)
    host.exec("runc", "delete", "--force", name)


def restore_log(host: Container) -> str:
    """Return the errors in podman's log, which is gone with the container."""
    return shell(host, "grep --no-filename Error $(find /var/lib/containers -name restore.log)")


def podman_goes_on(host: Container) -> None:
    """Have the restored program check and change its state, then end it."""
    shell(host, "podman kill --signal USR1 app")
    wait_for(log_in_podman(host), FIRST, SECOND)
    remove(host)


@pytest.mark.usefixtures("exported")
def test_podman_restores_in_a_fresh_container(host: Container) -> None:
    configure(host, HOOKED)
    shell(host, f"{RESTORE} {PLAIN}")
    assert host.attempt("ls", JOURNALS).output == ""
    podman_goes_on(host)


@pytest.mark.usefixtures("exported")
def test_podman_alone_does_not(host: Container) -> None:
    configure(host, BARE)
    assert host.attempt(*f"{RESTORE} {PLAIN}".split()).code != 0
    assert MISSING in restore_log(host)
    remove(host)


@pytest.mark.demand("remaps-left-running")
@pytest.mark.usefixtures("exported")
def test_of_a_container_that_ran_on_podmans_own_export_lacks_the_link_remap(host: Container) -> None:
    """CRIU removes it before podman looks, and after the hook has."""
    configure(host, BARE)
    assert host.attempt(*f"{RESTORE} {WHOLE}".split()).code != 0
    assert "Can't link dev/shm/link_remap" in restore_log(host)
    remove(host)
    configure(host, HOOKED)
    shell(host, f"{RESTORE} {WHOLE}")
    podman_goes_on(host)


@pytest.mark.demand("archive")
@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    ("archive", "packed"), [(PLAIN, "28 b5 2f fd"), (WHOLE, "1f 8b")], ids=["zstd", "gzip"]
)
def test_its_archives_are_shown(host: Container, archive: str, packed: str) -> None:
    assert shell(host, f"od -A n -t x1 -N 4 {archive}").strip().startswith(packed)
    shown = shell(host, f"/opt/llmux/bin/python -m llmux.criu_images show {archive}")
    assert "/var/log/app.log" in shown
    assert "/dev/shm/proof-ring" in shown


@pytest.mark.parametrize("mode", ["", "mntns-compat-mode\n"], ids=["mount-v2", "compat"])
def test_runc_restores_in_a_fresh_bundle(host: Container, dumped: str, mode: str) -> None:
    configure(host, mode + HOOKED)
    name = f"fresh{len(mode)}"
    bundle(host, name)
    assert runc_restore(host, name, dumped) == 0
    runc_goes_on(host, name)


def test_runc_alone_does_not(host: Container, dumped: str) -> None:
    configure(host, BARE)
    bundle(host, "alone")
    assert runc_restore(host, "alone", dumped) != 0
    assert MISSING in host.exec("cat", "/criu-logs/restore.log")


@pytest.mark.demand("pre-restore")
def test_a_conflict_ends_the_restore_and_hinders_no_other(host: Container, dumped: str) -> None:
    configure(host, HOOKED)
    bundle(host, "other")
    shell(host, "echo 'of another program' > /other/rootfs/var/log/app.log")
    assert runc_restore(host, "other", dumped) != 0
    assert "llmux-criu-hook: /var/log/app.log" in host.exec("cat", "/criu-logs/restore.log")
    assert host.exec("cat", "/other/rootfs/var/log/app.log") == "of another program\n"
    bundle(host, "next")
    assert runc_restore(host, "next", dumped) == 0
    runc_goes_on(host, "next")


@pytest.mark.demand("failed-restore")
def test_a_restore_that_fails_after_the_hook_hinders_no_other(host: Container, dumped: str) -> None:
    bundle(host, "failed")
    configure(host, f"{HOOKED}\naction-script /engines/fail-after-setup.sh")
    assert runc_restore(host, "failed", dumped) != 0
    assert log_in(host, "/failed")() == f"{FIRST}\n"
    configure(host, HOOKED)
    bundle(host, "well")
    assert runc_restore(host, "well", dumped) == 0
    runc_goes_on(host, "well")
    taken_back = shell(
        host, f"/opt/llmux/bin/python -m llmux.criu_images undo --root /failed/rootfs {dumped}"
    )
    assert "/var/log/app.log" in taken_back
    assert host.attempt("ls", "/failed/rootfs/var/log/app.log").code != 0


@pytest.mark.usefixtures("exported", "dumped")
def test_nothing_of_the_tree_is_made_outside_of_it(host: Container) -> None:
    """The host has no such file, not even after restores of it."""
    assert host.attempt("ls", "/var/log/app.log").code != 0
    assert shell(host, "ls /dev/shm | grep -v libpod || true") == ""
    assert shell(host, "ls -d /tmp/.criu* 2> /dev/null || true") == ""
