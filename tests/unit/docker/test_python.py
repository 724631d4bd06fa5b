import sys
import venv
from pathlib import Path

import pytest

from llmux_setup.python import put_on_path
from llmux_setup.shell import output, succeeds


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    place = tmp_path / "environment"
    venv.create(place, symlinks=True)
    return place


def test_an_environment_finds_what_was_put_on_its_path_however_often(
    environment: Path, tmp_path: Path
) -> None:
    package = tmp_path / "a cache/pycriu_of_ours"
    package.mkdir(parents=True)
    (package / "images_reader.py").touch()
    asked = (environment / "bin/python", "-c", "import images_reader; print(images_reader.__file__)")
    assert not succeeds(*asked)
    for _ in range(2):
        put_on_path(package, environment)
        assert output(*asked) == str(package / "images_reader.py")
    assert not succeeds(sys.executable, *asked[1:])


def test_an_environment_runs_on_where_that_was_removed(environment: Path, tmp_path: Path) -> None:
    put_on_path(tmp_path / "gone", environment)
    assert "gone" not in output(environment / "bin/python", "-c", "import sys; print(*sys.path)")
