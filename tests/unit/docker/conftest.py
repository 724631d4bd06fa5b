"""The set-up is a program, not a package of the project: it is found beside its script."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "docker"))
