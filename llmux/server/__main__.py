"""`python -m llmux.server`, and what the console script `llmux` calls."""

from __future__ import annotations

from llmux.server._cli import cli


def main() -> None:
    """Run the command line."""
    cli(prog_name="llmux")


if __name__ == "__main__":
    main()
