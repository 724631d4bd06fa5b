"""`llmux-criu-hook`, the program for `criu --action-script`: captures after a dump, rebuilds before a restore.

CRIU calls it at every stage with CRTOOLS_SCRIPT_ACTION, CRTOOLS_IMAGE_DIR and (at a dump) CRTOOLS_INIT_PID; its stderr is CRIU's log. Exit code 1 at
`post-dump` makes CRIU fail the dump and let the tree run on; at `pre-restore` it ends the restore before anything was forked.
Heavy imports happen only where they are needed, because other stages come with the tree stopped too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

JOURNALS = Path("/run/llmux/journals")
"""`_journal.DEFAULT_DIRECTORY`, without the import."""


def main() -> None:
    """Do what the stage asks for; exit 1 with the reason on stderr where that fails."""
    match os.environ.get("CRTOOLS_SCRIPT_ACTION"):
        case "post-dump":
            sys.exit(_guarded(_capture))
        case "pre-restore":
            sys.exit(_guarded(_rebuild))
        case "pre-resume":
            _settle()
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
    return text.replace(given, escape(os.fsencode(Path(given).resolve()))) if given else text


def _guarded(stage: Callable[[Path], None]) -> int:
    """Run a stage; say on stderr why it failed, one line a reason, each with the program's name."""
    from llmux.criu_images._dependencies import missing_dependency  # noqa: PLC0415 - see above: only where needed
    from llmux.criu_images.errors import CriuImagesError  # noqa: PLC0415

    directory = os.environ.get("CRTOOLS_IMAGE_DIR")
    if not directory:
        _say("CRTOOLS_IMAGE_DIR is not set")
        return 2
    try:
        stage(Path(directory))
    except (CriuImagesError, OSError) as error:
        _say(str(error))
        return 1
    except ModuleNotFoundError as error:
        _say(str(missing_dependency(error)))
        return 1
    return 0


def _capture(directory: Path) -> None:
    from llmux.criu_images._capture import capture  # noqa: PLC0415
    from llmux.criu_images._policy_file import standing_policy  # noqa: PLC0415

    capture(directory, criu_version=_version_in_log(directory), policy=standing_policy())


def _version_in_log(directory: Path) -> str | None:
    """Find CRIU's version where its log says it, if the log has its usual place: the images do not."""
    try:
        with (directory / "dump.log").open("rb") as log:
            head = log.read(4096).decode(errors="replace")
    except OSError:
        return None
    _, found, rest = head.partition("Version: ")
    return rest.split()[0] if found and rest.split() else None


def _rebuild(directory: Path) -> None:
    from llmux.criu_images._rebuild import rebuild  # noqa: PLC0415

    for warning in rebuild(directory).warnings:
        _say(f"warning: {warning}")


def _settle() -> None:
    """Forget the rebuild's journal.

    At `pre-resume` the restore has succeeded but for waking the tree, and it is the last stage at which CRIU still has the images'
    directory open. CRIU ignores what goes wrong here, and so do we: an undo takes back only what nobody has changed.
    """
    import json  # noqa: PLC0415
    from contextlib import suppress  # noqa: PLC0415

    directory = Path(os.environ.get("CRTOOLS_IMAGE_DIR", ""))
    with suppress(OSError, ValueError):
        manifest = json.loads((directory / "llmux-manifest.json").read_bytes())
        seal = manifest.get("seal") if isinstance(manifest, dict) else None
        if isinstance(seal, str) and seal.isalnum():
            (JOURNALS / f"{seal}.json").unlink()
