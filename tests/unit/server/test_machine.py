"""The life of one replica: every pair of state and event, and what must hold along every way through."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmux.server._machine import STABLE_AFTER, WAS_RENEWED, WAS_STOPPED, step
from llmux.server._model import (
    Adopted,
    Asleep,
    Awake,
    CheckpointFound,
    CheckpointUnusable,
    CutInFlight,
    Deepen,
    DeepenAsked,
    Deepening,
    Drained,
    Draining,
    DrainTimedOut,
    Effect,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    GoingToSleep,
    NotStarted,
    Pardoned,
    Process,
    PutToSleep,
    RefuseWaiting,
    RememberWake,
    Renewed,
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
    WakeAsked,
    WakeEngine,
    WakeFailed,
    WakeKind,
    Waking,
    Weights,
)
from llmux.server.errors import IllegalMove, Problem

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)
WHY = Problem("test", "it broke", "mend it")
OTHER = Problem("test", "and that too", "mend that")
RESTORED = Wake(WakeKind.RESTORED, 1.5, 9)
THEN, NOW = 10.0, 20.0
LOSE = (CutInFlight(WHY, engine_lost=True), EndEngine())

STATES: tuple[State, ...] = (
    NotStarted(since=THEN),
    Starting(since=THEN, why="x", failures=1),
    Running(since=THEN, failures=1),
    Draining(since=THEN, eviction=DISK, escalation=(STOP,)),
    GoingToSleep(since=THEN, eviction=DISK),
    Asleep(since=THEN, eviction=WARM),
    Deepening(since=THEN, eviction=WARM, to=DISK),
    Waking(since=THEN, eviction=DISK),
    Failed(since=THEN, why=WHY, failures=2),
)
EVENTS: tuple[Event, ...] = (
    CheckpointFound(DISK),
    CheckpointUnusable(WHY),
    Adopted(),
    WakeAsked(),
    SleepAsked(DISK, (STOP,), busy=True),
    Drained(),
    DeepenAsked(DISK),
    DrainTimedOut(WHY),
    Slept(),
    SleepFailed(WHY),
    Awake(RESTORED),
    StartFailed(WHY),
    WakeFailed(WHY),
    EngineLost(WHY),
    Pardoned(),
    Renewed(),
)

FIRST_START = NotStarted(since=0).why
UNUSABLE = f"its checkpoint cannot be used: {WHY}"
RENEWED = NotStarted(since=NOW, why=WAS_RENEWED)
RESTART = f"it had failed: {WHY.message}"
_not_started, _starting, _running, _draining, _to_sleep, _asleep, _deepening, _waking, _failed = STATES

LEGAL: dict[tuple[type, type], tuple[State, tuple[Effect, ...]]] = {
    (NotStarted, CheckpointFound): (Asleep(since=NOW, eviction=DISK), ()),
    (NotStarted, CheckpointUnusable): (NotStarted(since=THEN, why=UNUSABLE), ()),
    (NotStarted, Adopted): (Running(since=NOW), ()),
    (NotStarted, WakeAsked): (Starting(since=NOW, why=FIRST_START), (StartEngine(FIRST_START),)),
    (NotStarted, Renewed): (RENEWED, ()),
    (Starting, Awake): (Running(since=NOW, failures=1), (RememberWake(RESTORED),)),
    (Starting, StartFailed): (Failed(since=NOW, why=WHY, failures=2), (RefuseWaiting(WHY),)),
    (Running, SleepAsked): (
        Draining(since=NOW, eviction=DISK, escalation=(STOP,)),
        (StartDrainTimer(),),
    ),
    (Running, EngineLost): (Failed(since=NOW, why=WHY, failures=2), LOSE),
    (Draining, SleepAsked): (_draining, ()),
    (Draining, Drained): (
        GoingToSleep(since=NOW, eviction=DISK, escalation=(STOP,)),
        (StopDrainTimer(), PutToSleep(DISK)),
    ),
    (Draining, DrainTimedOut): (Running(since=NOW, sleep_failed=WHY), ()),
    (Draining, EngineLost): (Failed(since=NOW, why=WHY), (StopDrainTimer(), *LOSE)),
    (GoingToSleep, SleepAsked): (_to_sleep, ()),
    (GoingToSleep, Slept): (Asleep(since=NOW, eviction=DISK), ()),
    (GoingToSleep, SleepFailed): (Running(since=NOW, sleep_failed=WHY), ()),
    (GoingToSleep, EngineLost): (Failed(since=NOW, why=WHY), (EndEngine(),)),
    (Asleep, WakeAsked): (Waking(since=NOW, eviction=WARM), (WakeEngine(WARM),)),
    (Asleep, DeepenAsked): (Deepening(since=NOW, eviction=WARM, to=DISK), (Deepen(WARM, DISK),)),
    (Asleep, EngineLost): (Failed(since=NOW, why=WHY), (EndEngine(),)),
    (Deepening, Slept): (Asleep(since=NOW, eviction=DISK), ()),
    (Deepening, SleepAsked): (_deepening, ()),
    (Deepening, SleepFailed): (Asleep(since=NOW, eviction=WARM, problem=WHY), ()),
    (Deepening, EngineLost): (Failed(since=NOW, why=WHY), (EndEngine(),)),
    (Waking, Awake): (Running(since=NOW), (RememberWake(RESTORED),)),
    (Waking, WakeFailed): (Starting(since=NOW, why=str(WHY), fallback=DISK), (StartEngine(str(WHY)),)),
    (Failed, WakeAsked): (Starting(since=NOW, why=RESTART, failures=2), (StartEngine(RESTART),)),
    (Failed, Pardoned): (replace(_failed, failures=0), ()),
    (Failed, Renewed): (RENEWED, ()),
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


def test_an_idle_replica_goes_to_sleep_at_once():
    move = step(Running(since=THEN), SleepAsked(WARM), NOW)
    assert move.state == GoingToSleep(since=NOW, eviction=WARM)
    assert move.effects == (PutToSleep(WARM),)


def test_a_drain_that_is_not_given_up_cuts_the_answers_off_and_goes_on():
    move = step(_draining, DrainTimedOut(WHY, give_up=False), NOW)
    assert (move.state, move.effects) == (_draining, (CutInFlight(WHY),))


def test_a_sleep_that_fails_escalates_and_remembers_why():
    move = step(GoingToSleep(since=THEN, eviction=WARM, escalation=(DISK, STOP)), SleepFailed(WHY), NOW)
    assert move.state == GoingToSleep(since=NOW, eviction=DISK, escalation=(STOP,), failed=WHY)
    assert move.effects == (PutToSleep(DISK),)
    move = step(move.state, SleepFailed(OTHER), NOW)
    move = step(move.state, Slept(), NOW)
    assert move.state == Asleep(since=NOW, eviction=STOP, problem=OTHER)


def test_a_stopped_model_wakes_by_a_cold_start():
    move = step(Asleep(since=THEN, eviction=STOP), WakeAsked(), NOW)
    assert move.state == Starting(since=NOW, why=WAS_STOPPED)


def test_a_wake_and_a_cold_start_that_both_fail_leave_it_asleep_on_disk():
    move = step(Starting(since=THEN, why="x", fallback=DISK), StartFailed(WHY), NOW)
    assert move.state == Asleep(since=NOW, eviction=DISK, problem=WHY)
    assert move.effects == (RefuseWaiting(WHY),)


def test_a_kept_process_whose_wake_fails_has_nothing_to_go_back_to():
    move = step(Waking(since=THEN, eviction=WARM), WakeFailed(WHY), NOW)
    assert move.state == Starting(since=NOW, why=str(WHY))


def test_a_kept_process_can_be_lost_asleep_but_a_dumped_one_cannot():
    assert step(Asleep(since=THEN, eviction=WARM), EngineLost(WHY), NOW).state == Failed(since=NOW, why=WHY)
    with pytest.raises(IllegalMove):
        step(Asleep(since=THEN, eviction=DISK), EngineLost(WHY), NOW)


def test_what_lies_on_disk_or_was_stopped_can_become_another_and_a_kept_process_cannot():
    for eviction in (DISK, STOP):
        assert step(Asleep(since=THEN, eviction=eviction), Renewed(), NOW).state == RENEWED
    with pytest.raises(IllegalMove):
        step(Asleep(since=THEN, eviction=WARM), Renewed(), NOW)


def test_an_adopted_engine_may_be_asleep():
    assert step(_not_started, Adopted(WARM), NOW).state == Asleep(since=NOW, eviction=WARM)


def test_another_sleep_than_the_one_under_way_is_illegal():
    for state in (_draining, _to_sleep, _asleep, _deepening):
        with pytest.raises(IllegalMove):
            step(state, SleepAsked(STOP), NOW)


def test_failures_count_in_a_row_and_are_forgotten_after_a_while_of_serving():
    soon = step(Running(since=THEN, failures=3), EngineLost(WHY), THEN + STABLE_AFTER)
    late = step(Running(since=THEN, failures=3), EngineLost(WHY), THEN + STABLE_AFTER + 1)
    assert (soon.state.failures, late.state.failures) == (4, 1)
    assert step(Running(since=THEN, failures=3), EngineLost(WHY), THEN + 8, 7.0).state.failures == 1


class AnyLife(RuleBasedStateMachine):
    """Requests come and go, sleeps and wakes are asked for, operations succeed and fail, in any order.

    What must hold: one operation at most is under way; requests are in flight only while it serves or drains; the drain
    timer runs exactly while draining; from every state there is a way to serve.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state: State = NotStarted(since=0)
        self.operation: Effect | None = None
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
            case StartEngine() | PutToSleep() | WakeEngine() | Deepen():
                assert self.operation is None
                self.operation = effect
            case CutInFlight(engine_lost=True):
                pass
            case CutInFlight():
                while self.in_flight:
                    self.finish()
            case StartDrainTimer():
                assert not self.draining
                self.draining = True
            case StopDrainTimer():
                self.draining = False
            case EndEngine():
                self.in_flight = 0
            case RefuseWaiting() | RememberWake():
                pass

    @precondition(lambda self: isinstance(self.state, NotStarted | Asleep | Failed))
    @rule()
    def wake(self) -> None:
        self.feed(WakeAsked())

    @precondition(lambda self: isinstance(self.state, Running))
    @rule()
    def request(self) -> None:
        self.in_flight += 1

    @precondition(lambda self: self.in_flight > 0)
    @rule()
    def finish(self) -> None:
        self.in_flight -= 1
        if isinstance(self.state, Draining) and not self.in_flight:
            self.feed(Drained())

    @precondition(lambda self: isinstance(self.state, Running))
    @rule(
        eviction=st.sampled_from((DISK, WARM, STOP)), escalation=st.sampled_from(((), (STOP,), (DISK, STOP)))
    )
    def sleep(self, eviction: Eviction, escalation: tuple[Eviction, ...]) -> None:
        self.feed(SleepAsked(eviction, escalation, busy=self.in_flight > 0))

    @precondition(lambda self: isinstance(self.state, Asleep) and self.state.eviction != STOP)
    @rule()
    def deepen(self) -> None:
        assert isinstance(self.state, Asleep)
        self.feed(DeepenAsked(STOP if self.state.eviction == DISK else DISK))

    @precondition(lambda self: self.draining)
    @rule(give_up=st.booleans())
    def drain_timer(self, *, give_up: bool) -> None:
        self.draining = False
        self.feed(DrainTimedOut(WHY, give_up))

    @precondition(lambda self: isinstance(self.state, Running | Draining))
    @rule()
    def engine_dies(self) -> None:
        self.feed(EngineLost(WHY))

    @precondition(lambda self: isinstance(self.state, Failed))
    @rule()
    def pardon(self) -> None:
        self.feed(Pardoned())

    @precondition(
        lambda self: (
            isinstance(self.state, NotStarted | Failed)
            or (isinstance(self.state, Asleep) and self.state.eviction != WARM)
        )
    )
    @rule()
    def renew(self) -> None:
        self.feed(Renewed())

    @precondition(lambda self: self.operation is not None)
    @rule(choice=st.integers(0, 2))
    def operation_ends(self, choice: int) -> None:
        ends: dict[type, tuple[Event, ...]] = {
            StartEngine: (Awake(RESTORED), StartFailed(WHY)),
            PutToSleep: (Slept(), SleepFailed(WHY), EngineLost(WHY)),
            Deepen: (Slept(), SleepFailed(WHY), EngineLost(WHY)),
            WakeEngine: (Awake(RESTORED), WakeFailed(WHY)),
        }
        possible = ends[type(self.operation)]
        self.operation = None
        self.feed(possible[choice % len(possible)])

    @invariant()
    def requests_are_in_flight_only_where_an_engine_serves_and_always_while_it_drains(self) -> None:
        assert not self.in_flight or isinstance(self.state, Running | Draining)
        assert self.in_flight or not isinstance(self.state, Draining)

    @invariant()
    def an_operation_is_under_way_exactly_in_the_states_between(self) -> None:
        between = isinstance(self.state, Starting | GoingToSleep | Deepening | Waking)
        assert between == (self.operation is not None)

    @invariant()
    def the_drain_timer_runs_only_while_draining(self) -> None:
        assert not self.draining or isinstance(self.state, Draining)

    @invariant()
    def failures_are_never_negative(self) -> None:
        assert getattr(self.state, "failures", 0) >= 0


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(deadline=None)  # a busy machine is not a slow machine of states
