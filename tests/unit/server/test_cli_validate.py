"""`llmux validate`: of a configuration, and of a model of a real llmux whose engine is told how to come back."""

from __future__ import annotations

import asyncio
import json

import jsonschema
import pytest
from aiohttp import web
from click.testing import CliRunner

from llmux.server import _app, _cli_validate
from llmux.server._cli_validate import validate_command
from llmux.server._model import Eviction, Process, Weights
from llmux.server._validation import Trial

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
GOOD = {"models": {"m": {"model_path": "x", "port": 8001, "engine": "tiny"}}}


def validate(*argv, **environment):
    return CliRunner().invoke(validate_command, list(map(str, argv)), env=environment)


# ---- a configuration ----


@pytest.mark.parametrize("name", ["c.json", "c.yaml"])
def test_a_good_configuration_is_fine(tmp_path, name):
    (tmp_path / name).write_text(json.dumps(GOOD | {"warmup": True}))
    done = validate("--config", tmp_path / name)
    assert done.exit_code == 0
    assert "note: warmup: nothing is warmed up" in done.stdout
    assert f"{tmp_path / name}: fine, one model: m" in done.stdout


def test_every_fault_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("prot = 1\nmax_awake = 0\n")
    done = validate("--config", tmp_path / "c.toml")
    assert done.exit_code == 2
    for fault in ("models: is required", "prot: unknown field; did you mean 'port'?", "max_awake: should be"):
        assert fault in done.stderr


def test_what_is_no_text_of_its_format_is_told(tmp_path):
    (tmp_path / "c.yaml").write_text("models: [\n")
    done = validate("--config", tmp_path / "c.yaml")
    assert done.exit_code == 2
    assert "line 2 column 1" in done.stderr


def test_what_this_machine_cannot_hold_is_told_where_that_is_asked(tmp_path):
    large = GOOD["models"]["m"] | {"resources": {"host_memory": "900TiB"}}
    (tmp_path / "c.json").write_text(json.dumps({"models": {"m": large}}))
    assert validate("--config", tmp_path / "c.json").exit_code == 0
    done = validate("--here", "--config", tmp_path / "c.json")
    assert done.exit_code == 1
    assert "models.m.resources.host_memory" in done.stderr


def test_what_models_miss_for_want_of_a_program_is_told_where_that_is_asked(tmp_path):
    place = {"checkpoint": {"criu_path": str(tmp_path / "criu"), "images_dir": str(tmp_path)}}
    models = {name: {"model_path": "x", "port": port} for name, port in (("small", 8001), ("large", 8002))}
    (tmp_path / "c.json").write_text(json.dumps({"models": models} | place))
    assert validate("--config", tmp_path / "c.json").exit_code == 0
    done = validate("--here", "--config", tmp_path / "c.json", PATH=str(tmp_path))
    assert done.exit_code == 1
    assert "\n  small and large sleep on disk, and " in done.stderr
    said = "\n  no program vllm on PATH: small and large cannot start without it. Install vLLM here"
    assert said in done.stderr
    assert f"\n`llmux doctor --config {tmp_path}/c.json` says what mends it" in done.stderr


def test_a_models_path_that_is_not_there_is_told_where_that_is_asked(tmp_path):
    model = {"port": 8001, "engine": "tiny", "eviction": {"process": "stop"}}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"models": {"m": model | {"model_path": f"{tmp_path}/gone"}}}))
    assert validate("--config", path).exit_code == 0
    done = validate("--here", "--config", path)
    assert done.exit_code == 1
    said = f"\n  {tmp_path}/gone does not exist: m cannot start without it. Correct model_path, or mount it"
    assert said in done.stderr


def test_a_secret_that_everybody_can_read_is_told_where_that_is_asked(tmp_path):
    (tmp_path / "key").write_text("x" * 24)
    (tmp_path / "key").chmod(0o644)
    keyed = {"access": {"keys": {"k": {"file": str(tmp_path / "key")}}}}
    (tmp_path / "c.json").write_text(json.dumps(GOOD | keyed))
    done = validate("--here", "--config", tmp_path / "c.json")
    assert done.exit_code == 1
    assert f"access.keys.k.file: everybody on this machine can read {tmp_path}/key" in done.stderr


def test_programs_are_told_of_a_configuration_as_json(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(GOOD | {"warmup": True}))
    told = json.loads(validate("--json", "--config", path).stdout)
    assert (told["path"], told["faults"], told["models"]) == (str(path), [], ["m"])
    assert told["remarks"][0].startswith("warmup: ")
    for fault, text in (("prot: unknown", json.dumps(GOOD | {"prot": 1})), ("it is not JSON", "{")):
        path.write_text(text)
        done = validate("--json", "--config", path)
        assert done.exit_code == 2
        assert json.loads(done.stdout)["faults"][0].startswith(fault)
    large = GOOD["models"]["m"] | {"resources": {"host_memory": "900TiB"}}
    path.write_text(json.dumps({"models": {"m": large}}))
    done = validate("--json", "--here", "--config", path)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["faults"][0].startswith("models.m.resources.host_memory")


def test_the_schema_is_printed():
    jsonschema.Draft202012Validator(json.loads(validate("--schema").stdout)).validate(GOOD)


# ---- a model ----


