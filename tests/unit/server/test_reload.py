"""Another configuration while requests are answered: what it touches, what it leaves alone, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest

from llmux.server import _reload
from llmux.server._capacity import Found, Quantity
from llmux.server._happenings import ConfigurationReloaded
from llmux.server._model import Asleep, Eviction, NotStarted, Process, Running, Starting, Weights
from llmux.server._reload import ConfigFile, Reloader
from llmux.server._setup import make_driver
from llmux.server.errors import (
    ConfigInvalid,
    ConfigUnreadable,
    NodeUnfit,
    Problem,
    RestartNeeded,
    StartRefused,
    UnknownModel,
)

GIB = 1 << 30
NODE = Found(Quantity(64 * GIB, "here"), Quantity(400 * GIB, "there"), {0: 80 * GIB, 1: 80 * GIB})
WARM = Eviction(Weights.RETAIN, Process.KEEP_RUNNING)
TINY = {"model_path": "x", "engine": "tiny", "eviction": {"process": "checkpoint"}}

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


def document(fields=None, **models):
    models = {
        name: {**TINY, "port": 8001 + 10 * number, **each}
        for number, (name, each) in enumerate(models.items())
    }
    return {"models": models} | (fields or {})


class Desk:
    """A driver, its configuration's file, and the hands that were made for it, the latest of each replica."""

    def __init__(self, path, make_fake):
        self.file = ConfigFile(path)
        self.hands = {}
        self.made = []
        self.make_fake = make_fake
        self.prepare = lambda _name, _hands: None

    async def make_hands(self, _settings, placed):
        self.made.append(placed)
        for replica in placed:
            self.hands[replica] = self.make_fake(drain_timeout=0.01)
            self.prepare(replica, self.hands[replica])
        return dict(self.hands)

    def write(self, *args, **models):
        kept_here = {"state_dir": str(self.file.path.parent / "state")}
        self.file.path.write_text(json.dumps(document(*args, **models) | kept_here))

    async def open(self):
        settings = await asyncio.to_thread(self.file.load)
        placed = _reload._capacity.placement(settings, NODE)
        self.driver = make_driver(settings, await self.make_hands(settings, placed), NODE)
        self.reloader = Reloader(self.driver, self.file, settings, NODE, self.make_hands)
        await self.driver.open()

    async def reload(self, *args, **models):
        self.write(*args, **models)
        return await self.reloader.reload()

    def replica(self, name, number=0):
        return self.driver.models[name].replicas[number]

    async def serve(self, *names):
        for name in names:
            async with self.driver.admit(name):
                pass


@pytest.fixture
def desk(tmp_path, make_hands):
    @asynccontextmanager
    async def opened(*args, **models):
        made = Desk(tmp_path / "config.json", make_hands)
        made.write(*args, **models)
        await made.open()
        try:
            yield made
        finally:
            await made.driver.close()

    return opened


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


async def settled(desk):
    await until(lambda: not any(each.becomes for each in desk.driver.replicas))


async def test_nothing_new_changes_nothing(desk):
    async with desk(a={}) as it:
        await it.serve("a")
        life = it.replica("a").life
        done = await it.reload(a={})
        assert (bool(done.changes), done.anew, done.problem) == (False, (), None)
        assert it.replica("a").life is life


async def test_what_is_not_the_drivers_is_read_first_and_taken_with_the_rest(desk):
    said = []

    def prepare(wanted):
        said.append(("read", wanted.max_awake, it.reloader.settings.max_awake))
        if wanted.max_awake == 3:
            raise NodeUnfit(("access.keys.k.file: cannot read it",))
        return lambda: said.append(("taken", wanted.max_awake, it.reloader.settings.max_awake))

    async with desk(a={}) as it:
        it.reloader = Reloader(
            it.driver, it.file, it.reloader.settings, NODE, it.make_hands, others=[prepare]
        )
        await it.reload({"max_awake": 2}, a={})
        assert said == [("read", 2, None), ("taken", 2, None)]
        with pytest.raises(NodeUnfit):
            await it.reload({"max_awake": 3}, a={})
        assert said[2:] == [("read", 3, 2)]
        assert it.reloader.settings.max_awake == 2


