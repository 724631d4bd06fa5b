"""The virtual environment, the wheels for the image, and pycriu."""

from __future__ import annotations

import hashlib
import platform
import sys
import tempfile
from pathlib import Path

from . import debian
from .paths import CACHE, PYCRIU, ROOT, VENV
from .shell import SetupError, output, run, say, skip, step, succeeds

PYTHON = VENV / "bin" / "python"
# pip takes a wheel only for tags that it is told; manylinux names grow with glibc's version (PEP 600), trixie's is 2.41.
_GLIBC_MINORS = (17, *range(24, 42))
# LangChain and LiteLLM, which tests have ask llmux; LiteLLM's proxy, which llmux is measured beside.
SDKS_LOCK = ROOT / "tests/clients/python/requirements.lock"
LITELLM_LOCK = ROOT / "tests/benchmarks/litellm.lock"
_SYSTEM_PYCRIU = Path("/usr/lib/python3/dist-packages/pycriu")


def digest(*files: Path) -> str:
    """Return one SHA-256 over the files' contents, in the order given."""
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def make_venv() -> None:
    """Make .venv with exactly what requirements.lock names, and the project in it."""
    lock, stamp = ROOT / "requirements.lock", VENV / "llmux-lock"
    wanted = digest(lock, ROOT / "pyproject.toml")
    if stamp.exists() and stamp.read_text() == wanted and succeeds(PYTHON, "-c", "import llmux"):
        skip("Python environment .venv")
        return
    with step("Python environment .venv from requirements.lock"):
        _install(VENV, lock)
        run(*_pip(VENV), "--no-deps", "-e", ROOT)
        stamp.write_text(wanted)


def make_environment(place: Path, lock: Path) -> None:
    """Make an environment at `place` with exactly what `lock` names: programs of others, that our own .venv is no place for."""
    stamp, title = place / "llmux-lock", f"Python environment {place.relative_to(ROOT)}"
    wanted = digest(lock)
    if stamp.exists() and stamp.read_text() == wanted:
        skip(title)
        return
    with step(f"{title} from {lock.relative_to(ROOT)}"):
        _install(place, lock, "--no-compile")  # most of what such programs bring is never imported
        stamp.write_text(wanted)


def _install(place: Path, lock: Path, *options: str) -> None:
    if not succeeds(sys.executable, "-c", "import ensurepip"):
        debian.install("python3-venv", why="Python's venv module")
    if not (place / "bin/python").exists():
        run(sys.executable, "-m", "venv", place)
    run(
        *_pip(place),
        *options,
        # The lock is whole. Resolved anew, `coverage[toml]` without a pin of its own is refused by pip before 23.3.
        *("--no-deps", "--require-hashes"),
        *("-r", lock),
        hint="is a Python package index reachable? see `pip config list`",
    )


def _pip(place: Path) -> tuple[str | Path, ...]:
    return (place / "bin/python", "-m", "pip", "--disable-pip-version-check", "install")


def fetch_pycriu() -> None:
    """Have pycriu to read images with: pure Python that comes with CRIU's packages and is in no package index."""
    if PYCRIU.exists():
        skip("pycriu")
        return
    uri = debian.mirror()
    if uri is None:
        if not _SYSTEM_PYCRIU.exists():
            raise SetupError(
                "pycriu is missing: the unit tests read captured images with it",
                hint=f"install python3-pycriu 4.2 or newer, or put its directory `pycriu` into {PYCRIU}",
            )
        return
    with step("pycriu from Debian testing"), tempfile.TemporaryDirectory(dir=CACHE) as work:
        package = _download_from_testing("python3-pycriu", uri, Path(work))
        run("dpkg-deb", "--extract", package, work)
        PYCRIU.mkdir()
        (Path(work) / _SYSTEM_PYCRIU.relative_to("/")).rename(PYCRIU / "pycriu")


def put_on_path(directory: Path, place: Path) -> None:
    """Have the Python of the environment at `place` find the packages in `directory`, if there are any."""
    packages = output(place / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    Path(packages, f"llmux-{directory.name}.pth").write_text(f"{directory}\n", encoding="utf-8")


def _download_from_testing(package: str, uri: str, work: Path) -> Path:
    """Download a package of Debian testing, its signature checked, without touching the machine's own lists."""
    sources = work / "sources.list"
    # A mirror's Release file may have expired; it must be signed all the same.
    sources.write_text(f"deb [check-valid-until=no] {uri} testing main\n")
    options = (
        *debian.private_lists(work),
        *("-o", f"Dir::Etc::SourceList={sources}"),
        *("-o", "Dir::Etc::SourceParts=/dev/null"),
    )
    run("apt-get", *options, "update")
    run("env", f"--chdir={work}", "apt-get", *options, "download", f"{package}/testing")
    return next(work.glob("*.deb"))


def download_wheels(lock: Path, python_version: str, target: Path) -> None:
    """Download what `lock` names for a Linux container's CPython into `target`; wheels that are there stay."""
    machine = platform.machine()
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBC_MINORS]
    run(
        *(PYTHON, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--require-hashes"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python_version}"),
        *(*platforms, f"--platform=manylinux2014_{machine}", f"--platform=linux_{machine}"),
        *("--dest", target, "-r", lock),
    )


def build_wheel(target: Path) -> Path:
    """Build the project's wheel into `target`, the only one there."""
    for old in target.glob("llmux-*.whl"):
        old.unlink()
    run(PYTHON, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT)
    return next(target.glob("llmux-*.whl"))


def write_locks() -> None:
    """Resolve the dependencies anew: our own, of pyproject.toml, and the ones of programs that are tested or compared with llmux."""
    uv = CACHE / "uv" / "bin" / "uv"
    if not uv.exists():
        with step("uv, which resolves the dependencies"):
            run(sys.executable, "-m", "venv", CACHE / "uv")
            run(CACHE / "uv/bin/python", "-m", "pip", "install", "uv")
    options = ("--quiet", "--upgrade", "--universal", "--generate-hashes", "--no-annotate", "--no-header")
    compiled = (uv, "pip", "compile", *options)
    ours = (*compiled, "--extra=tiny", "--extra=zstd")
    project = ROOT / "pyproject.toml"
    lock, image_lock = ROOT / "requirements.lock", ROOT / "docker/requirements.lock"
    with step(f"locking {lock.name}"):
        run(*ours, "--python-version=3.11", "--extra=otel", "--group=dev", project, "-o", lock)
    with step("locking docker/requirements.lock, the image's part of it"):
        run(*ours, "--python-version=3.12", "-c", lock, project, "-o", image_lock)
    for foreign in (SDKS_LOCK, LITELLM_LOCK):
        with step(f"locking {foreign.relative_to(ROOT)}"):
            run(*compiled, "--python-version=3.11", foreign.with_suffix(".in"), "-o", foreign)
    say("    the virtual environment follows with the next `make setup`")
