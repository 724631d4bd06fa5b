"""An engine's life before a real HTTP server; the process and the sandbox around it are stood in for."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from dataclasses import replace

import pytest
from aiohttp import web
from multidict import CIMultiDict

from llmux.server import _life, _ports, config, engines
from llmux.server._criu import CriuSettings, DumpStats
from llmux.server._effect_errors import DumpFailed
from llmux.server._life import EngineLife
from llmux.server._model import Weights
from llmux.server.cuda.devices import Devices, Gpu
from llmux.server.cuda.errors import CudaLockTimedOut, CudaStateLost
from llmux.server.cuda.suspend import CudaSettings
from llmux.server.errors import EngineEnded, EngineNotHealthy


class StandInChild:
    """A child that ends when told."""

    pid = 1000

    def __init__(self):
        self.exit = asyncio.get_running_loop().create_future()

    @property
    def returncode(self):
        return self.exit.result() if self.exit.done() else None

    async def wait(self):
        return await asyncio.shield(self.exit)

    async def terminate(self, _grace):
        self.exit.set_result(-15)


class StandInSandbox:
    init_pid = 4711
    berth = None
    closed = False

    async def close(self):
        self.closed = True


class Api:
    """vLLM's API as far as a life uses it; healthy after so many questions."""

    def __init__(self, healthy_after=0):
        self.healthy_after = healthy_after
        self.called = []

    def app(self):
        app = web.Application()
        app.add_routes([web.get("/health", self.health), web.post("/{path:.*}", self.note)])
        return app

    async def health(self, _request):
        self.healthy_after -= 1
        return web.Response(status=200 if self.healthy_after < 0 else 503)

    async def note(self, request):
        body = await request.read()
        self.called.append(f"{request.path_qs} {body.decode()}".strip())
        return web.Response()


def leave_a_socket(path):
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(path))


def say(life, words):
    life.log.write_text("an earlier life\n" + words)


@pytest.fixture
async def living(serve, tmp_path):
    """Give a function that makes a life before an API."""
    lives = []

    async def make(api, **settings) -> EngineLife:
        url = await serve(api.app())
        model = config.ModelConfig(model_path="x", port=url.port, **settings)
        engine = engines.make("m", model, tmp_path / "m.log")
        life = EngineLife(
            "m", engine, CriuSettings(), StandInSandbox(), StandInChild(), tmp_path / "m.log", 16, 1.0
        )
        lives.append(life)
        return life

    yield make
    for life in lives:
        await life.close()
        assert life.sandbox.closed
        assert life.ended


async def test_it_is_waited_for_until_it_is_healthy(living):
    life = await living(Api(healthy_after=3))
    await life.until_healthy(5)


async def test_one_that_never_gets_healthy_is_given_up_with_its_last_words(living):
    life = await living(Api(healthy_after=10_000))
    say(life, "loading shard 3\n")
    with pytest.raises(EngineNotHealthy, match=r"within 0\.1 s; the end of .*m\.log: loading shard 3"):
        await life.until_healthy(0.1)


async def test_one_that_ends_meanwhile_is_told_at_once(living):
    life = await living(Api(healthy_after=10_000))
    life.child.exit.set_result(-9)
    with pytest.raises(EngineEnded, match="was killed by signal 9"):
        await life.until_healthy(60)


async def test_sockets_that_it_was_not_seen_to_have_bound_go_with_one_that_is_killed_at_its_start(
    living, tmp_path, monkeypatch
):
    monkeypatch.setattr(_life, "_BINDING", 0.01)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    late, others = temporary / "late", temporary / "others"

    class Dying(Api):
        async def health(self, request):
            life.child.exit.set_result(-9)
            leave_a_socket(late)
            return await super().health(request)

    life = await living(Dying(healthy_after=10_000))
    life.temporary = temporary
    with closing(socket.socket(socket.AF_UNIX)) as somebodys:
        somebodys.bind(str(others))
        with pytest.raises(EngineEnded):
            await life.until_healthy(60)
        assert late.exists()
        await life.close()
        assert not late.exists()
        assert others.exists()


async def test_one_that_was_healthy_leaves_alone_what_it_was_not_seen_to_have_bound(living, tmp_path):
    life = await living(Api())
    life.temporary = tmp_path
    await life.until_healthy(60)
    leave_a_socket(tmp_path / "late")
    await life.close()
    assert (tmp_path / "late").exists()


