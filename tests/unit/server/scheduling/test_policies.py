import pytest

from llmux.server.scheduling.cost_aware import CostAware
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.scheduling.snapshot import Wake
from llmux.server.scheduling.time_slice import TimeSlice
from scenes import NOW, busy, node, resting, wants


def test_each_name_makes_its_policy_with_its_settings_in_seconds():
    given = {"max_wait_secs": 9, "amortization_factor": 3, "coalesce_window_ms": 250, "tick_interval_ms": 100}
    made = [make_policy(PolicySettings(name, min_quantum_ms=1500, **given)) for name in PolicyType]
    assert made == [Fair(9, 1.5, 3), Fifo(), CostAware(3, 0.25, 9), TimeSlice(0.1, 1.5, 9)]


def test_fair_is_the_default():
    assert isinstance(make_policy(PolicySettings()), Fair)


@pytest.mark.parametrize("name", PolicyType)
def test_every_policy_wakes_what_fits(name):
    snapshot = node(
        {"gpu": 2}, busy("a", {"gpu": 1}), resting("b", {"gpu": 1}), demands=(wants("b", since=NOW),)
    )
    assert [(type(a), a.replica) for a in make_policy(PolicySettings(name))(snapshot).actions] == [
        (Wake, "b")
    ]
