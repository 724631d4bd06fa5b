"""The counter-proof: llmux with its capture or its rebuild taken away must fail every case that claims to need them.

The hook that CRIU calls is covered, from outside, by a script that does less. Nothing in the product knows of this.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from proof.containers import PREFIX, Mount

HOOK = "/opt/llmux/bin/llmux-criu-hook"
_REAL = (
    'exec /opt/llmux/bin/python -c "import sys; from llmux.criu_images._hook import main; sys.exit(main())"'
)
SCRIPTS = {
    "capture": f'[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] && exit 0; {_REAL}',
    "rebuild": f'[ "$CRTOOLS_SCRIPT_ACTION" = pre-restore ] && exit 0; {_REAL}',
    "hook": "exit 0",
}
"""What each script does, by what is taken away."""


def sabotage(what: str | None, until: ExitStack) -> tuple[Mount, ...]:
    """Return what to mount so that `what` (`capture`, `rebuild`, `hook` or nothing) is missing in a container.

    The script lives until `until` closes. Raises KeyError for anything else.
    """
    if not what:
        return ()
    directory = until.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX))
    script = Path(directory) / "hook"
    script.write_text(f"#!/bin/sh\n{SCRIPTS[what]}\n")
    script.chmod(0o755)
    return (Mount(script, HOOK, read_only=True),)
