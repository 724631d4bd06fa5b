"""`python -m llmux.criu_images`."""

from __future__ import annotations

import gc
import sys

from llmux.criu_images._dependencies import missing_dependency


def run() -> None:
    """Run the commands, which import what they need; say it in one line where that is not installed."""
    gc.disable()  # Records have no cycles, and the collector would walk a large dump again and again.
    try:
        from llmux.criu_images._cli import main  # noqa: PLC0415 - click may be what is missing

        main()
    except ModuleNotFoundError as error:
        missing = missing_dependency(error)
        sys.stderr.write(f"error: {missing}\n")
        sys.exit(missing.exit_code)


if __name__ == "__main__":
    run()
