"""Sleeping and waking: what is kept, what is gone, what is refused meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

_RELOAD = {"method": "reload_weights"}


def _holds(pid: int, needle: bytes) -> bool:
    """Say whether the process has the bytes anywhere in its writable memory."""
    with Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_, last = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and "psm_" not in last:
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
    return False


def test_level_1_keeps_the_weights_aside(start):
    with start() as engine:
        before = engine.answer()
        assert engine.post("/sleep?level=1").status == 200
        assert engine.metric("tiny:weight_bytes") == 0
        assert engine.chat().status == 503
        assert engine.get("/health").status == 200
        assert engine.get("/is_sleeping").json == {"is_sleeping": True}
        assert engine.post("/wake_up").status == 200
        assert engine.answer() == before


def test_level_2_drops_the_weights_until_they_are_reloaded(start, models):
    signature = (models[0] / "model.safetensors").read_bytes()[-40_000:-39_900]
    with start() as engine:
        worker = engine.get("/instance").json["worker_pid"]
        before = engine.answer()
        assert _holds(worker, signature)
        engine.post("/sleep?level=2")
        assert not _holds(worker, signature)
        assert engine.post("/collective_rpc", _RELOAD).json["error"]["code"] == 500
        engine.post("/wake_up?tags=weights")
        assert engine.get("/is_sleeping").json == {"is_sleeping": True}
        engine.post("/wake_up?tags=kv_cache")
        assert engine.get("/is_sleeping").json == {"is_sleeping": False}
        refused = engine.chat()
        assert refused.status == 503
        assert "reload_weights" in refused.json["error"]["message"]
        assert engine.post("/collective_rpc", _RELOAD).status == 200
        assert engine.answer() == before


@pytest.mark.parametrize(("mode", "finish", "tokens"), [("abort", "abort", None), ("wait", "length", 20)])
def test_a_running_request_is_aborted_or_waited_for(start, mode, finish, tokens):
    with start("--token-delay", "0.05") as engine, ThreadPoolExecutor() as pool:
        asked = pool.submit(engine.chat, ignore_eos=True, nonce="n")
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 1, "the request runs")
        assert engine.post(f"/sleep?level=2&mode={mode}").status == 200
        answer = asked.result(10).json
        assert answer["choices"][0]["finish_reason"] == finish
        assert ("signature" in answer) == (finish == "length")
        assert tokens in {None, answer["usage"]["completion_tokens"]}


def test_a_kept_request_goes_on_after_level_2_and_the_reload(start):
    with start("--token-delay", "0.05") as engine, ThreadPoolExecutor() as pool:
        asked = pool.submit(engine.answer)
        engine.until(lambda: engine.metric("vllm:num_requests_running") == 1, "the request runs")
        engine.post("/sleep?level=2&mode=keep")
        engine.post("/wake_up")
        engine.post("/collective_rpc", _RELOAD)
        assert asked.result(10) == engine.answer()
