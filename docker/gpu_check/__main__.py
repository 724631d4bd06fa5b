"""Run everything that this machine's GPU can prove, and print what ran, with numbers, and what could not and why.

Exit codes: 0 all that could run passed, 1 something failed or nothing could be proved, 2 a wrong command line, 5 there is no GPU.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this runs on whatever python3 a machine has
    sys.exit(
        f"gpu-check needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 gpu-check"
    )

from gpu_check._cli import main

if __name__ == "__main__":
    sys.exit(main())
