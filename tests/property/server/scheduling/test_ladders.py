"""Every policy on tight nodes with ladders and replicas: the simulation itself looks for what must never happen."""

import pytest
from random_nodes import laddered

from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.simulate.run import simulate


@pytest.mark.parametrize("name", PolicyType)
def test_nothing_is_held_that_there_is_not_and_every_request_ends_once(name):
    for seed in range(60):
        scenario, trace = laddered(seed)
        outcome = simulate(scenario, trace, make_policy(PolicySettings(name)), jitter=0.3, seed=seed)
        assert len(outcome.ends) == len(trace)
