"""Long work, and on a terminal how far it is: its phase, a bar, bytes and the time that is left, by the control API's operations."""

from __future__ import annotations

import asyncio
import sys

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from llmux.server import _words
from llmux.server._capacity import size
from llmux.server._cli_client import console
from llmux.server._client import Client, Declined, Json, path_of
from llmux.server._client_answers import Operation, read
from llmux.server._printable import printable

_LOOK = 0.25
"""Seconds between two looks at an operation."""


async def perform(client: Client, what: str, path: str, body: Json) -> Json:
    """Have llmux do what takes long, and return its result; `what` is it done to. Raises NotReached and Declined."""
    if not sys.stderr.isatty():
        return await client.post(path, body)
    begun = await client.post(f"{path}?wait=false", body)
    if "phase" not in begun:  # it took no time at all
        return begun
    with Progress(
        TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[rest]}"),
        console=console(sys.stderr), transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task(printable(what), rest="")
        return await _until_over(client, read(Operation, begun), what, bar, task)


async def _until_over(client: Client, operation: Operation, what: str, bar: Progress, task: TaskID) -> Json:
    path = path_of("control", "operations", operation.id)
    while operation.status == "under_way":
        told = f"{what}: {_words.phase(operation.phase)}"
        bar.update(
            task,
            description=printable(told),
            total=None if operation.percent is None else 100.0,
            completed=operation.percent or 0.0,
            rest=rest_of(operation),
        )
        await asyncio.sleep(_LOOK)
        operation = read(Operation, await client.get(path))
    if problem := operation.problem:
        raise Declined(0, problem.code, problem.message.removesuffix(problem.hint).strip(), hint=problem.hint)
    return operation.result or {}


def rest_of(operation: Operation) -> str:
    """Return what is beside the bar."""
    parts = [f"{operation.seconds:.0f} s"]
    if operation.bytes is not None:
        in_all = operation.bytes_in_all
        parts.append(size(operation.bytes) + (f" of {size(in_all)}" if in_all else ""))
    if operation.percent is not None:
        parts.append(f"{operation.percent:.0f} %")
    if operation.eta_seconds:
        parts.append(f"about {operation.eta_seconds:.0f} s left")
    return ", ".join(parts)
