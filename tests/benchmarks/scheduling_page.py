"""Makes the tables and the picture of docs/scheduling.md anew: `make scheduling`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from documented_traces import page_with, picture, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scheduling.md"

if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8"), tables()), "utf-8")
    PAGE.with_suffix(".svg").write_text(picture(), "utf-8")
