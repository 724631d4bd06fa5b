"""`--json` and `--json-schema`: what a command writes for programs, and the schema of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import click

_CommandT = TypeVar("_CommandT", bound=Callable[..., object])


class _SchemaOption(click.Option):
    """Answers before the arguments are looked at, so that no dump is needed, and knows the other options whatever their order."""

    def __init__(self, names: list[str], *, document: str, questions: Mapping[str, str], help: str) -> None:  # noqa: A002 - click's name
        super().__init__(names, is_flag=True, expose_value=False, is_eager=True, help=help)
        self._document = document
        self._questions = questions

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, object], args: list[str]
    ) -> tuple[object, list[str]]:
        if self.name in opts and not ctx.resilient_parsing:
            from llmux.criu_images._schemas import published_schema  # noqa: PLC0415 - only where it is asked for

            asked = [document for option, document in self._questions.items() if option in opts]
            click.echo(published_schema(asked[0] if asked else self._document))
            ctx.exit()
        return super().handle_parse_result(ctx, opts, args)


def json_options(
    document: str, questions: Mapping[str, str] | None = None
) -> Callable[[_CommandT], _CommandT]:
    """Give a command `--json` and `--json-schema`; `questions` are the parameters that make it write another document."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Write JSON, as docs/json.md describes it."
    )
    schema = click.option(
        "--json-schema",
        cls=_SchemaOption,
        document=document,
        questions=questions or {},
        help="Print the JSON Schema of what --json writes, and do no more.",
    )
    return lambda command: as_json(schema(command))
