from __future__ import annotations

import re

from demands import DEMANDS as ROWS
from llmux.criu_images._message_table import DEMANDS, MESSAGES, find_message
from llmux.criu_images._messages import OWN_DEMANDS, Rank

_VALUES = {"path": "some/where", "target": "else/where", "id": "0x1f", "hex": "1f", "mode": "0100644", "code": "-22", "expected_mode": "0100600"}  # fmt: skip


def say(message):
    numbers = {"pid", "number", "fd", "found", "expected", "inode"}
    values = {
        hole: _VALUES.get(hole, "7" if hole in numbers else "word")
        for hole in message.holes
        if hole != "code" or message.errno is None
    }
    return message.say(**values)


def test_every_message_is_found_by_what_it_says():
    for message in MESSAGES:
        found = find_message(say(message).encode())
        assert found is not None
        assert found[0] is message, message.says


def test_each_demand_is_one_of_the_project():
    assert {message.demand for message in MESSAGES} == set(DEMANDS)
    for demand, title in DEMANDS.items():
        assert title == (OWN_DEMANDS[demand] if demand in OWN_DEMANDS else ROWS[demand].kind), demand


def test_each_message_says_what_to_do_in_whole_sentences():
    for message in MESSAGES:
        assert re.search(r"[.)]$", message.means), message.says
        assert re.search(r"[.)]$", message.mends), message.says
        assert message.rank in Rank


def test_what_is_none_of_crius_is_not_found():
    assert find_message(b"the moon is in the wrong house") is None
    assert find_message(b"") is None
