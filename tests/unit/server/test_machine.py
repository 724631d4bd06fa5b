"""The life of one model: every pair of state and event, and what must hold along every way through."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmux.server._machine import WAS_STOPPED, step
from llmux.server._model import (
    AdmitHeld,
    Asleep,
    Awake,
    CheckpointFound,
    CheckpointUnusable,
    Draining,
    DrainTimedOut,
    Effect,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    Finished,
    GoingToSleep,
    NoRoom,
    NotStarted,
    Process,
    PutToSleep,
    RefuseHeld,
    RememberWake,
    Requested,
    Running,
    SleepAsked,
    SleepFailed,
    Slept,
    StartDrainTimer,
    StartEngine,
    StartFailed,
    Starting,
    State,
    StopDrainTimer,
    Wake,
    WakeEngine,
    WakeFailed,
    WakeKind,
    Waking,
    Weights,
    Withdrawn,
)
from llmux.server.errors import IllegalMove, Problem

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)
WHY = Problem("test", "it broke", "mend it")
RESTORED = Wake(WakeKind.RESTORED, 1.5, 9)
THEN, NOW = 10.0, 20.0

STATES: tuple[State, ...] = (
    NotStarted(since=THEN),
    Starting(since=THEN, held=2, why="x"),
    Running(since=THEN, in_flight=2),
    Draining(since=THEN, held=2, in_flight=2, eviction=DISK),
    GoingToSleep(since=THEN, held=2, eviction=DISK),
    Asleep(since=THEN, eviction=DISK),
    Waking(since=THEN, held=2, eviction=DISK),
    Failed(since=THEN, why=WHY),
)
EVENTS: tuple[Event, ...] = (
    CheckpointFound(DISK),
    CheckpointUnusable(WHY),
    Requested(),
    Withdrawn(),
    Finished(),
    SleepAsked(DISK),
    DrainTimedOut(WHY),
    Slept(),
    SleepFailed(WHY),
    Awake(RESTORED),
    StartFailed(WHY),
    WakeFailed(WHY),
    NoRoom(WHY),
    EngineLost(WHY),
)

FIRST_START = NotStarted(since=0).why
UNUSABLE = f"its checkpoint cannot be used: {WHY}"
RESTART = f"it had failed: {WHY.message}"
SERVING = (RememberWake(RESTORED), AdmitHeld())
_not_started, _starting, _running, _draining, _to_sleep, _asleep, _waking, _failed = STATES

LEGAL: dict[tuple[type, type], tuple[State, tuple[Effect, ...]]] = {
    (NotStarted, CheckpointFound): (Asleep(since=NOW, eviction=DISK), ()),
    (NotStarted, CheckpointUnusable): (NotStarted(since=THEN, why=UNUSABLE), ()),
    (NotStarted, Requested): (Starting(since=NOW, held=1, why=FIRST_START), (StartEngine(FIRST_START),)),
    (Starting, Requested): (replace(_starting, held=3), ()),
    (Starting, Withdrawn): (replace(_starting, held=1), ()),
    (Starting, Awake): (Running(since=NOW, in_flight=2), SERVING),
    (Starting, StartFailed): (Failed(since=NOW, why=WHY), (RefuseHeld(WHY),)),
    (Starting, NoRoom): (Failed(since=NOW, why=WHY), (RefuseHeld(WHY),)),
    (Running, Requested): (replace(_running, in_flight=3), (AdmitHeld(),)),
    (Running, Finished): (replace(_running, in_flight=1), ()),
    (Running, SleepAsked): (Draining(since=NOW, in_flight=2, eviction=DISK), (StartDrainTimer(),)),
    (Running, EngineLost): (Failed(since=NOW, why=WHY), (EndEngine(),)),
    (Draining, Requested): (replace(_draining, held=3), ()),
    (Draining, Withdrawn): (replace(_draining, held=1), ()),
    (Draining, Finished): (replace(_draining, in_flight=1), ()),
    (Draining, SleepAsked): (_draining, ()),
    (Draining, DrainTimedOut): (Running(since=NOW, in_flight=4, sleep_failed=WHY), (AdmitHeld(),)),
    (Draining, EngineLost): (
        Starting(since=NOW, held=2, why=RESTART),
        (StopDrainTimer(), StartEngine(RESTART)),
    ),
    (GoingToSleep, Requested): (replace(_to_sleep, held=3), ()),
    (GoingToSleep, Withdrawn): (replace(_to_sleep, held=1), ()),
    (GoingToSleep, SleepAsked): (_to_sleep, ()),
    (GoingToSleep, Slept): (Waking(since=NOW, held=2, eviction=DISK), (WakeEngine(DISK),)),
    (GoingToSleep, SleepFailed): (Running(since=NOW, in_flight=2, sleep_failed=WHY), (AdmitHeld(),)),
    (GoingToSleep, EngineLost): (Starting(since=NOW, held=2, why=RESTART), (StartEngine(RESTART),)),
    (Asleep, Requested): (Waking(since=NOW, held=1, eviction=DISK), (WakeEngine(DISK),)),
    (Asleep, SleepAsked): (_asleep, ()),
    (Waking, Requested): (replace(_waking, held=3), ()),
    (Waking, Withdrawn): (replace(_waking, held=1), ()),
    (Waking, Awake): (Running(since=NOW, in_flight=2), SERVING),
    (Waking, WakeFailed): (
        Starting(since=NOW, held=2, why=str(WHY), fallback=DISK),
        (StartEngine(str(WHY)),),
    ),
    (Waking, NoRoom): (Asleep(since=NOW, eviction=DISK, wake_failed=WHY), (RefuseHeld(WHY),)),
    (Failed, Requested): (Starting(since=NOW, held=1, why=RESTART), (StartEngine(RESTART),)),
}


def test_the_examples_cover_every_state_and_event():
    assert [type(state) for state in STATES] == list(get_args(State))
    assert [type(event) for event in EVENTS] == list(get_args(Event))


@pytest.mark.parametrize("state", STATES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_every_pair_moves_as_the_table_says_or_is_illegal(state, event):
    expected = LEGAL.get((type(state), type(event)))
    if expected is None:
        with pytest.raises(IllegalMove, match=r"a model that is .* cannot (take|be put to sleep)"):
            step(state, event, NOW)
    else:
        move = step(state, event, NOW)
        assert (move.state, move.effects) == expected


def test_the_last_answer_of_a_drain_begins_the_sleep():
    draining = Draining(since=THEN, held=1, in_flight=1, eviction=DISK)
    move = step(draining, Finished(), NOW)
    assert move.state == GoingToSleep(since=NOW, held=1, eviction=DISK)
    assert move.effects == (StopDrainTimer(), PutToSleep(DISK))


def test_an_idle_model_goes_to_sleep_at_once():
    move = step(Running(since=THEN), SleepAsked(WARM), NOW)
    assert move.state == GoingToSleep(since=NOW, eviction=WARM)
    assert move.effects == (PutToSleep(WARM),)


def test_a_sleep_without_held_requests_ends_asleep():
    assert step(GoingToSleep(since=THEN, eviction=DISK), Slept(), NOW).state == Asleep(
        since=NOW, eviction=DISK
    )


def test_a_stopped_model_wakes_by_a_cold_start():
    move = step(Asleep(since=THEN, eviction=STOP), Requested(), NOW)
    assert move.state == Starting(since=NOW, held=1, why=WAS_STOPPED)


def test_an_engine_that_is_lost_with_nobody_waiting_waits_for_the_next_request():
    for state in (GoingToSleep(since=THEN, eviction=DISK), Draining(since=THEN, in_flight=1, eviction=DISK)):
        move = step(state, EngineLost(WHY), NOW)
        assert move.state == Failed(since=NOW, why=WHY)
        assert EndEngine() in move.effects


def test_a_wake_and_a_cold_start_that_both_fail_leave_it_asleep_on_disk():
    move = step(Starting(since=THEN, held=2, why="x", fallback=DISK), StartFailed(WHY), NOW)
    assert move.state == Asleep(since=NOW, eviction=DISK, wake_failed=WHY)
    assert move.effects == (RefuseHeld(WHY),)


def test_a_kept_process_whose_wake_fails_has_nothing_to_go_back_to():
    move = step(Waking(since=THEN, held=1, eviction=WARM), WakeFailed(WHY), NOW)
    assert move.state == Starting(since=NOW, held=1, why=str(WHY))


def test_a_kept_process_can_be_lost_asleep_but_a_dumped_one_cannot():
    assert step(Asleep(since=THEN, eviction=WARM), EngineLost(WHY), NOW).state == Failed(since=NOW, why=WHY)
    with pytest.raises(IllegalMove):
        step(Asleep(since=THEN, eviction=DISK), EngineLost(WHY), NOW)


def test_another_sleep_than_the_one_under_way_is_illegal():
    for state in (_draining, _to_sleep, _asleep):
        with pytest.raises(IllegalMove):
            step(state, SleepAsked(WARM), NOW)


def test_nothing_can_finish_that_is_not_in_flight():
    with pytest.raises(IllegalMove):
        step(Running(since=THEN, in_flight=0), Finished(), NOW)


_OPERATIONS = (StartEngine, PutToSleep, WakeEngine)


class AnyLife(RuleBasedStateMachine):
    """Requests come and go, sleeps are asked for, operations succeed and fail, in any order.

    What must hold: one operation at most is under way; whoever is held is admitted or refused in the end and nobody is
    forgotten; the drain timer runs exactly while draining.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State = NotStarted(since=0)
        self.operation: Effect | None = None
        self.held = 0
        self.in_flight = 0
        self.draining = False
        self.now = 0.0

    def feed(self, event: Event) -> None:
        self.now += 1
        move = step(self.state, event, self.now)
        self.state = move.state
        for effect in move.effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case StartEngine() | PutToSleep() | WakeEngine():
                assert self.operation is None
                self.operation = effect
            case AdmitHeld():
                self.in_flight, self.held = self.in_flight + self.held, 0
            case RefuseHeld():
                self.held = 0
            case StartDrainTimer():
                assert not self.draining
                self.draining = True
            case StopDrainTimer():
                assert self.draining
                self.draining = False
            case EndEngine() | RememberWake():
                pass

    def end(self, event: Event) -> None:
        self.operation = None
        self.feed(event)

    @rule()
    def request(self) -> None:
        self.held += 1
        self.feed(Requested())

    @precondition(lambda self: self.held > 0)
    @rule()
    def withdraw(self) -> None:
        self.held -= 1
        self.feed(Withdrawn())

    @precondition(lambda self: self.in_flight > 0)
    @rule()
    def finish(self) -> None:
        self.in_flight -= 1
        self.feed(Finished())

    @precondition(lambda self: isinstance(self.state, Running))
    @rule(eviction=st.sampled_from((DISK, WARM, STOP)))
    def sleep(self, eviction: Eviction) -> None:
        self.feed(SleepAsked(eviction))

    @precondition(lambda self: self.draining)
    @rule()
    def drain_timer(self) -> None:
        self.draining = False
        self.feed(DrainTimedOut(WHY))

    @precondition(lambda self: isinstance(self.state, Running | Draining))
    @rule()
    def engine_dies(self) -> None:
        self.in_flight = 0
        self.feed(EngineLost(WHY))

    @precondition(lambda self: self.operation is not None)
    @rule(choice=st.integers(0, 2))
    def operation_ends(self, choice: int) -> None:
        ends: dict[type, tuple[Event, Event, Event]] = {
            StartEngine: (Awake(RESTORED), StartFailed(WHY), NoRoom(WHY)),
            PutToSleep: (Slept(), SleepFailed(WHY), EngineLost(WHY)),
            WakeEngine: (Awake(RESTORED), WakeFailed(WHY), NoRoom(WHY)),
        }
        self.end(ends[type(self.operation)][choice])

    @invariant()
    def counts_agree(self) -> None:
        assert getattr(self.state, "held", 0) == self.held
        assert getattr(self.state, "in_flight", 0) == self.in_flight

    @invariant()
    def an_operation_is_under_way_exactly_in_the_states_between(self) -> None:
        between = isinstance(self.state, Starting | GoingToSleep | Waking)
        assert between == (self.operation is not None)
        assert self.draining == isinstance(self.state, Draining)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if self.held:
            assert self.operation is not None or self.draining


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(deadline=None)  # a busy machine is not a slow machine of states
