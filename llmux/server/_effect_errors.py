"""What can go wrong where the server touches the machine: each with its fields, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmux.server.errors import ServerError

DOCKER_OPTIONS = (
    "`--cap-add ALL --cap-drop SYS_RESOURCE --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined`, or `--privileged`"
)
"""What llmux needs of `docker run`, for hints."""


class EffectError(ServerError):
    """Root of the errors of processes, sandboxes, criu, the checkpoint store and the engines.

    The code of each is its name: `dump_failed` for DumpFailed.
    """

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


@dataclass(eq=False)
class ProgramMissing(EffectError):
    """A program cannot be started."""

    program: str
    reason: str

    def what(self) -> str:
        return f"{self.program} cannot be started: {self.reason}"


@dataclass(eq=False)
class TookTooLong(EffectError):
    """A program did not finish in time, and was ended; or a question to a driver that hangs has had no answer."""

    program: str
    seconds: float

    def what(self) -> str:
        return f"{self.program} did not finish within {self.seconds:g} s"


@dataclass(eq=False)
class UnsupportedMachine(EffectError):
    """The io_uring filter is not written for this processor."""

    machine: str
    known: tuple[str, ...]

    def what(self) -> str:
        return f"no seccomp filter for the machine {self.machine!r} (known: {', '.join(self.known)})"


@dataclass(eq=False)
class SandboxRefused(EffectError):
    """The kernel or the container refuses a step of making a sandbox."""

    step: str
    reason: str

    def what(self) -> str:
        return f"no sandbox for the engine: {self.step}: {self.reason}"


@dataclass(eq=False)
class SandboxEnded(EffectError):
    """The sandbox is gone, and with it every process that was in it."""

    init_pid: int

    def what(self) -> str:
        return f"the sandbox of process {self.init_pid} has ended"


@dataclass(eq=False)
class BerthRefused(EffectError):
    """No engine can be left for the next llmux there, or found again."""

    path: str
    reason: str

    def what(self) -> str:
        return f"engines cannot be found again by {self.path}: {self.reason}"


@dataclass(eq=False)
class NotAttached(EffectError):
    """A sandbox that an earlier llmux has left does not take us for its llmux."""

    path: str
    reason: str

    def what(self) -> str:
        return f"the sandbox that listens at {self.path} cannot be taken over: {self.reason}"


@dataclass(eq=False)
class NotStarted(EffectError):
    """A program could not be started inside a sandbox."""

    program: str
    reason: str

    def what(self) -> str:
        return f"{self.program} cannot be started in its sandbox: {self.reason}"


@dataclass(eq=False)
class EngineUnreachable(EffectError):
    """The engine does not answer: refused, broken off or too slow."""

    url: str
    reason: str

    def what(self) -> str:
        return f"{self.url} does not answer: {self.reason}"


@dataclass(eq=False)
class EngineRefused(EffectError):
    """The engine answers with an error; `body` is the beginning of what it said."""

    url: str
    status: int
    body: str

    def what(self) -> str:
        return f"{self.url} answers {self.status}: {self.body}"


@dataclass(eq=False)
class CheckpointPlaceRefused(EffectError):
    """A directory of the checkpoint store cannot be used, or must not be trusted."""

    path: str
    reason: str

    def what(self) -> str:
        return f"checkpoints cannot be kept at {self.path}: {self.reason}"


@dataclass(eq=False)
class CheckpointInvalid(EffectError):
    """What lies where a checkpoint is published is none that may be restored."""

    path: str
    reason: str

    def what(self) -> str:
        return f"{self.path} is no checkpoint that can be restored: {self.reason}"


@dataclass(eq=False)
class CriuMissing(EffectError):
    """There is no criu, or not the program that makes its dumps portable."""

    program: str
    reason: str

    def what(self) -> str:
        return f"{self.program} cannot be run: {self.reason}"


@dataclass(eq=False)
class CriuTooOld(EffectError):
    """This criu cannot dump what runs here."""

    program: str
    found: str
    needed: str

    def what(self) -> str:
        return f"{self.program} is CRIU {self.found}, and llmux needs {self.needed} or newer"


@dataclass(eq=False)
class PycriuMissing(EffectError):
    """CRIU's Python library, which reads its images, is missing or unusable."""

    reason: str

    def what(self) -> str:
        return f"CRIU's images cannot be read: {self.reason}"


@dataclass(eq=False)
class NotPermitted(EffectError):
    """llmux lacks a right that criu needs."""

    lacking: str

    def what(self) -> str:
        return f"criu cannot work here: {self.lacking}"


@dataclass(eq=False)
class CriuFailed(EffectError):
    """criu ended with an error: `reason` is the first that explains it, `errors` are all, `log` is where to read on."""

    reason: str
    errors: tuple[str, ...]
    log: str


@dataclass(eq=False)
class DumpFailed(CriuFailed):
    """No checkpoint was made; the tree runs on."""

    def what(self) -> str:
        return f"criu could not dump the engine: {self.reason} (log: {self.log})"


@dataclass(eq=False)
class RestoreFailed(CriuFailed):
    """The checkpoint could not be restored here; what had been made for it has been taken back, except `left`."""

    left: str = ""

    def what(self) -> str:
        rest = f"; not taken back: {self.left}" if self.left else ""
        return f"criu could not restore the engine: {self.reason} (log: {self.log}){rest}"