class Engine:
    """Completes each prompt alike, until it is told to come back as another; tells log-probabilities if it has them."""

    def __init__(self) -> None:
        self.has_logprobs = True
        self.asked = 0
        self.changes_at: int | None = None
        self.token = "c"
        self.drift = 0.0

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "logprobs" in body and not self.has_logprobs:
            return web.json_response({"error": {"message": "no logprobs here"}}, status=400)
        self.asked += 1
        changed = self.changes_at is not None and self.asked > self.changes_at
        tokens = ["a", "b", self.token if changed else "c"]
        logprobs = {"tokens": tokens, "token_logprobs": [None, -1.0, -2.0 - (self.drift if changed else 0)]}
        choice = {"text": "".join(tokens), "logprobs": logprobs if self.has_logprobs else None}
        return web.json_response({"choices": [choice]})


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
async def hands(serve, make_hands, engine):
    app = web.Application()
    app.router.add_post("/v1/completions", engine.complete)
    return make_hands(await serve(app))


@pytest.fixture
async def check(serve, make_driver, hands):
    """Give a function that validates the model `m`."""
    url = str(await serve(_app.build(make_driver({"m": hands}))))

    async def run(*argv, model="m"):
        return await asyncio.to_thread(validate, model, *argv, "--host", url)

    return run


async def test_a_model_that_comes_back_as_it_was_is_the_same(check, engine):
    done = await check("--evictions", "discard:checkpoint", "--evictions", "retain:keep_running")
    assert done.exit_code == 0, done.stdout + done.stderr
    head, *rows = done.stdout.splitlines()
    assert "log-probabilities" in head
    assert [row.split()[:2] for row in rows] == [["discard", "checkpoint"], ["retain", "keep_running"]]
    for row in rows:
        assert "9 of 9" in row
        assert "within 0" in row
        assert row.rstrip().endswith("the same")
    assert engine.asked == 12


async def test_each_way_of_sleeping_is_tried_and_what_cannot_be_here_is_left_out(check):
    done = await check()
    assert done.exit_code == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 9
    (refused,) = (row for row in done.stdout.splitlines() if "not tried: no driver" in row)
    assert refused.split("  ")[0] == "retain, offload, discard"
    assert done.stdout.count("the same") == 7


@pytest.mark.parametrize(
    ("given_back", "said"),
    [
        ({"host_memory": -24_576, "gpu_memory:0": 0}, "nothing"),
        ({}, "nothing"),
        ({"host_memory": 1 << 31, "gpu_memory:0": 4096}, "2 GiB host memory"),
        ({"host_memory": -(1 << 31), "gpu_memory:0": 1 << 31}, "-2 GiB host memory, 2 GiB gpu memory 0"),
    ],
)
def test_what_a_sleep_gives_back_is_said_of_what_is_worth_it(given_back, said):
    assert _cli_validate._given_back(Trial(DISK, given_back=tuple(given_back.items()))) == said


async def test_what_is_asked_for_by_name_and_refused_is_a_failure(check):
    done = await check("--evictions", "retain:cuda_suspend")
    assert done.exit_code == 1
    assert "not tried: no driver" in done.stdout


async def test_a_model_that_says_something_else_afterwards_is_found(check, engine):
    engine.changes_at, engine.token = 6, "x"
    done = await check("--evictions", "retain:keep_running")
    assert done.exit_code == 1
    assert "3 of 9 tokens differ" in done.stdout


async def test_one_that_is_less_sure_of_it_is_found_too_unless_that_is_forgiven(check, engine):
    engine.changes_at, engine.drift = 6, 0.001
    done = await check("--evictions", "retain:keep_running")
    assert done.exit_code == 1
    assert "a log-probability differs by 0.001" in done.stdout
    engine.asked = 0
    assert (await check("--evictions", "retain:keep_running", "--tolerance", "0.01")).exit_code == 0


async def test_what_differs_without_any_sleep_is_forgiven(check, engine):
    engine.changes_at, engine.drift = 3, 0.5
    assert (await check("--evictions", "retain:keep_running")).exit_code == 0


async def test_an_engine_without_log_probabilities_is_compared_by_its_text(check, engine):
    engine.has_logprobs = False
    done = await check("--evictions", "retain:keep_running", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["tokens"], told["differing_tokens"], told["largest_logprob_difference"]) == (3, 0, None)


async def test_a_wake_that_is_a_cold_start_is_no_success(check, hands):
    hands.broken.add("restore")
    done = await check("--evictions", "discard:checkpoint", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["wake_kind"] == "cold_start"
    assert "it woke by a cold_start" in told["problem"]
    assert "restore is broken" in told["problem"]


async def test_a_sleep_that_fails_is_no_success(check, hands):
    hands.broken.add("dump")
    done = await check("--evictions", "discard:checkpoint")
    assert done.exit_code == 1
    assert "dump is broken" in done.stdout


async def test_what_is_no_eviction_is_wrong_use(check):
    for text in ("nap", "retain:stop:x", "retain"):
        done = await check("--evictions", text)
        assert done.exit_code == 2
        assert "is none of all, retain:keep_running" in done.stderr


async def test_a_model_that_is_not_there_is_told(check):
    done = await check(model="nobody")
    assert done.exit_code == 1
    assert "'nobody' does not exist" in done.stderr


def test_without_llmux_it_says_so():
    done = validate("m", "--host", "127.0.0.1:9")
    assert done.exit_code == 3
