"""Set llmux up: `python3 docker/setup.py --help`. The Makefile's targets call this."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this runs on whatever python3 a machine has
    sys.exit(
        "llmux needs Python 3.11 or newer; this is "
        + sys.version.split()[0]
        + ". Try: make PYTHON=python3.11 ..."
    )

from llmux_setup.cli import main

if __name__ == "__main__":
    sys.exit(main())
