from llmux.server.scheduling.bound import terms
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.snapshot import Sleep
from scenes import NOW, busy, node, resting, wants

ONE = {"gpu": 1}
POLICY = Fair(max_wait=60, quantum=2, amortization_factor=1)


def _node(*demands, awake_for=100.0):
    return node(
        ONE, busy("x", ONE, since=NOW - awake_for), *(resting(d.model, ONE) for d in demands), demands=demands
    )


def test_a_busy_model_serves_until_its_switch_has_paid_off_while_there_is_time():
    decisions = POLICY(_node(wants("a", since=NOW), awake_for=4))
    assert decisions.actions == ()
    assert decisions.look_again_at == NOW + 2


def test_from_the_latest_start_on_the_quantum_alone_protects():
    snapshot = _node(wants("a", since=NOW - 59), awake_for=4)
    assert [type(a) for a in POLICY(snapshot).actions] == [Sleep]


def test_the_decision_is_looked_at_again_at_the_latest_start():
    snapshot = _node(wants("a", since=NOW), awake_for=-100)
    worst = terms(snapshot, 2)
    assert POLICY(snapshot).look_again_at == NOW + 60 - worst.blocking - worst.turn("a")
