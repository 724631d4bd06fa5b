"""A real llmux before real tiny engines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clients.served import Served, running


@pytest.fixture(scope="module")
def llmux(tmp_path_factory) -> Iterator[Served]:
    """Give a llmux with two models; tokens take their time, so that a cancelled request can be seen to end."""
    with running(tmp_path_factory.mktemp("llmux")) as served:
        yield served
