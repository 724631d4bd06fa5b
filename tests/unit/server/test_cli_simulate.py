import json

import pytest
from click.testing import CliRunner

from llmux.server._cli import cli
from llmux.server.scheduling.measured import Measured


def _run(*arguments, text=None):
    return CliRunner().invoke(cli, [str(a) for a in arguments], input=text)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(_run("trace", "generate", "--seconds", 60, "--models", 2).stdout)
    return path


def test_a_generated_trace_is_replayed_with_every_policy(trace):
    done = _run("simulate", trace)
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:5]] == [
        "fair",
        "fifo",
        "cost_aware",
        "time_slice",
    ]
    assert "Under fair no request waits longer than" in done.stdout


def test_json_and_a_picture(trace, tmp_path):
    done = _run("simulate", trace, "--policy", "fair", "--json", "--svg", tmp_path / "out.svg")
    figures = json.loads(done.stdout)
    assert list(figures["policies"]) == ["fair"]
    assert figures["policies"]["fair"]["worst_turn"] <= figures["bound"]
    assert (tmp_path / "out.svg").read_text().startswith("<svg")


def test_a_picture_that_cannot_be_written(trace, tmp_path):
    done = _run("simulate", trace, "--svg", tmp_path / "none" / "out.svg")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize("kind", ["poisson", "bursts", "diurnal", "alternation"])
def test_each_kind_of_trace_is_one(kind):
    made = _run("trace", "generate", "--kind", kind, "--seconds", 100, "--zipf", 1)
    assert _run("simulate", "-", "--policy", "fifo", text=made.stdout).exit_code == 0


def test_bad_lines_are_named_together_up_to_a_limit():
    done = _run("simulate", "-", text='{"at": 1}\n' * 25)
    assert done.exit_code == 2
    assert "standard input cannot be used" in done.stderr
    assert "line 1, column 1: model: is missing" in done.stderr
    assert "line 20, column 1" in done.stderr
    assert "line 21" not in done.stderr
    assert "and 5 more" in done.stderr


def test_an_empty_trace_and_one_that_is_no_text(tmp_path):
    assert "there is no request" in _run("simulate", "-", text="\n").stderr
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    done = _run("simulate", tmp_path / "bytes")
    assert done.exit_code == 2
    assert "not UTF-8" in done.stderr


def test_a_nodes_file(trace, tmp_path):
    node = tmp_path / "node.json"
    node.write_text(
        json.dumps({"capacity": {"gpu": 1}, "models": {m: {"needs": {"gpu": 1}} for m in ("m1", "m2")}})
    )
    assert _run("simulate", trace, "--node", node).exit_code == 0
    node.write_text(json.dumps({"capacity": {"gpu": 1}, "models": {"m1": {"needs": {"gpu": 1}}}}))
    assert "has no 'm2'" in _run("simulate", trace, "--node", node).stderr
    node.write_text("{}")
    done = _run("simulate", trace, "--node", node)
    assert done.exit_code == 2
    assert "capacity: field required" in done.stderr


def test_an_access_log_becomes_a_trace(tmp_path):
    log = tmp_path / "access.log"
    log.write_text('h - - [10/Oct/2025:13:55:36 +0000] "GET /?model=a HTTP/1.1" 200 1\nnonsense\n')
    refused = _run("trace", "import", log)
    assert refused.exit_code == 2
    assert "line 2, column 1" in refused.stderr
    done = _run("trace", "import", log, "--skip-bad")
    assert json.loads(done.stdout) == {"at": 0.0, "model": "a"}
    assert "1 lines of" in done.stderr


def test_costs_as_a_server_measured_them(trace, tmp_path):
    file = tmp_path / "measured.json"
    measured = Measured().seen("m1", "wake:checkpoint", 30.0).seen("m2", "wake:checkpoint", 30.0)
    file.write_text(json.dumps({**measured.as_data(), "amounts": {}}))
    done = _run("simulate", trace, "--policy", "fifo", "--json", "--measured", file)
    assert json.loads(done.stdout)["policies"]["fifo"]["longest"] >= 30
    file.write_text('{"version": 2}')
    refused = _run("simulate", trace, "--measured", file)
    assert refused.exit_code == 2
    assert "version: 2 is not 1" in refused.stderr
