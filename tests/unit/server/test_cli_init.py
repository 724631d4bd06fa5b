"""`llmux init` as its user meets it."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, suppress

import pytest
from click.testing import CliRunner

from llmux.server import config
from llmux.server._cli_init import init_command


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models/Tiny"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "llmux_tiny"}))
    (directory / "model.safetensors").write_bytes(b"x")
    return directory.parent


def init(*argv, home):
    env = {"HOME": str(home), "HF_HOME": None, "HF_HUB_CACHE": None, "XDG_CACHE_HOME": None}
    return CliRunner().invoke(init_command, list(map(str, argv)), env=env)


@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_it_writes_what_it_finds_and_that_is_a_configuration(tmp_path, models, name):
    done = init("--models", models, "--output", tmp_path / name, home=tmp_path)
    assert done.exit_code == 0, done.output
    assert f"found {models}/Tiny (1 bytes of weights)" in done.stdout
    assert f"llmux serve --config {tmp_path / name}" in done.stdout
    found = config.load(tmp_path / name)
    assert found.models["tiny"].model_path == f"{models}/Tiny"
    assert found.models["tiny"].engine == "tiny"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "models"]


def test_weights_are_told_in_mib(tmp_path, models):
    (models / "Tiny/model.safetensors").write_bytes(bytes(974222))
    done = init("--models", models, "--output", tmp_path / "c.yaml", home=tmp_path)
    assert f"found {models}/Tiny (0.93 MiB of weights)" in done.stdout


def test_the_cache_is_looked_through_unless_it_is_left_out(tmp_path, models):
    place = tmp_path / ".cache/huggingface/hub/models--org--Some"
    (place / "refs").mkdir(parents=True)
    (place / "refs/main").write_text("abc")
    (place / "snapshots").mkdir()
    (models / "Tiny").rename(place / "snapshots/abc")
    done = init("--output", "-", home=tmp_path)
    assert config.parse(done.stdout, "c.yaml").models["some"].model_path == "org/Some"
    done = init("--output", tmp_path / "c.yaml", home=tmp_path)
    assert f"read from {tmp_path}/.cache/huggingface/hub (" in done.stdout
    done = init("--output", "-", "--no-cache", home=tmp_path)
    assert done.exit_code == 1
    assert "no model was found (looked at: nowhere)" in done.stderr


def test_a_file_that_is_there_stays_unless_told_otherwise(tmp_path, models):
    output = tmp_path / "c.yaml"
    output.write_text("mine")
    output.chmod(0o600)
    done = init("--models", models, "--output", output, home=tmp_path)
    assert (done.exit_code, output.read_text()) == (1, "mine")
    assert "is there already; --force replaces it" in done.stderr
    assert init("--models", models, "--output", output, "--force", home=tmp_path).exit_code == 0
    assert "tiny" in config.load(output).models
    assert output.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_written_through(tmp_path, models):
    output, elsewhere = tmp_path / "c.yaml", tmp_path / "elsewhere"
    output.symlink_to(elsewhere)
    assert init("--models", models, "--output", output, home=tmp_path).exit_code == 1
    assert init("--models", models, "--output", output, "--force", home=tmp_path).exit_code == 0
    assert not elsewhere.exists()
    assert not output.is_symlink()


@pytest.fixture
def taken():
    """Have somebody listen on a port; where somebody else has it already, that is as good."""
    with ExitStack() as stack:

        def take(port):
            with suppress(OSError):
                stack.enter_context(socket.create_server(("", port)))

        yield take


def test_no_port_is_chosen_for_an_engine_that_somebody_listens_on(tmp_path, models, taken):
    taken(8001)
    found = config.parse(init("--models", models, "--output", "-", home=tmp_path).stdout, "c.yaml")
    assert found.models["tiny"].port > 8001


@pytest.mark.parametrize("name", ["c.yaml", "c.json", "-"])
def test_another_port_than_usual_is_told(tmp_path, models, taken, name):
    taken(3000)
    done = init("--models", models, "--output", name if name == "-" else tmp_path / name, home=tmp_path)
    text = done.stdout if name == "-" else (tmp_path / name).read_text()
    found = config.parse(text, "c.json" if name == "c.json" else "c.yaml")
    assert found.port > 3000
    assert f"port 3000 is taken, so port {found.port} was chosen; " in done.stderr
    assert f"LLMUX_HOST=localhost:{found.port}" in done.stderr
    assert ("# Port 3000 was taken when this was written." in text) == (name != "c.json")


def test_host_and_port_are_said_and_where_llmux_reads_and_writes(tmp_path, models):
    done = init("--models", models, "--output", tmp_path / "c.json", home=tmp_path)
    written = json.loads((tmp_path / "c.json").read_text())
    found = config.load(tmp_path / "c.json")
    assert (written["host"], written["port"]) == (found.host, found.port)
    for place in (found.checkpoint.images_dir, found.state_dir, found.log_dir):
        assert f" in {place}" in done.stdout
    assert "huggingface" not in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--output", "/nowhere/c.yaml"), "cannot write /nowhere/c.yaml: No such file or directory"),
        (("--output", "c.toml"), "c.toml ends in none of .yaml, .yml, .json"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path, models, argv, said):
    done = init("--models", models, *argv, home=tmp_path)
    assert done.exit_code in {1, 2}
    assert said in done.stderr
