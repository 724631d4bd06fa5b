"""What CRIU demands of whoever restores a dump, one row each, and what llmux does about it.

A test that proves a row is marked `@pytest.mark.demand("id", ...)`; `docs/coverage.md` is made of the rows and the marks (`table.py`).
"""

from __future__ import annotations

from demands import files, images, sockets, special, tasks
from demands.model import Demand, Section

SECTIONS: tuple[Section, ...] = (
    *files.SECTIONS,
    *sockets.SECTIONS,
    *special.SECTIONS,
    *tasks.SECTIONS,
    *images.SECTIONS,
)
DEMANDS: dict[str, Demand] = {row.id: row for section in SECTIONS for row in section.rows}

__all__ = ["DEMANDS", "SECTIONS", "Demand", "Section"]
