"""What the containers of one story share: a checkpoint directory and the model cache, nothing else."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from proof._commands import run
from proof.client import IDENTITIES, Document, Http, Identity, Llmux
from proof.containers import PREFIX, Container, Memory, Mount, Run, started
from proof.dialing import into_namespace_of

MODEL = "qwen3-0.6b"
CHECKPOINTS = "/tmp/llmux-checkpoints"
MODEL_CACHE = "/root/.cache/huggingface"
CONFIG = "/etc/llmux/config.json"
PORT = 3000
ENGINE_PORT = 8001
LLMUX = f"llmux serve --config {CONFIG}"
UNDER_A_SHELL = ("sh", "-c", f"while :; do {LLMUX}; done")
"""A container's command in which llmux may be killed and comes back, while file system, /dev/shm and /tmp stay."""

Fields = Mapping[str, object]


@dataclass(frozen=True)
class Model:
    """One entry of the configuration's `models`."""

    name: str = MODEL
    port: int = ENGINE_PORT
    fields: Fields = field(default_factory=dict)
    """What is added to, or put in place of, the README's form."""

    def document(self) -> Document:
        return {
            "model_path": "Qwen/Qwen3-0.6B",
            "port": self.port,
            "eviction": {"weights": "discard", "process": "checkpoint"},
            "checkpoint_path": f"{CHECKPOINTS}/{self.name}/images",
            **self.fields,
        }


