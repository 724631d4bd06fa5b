"""The hook as one line of CRIU's configuration, found in PATH: no option on the command line names it."""

from __future__ import annotations

import time

import pytest

from proof.containers import Container, Run, check_image, started

pytestmark = pytest.mark.docker

IMAGE = "llmux:tiny"
REAPS = ("sh", "-c", "while :; do sleep 0.1; done")
PLACES = {
    "of the machine": ("/etc/criu/default.conf", "criu"),
    "of the user": ("$HOME/.criu/default.conf", "criu"),
    "by a variable": ("/my.conf", "CRIU_CONFIG_FILE=/my.conf criu"),
    "by an option": ("/my.conf", "criu --config /my.conf"),
}
START = """
set -eu
mkdir -p /images $(dirname {place})
printf 'link-remap\\nimages-dir /images\\naction-script llmux-criu-hook\\n' > {place}
echo 999 > /proc/sys/kernel/ns_last_pid
setsid sh -c 'while :; do date +%s; sleep 0.05; done' < /dev/null > /var/log/lines 2>&1 &
echo $! > /pid
"""


def shell(container: Container, script: str) -> str:
    return container.exec("sh", "-c", script)


@pytest.mark.parametrize(("place", "criu"), PLACES.values(), ids=PLACES)
def test_one_line_of_the_configuration_is_enough(nothing_left_behind: None, place: str, criu: str) -> None:
    check_image(IMAGE)
    with started(Run(IMAGE, (), command=REAPS), "configured") as container:
        shell(container, START.format(place=place))
        time.sleep(0.2)
        shell(container, f"{criu} dump --tree $(cat /pid)")
        assert "llmux-manifest.json" in shell(container, "ls /images")
        before = int(shell(container, "stat --format %s /var/log/lines; rm /var/log/lines"))
        shell(container, f"echo 4999 > /proc/sys/kernel/ns_last_pid; {criu} restore --restore-detached")
        deadline = time.monotonic() + 20
        while int(shell(container, "stat --format %s /var/log/lines")) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shell(container, "kill -KILL $(cat /pid)")