async def test_a_model_appears_and_its_checkpoint_is_looked_for_before_it_is_woken(desk, stored):
    async with desk(a={}) as it:
        it.prepare = lambda name, hands: setattr(hands, "stored", stored if name == "b" else None)
        done = await it.reload(a={}, b={})
        assert done.changes.added == ("b",)
        assert tuple(it.driver.served) == ("a", "b")
        await it.serve("b")
        assert it.replica("b").last_wake.kind == "restored"


async def test_a_model_that_goes_refuses_who_waits_drains_who_is_answered_and_leaves_its_checkpoint(
    desk, stored
):
    async with desk(a={}, b={}) as it:
        await it.serve("a", "b")
        hands = it.hands["b"]
        hands.stored = stored
        async with it.driver.admit("b") as admission:
            done = await it.reload(a={})
            assert (done.changes.removed, done.anew) == (("b",), ("b",))
            with pytest.raises(UnknownModel):
                await it.serve("b")
            assert not admission.cut.done()
            assert "b" in it.driver.models
        await until(lambda: "b" not in it.driver.models)
        assert hands.lives[0].closed
        assert hands.stored == stored


async def test_who_waits_for_a_model_that_goes_is_told_so(desk):
    async with desk(a={}, b={}) as it:
        it.hands["b"].gates["cold_start"] = asyncio.Event()
        waiting = soon(it.serve("b"))
        await until(lambda: isinstance(it.replica("b").state, Starting))
        await it.reload(a={})
        with pytest.raises(UnknownModel, match="reloaded without it"):
            await waiting
        assert isinstance(it.replica("b").state, Starting)
        it.hands["b"].gates["cold_start"].set()
        await until(lambda: "b" not in it.driver.models)
        assert it.hands["b"].lives[0].closed


async def test_answers_of_a_model_that_goes_are_cut_off_when_its_drain_is_over(desk):
    brief = {"drain": {"seconds": 0.01, "then": "give_up"}}
    async with desk(a={}, b=brief) as it:
        async with it.driver.admit("b") as admission:
            await it.reload(a={})
            assert (await admission.cut).problem.code == "drain_timeout"
        await until(lambda: "b" not in it.driver.models)
        assert it.driver.suspect(admission, silent=False) is None


async def test_rules_change_in_place_and_the_engine_does_not_notice(desk):
    async with desk(a={}) as it:
        await it.serve("a")
        life = it.replica("a").life
        done = await it.reload(
            {"policy": {"policy_type": "fifo"}, "max_awake": 1, "queue": {"max_waiting": 7}},
            a={"pinned": True, "weight": 3, "timeouts": {"request": 9}, "resources": {"host_memory": "1GiB"}},
        )
        assert done.anew == ()
        replica, rules = it.replica("a"), it.driver.models["a"].rules
        assert (rules.pinned, rules.weight, rules.request_timeout) == (True, 3, 9)
        assert (replica.life, replica.becomes) == (life, None)
        assert replica.sizes.awake["host_memory"] == GIB
        assert it.reloader.settings.max_awake == 1
        assert not life.closed


async def test_another_capacity_is_kept_to(desk):
    async with desk({"max_awake": 1, "policy": {"policy_type": "fifo"}}, a={}, b={}) as it:
        await it.serve("a")
        await it.reload({"max_awake": 2, "policy": {"policy_type": "fifo"}}, a={}, b={})
        await it.serve("b")
        assert isinstance(it.replica("a").state, Running)


