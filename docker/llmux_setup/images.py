"""The images, each on the one before: Debian's root, CRIU, vLLM where asked for, llmux."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import debian, python
from .engine import Engine
from .paths import CACHE, ROOT, model_cache
from .shell import SetupError, run, say, skip, step, succeeds

VARIANTS = ("tiny", "vllm", "vllm-gpu", "programs")
DEBIAN = "llmux-debian:trixie"
_TRIXIE = "llmux-base:trixie"
_PROGRAMS = "llmux-base:programs"
_VLLM = "llmux-base:vllm"
_VLLM_GPU = "llmux-base:vllm-gpu"
OFFICIAL_VLLM = "vllm/vllm-openai:latest"

_MODEL = "Qwen/Qwen3-0.6B"
VLLM_MODELS = {_MODEL: 0, "llmux/random-1": 1, "llmux/random-2": 2}
"""The models made for vLLM, and the seeds of their weights: each says something else."""
_RELEASE = "trixie"
_PULLED = "debian:trixie-slim"
# A registry that has not begun to answer by then, in seconds, is taken for out of reach.
_REGISTRY_SECONDS = 30.0
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# A digest of what an image was built from.
_LABEL = "llmux.built-from"

_DOCKER = ROOT / "docker"
_CONTEXTS = CACHE / "context"


@dataclass(frozen=True)
class _Recipe:
    """An image `name` on `base`; `inputs` are all files that go into it, `context` lays them out for docker build.

    `arguments` are further build arguments.
    """

    name: str
    base: str
    dockerfile: Path
    inputs: tuple[Path, ...]
    context: Callable[[], Path]
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GpuBase:
    """What the image for GPU nodes is made of: an image that has vLLM, and CRIU's release, by default that of its Dockerfile."""

    vllm: str = OFFICIAL_VLLM
    criu_source: str = ""
    criu_sha256: str = ""

    def __post_init__(self) -> None:
        if bool(self.criu_source) != bool(self.criu_sha256):
            raise SetupError(
                "CRIU's release and its checksum go together",
                hint="give both --criu-source and --criu-sha256, or neither",
            )

    @property
    def arguments(self) -> Mapping[str, str]:
        """What the build of CRIU is told."""
        given = {"CRIU_SOURCE": self.criu_source, "CRIU_SHA256": self.criu_sha256}
        return {name: value for name, value in given.items() if value}


def build(engine: Engine, variant: str, gpu_base: GpuBase | None = None) -> str:
    """Build `llmux:VARIANT` and all it stands on, leave alone what is current, and return its name."""
    if variant == "tiny":
        base = _trixie(engine)
    elif variant == "vllm":
        base = _vllm(engine)
    elif variant == "programs":
        base = _programs(engine)
    else:
        base = _criu_from_source(engine, gpu_base or GpuBase())
    return _llmux(engine, base, f"llmux:{variant}")


def make_models(engine: Engine, variant: str) -> None:
    """Make the small models that `variant` serves, in its model cache; the first as Qwen/Qwen3-0.6B."""
    home = model_cache(variant)
    stamp = home / "made-by"
    wanted = _digest_of_makers(variant)
    if stamp.exists() and stamp.read_text() == wanted:
        skip(f"models for {variant}")
        return
    home.mkdir(parents=True, exist_ok=True)
    with step(f"models for {variant}, made here"):
        if variant == "tiny":
            run(
                *(python.PYTHON, "-m", "llmux.tiny_engine", "train", f"--hub-name={_MODEL}"),
                env={"HF_HUB_CACHE": str(home / "hub")},
            )
        else:
            for name, seed in VLLM_MODELS.items():
                _make_random(engine, home, name, seed)
    stamp.write_text(wanted)


def _digest_of_makers(variant: str) -> str:
    if variant == "tiny":
        return python.digest(*_files_below(ROOT / "llmux/tiny_engine"))
    return f"{python.digest(_DOCKER / 'vllm/make_model.py')} {VLLM_MODELS}"


def _make_random(engine: Engine, home: Path, name: str, seed: int) -> None:
    run(
        *("docker", "run", "--rm", "--network=none", f"--user={os.getuid()}:{os.getgid()}"),
        *(f"--volume={home}:/models", "--env=HF_HOME=/models", "--env=HOME=/tmp"),
        *(_VLLM, "/opt/vllm/bin/python", "/opt/vllm/make_model.py", f"--hub-name={name}", f"--seed={seed}"),
        env=engine.env,
    )


def _files_below(directory: Path) -> list[Path]:
    """Return a package's files as git has them: without what Python compiled."""
    return [file for file in sorted(directory.rglob("*")) if file.is_file() and file.suffix != ".pyc"]


def _debian(engine: Engine) -> None:
    if engine.has_image(DEBIAN):
        skip(f"image {DEBIAN}")
        return
    if not _pull(engine):
        _bootstrap(engine)


def _pull(engine: Engine) -> bool:
    try:
        with step(f"image {DEBIAN}: pulling {_PULLED}"):
            run("docker", "pull", _PULLED, env=engine.env, timeout=_REGISTRY_SECONDS)
    except SetupError:
        return False
    engine.docker("tag", _PULLED, DEBIAN)
    return True