async def test_its_end_is_told_with_the_exit_code(living):
    life = await living(Api())
    life.child.exit.set_result(3)
    problem = await life.wait()
    assert problem.code == "engine_ended"
    assert "ended with code 3" in problem.message


@pytest.mark.parametrize("healthy_after", [0, 10_000])
async def test_its_fault_is_what_health_says(living, healthy_after):
    life = await living(Api(healthy_after))
    fault = await life.fault()
    assert fault.endswith("/health answers 503: ") if healthy_after else fault == ""


async def test_why_a_hung_one_is_lost_is_told_with_its_last_words(living, monkeypatch):
    monkeypatch.setattr(_life, "_DYING", 0.01)
    life = await living(Api())
    say(life, "waiting for worker 1\n")
    problem = await life.post_mortem("no answer within 5 s")
    assert problem.code == "engine_hung"
    assert "hangs: no answer within 5 s; the end of" in problem.message
    assert "waiting for worker 1" in problem.message


async def test_one_that_answers_nothing_because_it_has_ended_is_told_to_have_ended(living):
    life = await living(Api())
    life.child.exit.set_result(-11)
    problem = await life.post_mortem("connection refused")
    assert problem.code == "engine_ended"
    assert "was killed by signal 11" in problem.message


async def test_discarded_weights_come_back_in_vllms_order(living):
    api = Api()
    life = await living(api)
    await life.quieten(Weights.DISCARD)
    await life.resume(Weights.DISCARD)
    assert api.called == [
        "/sleep?level=2",
        "/wake_up?tags=weights",
        '/collective_rpc {"method": "reload_weights"}',
        "/wake_up?tags=kv_cache",
        "/reset_prefix_cache",
    ]


@pytest.mark.parametrize("answers", [web.HTTPInternalServerError, web.HTTPNotFound, None])
async def test_what_cannot_be_put_by_or_taken_up_is_no_reason_to_fail(
    living, serve, tmp_path, answers, caplog
):
    life = await living(Api())
    options = ("--slot-save-path", str(tmp_path))
    app = web.Application()

    async def refuse(_request):
        raise answers

    if answers:
        app.router.add_get("/slots", refuse)
    model = config.ModelConfig(
        model_path="x", engine="llama.cpp", port=(await serve(app)).port if answers else 9, extra_args=options
    )
    life.engine = engines.make("m", model, tmp_path / "m.log")
    await life.put_by()
    await life.take_up()
    assert caplog.text.count("begins with nothing") == 2


def connected(port):
    return any(port in _ports.connected_ports(table.read_text("ascii")) for table in _ports._TABLES)


async def ask(life):
    """Ask it as llmux does for itself, and as it does for a client."""
    async with life.session.get(life.url / "health") as response:
        await response.read()
    async with life.ask("GET", "/health", CIMultiDict(), b"") as answer:
        await answer.content.read()


async def test_a_connection_is_kept_for_the_next_request_and_closed_before_a_sleep(living):
    life = await living(Api())
    for _ in range(2):
        await ask(life)
    (kept,) = life.session.connector._conns.values()
    assert len(kept) == len(life.wire._idle) == 1
    await life.quieten(Weights.OFFLOAD)
    await ask(life)
    await life._disconnect()  # what a dump begins with
    async with asyncio.timeout(30):
        while connected(life.port):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


async def test_an_idle_connection_is_closed_long_before_engines_do_so(living, monkeypatch):
    monkeypatch.setattr(_life, "_KEPT", 0.05)
    life = await living(Api())
    await ask(life)
    async with asyncio.timeout(30):
        while connected(life.port):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "settings",
    [{"engine": "llama.cpp"}, {"engine": "command", "command": ("serve",)}],
    ids=lambda settings: settings["engine"],
)
async def test_none_is_kept_where_the_engine_may_have_a_thread_for_each(living, settings):
    life = await living(Api(), **settings)
    await ask(life)
    assert not life.session.connector._conns
    assert not life.wire._idle


async def test_none_is_kept_of_the_calls_that_llmux_makes(living):
    life = await living(Api())
    await life.until_healthy(1)
    assert not life.control.connector._conns


GIB = 1 << 30


@pytest.fixture
async def on_gpus(living, driver):
    """Give a life whose engine is two processes with CUDA state, of the stand-in driver, and these."""
    pids = [await asyncio.to_thread(driver.start) for _ in range(2)]
    life = await living(Api())
    life.sandbox.init_pid = os.getpid()
    life.cuda = CudaSettings(
        on_gpus=lambda _pids: {}, free_on_gpus=dict, host_memory=lambda: GIB, lock_timeout=0.05
    )
    return life, pids