async def test_another_command_line_ends_the_engine_holds_who_comes_and_leaves_the_others_alone(desk):
    async with desk(a={}, b={}) as it:
        await it.serve("a", "b")
        others, old = it.replica("b").life, it.hands["a"]
        async with it.driver.admit("a") as admission:
            done = await it.reload(a={"extra_args": ["--new"]}, b={})
            assert done.anew == ("a",)
            held = soon(it.serve("a"))
            await asyncio.sleep(0.01)
            assert not held.done()
            assert not admission.cut.done()
        await held
        assert old.lives[0].closed
        assert len(it.hands["a"].lives) == 1
        assert it.replica("a").last_wake.reason == "its configuration has changed"
        assert it.replica("b").life is others
        assert not others.closed


async def test_a_checkpoint_of_another_start_is_not_used(desk, stored):
    async with desk(a={}) as it:
        await it.serve("a")
        await it.driver.sleep("a")
        other = Problem("checkpoint_of_another_start", "it was started with another command")
        it.prepare = lambda _name, hands: setattr(hands, "stored", other)
        await it.reload(a={"env": {"X": "1"}})
        await settled(it)
        assert isinstance(it.replica("a").state, NotStarted)
        assert it.replica("a").checkpoint_problem == other
        await it.serve("a")
        assert "started with another command" in it.replica("a").last_wake.reason


async def test_a_process_that_is_kept_asleep_is_ended_for_another(desk):
    warm = {"eviction": {"weights": "retain", "process": "keep_running"}}
    async with desk(a=warm) as it:
        await it.serve("a")
        await it.driver.sleep("a")
        life = it.replica("a").life
        assert it.replica("a").state.eviction == WARM
        await it.reload(a=warm | {"model_path": "y"})
        await settled(it)
        assert life.closed
        assert isinstance(it.replica("a").state, NotStarted)


@pytest.mark.parametrize("step", ["cold_start", "quieten", "dump", "restore"])
async def test_what_is_under_way_is_let_finish_first(desk, step):
    async with desk(a={}) as it:
        hands = it.hands["a"]
        if step == "restore":
            await it.serve("a")
            await it.driver.sleep("a")
        elif step != "cold_start":
            await it.serve("a")
        hands.gates[step] = asyncio.Event()
        work = soon(it.driver.sleep("a") if step in {"quieten", "dump"} else it.serve("a"))
        state = type(it.replica("a").state)
        await until(lambda: type(it.replica("a").state) is not state)
        await it.reload(a={"extra_args": ["--new"]})
        for _ in range(20):
            await asyncio.sleep(0)
        assert it.replica("a").becomes
        assert not any(life.closed for life in hands.lives[-1:]) or step == "restore"
        hands.gates[step].set()
        await work
        await it.serve("a")
        assert all(life.closed for life in hands.lives)
        assert len(it.hands["a"].lives) == 1


SUSPENDED = Eviction(Weights.RETAIN, Process.CUDA_SUSPEND)


def on_gpu(index):
    return {"resources": {"gpus": [index], "gpu_memory": "10GiB"}}


def seeing_gpu(index):
    return {"env": {"CUDA_VISIBLE_DEVICES": str(index)}, "resources": {"gpus": 1, "gpu_memory": "10GiB"}}


@pytest.mark.parametrize("having", [on_gpu, seeing_gpu])
async def test_one_that_has_left_its_gpus_comes_back_on_others_and_one_that_has_not_starts_there(
    desk, having
):
    def have_driver(_name, hands):
        hands.has_driver = True

    first, second = having(0), having(1)
    async with desk(a=first, b=first) as it:
        it.prepare = have_driver
        await it.reload(a=first, b=first)
        await it.serve("a", "b")
        life = it.replica("a").life
        await it.driver.sleep("a", SUSPENDED)
        done = await it.reload(a=second, b=second)
        assert done.anew == ("b",)
        await settled(it)
        assert (it.replica("a").life, it.replica("a").state.eviction) == (life, SUSPENDED)
        assert life.hands is it.replica("a").hands is it.hands["a"]
        await it.serve("a")
        assert it.replica("a").life is life


