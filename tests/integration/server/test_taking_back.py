"""What llmux does where criu comes to no end of its own, with a real sandbox and library; real restores are the containers' tests."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmux.criu_images import RawPath
from llmux.criu_images._journal import Kind, Made, format_line
from llmux.criu_images.manifest import MANIFEST_NAME, Host, Manifest
from llmux.server._criu import CriuSettings, restore
from llmux.server._effect_errors import RestoreFailed
from llmux.server._sandbox import Isolation, Sandbox

pytestmark = pytest.mark.root

_LASTING_NAME = "from llmux.criu_images._mount_namespaces import lasting_name; print(lasting_name())"
JOURNALS = Path("/run/llmux/journals")
HOST = Host(
    name="h", kernel="6", machine="x86_64", cpu_model="m", cpu_features=(), criu="4.2.1", llmux="0.1.0"
)


@pytest.fixture(autouse=True)
def place_of_journals() -> Iterator[None]:
    """Take back the directories that only these tests made."""
    new = [path for path in (JOURNALS, JOURNALS.parent) if not path.exists()]
    yield
    for path in new:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Give a checkpoint whose rebuild, it is written, had made `made` and was not taken back."""
    directory = tmp_path / "images"
    directory.mkdir()
    manifest = Manifest(
        created_at=datetime.now(UTC),
        root_task=1000,
        ids=(1000,),
        container_started_ns=1,
        container_started_by="test",
        host=HOST,
        directories=(),
        files=(),
        fingerprint=uuid.uuid4().hex,
    ).sealed()
    (directory / MANIFEST_NAME).write_bytes(manifest.to_json())
    return directory


@pytest.fixture
def made(images: Path, tmp_path: Path) -> Path:
    """Give the file that the stand-in for criu makes, having written a journal as the hook does."""
    return tmp_path / "made"


@pytest.fixture
def settings(images: Path, made: Path, tmp_path: Path) -> CriuSettings:
    seal = json.loads((images / MANIFEST_NAME).read_bytes())["seal"]
    line = format_line(Made(Kind.TEMPORARY, (RawPath(os.fsencode(made)),))).decode().rstrip()
    criu = tmp_path / "criu"
    criu.write_text(
        "#!/bin/sh\n"
        f"mkdir -p -m 0700 {JOURNALS}\n"
        f"echo '{line}' > {JOURNALS}/{seal}.$({sys.executable} -c '{_LASTING_NAME}').json\n"
        f"touch {made}\n"
        "setsid sleep 600 &\n"
        "exec sleep 600\n"
    )
    criu.chmod(0o755)
    return CriuSettings(str(criu), log_dir=tmp_path / "log", run_dir=tmp_path / "run")


async def until_made(made: Path) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(made.exists):  # noqa: ASYNC110 - a file has no event here
            await asyncio.sleep(0.02)


def left(made: Path, settings: CriuSettings, images: Path) -> list[Path]:
    """Return what should not be there any more."""
    seal = json.loads((images / MANIFEST_NAME).read_bytes())["seal"]
    here = [path for path in (made, *JOURNALS.glob(f"{seal}.*.json")) if path.exists()]
    return [*here, *settings.run_dir.iterdir()]


async def killed_amid_a_restore(settings, sandbox, images, made) -> RestoreFailed:
    """Kill the sandbox once its restore has made something; return how that failed."""
    restoring = asyncio.ensure_future(restore(settings, sandbox, images, max_id=1000))  # noqa: TID251
    await until_made(made)
    os.kill(sandbox.init_pid, signal.SIGKILL)
    with pytest.raises(RestoreFailed) as failed:
        await restoring
    return failed.value


async def test_a_restore_that_takes_too_long_is_taken_back(settings, images, made):
    async with await Sandbox.create(Isolation()) as sandbox:
        with pytest.raises(RestoreFailed, match="did not finish within 1 s") as failed:
            await restore(replace(settings, restore_timeout=1), sandbox, images, max_id=1000)
        assert not failed.value.left
        assert left(made, settings, images) == []


async def test_a_restore_that_is_cancelled_is_taken_back(settings, images, made):
    async with await Sandbox.create(Isolation()) as sandbox:
        restoring = asyncio.ensure_future(restore(settings, sandbox, images, max_id=1000))  # noqa: TID251 - the caller's
        await until_made(made)
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
        assert left(made, settings, images) == []


async def test_a_restore_whose_sandbox_dies_is_taken_back_from_outside(settings, images, made):
    async with await Sandbox.create(Isolation()) as sandbox:
        failed = await killed_amid_a_restore(settings, sandbox, images, made)
        assert not failed.left
        assert left(made, settings, images) == []


async def test_what_lies_where_llmux_was_started_is_run_by_nobody(
    settings, images, made, tmp_path, monkeypatch
):
    planted = tmp_path / "home" / "llmux"
    planted.mkdir(parents=True)
    (planted / "__init__.py").write_text(f"open({str(tmp_path / 'was-run')!r}, 'w')\n")
    monkeypatch.chdir(planted.parent)
    async with await Sandbox.create(Isolation()) as sandbox:
        failed = await killed_amid_a_restore(settings, sandbox, images, made)
    assert not failed.left
    assert left(made, settings, images) == []
    assert not (tmp_path / "was-run").exists()
