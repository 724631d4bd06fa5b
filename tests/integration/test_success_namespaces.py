"""A sleeps, is removed, B wakes: whatever of Docker's namespaces the two containers share with the host."""

from __future__ import annotations

import pytest

from proof.bench import Bench, Model, Settings
from proof.containers import bridge
from proof.dialing import free_ports
from proof.story import put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

OWN_SHM = Settings()
CONTAINERS_SHM = Settings(models=(Model(fields={"isolation": {"shm": False}}),))
OWN_TMP = Settings(models=(Model(fields={"isolation": {"tmp": True}}),))


@pytest.mark.parametrize("pid", [(), ("--pid=host",)], ids=["private-pid", "host-pid"])
@pytest.mark.parametrize("ipc", ["private", "host"])
def test_restored_with_either_ipc_and_pid_namespace(desk: Bench, ipc: str, pid: tuple[str, ...]) -> None:
    _sleep_and_wake(desk, OWN_SHM, flags=(f"--ipc={ipc}", *pid))


def test_restored_when_the_engine_uses_the_containers_own_shm(desk: Bench) -> None:
    _sleep_and_wake(desk, CONTAINERS_SHM, flags=("--ipc=private",))


@pytest.mark.usefixtures("clean_host_shm")
def test_restored_when_the_engine_uses_the_hosts_shm(desk: Bench) -> None:
    _sleep_and_wake(desk, CONTAINERS_SHM, flags=("--ipc=host",))


def test_restored_when_the_engine_has_a_tmp_of_its_own(desk: Bench) -> None:
    _sleep_and_wake(desk, OWN_TMP)


def test_restored_on_the_hosts_network(desk: Bench) -> None:
    port, engine_port = free_ports(2)
    _sleep_and_wake(desk, Settings(models=(Model(port=engine_port),), port=port), network="host")


def test_restored_on_a_bridge(desk: Bench) -> None:
    with bridge() as network:
        _sleep_and_wake(desk, OWN_SHM, network=network)


def _sleep_and_wake(
    desk: Bench, settings: Settings, *, network: str = "none", flags: tuple[str, ...] = ()
) -> None:
    with desk.node("a", settings, network=network, flags=flags) as a:
        sleeper = put_to_sleep(a)
    with desk.node("b", settings, network=network, flags=flags) as b:
        wake_and_check(b, sleeper)
