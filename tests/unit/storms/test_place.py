"""Which process of a container is which, by its command line."""

import pytest

from storms.place import is_engine_at, is_engine_of, is_llmux, is_shell

ENGINE = "/opt/llmux/bin/python -P -m llmux.tiny_engine serve Qwen/Qwen3-0.6B --port 8001 --served-model-name m1 --allow-faults"
LLMUX = "/opt/llmux/bin/python /usr/local/bin/llmux serve --config /etc/llmux/config.json"
SHELL = (
    "sh -c while :; do if [ -e /run/storm-go ]; then llmux serve --config /etc/llmux/config.json; fi; done"
)


@pytest.mark.parametrize(
    ("which", "line"),
    [
        (is_llmux, LLMUX),
        (is_engine_of("m1"), ENGINE),
        (is_engine_at(8001), ENGINE),
        (is_shell, SHELL),
        (is_shell, "sleep 0.05"),
    ],
)
def test_each_picks_its_own_only(which, line):
    assert which(line)
    others = {LLMUX, ENGINE, SHELL, ENGINE.replace("m1", "m11").replace("8001", "80011")} - {line}
    if which is is_shell:
        others -= {SHELL}
    assert not any(map(which, others))