async def test_a_start_that_fails_while_it_is_replaced_refuses_nobody(desk):
    async with desk(a={}) as it:
        it.hands["a"].broken.add("cold_start")
        it.hands["a"].gates["cold_start"] = gate = asyncio.Event()
        held = soon(it.serve("a"))
        await until(lambda: isinstance(it.replica("a").state, Starting))
        await it.reload(a={"extra_args": ["--works"]})
        gate.set()
        await held


async def test_a_model_that_comes_back_while_it_still_goes_is_served_again(desk):
    async with desk(a={}, b={}) as it:
        await it.serve("b")
        old = it.hands["b"]
        async with it.driver.admit("b"):
            await it.reload(a={})
            await it.reload(a={}, b={"weight": 2})
            held = soon(it.serve("b"))
            await asyncio.sleep(0)
            assert tuple(it.driver.served) == ("a", "b")
        await held
        assert old.lives[0].closed
        assert it.driver.models["b"].rules.weight == 2


async def test_the_latest_of_several_reloads_counts(desk):
    async with desk(a={}) as it:
        await it.serve("a")
        async with it.driver.admit("a"):
            await it.reload(a={"extra_args": ["--one"]})
            first = it.hands["a"]
            await it.reload(a={"extra_args": ["--two"]})
        await it.serve("a")
        assert (len(first.lives), len(it.hands["a"].lives)) == (0, 1)


async def test_two_models_change_ports_with_each_other_and_neither_starts_before_the_other_has_ended(desk):
    async with desk(a={"port": 9001}, b={"port": 9002}) as it:
        await it.serve("a", "b")
        async with it.driver.admit("b"):
            await it.reload(a={"port": 9002}, b={"port": 9001})
            held = soon(it.serve("a"))
            await until(lambda: isinstance(it.replica("a").state, Asleep))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not it.hands["a"].lives
        await held
        await it.serve("b")
        assert (it.replica("a").port, it.replica("b").port) == (9002, 9001)


async def test_replicas_come_and_go(desk):
    async with desk(a={"replicas": 2}) as it:
        await it.serve("a")
        life = it.replica("a").life
        await it.reload(a={"replicas": 3})
        await settled(it)
        assert [each.name for each in it.driver.models["a"].replicas] == ["a", "a#2", "a#3"]
        await it.reload(a={})
        await until(lambda: len(it.driver.models["a"].replicas) == 1)
        assert it.replica("a").life is life


async def test_a_new_model_moves_no_other_to_another_gpu(desk):
    small = {"resources": {"gpus": 1, "gpu_memory": "10GiB"}}
    large = {"resources": {"gpus": 1, "gpu_memory": "70GiB"}}
    async with desk(a=small) as it:
        assert it.made[-1] == {"a": (0,)}
        done = await it.reload(a=small, b=large)
        assert it.made[-1] == {"a": (0,), "b": (1,)}
        assert done.anew == ()
        done = await it.reload(a={"resources": {"gpus": [1], "gpu_memory": "10GiB"}}, b=large)
        assert done.anew == ("a",)


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", ConfigUnreadable), ('{"models": {}, "prot": 1}', ConfigInvalid)],
)
async def test_a_wrong_file_changes_nothing_and_what_is_wrong_is_remembered(desk, text, error, caplog):
    async with desk(a={}) as it:
        it.file.path.write_text(text)
        with pytest.raises(error):
            await it.reloader.reload()
        assert it.reloader.last.problem.code in {"config_unreadable", "config_invalid"}
        assert "Nothing has changed: llmux goes on with " in it.reloader.last.problem.hint
        assert "stays as it is" in caplog.text
        assert "Nothing has changed" not in caplog.text  # which has said so
        await it.serve("a")
        await it.reload(a={})
        assert it.reloader.last.problem is None