ENGINE_FIELDS: Mapping[str, Fields] = {
    "tiny": {"engine": "tiny"},
    # Memory and number format for vLLM's CPU build: CRIU doesn't restore the permission for AMX, which oneDNN takes
    # for bfloat16. The model is in the cache, and no hub may be asked for it.
    "vllm": {
        "extra_args": ["--dtype", "float32", "--max-model-len", "1024"],
        "env": {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
    },
}
"""What each engine needs beyond the README's form, by its name."""


@dataclass(frozen=True)
class Settings:
    """A configuration of llmux in the README's form."""

    engine: str = "tiny"
    models: tuple[Model, ...] = (Model(),)
    port: int = PORT
    checkpoint: Fields = field(default_factory=dict)
    """What is added to, or put in place of, the README's `checkpoint`."""
    fields: Fields = field(default_factory=dict)
    """What is added beside the README's `models`, `checkpoint` and `port`."""

    def document(self) -> Document:
        added = ENGINE_FIELDS[self.engine]
        return {
            "models": {model.name: {**model.document(), **added, **model.fields} for model in self.models},
            "checkpoint": {
                "criu_path": "/usr/local/bin/criu",
                "cuda_plugin_dir": "/usr/lib/criu/",
                "images_dir": CHECKPOINTS,
                "cuda_checkpoint_path": "/usr/local/bin/cuda-checkpoint",
                "keep_images": True,
                **self.checkpoint,
            },
            "port": self.port,
            **self.fields,
        }

    def model(self, name: str) -> Model:
        return next(model for model in self.models if model.name == name)


@dataclass(frozen=True)
class Node:
    """A container that runs llmux."""

    container: Container
    settings: Settings
    llmux: Llmux

    def engine(self, model: str = MODEL) -> Http:
        """Return the model's engine itself, past llmux: it listens on the container's loopback only."""
        inside = (
            self.llmux.http.dial
            if self.container.network == "host"
            else into_namespace_of(self.container.pid)
        )
        return Http(inside, self.settings.model(model).port)

    def identity(self, model: str = MODEL) -> Identity:
        """Ask the engine which life of it this is."""
        identity: Identity = IDENTITIES[self.settings.engine](self.engine(model))
        return identity

    def processes(self) -> dict[int, str]:
        """Return the command line of each process in the container, by its id there."""
        each = 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(tr "\\0" " " < $p/cmdline)"; done 2>/dev/null'
        lines = (line.partition(" ") for line in self.container.exec("sh", "-c", each).splitlines())
        return {int(pid): command.strip() for pid, _, command in lines if command.strip()}

    def sandboxed(self) -> dict[int, str]:
        """Return those of `processes` that live in, or keep, another PID namespace than the container's."""
        each = 'for p in /proc/[0-9]*; do echo "${p#/proc/} $(readlink $p/ns/pid_for_children)"; done 2>/dev/null'
        home = self.container.exec("readlink", "/proc/self/ns/pid").strip()
        lines = (line.partition(" ") for line in self.container.exec("sh", "-c", each).splitlines())
        away = {int(pid) for pid, _, namespace in lines if namespace not in {"", home}}
        return {pid: line for pid, line in self.processes().items() if pid in away}

    def kill_llmux(self) -> None:
        """End llmux by SIGKILL: it has no say in what becomes of its engines. Needs a container whose init it isn't."""
        pids = [pid for pid, line in self.processes().items() if LLMUX in line and "sh -c" not in line]
        self.container.exec("sh", "-c", 'kill -KILL "$@"', "kill", *map(str, pids))


@dataclass(frozen=True)
class Bench:
    """A checkpoint directory, a model cache and an image; containers are made on it one after the other."""

    directory: Path
    image: str
    cache: Path
    mounts: tuple[Mount | Memory, ...] = ()

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @contextlib.contextmanager
    def node(  # noqa: PLR0913 - each is an option of `docker run`
        self,
        label: str,
        settings: Settings,
        *,
        network: str = "none",
        flags: tuple[str, ...] = (),
        mounts: tuple[Mount | Memory, ...] = (),
        command: tuple[str, ...] = (),
    ) -> Iterator[Node]:
        """Start llmux in a container of its own, wait until it answers, and remove the container at the end.

        Where the block fails, the logs are printed first.
        """
        shared = self.mounts_for(label, settings)
        replaced = {mount.target for mount in mounts}
        kept = tuple(mount for mount in (*shared, *self.mounts) if mount.target not in replaced)
        options = Run(self.image, (*kept, *mounts), network, flags, command)
        with started(options, label) as container:
            try:
                node = Node(container, settings, Llmux(Http(container.dialer(), settings.port)))
                node.llmux.wait_until_it_answers(lives=lambda: container.running)
                yield node
            except Exception:
                report(container)
                raise

    def refusal(self, settings: Settings, **options: Any) -> tuple[int, str]:
        """Start llmux where it can't serve, and return its exit code and its words. `options` are those of `Run`."""
        mounts = (*self.mounts_for("refused", settings), *options.pop("mounts", ()))
        with started(Run(self.image, mounts, **options), "refused") as container:
            return container.wait(30), container.logs()

    def mounts_for(self, label: str, settings: Settings) -> tuple[Mount, ...]:
        config = self.directory / f"config-{label}.json"
        config.write_text(json.dumps(settings.document(), indent=2))
        self.checkpoints.mkdir(exist_ok=True)
        return (
            Mount(config, CONFIG, read_only=True),
            Mount(self.checkpoints, CHECKPOINTS),
            Mount(self.cache, MODEL_CACHE),
        )

    def copy_checkpoints_of(self, other: Bench) -> None:
        """Take over another bench's checkpoints, holes, owners, times and links kept."""
        run(["cp", "--archive", "--sparse=always", str(other.checkpoints), str(self.directory)])


def report(container: Container, to: TextIO = sys.stderr) -> None:
    """Print what llmux and the engines in a container wrote, for whoever looks into a failure."""
    print(f"--- llmux in {container.name}", file=to)
    print(container.logs(), file=to)
    tails = "find /var/log/llmux /tmp -name '*.log' -exec tail -v -n 60 {} + 2>/dev/null"
    done = container.attempt("sh", "-c", tails)
    print(done.output, done.errors, file=to)


@contextlib.contextmanager
def bench(image: str, cache: Path, mounts: tuple[Mount, ...] = ()) -> Iterator[Bench]:
    """Make a bench on a directory of its own and remove it at the end."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield Bench(directory, image, cache, mounts)
    finally:
        shutil.rmtree(directory)