def _bootstrap(engine: Engine) -> None:
    """Make a Debian root from the machine's own mirror, every package's signature checked, and import it."""
    if shutil.which("debootstrap") is None or not _KEYRING.exists():
        debian.install("debootstrap", "debian-archive-keyring", why="no registry answers, and debootstrap")
    if not debian.is_root():
        raise SetupError(
            "no registry answers, and debootstrap needs root to make the base image",
            hint=f"run `make setup` as root once, or load an image named {DEBIAN}",
        )
    with (
        step(f"image {DEBIAN}: no registry answers, so debootstrap makes it"),
        tempfile.TemporaryDirectory(dir=CACHE, prefix="debian-") as work,
    ):
        root, archive = Path(work) / "root", Path(work) / "root.tar"
        # In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
        run(
            *("unshare", "--mount", "debootstrap", "--variant=minbase", f"--keyring={_KEYRING}"),
            _RELEASE,
            root,
            *_mirror_argument(),
            hint=f"a debian-archive-keyring that knows {_RELEASE} is needed: apt-get install debian-archive-keyring",
        )
        run("tar", "-C", root, "--numeric-owner", "--exclude=./var/cache/apt/*", "-cf", archive, ".")
        run("docker", "import", archive, DEBIAN, env=engine.env)


def _mirror_argument() -> list[str]:
    """Return the machine's own mirror; nothing where it is no Debian, and debootstrap uses its default."""
    found = debian.mirror()
    return [] if found is None else [found]


def _trixie(engine: Engine) -> str:
    _debian(engine)
    return _criu(engine, DEBIAN, _TRIXIE)


def _criu(engine: Engine, base: str, name: str) -> str:
    folder = _DOCKER / "criu"
    return _build(
        engine, _Recipe(name, base, folder / "Dockerfile", (folder / "install-criu",), lambda: folder)
    )


def _criu_from_source(engine: Engine, base: GpuBase) -> str:
    folder = _DOCKER / "criu"
    inputs = tuple(folder / name for name in ("build-criu", "fetch_source.py", "pycriu_modules.py"))
    dockerfile = folder / "from-source.Dockerfile"
    return _build(engine, _Recipe(_VLLM_GPU, base.vllm, dockerfile, inputs, lambda: folder, base.arguments))


def _programs(engine: Engine) -> str:
    folder = _DOCKER / "programs"
    return _build(engine, _Recipe(_PROGRAMS, _trixie(engine), folder / "Dockerfile", (), lambda: folder))


def _vllm(engine: Engine) -> str:
    folder = _DOCKER / "vllm"
    inputs = (folder / "requirements.lock", folder / "make_model.py")

    def context() -> Path:
        prepared = _CONTEXTS / "vllm"
        _wheels(inputs[0], "3.11", prepared / "wheels")
        for file in inputs:
            shutil.copy(file, prepared)
        return prepared

    return _build(engine, _Recipe(_VLLM, _trixie(engine), folder / "Dockerfile", inputs, context))


def _llmux(engine: Engine, base: str, name: str) -> str:
    lock = _DOCKER / "requirements.lock"
    inputs = (
        lock,
        *(ROOT / top for top in ("pyproject.toml", "README.md", "LICENSE")),
        *_files_below(ROOT / "llmux"),
    )

    def context() -> Path:
        version = _python_version(engine, base)
        prepared = _CONTEXTS / f"llmux-python{version}"
        _wheels(lock, version, prepared / "wheels")
        shutil.copy(lock, prepared)
        python.build_wheel(prepared)
        return prepared

    return _build(engine, _Recipe(name, base, _DOCKER / "Dockerfile", inputs, context))


def _wheels(lock: Path, python_version: str, target: Path) -> None:
    """Have in `target` what `lock` names: the build container has no package index of this machine's configuration."""
    stamp, wanted = target.with_name(f"{target.name}.lock"), python.digest(lock)
    if target.is_dir() and stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    with step(f"wheels for Python {python_version}"):
        python.download_wheels(lock, python_version, target)
    stamp.write_text(wanted)


def _build(engine: Engine, recipe: _Recipe) -> str:
    """Build an image unless it was built from these very files, and return its name."""
    given = tuple(f"{name}={value}" for name, value in recipe.arguments.items())
    wanted = " ".join(
        (_image_id(engine, recipe.base), python.digest(recipe.dockerfile, *recipe.inputs), *given)
    )
    if _label(engine, recipe.name) == wanted:
        skip(f"image {recipe.name}")
        return recipe.name
    context, before = recipe.context(), _image_id(engine, recipe.name)
    with step(f"image {recipe.name}"):
        run(
            # The host's network: a private engine has no other, and it reaches what the host reaches.
            *("docker", "build", "--network=host", f"--build-arg=BASE={recipe.base}"),
            *(f"--build-arg={argument}" for argument in given),
            *(f"--label={_LABEL}={wanted}", f"--tag={recipe.name}", "--file", recipe.dockerfile, context),
            env=engine.env,
        )
    if before not in {recipe.name, _image_id(engine, recipe.name)}:
        # Stays where a container still uses it.
        succeeds("docker", "image", "rm", before, env=engine.env)
    return recipe.name


def _image_id(engine: Engine, name: str) -> str:
    """Return an image's id; its name where the engine has none."""
    return engine.docker("image", "inspect", "--format={{.Id}}", name) if engine.has_image(name) else name


def _label(engine: Engine, name: str) -> str:
    if not engine.has_image(name):
        return ""
    return engine.docker("image", "inspect", f'--format={{{{index .Config.Labels "{_LABEL}"}}}}', name)


def _python_version(engine: Engine, image: str) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return engine.docker("run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", program)


def remove_all(engine: Engine) -> None:
    """Remove our images from an engine that is not ours; one that a container uses stays, and is named."""
    for name in engine.lines("image", "ls", "--format={{.Repository}}:{{.Tag}}"):
        if name.split(":")[0] in {"llmux", "llmux-base", "llmux-debian"} and not succeeds(
            "docker", "image", "rm", name, env=engine.env
        ):
            say(f"    image {name} stays: a container uses it (docker ps --all)")
