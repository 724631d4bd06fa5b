from __future__ import annotations

import io

import pytest

from llmux.criu_images._cli_tables import write_lines


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1234])
def test_every_line_is_written_and_ended_once(count):
    lines = [f"line {number}" for number in range(count)]
    file = io.StringIO()
    write_lines(iter(lines), file)
    assert file.getvalue() == "".join(f"{line}\n" for line in lines)
