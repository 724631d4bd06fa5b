"""LoRA adapters by vLLM's calls: what they answer, what is refused, what is kept in memory and what a sleep leaves."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from llmux.tiny_engine._train import CORPUS, train
from llmux.tiny_engine._train_adapter import train_adapter

from .conftest import running

_TEXT = CORPUS.read_text()[:2000]
_QUESTION = _TEXT.partition(".")[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    directory = tmp_path_factory.mktemp("base")
    train(directory, [_TEXT], 0, epochs=8)
    return directory


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Three adapters for the model, of different seeds."""
    directories = [tmp_path_factory.mktemp(f"adapter{seed}") for seed in range(3)]
    for seed, directory in enumerate(directories, start=1):
        train_adapter(base, directory, [_TEXT], seed)
    return directories


@pytest.fixture(scope="module")
def calls():
    """Allow adapters to be loaded at run time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
        yield


@pytest.fixture
def lora(base, calls, tmp_path):
    """Start an engine that takes adapters at run time."""
    return lambda *options: running(base, tmp_path, "--enable-lora", *options)


@pytest.fixture(scope="module")
def willing(base, calls, tmp_path_factory):
    """One engine for the adapters that it refuses."""
    with running(base, tmp_path_factory.mktemp("willing"), "--enable-lora") as started:
        yield started


def _load(engine, name, path, **fields):
    return engine.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path), **fields})


def _answer(engine, model):
    return engine.answer(_QUESTION, model=model)


def _cards(engine):
    return {card["id"]: card for card in engine.get("/v1/models").json["data"]}


def test_adapters_answer_otherwise_than_their_model_and_than_each_other(lora, adapters):
    with lora("--max-loras", "2") as engine:
        loaded = _load(engine, "first", adapters[0])
        assert (loaded.status, loaded.text) == (200, "Success: LoRA adapter 'first' added successfully.")
        _load(engine, "second", adapters[1])
        answers = [_answer(engine, model) for model in ("tiny", "first", "second")]
        assert len(set(answers)) == 3
        assert _cards(engine)["first"]["parent"] == "tiny"
        assert _cards(engine)["first"]["root"] == str(adapters[0])
        assert _cards(engine)["tiny"]["parent"] is None
        removed = engine.post("/v1/unload_lora_adapter", {"lora_name": "first"})
        assert (removed.status, removed.text) == (
            200,
            "Success: LoRA adapter 'first' removed successfully.",
        )
        assert engine.chat(model="first").status == 404
        assert set(_cards(engine)) == {"tiny", "second"}
        assert [_answer(engine, model) for model in ("tiny", "second")] == [answers[0], answers[2]]


def test_an_adapters_answer_bears_its_name(lora, adapters):
    with lora("--lora-modules", f"first={adapters[0]}") as engine:
        body = engine.chat(model="first", nonce="n").json
        assert body["model"] == body["signature"]["model"] == "first"


def test_calls_that_cannot_be_done_are_refused_as_vllm_refuses_them(lora, adapters, tmp_path):
    with lora("--max-lora-rank", "8") as engine:
        assert _load(engine, "", adapters[0]).json["error"]["type"] == "InvalidUserInput"
        assert _load(engine, "first", tmp_path / "nowhere").status == 404
        assert _load(engine, "first", adapters[0]).status == 200
        again = _load(engine, "first", adapters[1])
        assert (again.status, again.json["error"]["type"]) == (400, "InvalidUserInput")
        assert "load_inplace" in again.json["error"]["message"]
        before = _answer(engine, "first")
        assert _load(engine, "first", adapters[1], load_inplace=True).status == 200
        assert _answer(engine, "first") != before
        assert engine.post("/v1/unload_lora_adapter", {}).status == 400
        assert engine.post("/v1/unload_lora_adapter", {"lora_name": "other"}).status == 404
        assert _load(engine, ["first"], adapters[0]).json["error"]["param"] == "lora_name"


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("adapter_config.json", b"{}", "KeyError"),
        ("adapter_config.json", b'{"r": 0, "lora_alpha": 1}', "r is 0"),
        ("adapter_config.json", b'{"r": 64, "lora_alpha": 1}', "max_lora_rank 16"),
        ("adapter_model.safetensors", b"", "safetensors"),
        ("adapter_config.json", b'{"r": 3, "lora_alpha": 1}', "asks for"),
    ],
)
def test_a_damaged_adapter_is_refused_with_what_is_wrong(  # noqa: PLR0917 - fixtures and parameters
    willing, adapters, tmp_path, file, content, says
):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in adapters[0].iterdir():
        (broken / path.name).write_bytes(content if path.name == file else path.read_bytes())
    refused = _load(willing, "broken", broken)
    assert refused.status == 500
    assert says in refused.json["error"]["message"]
    assert set(_cards(willing)) == {"tiny"}


def test_without_enable_lora_an_adapter_is_refused(base, calls, adapters, tmp_path):
    with running(base, tmp_path) as engine:
        refused = _load(engine, "first", adapters[0])
        assert refused.status == 500
        assert "--enable-lora" in refused.json["error"]["message"]


def test_of_more_adapters_than_fit_the_least_recently_used_is_read_again(lora, adapters):
    modules = [f"a{number}={path}" for number, path in enumerate(adapters)]
    with lora("--max-loras", "1", "--max-cpu-loras", "2", "--lora-modules", *modules) as engine:
        assert engine.metric("tiny:cached_adapters") == 2
        answers = [_answer(engine, f"a{number}") for number in range(3)]
        assert len(set(answers)) == 3
        assert [_answer(engine, f"a{number}") for number in range(3)] == answers
        assert engine.metric("tiny:cached_adapters") == 2


def test_adapters_beyond_max_loras_wait_for_their_turn(lora, adapters):
    modules = [f"a{number}={path}" for number, path in enumerate(adapters)]
    with lora("--max-cpu-loras", "3", "--lora-modules", *modules) as engine:
        alone = [_answer(engine, f"a{number}") for number in range(3)]
        with ThreadPoolExecutor() as pool:
            together = list(pool.map(lambda number: _answer(engine, f"a{number % 3}"), range(9)))
        assert together == alone * 3


@pytest.mark.parametrize("level", [1, 2])
def test_adapters_are_there_again_after_a_sleep(lora, adapters, level):
    with lora("--lora-modules", f'{{"name": "first", "path": "{adapters[0]}"}}') as engine:
        before = _answer(engine, "first")
        engine.post(f"/sleep?level={level}")
        engine.post("/wake_up")
        engine.post("/collective_rpc", {"method": "reload_weights"})
        assert engine.metric("tiny:cached_adapters") == (1 if level == 1 else 0)
        assert _answer(engine, "first") == before
