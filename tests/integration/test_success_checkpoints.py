"""One checkpoint, woken again and again: in a third container, twice in one container, after a new sleep in B."""

from __future__ import annotations

import time

import pytest

from proof.bench import MODEL, UNDER_A_SHELL, Bench, Model, Settings
from proof.story import check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

SETTINGS = Settings()
DUMPED_ANEW = Settings(checkpoint={"reuse": False})
ENDED = Settings(fields={"engines_at_start": "end"})
ENDED_IN_CONTAINERS_SHM = Settings(
    models=(Model(fields={"isolation": {"shm": False}}),), fields={"engines_at_start": "end"}
)


def test_a_third_container_wakes_from_the_same_checkpoint(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    for label in ("b", "c"):
        with desk.node(label, SETTINGS) as node:
            wake_and_check(node, sleeper)


def test_b_sleeps_and_wakes_again(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, DUMPED_ANEW)
    with desk.node("b", DUMPED_ANEW) as b:
        wake_and_check(b, sleeper)
        again = put_to_sleep(b)
        assert again.checkpoint["generation"] > sleeper.checkpoint["generation"]
        wake_and_check(b, sleeper)


def test_what_b_put_to_sleep_wakes_in_c(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, DUMPED_ANEW)
    with desk.node("b", DUMPED_ANEW) as b:
        wake_and_check(b, sleeper)
        b.llmux.sleep(MODEL)
    with desk.node("c", DUMPED_ANEW) as c:
        wake_and_check(c, sleeper)


def test_a_checkpoint_that_was_woken_from_is_used_again_without_a_second_dump(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        wake_and_check(b, sleeper)
        again = put_to_sleep(b)
        made = ("generation", "created_at", "seconds")
        assert [again.checkpoint[each] for each in made] == [sleeper.checkpoint[each] for each in made]
        wake_and_check(b, sleeper)
    with desk.node("c", SETTINGS) as c:
        wake_and_check(c, sleeper)


@pytest.mark.parametrize("settings", [ENDED, ENDED_IN_CONTAINERS_SHM], ids=["own-shm", "containers-shm"])
def test_two_restores_from_one_checkpoint_in_one_container(
    desk: Bench, asleep_on, settings: Settings
) -> None:
    sleeper = asleep_on(desk, settings)
    with desk.node("b", settings, command=UNDER_A_SHELL) as b:
        wake_and_check(b, sleeper)
        b.kill_llmux()
        b.llmux.wait_until_it_answers()
        wake_and_check(b, sleeper)


def test_docker_kill_right_after_the_sleep_was_answered(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a:
        sleeper = put_to_sleep(a)
        a.container.kill()
    with desk.node("b", SETTINGS) as b:
        wake_and_check(b, sleeper)


def test_a_checkpoint_is_found_at_start_and_nothing_is_started_for_it(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        status = b.llmux.status(MODEL)
        assert status["state"] == "asleep"
        assert status["checkpoint"]["created_at"] == sleeper.checkpoint["created_at"]
        time.sleep(2)
        assert b.llmux.status(MODEL)["state"] == "asleep"
        with pytest.raises(OSError, match="refused"):
            b.identity()
        wake_and_check(b, sleeper)


def test_a_person_in_b_is_shown_what_is_in_it(desk: Bench, asleep_on) -> None:
    asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        told = b.container.exec("llmux", "checkpoints", "show", MODEL, f"--host=localhost:{SETTINGS.port}")
    assert "Unix sockets (3)" in told
    assert "nothing that a wake does not bring itself" in told


def test_a_checkpoint_is_found_by_checkpoint_path_outside_of_images_dir(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    elsewhere = Settings(checkpoint={"images_dir": "/var/lib/llmux/checkpoints"})
    with desk.node("b", elsewhere) as b:
        assert b.llmux.status(MODEL)["state"] == "asleep"
        wake_and_check(b, sleeper)


def test_a_chat_wakes_a_sleeping_model_without_a_control_call(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        assert b.llmux.chat(MODEL) == sleeper.answer
        check_restored(b, sleeper)


def test_images_that_are_not_kept_are_removed_once_woken(desk: Bench) -> None:
    settings = Settings(checkpoint={"keep_images": False})
    with desk.node("a", settings) as a:
        sleeper = put_to_sleep(a)
    with desk.node("b", settings) as b:
        wake_and_check(b, sleeper)
        assert b.llmux.status(MODEL)["checkpoint"] is None
        assert [path for path in desk.checkpoints.rglob("*") if path.is_file()] == []
        b.llmux.sleep(MODEL)
        wake_and_check(b, sleeper)
