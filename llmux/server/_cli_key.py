"""`llmux key`: makes an API key, and its hash for the configuration."""

from __future__ import annotations

import json
import secrets
import sys

import click

from llmux.server.access.keys import PREFIX, SHORTEST, hash_of

_RANDOM_BYTES = 32


@click.command("key")
@click.option(
    "--hash-of-stdin", is_flag=True, help="Read a key from the standard input and print its hash only."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def key_command(hash_of_stdin: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way of flags
    """Make an API key. The key is for who is to use it; its hash is for `access.keys.NAME.hash` of the configuration."""
    if hash_of_stdin:
        made = {"hash": hash_of(_from_stdin())}
    else:
        key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        made = {"key": key, "hash": hash_of(key)}
    click.echo(json.dumps(made) if as_json else "\n".join(f"{name}: {text}" for name, text in made.items()))


def _from_stdin() -> str:
    key = sys.stdin.read().strip()
    if len(key) < SHORTEST:
        raise click.UsageError(
            f"A key of {len(key)} characters could be guessed from its hash; {SHORTEST} random ones are the least."
        )
    return key
