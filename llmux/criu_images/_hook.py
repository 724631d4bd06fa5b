"""`llmux-criu-hook`, the program for `criu --action-script`: captures after a dump, rebuilds before a restore.

CRIU calls it at every stage with CRTOOLS_SCRIPT_ACTION, CRTOOLS_IMAGE_DIR and (at a dump, and at a restore once it has forked) CRTOOLS_INIT_PID; its
stdin is closed, its stdout and stderr are CRIU's log. An exit code other than 0 at `post-dump` makes CRIU fail the dump and let the tree run on; at
`pre-restore` it ends the restore before anything was forked. A dump with a mount namespace of its own, as container engines make them, has its paths
there and not in CRIU's: it is captured through its root task, and rebuilt at `post-setup-namespaces`, once CRIU has mounted its file systems. Imports happen only where they are needed, because other stages come with the tree stopped too.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
"""`typing.TYPE_CHECKING`, without the import."""

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOURNALS = "/run/llmux/journals"
"""`_journals.DEFAULT_DIRECTORY`, without the import."""
_SEAL_WITHIN = 512
"""Bytes from the manifest's start: the seal is its second field."""


def main() -> None:
    """Do what the stage asks for; exit with the error's code and the reason on stderr where that fails."""
    match os.environ.get("CRTOOLS_SCRIPT_ACTION"):
        case "post-dump":
            sys.exit(_guarded(_capture, "CRIU fails the dump, so that the tree runs on and nothing is lost."))
        case "pre-restore":
            sys.exit(
                _guarded(
                    _prepare, "CRIU ends the restore; nothing was started. `{plan}` says all that it needs."
                )
            )
        case "post-setup-namespaces":
            sys.exit(_guarded(_rebuild_inside, "CRIU ends the restore; no process of the dump has run."))
        case "pre-resume":
            _note_success()
        case None:
            _say(
                "CRTOOLS_SCRIPT_ACTION is not set: criu runs this, as criu dump --action-script llmux-criu-hook"
            )
            sys.exit(2)
        case _:
            pass


def _say(text: str) -> None:
    for line in _readable(text).splitlines():
        sys.stderr.write(f"llmux-criu-hook: {line}\n")


def _readable(text: str) -> str:
    """Name the images' directory as people do: CRIU gives it as /proc/PID/fd/NUMBER, which is gone with CRIU."""
    from llmux.criu_images._paths import escape  # noqa: PLC0415

    given = os.environ.get("CRTOOLS_IMAGE_DIR")
    return text.replace(given, escape(os.fsencode(os.path.realpath(given)))) if given else text


def _guarded(stage: Callable[[Path], None], outcome: str) -> int:
    """Run a stage; say on stderr why it failed, one line a reason, each with the program's name."""
    from pathlib import Path  # noqa: PLC0415 - see above: only where needed

    from llmux.criu_images._dependencies import missing_dependency  # noqa: PLC0415
    from llmux.criu_images.errors import CriuImagesError  # noqa: PLC0415

    directory = os.environ.get("CRTOOLS_IMAGE_DIR")
    if not directory:
        _say("CRTOOLS_IMAGE_DIR is not set")
        return 2
    code = 1
    try:
        stage(Path(directory))
    except CriuImagesError as error:
        code, said = int(error.exit_code), str(error)
    except ModuleNotFoundError as error:
        missing = missing_dependency(error)
        code, said = int(missing.exit_code), str(missing)
    except OSError as error:
        said = str(error)
    else:
        return 0
    _say(said)
    _say(outcome.format(plan=f"{sys.executable} -m llmux.criu_images plan {directory}"))
    return code


def _capture(directory: Path) -> None:
    from llmux.criu_images._capture import capture  # noqa: PLC0415
    from llmux.criu_images._policy_file import standing_policy  # noqa: PLC0415

    process = _elsewhere()
    capture(
        directory,
        root=_root_of(process),
        criu_version=_version_in_log(directory),
        policy=standing_policy(),
        process=process,
    )


def _elsewhere() -> int | None:
    """Return the root task where CRIU runs outside of its mount namespace, as a container engine's does."""
    task = _root_task()
    return task if task and _namespace_of(task) != _namespace_of("self") else None


def _root_task() -> int:
    """Return the root task's id where CRIU runs; 0 where it has not forked."""
    return int(os.environ.get("CRTOOLS_INIT_PID") or 0)


