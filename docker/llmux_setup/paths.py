"""Where the set-up keeps what it makes. All of it is ignored by git and removed by `make clean`."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
ENGINE = ROOT / ".docker"
LOG = CACHE / "setup.log"
# A private copy of Debian's python3-pycriu; on the path of .venv's Python, and of the unit tests' whichever that is (pyproject.toml).
PYCRIU = CACHE / "pycriu"

# sun_path holds 107 bytes and a NUL; below the run directory, the longest name an engine binds is containerd's.
_SOCKET_PATH_BYTES = 107
_LONGEST_SOCKET = "exec/containerd/containerd-debug.sock"


def model_cache(engine: str) -> Path:
    """Where `engine`'s models lie, as Hugging Face's home directory: mounted into containers as HF_HOME."""
    return CACHE / "models" / engine


def run_directory(engine_directory: Path) -> Path:
    """Return where the private engine's sockets lie: in the project, unless its path is too long for a socket's name."""
    inside = engine_directory / "run"
    if len(bytes(inside / _LONGEST_SOCKET)) <= _SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(bytes(engine_directory)).hexdigest()[:8]
    return Path("/run") / f"llmux-docker-{digest}"