def states(driver, pids):
    return {driver.state(pid) for pid in pids}


async def test_what_it_has_on_a_gpu_is_what_nvml_says_of_its_processes(living, machine, monkeypatch):
    life = await living(Api())
    monkeypatch.setattr(life.sandbox, "init_pid", os.getpid())
    assert await life.gpu_memory() is None
    machine.say(f"process 0 {os.getpid()} 5", f"process 1 {os.getpid()} 7", f"process 1 {os.getppid()} 9")
    assert await life.gpu_memory() == 7


async def test_where_nvml_hangs_it_is_not_known(living, machine, monkeypatch):
    monkeypatch.setattr(_life, "_NVML", 0.05)
    life = await living(Api())
    monkeypatch.setattr(life.sandbox, "init_pid", os.getpid())
    machine.say("delay 300", f"process 0 {os.getpid()} 5")
    assert await life.gpu_memory() is None


async def test_it_leaves_its_gpus_and_comes_back(on_gpus, driver):
    life, pids = on_gpus
    await life.suspend(Weights.RETAIN)
    assert states(driver, pids) == {"checkpointed"}
    await life.resume(Weights.RETAIN)
    assert states(driver, pids) == {"running"}


async def test_one_that_cannot_leave_its_gpus_is_as_before(on_gpus, driver):
    life, pids = on_gpus
    busy = driver.tell(pids[1], "busy")
    with pytest.raises(CudaLockTimedOut):
        await life.suspend(Weights.RETAIN)
    assert states(driver, pids) == {"running"}
    busy.unlink()
    await life.resume(Weights.RETAIN)
    assert not life.suspended


async def test_one_whose_cuda_state_is_lost_does_not_come_back(on_gpus, driver):
    life, pids = on_gpus
    driver.tell(pids[1], "fail-checkpoint", "999 failed")
    for work in (life.suspend, life.resume):
        with pytest.raises(CudaStateLost):
            await work(Weights.RETAIN)


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_dump_finds_no_gpu_and_one_that_fails_leaves_it_as_it_was(
    on_gpus, driver, tmp_path, monkeypatch, suspended
):
    life, pids = on_gpus
    seen = []

    async def fail(*_given):
        seen.append(await asyncio.to_thread(states, driver, pids))
        raise DumpFailed("no room", (), "/log")

    monkeypatch.setattr(_life._criu, "dump", fail)
    if suspended:
        await life.suspend(Weights.RETAIN)
    with pytest.raises(DumpFailed):
        await life.dump(tmp_path)
    assert seen == [{"checkpointed"}]
    assert states(driver, pids) == {"checkpointed" if suspended else "running"}


async def test_a_dump_of_what_uses_no_gpu_asks_no_driver(living, tmp_path, monkeypatch):
    life = await living(Api())
    life.sandbox.init_pid = os.getpid()
    monkeypatch.setattr(_life._criu, "dump", _dumped)
    await life.dump(tmp_path)
    assert not life.suspended


async def test_a_dump_where_the_library_is_and_no_gpu_goes_on(on_gpus, driver, tmp_path, monkeypatch):
    life, pids = on_gpus
    driver.directory.joinpath("init").write_text("100")
    monkeypatch.setattr(_life._criu, "dump", _dumped)
    await life.dump(tmp_path)
    assert (life.suspended, states(driver, pids)) == (False, {"running"})


async def test_criu_dumps_what_has_left_its_gpus_without_plugins_and_the_gpus_are_told(
    on_gpus, tmp_path, monkeypatch
):
    life, _pids = on_gpus
    here = Devices((Gpu("GPU-1", "H100"),), "0")
    life.cuda = replace(life.cuda, here=lambda: here)
    given = []
    monkeypatch.setattr(_life._criu, "dump", lambda *all_given: given.append(all_given) or _dumped())
    assert await life.dump(tmp_path) == here
    assert given[0][0].plugins is False
    await life.come_back()
    monkeypatch.setattr(_life, "users", lambda _pid: ())
    assert await life.dump(tmp_path) is None
    assert given[1][0].plugins is True


async def _dumped(*_given):
    await asyncio.sleep(0)
    return DumpStats(0.1, None)