def _namespace_of(process: int | str) -> str:
    return os.readlink(f"/proc/{process}/ns/mnt")  # noqa: PTH115 - pathlib is an import more


def _root_of(process: int | None) -> Path:
    from pathlib import Path  # noqa: PLC0415

    return Path("/" if process is None else f"/proc/{process}/root")


def _version_in_log(directory: Path) -> str | None:
    """Find CRIU's version where its log says it, if the log has its usual place: the images do not."""
    try:
        with (directory / "dump.log").open("rb") as log:
            head = log.read(4096).decode(errors="replace")
    except OSError:
        return None
    _, found, rest = head.partition("Version: ")
    return rest.split()[0] if found and rest.split() else None


def _prepare(directory: Path) -> None:
    """Rebuild, unless CRIU is going to make the place for it: then what it sees now are its caller's files, and none of them is touched."""
    if _has_own_mounts(directory):
        _check(directory)
    else:
        _rebuild(directory)


def _has_own_mounts(directory: Path) -> bool:
    return any(directory.glob("mountpoints-*.img"))


def _check(directory: Path) -> None:
    from llmux.criu_images._verify import verify  # noqa: PLC0415

    verify(directory)


def _rebuild_inside(directory: Path) -> None:
    """Rebuild in the file systems that CRIU has mounted for the tree, whose root task waits: it opens no file before this stage is over."""
    if _has_own_mounts(directory):
        from llmux.criu_images._yard import enter_tree  # noqa: PLC0415

        task = _root_task()
        _rebuild(directory, enter_tree(directory, task), task)


def _rebuild(directory: Path, root: Path | None = None, task: int | None = None) -> None:
    from llmux.criu_images._policy_file import standing_policy  # noqa: PLC0415
    from llmux.criu_images._rebuild import rebuild  # noqa: PLC0415

    made = rebuild(
        directory, root=root or _root_of(None), policy=standing_policy(), restorer=os.getppid(), task=task
    )
    for warning in made.warnings:
        _say(f"warning: {warning}")


def _note_success() -> None:
    """Tell the rebuild's journal and its holder that the restore has succeeded.

    At `pre-resume` only waking the tree is left, and it is the last stage at which CRIU still has the images' directory open. CRIU ignores
    what goes wrong here, and so do we: what was made is the same. The next rebuild starts a new journal; the holder stays until the tree ends.
    """
    try:
        seal, task = _read_seal(os.environ.get("CRTOOLS_IMAGE_DIR", "")), _elsewhere()
        if task is not None:  # nobody but its engine takes such a tree back, with all its files
            os.unlink(f"{JOURNALS}/{seal}.task-{task}.json")  # noqa: PTH108 - pathlib is an import more
            return
        journal = _journal_of(seal)
        lines = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.write(lines, RESTORED_LINE)
        os.close(lines)
        control = journal.removesuffix(".json") + ".hold"
        if os.access(control, os.F_OK):
            _tell_holder(control, _root_task())
    except (OSError, ValueError):
        return


def _tell_holder(control: str, root_task: int) -> None:
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(2)
        asking.connect(control)
        socket.send_fds(asking, [b"tree"], [os.pidfd_open(root_task)])
        asking.recv(16)


def _journal_of(seal: str) -> str:
    """Name the journal of this mount namespace, as `_journals.own_journal` does."""
    from llmux.criu_images._mount_namespaces import lasting_name  # noqa: PLC0415

    return f"{JOURNALS}/{seal}.{lasting_name()}.json"


RESTORED_LINE = b'{"kind": "restored", "paths": [], "device": 0, "inode": 0, "size": 0, "mtime_ns": 0, "birth_ns": 0, "flags": 0}\n'
"""`_journal.format_line(Made(Kind.RESTORED, ()))`, without the imports."""


def _read_seal(directory: str) -> str:
    """Read a manifest's seal without parsing all of it; raises OSError, ValueError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    manifest = os.open(f"{directory}/llmux-manifest.json", flags)
    try:
        head = os.read(manifest, _SEAL_WITHIN)
    finally:
        os.close(manifest)
    seal = head.partition(b'"seal": "')[2].partition(b'"')[0].decode()
    if not seal.isalnum():
        raise ValueError("no seal at the manifest's start")
    return seal
