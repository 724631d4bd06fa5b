"""B isn't empty when the model wakes: another model serves, logs have grown, a failed restore has left things behind."""

from __future__ import annotations

import json

import pytest

from proof.bench import LLMUX, MODEL, Bench, Model, Node, Settings
from proof.client import Document
from proof.story import check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

OTHER = "another"
TWO = Settings(models=(Model(), Model(OTHER, port=8002)))
SETTINGS = Settings()
CONTAINERS_SHM = Settings(models=(Model(fields={"isolation": {"shm": False}}),))

OWN_LOG = "/var/log/llmux-own.log"
INTO_A_FILE = ("sh", "-c", f"exec {LLMUX} >> {OWN_LOG} 2>&1")


def test_another_model_is_awake_at_that_moment(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, TWO)
    with desk.node("b", TWO) as b:
        answer = b.llmux.chat(OTHER)
        other = b.identity(OTHER)
        wake_and_check(b, sleeper)
        assert b.llmux.chat(OTHER) == answer
        assert b.identity(OTHER) == other


def test_both_models_sleep_in_a_and_wake_in_b(desk: Bench) -> None:
    with desk.node("a", TWO) as a:
        sleepers = [put_to_sleep(a, MODEL), put_to_sleep(a, OTHER)]
    with desk.node("b", TWO) as b:
        for sleeper in sleepers:
            wake_and_check(b, sleeper)
        for sleeper in sleepers:
            check_restored(b, sleeper)


def test_llmuxs_own_log_has_grown(desk: Bench) -> None:
    with desk.node("a", SETTINGS, command=INTO_A_FILE) as a:
        sleeper = put_to_sleep(a)
        wake_and_check(a, sleeper)
        a.llmux.sleep(MODEL)
    grow = f"yes 'from another life' | head -n 9999 > {OWN_LOG}; "
    with desk.node("b", SETTINGS, command=("sh", "-c", grow + INTO_A_FILE[-1])) as b:
        wake_and_check(b, sleeper)
        assert b.container.exec("head", "-n", "1", OWN_LOG) == "from another life\n"


def test_the_engines_log_has_grown(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    files = [file for file in manifest(desk)["files"] if file["names"][0].endswith(".log")]
    logs = {file["names"][0]: file["metadata"]["mode"] & 0o777 for file in files}
    assert logs
    with desk.node("b", SETTINGS) as b:
        for log, mode in logs.items():
            grow = f'mkdir -p "${{0%/*}}"; yes "from another life" | head -n 9999 > "$0"; chmod {mode:o} "$0"'
            b.container.exec("sh", "-c", grow, log)
        wake_and_check(b, sleeper)
        for log in logs:
            assert b.container.exec("head", "-n", "1", log) == "from another life\n"


@pytest.mark.demand("leftover-sandbox")
def test_a_failed_restore_has_left_sockets_ghosts_and_link_remaps(desk: Bench, asleep_on) -> None:
    """All that CRIU leaves at names of the dump, where the engine shares /dev/shm and /tmp with the container."""
    sleeper = asleep_on(desk, CONTAINERS_SHM)
    left = leftovers(manifest(desk))
    with desk.node("b", CONTAINERS_SHM) as b:
        leave(b, left)
        wake_and_check(b, sleeper)


def manifest(desk: Bench) -> Document:
    """Return the manifest of the model's checkpoint."""
    path = desk.checkpoints / MODEL / "images" / "llmux-manifest.json"
    document: Document = json.loads(path.read_text())
    return document


def leftovers(written: Document) -> Document:
    """Return where a failed restore of this dump leaves sockets, ghosts and hard-link groups with a link remap."""
    sockets = sorted({each["bind_path"] for each in written["sockets"] if each["bind_path"]})
    remains = {"ghost name": "{path}.cr.{remap_id:x}.ghost", "linked name": "{path}.cr_link"}
    ghosts = [
        remains[each["kind"]].format_map(each) for each in written["free_names"] if each["kind"] in remains
    ]
    groups = [
        {"names": file["names"], "mode": file["metadata"]["mode"] & 0o7777, "content": file["carried"]}
        for file in written["files"]
        if file["consumed"]
    ]
    assert sockets, "no listening Unix socket in the dump"
    assert groups, "no link remap in the dump"
    return {"sockets": sockets, "ghosts": ghosts, "groups": groups}


def leave(node: Node, left: Document) -> None:
    """Make the leftovers in a container."""
    script = (
        "import json, os, pathlib, shutil, socket, sys\n"
        "left = json.loads(sys.argv[1])\n"
        "for path in left['sockets']:\n"
        "    with socket.socket(socket.AF_UNIX) as bound: bound.bind(path)\n"
        "for path in left['ghosts']: pathlib.Path(path).touch()\n"
        "for group in left['groups']:\n"
        "    first, *others = group['names']\n"
        f"    shutil.copy('/tmp/llmux-checkpoints/{MODEL}/images/llmux/' + group['content'], first)\n"
        "    os.chmod(first, group['mode'])\n"
        "    for other in others: os.link(first, other)\n"
    )
    node.container.exec("/opt/llmux/bin/python", "-c", script, json.dumps(left))
