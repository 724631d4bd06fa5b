"""The wheel, as pip gives it to somebody else: what is in it, its programs, and what importing the library loads."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess  # noqa: TID251 - pip and a Python of its own
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYCRIU = ROOT / ".cache/pycriu"
FIXTURE = ROOT / "tests/fixtures/images/unix_stream"
HEAVY = (
    "llmux.server",
    "llmux.tiny_engine",
    "aiohttp",
    "asyncio",
    "pydantic",
    "rich",
    "click",
    "google.protobuf",
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.defpath, "HOME": "/nonexistent", **environment},
    )


def succeed(*command: str | Path) -> str:
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel as the set-up does."""
    target = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, ROOT)
    (made,) = target.iterdir()
    return made


@pytest.fixture(scope="module")
def binaries(wheel, tmp_path_factory) -> Path:
    """Install the wheel alone, the packages it depends on lent by this Python, and return where its programs are."""
    place = tmp_path_factory.mktemp("venv")
    succeed(sys.executable, "-m", "venv", "--without-pip", place)
    pip = (sys.executable, "-m", "pip", "--python", place / "bin/python", "--disable-pip-version-check")
    succeed(*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel)
    (packages,) = place.glob("lib/python3*/site-packages")
    (packages / "lent.pth").write_text("".join(f"{path}\n" for path in (*site.getsitepackages(), PYCRIU)))
    return place / "bin"


def test_it_has_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = (
        path for path in (ROOT / "llmux").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    assert names == {str(path.relative_to(ROOT)) for path in ours}
    assert {"llmux/py.typed", "llmux/server/criu_stages.sh", "llmux/tiny_engine/corpus.txt"} <= names
    assert {"llmux/server/page/index.html", "llmux/server/page/vendor/preact.mjs"} <= names
    assert not [name for name in names if "test" in name]


def test_the_source_distribution_makes_the_same_wheel(wheel, tmp_path):
    build = (sys.executable, "-m", "build", "--no-isolation")
    succeed(*build, "--sdist", "--outdir", tmp_path, ROOT)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    (unpacked,) = (each for each in tmp_path.iterdir() if each.is_dir())
    succeed(*build, "--wheel", "--outdir", tmp_path / "wheel", unpacked)
    (made,) = (tmp_path / "wheel").iterdir()
    assert made.name == wheel.name
    with zipfile.ZipFile(made) as ours, zipfile.ZipFile(wheel) as other:
        assert set(ours.namelist()) == set(other.namelist())


def test_it_is_the_wheel_that_runs(binaries):
    where = succeed(binaries / "python", "-c", "import llmux.criu_images as it; print(it.__file__)")
    assert where.startswith(str(binaries.parent))


@pytest.mark.parametrize("program", ["llmux", "llmux-criu-images"])
def test_its_programs_run(binaries, program):
    assert succeed(binaries / program, "--help").startswith(f"Usage: {program}")


def test_the_doctor_looks_at_a_machine_without_a_configuration(binaries):
    done = run(binaries / "llmux", "doctor", "--json")
    assert done.returncode in {0, 1}, done.stderr
    assert json.loads(done.stdout)


def test_it_has_the_page_to_show(binaries):
    program = (
        "from aiohttp import web; import asyncio; from llmux.server import _page; "
        "app = web.Application(); _page.add_to(app); asyncio.run(web.AppRunner(app).setup()); "
        "print(sorted(app[_page.PAGE].files)[:3], app[_page.PAGE].files['index.html'].content_type)"
    )
    assert succeed(binaries / "python", "-c", program).endswith("] text/html\n")


def test_the_hook_without_criu_says_how_it_is_run(binaries):
    done = run(binaries / "llmux-criu-hook")
    assert (done.returncode, done.stdout) == (2, "")
    assert "criu dump --action-script llmux-criu-hook" in done.stderr


@pytest.mark.parametrize("name", ["criu_stages.sh", "cuda/bin/cuda-checkpoint"])
def test_what_criu_calls_can_be_run(binaries, name):
    (script,) = binaries.parent.glob(f"lib/python3*/site-packages/llmux/server/{name}")
    assert os.access(script, os.X_OK)


def test_the_cuda_program_without_a_driver_says_so(binaries):
    done = run(binaries / "llmux-cuda-checkpoint", "--get-state", "--pid", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('Error initializing CUDA: "libcuda.so.1 cannot be loaded"')


def test_it_shows_a_dump(binaries):
    assert "Unix sockets (" in succeed(binaries / "python", "-m", "llmux.criu_images", "show", FIXTURE)
    shown = json.loads(succeed(binaries / "llmux-criu-images", "show", FIXTURE, "--json"))
    assert shown["version"] == 1


def test_importing_the_library_loads_no_package_that_it_may_not_need(binaries):
    program = f"import sys, llmux.criu_images; print([name for name in {HEAVY} if name in sys.modules])"
    assert succeed(binaries / "python", "-c", program) == "[]\n"


def test_all_that_restoring_needs_loads_neither_the_server_nor_the_command_line(binaries):
    foreign = ("llmux.server", "aiohttp", "asyncio", "rich", "click")
    program = (
        "import sys, llmux.criu_images as it; [getattr(it, name) for name in it.__all__]; "
        f"print([name for name in {foreign} if name in sys.modules])"
    )
    assert succeed(binaries / "python", "-c", program) == "[]\n"


def test_the_examples_of_the_documentation_are_well_typed(binaries, tmp_path):
    text = (ROOT / "docs/library.md").read_text()
    program = tmp_path / "example.py"
    program.write_text("\n\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)))
    strict = (
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path}",
        "--python-executable",
        binaries / "python",
    )
    done = run(sys.executable, "-m", "mypy", *strict, program)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr
