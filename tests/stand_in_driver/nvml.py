"""What a test holds in its hands of the stand-in for NVML (`libnvidia-ml.c`): the machine's GPUs, as a file says them."""

import ctypes
from pathlib import Path

import pynvml

from llmux_setup import stand_in

SAID = "LLMUX_STAND_IN_NVML"
GIB = 1 << 30


def directory() -> Path:
    """Return what LD_LIBRARY_PATH is to name for a process that is to find the stand-in."""
    if not (stand_in.NVML / "libnvidia-ml.so.1").exists():
        stand_in.CACHE.mkdir(exist_ok=True)
        stand_in.build()
    return stand_in.NVML


class StandInNvml:
    """A machine's GPUs: `say` adds a fact, `unsay` takes back all that begin so."""

    def __init__(self, said: Path, gpus: int = 1) -> None:
        """`said` is the file; each GPU has 80 GiB, of which one is used."""
        self.said = said
        self._lines = [f"gpu {each} GPU-{each:08x}-0000 {80 * GIB} {GIB}" for each in range(gpus)]
        self._write()

    def say(self, *lines: str) -> None:
        self._lines += lines
        self._write()

    def unsay(self, beginning: str) -> None:
        self._lines = [line for line in self._lines if not line.startswith(beginning)]
        self._write()

    def _write(self) -> None:
        new = self.said.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in self._lines))
        new.replace(self.said)


def load(monkeypatch) -> None:
    """Have this process's pynvml speak to the stand-in, for a test: the loader reads LD_LIBRARY_PATH only once."""
    library = ctypes.CDLL(str(directory() / "libnvidia-ml.so.1"))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
