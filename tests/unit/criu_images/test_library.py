"""docs/library.md: every example runs, and no export or error is left out. The wheel's test checks their types."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from llmux import criu_images
from llmux.criu_images import ExitCode, _journals, errors

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/library.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PROGRAM = "\n\n".join(EXAMPLES)
PID = 4_000_000
ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.CriuImagesError)
}


@pytest.fixture
def images(maker, tmp_path):
    """Give a dump of one process that has a log open."""
    log = tmp_path / "app.log"
    log.write_text("logged")
    exe = Path(sys.executable).resolve()
    maker.inventory()
    maker.tree({"pid": PID, "ppid": 0, "pgid": PID, "sid": PID, "threads": [PID]})
    maker.task(PID, {1: 3})
    status = exe.stat()
    maker.files(
        maker.reg(1, "/", mode=Path("/").stat().st_mode),
        maker.reg(2, str(exe), size=status.st_size, mode=status.st_mode),
        maker.reg(3, str(log), size=6, mode=log.stat().st_mode),
    )
    return Path(maker.directory)


@pytest.mark.root
def test_the_examples_run_from_top_to_bottom(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_journals, "DEFAULT_DIRECTORY", tmp_path / "journals")
    log = tmp_path / "app.log"
    names: dict[str, object] = {"__name__": "example"}
    for example in EXAMPLES:
        exec(compile(example.replace("/share/dump", str(images)), "docs/library.md", "exec"), names)
        if "manifest" in names and "made" not in names:
            log.unlink(missing_ok=True)  # as in a fresh container
    said = capsys.readouterr().out
    assert f"{log} regular file 6 {PID} fd" in said
    assert f"place file {log}" in said
    assert "1 files carried" in said
    assert log.read_text() == "logged"
    assert not list((tmp_path / "journals").glob("*.json"))


@pytest.mark.parametrize("name", criu_images.__all__)
def test_each_export_is_in_an_example(name):
    assert re.search(rf"\bcriu\.{name}\b", PROGRAM) or f"`{name}`" in TEXT


@pytest.mark.parametrize("name", sorted(ERRORS.keys() - {"CriuImagesError", "WriteError"}))
def test_each_error_stands_beside_its_exit_code(name):
    (row,) = re.findall(rf"^\| (\d) \| `(\w+)` \|.*`{name}`", TEXT, re.MULTILINE)
    assert ExitCode(int(row[0])) is ExitCode[row[1]] is ERRORS[name].exit_code