async def test_what_this_node_cannot_hold_is_refused_as_at_start(desk):
    async with desk(a={}) as it:
        with pytest.raises(NodeUnfit, match=r"models.b.resources.host_memory"):
            await it.reload(a={"weight": 2}, b={"resources": {"host_memory": "900TiB"}})
        assert tuple(it.driver.served) == ("a",)
        assert it.driver.models["a"].rules.weight == 1


async def test_what_needs_a_restart_of_llmux_is_named_and_the_rest_waits_for_it(desk):
    async with desk(a={}) as it:
        with pytest.raises(RestartNeeded, match="what is new in port, watch needs") as refused:
            await it.reload({"port": 3001, "watch": True}, a={"weight": 2})
        assert refused.value.fields == ("port", "watch")
        assert it.driver.models["a"].rules.weight == 1


async def test_nothing_is_reloaded_any_more_when_llmux_ends(desk):
    async with desk(a={}) as it:
        it.driver.refuse_all()
        with pytest.raises(StartRefused, match="stopping"):
            await it.reload(a={}, b={})


async def test_told_to_it_reloads_once_for_each_time(desk):
    async with desk(a={}) as it:
        asked = asyncio.Event()
        task = soon(it.reloader.reload_when(asked))
        it.file.path.write_text("{")
        asked.set()
        await until(lambda: it.reloader.last and it.reloader.last.problem)
        it.write(a={}, b={})
        asked.set()
        await until(lambda: "b" in it.driver.models)
        task.cancel()


async def test_a_file_that_is_replaced_is_read_once_and_not_before_it_stays_the_same(desk, monkeypatch):
    looks = [1, 2, 2, 2, 3, 3]
    reads = []
    monkeypatch.setattr(_reload, "LOOK_EVERY", 0)
    async with desk(a={}) as it:
        it.file.read = 1
        monkeypatch.setattr(ConfigFile, "look", lambda _self: looks.pop(0))

        async def reload():
            reads.append(it.file.read)
            it.file.read = [2, 3][len(reads) - 1]

        monkeypatch.setattr(it.reloader, "reload", reload)
        with suppress(IndexError):
            await it.reloader.watch()
        assert (reads, it.file.read) == ([1, 2], 3)


def test_a_replaced_file_and_a_swapped_link_are_seen(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text("{}")
    link = tmp_path / "config.json"
    link.symlink_to("one")
    file = ConfigFile(link)
    before = file.look()
    (tmp_path / "swap").symlink_to("two")
    (tmp_path / "swap").rename(link)
    assert file.look() != before
    link.unlink()
    assert file.look() is None


async def test_each_reload_is_told_to_those_who_look_on(desk):
    async with desk(a={}) as it:
        told = []
        with it.driver.bus.subscribed(lambda entry: told.append(entry.happening)):
            await it.reload(a={}, b={})
            with pytest.raises(RestartNeeded):
                await it.reload({"port": 4000}, a={})
        done, refused = (each for each in told if isinstance(each, ConfigurationReloaded))
        assert ("b" in done.changes, done.problem) == (True, None)
        assert refused.problem.code == "restart_needed"


async def test_a_model_that_moves_to_another_server_and_back_waits_for_no_port(desk):
    def elsewhere(url):
        return {"engine": "remote", "model_path": "x", "remote": {"url": url}}

    async with desk(a={}, b={}) as it:
        await it.serve("a")
        for url in ("http://x/v1", "http://y/v1"):
            models = {"a": elsewhere(url), "b": {**TINY, "port": 8011}}
            it.file.path.write_text(
                json.dumps({"models": models, "state_dir": str(it.file.path.parent / "state")})
            )
            await it.reloader.reload()
            await settled(it)
            await until(lambda: isinstance(it.replica("a").state, Running))  # without a request
        await it.reload(a={}, b={})
        await settled(it)
        assert isinstance(it.replica("a").state, NotStarted)
        await it.serve("a", "b")
