"""Storms in which the machine is at its limits, and the long one."""

from __future__ import annotations

import asyncio

from proof.bench import CHECKPOINTS
from storms.killing import DYING
from storms.storm import BRISK, DEEP, FORGIVING, SHALLOW, Storm, Weather


async def _full_disk(weather: Weather) -> None:
    first, second = weather.models
    for _ in range(weather.length):
        await weather.client.ask(first)
        await weather.in_container("dd", "if=/dev/zero", f"of={CHECKPOINTS}/filler", "bs=1M")
        status, _ = await weather.client.control("sleep", {"model": first})
        assert status >= 400, "a sleep to a full disk was said to have worked"
        await weather.at_once(
            *(weather.client.ask(first, stream=each % 2 == 0) for each in range(6)),
            weather.client.ask(second),
        )
        await weather.in_container("rm", f"{CHECKPOINTS}/filler")
        # By hand: llmux itself lets some time pass before it tries a sleep again that has failed.
        await weather.order("sleep", {"model": first})
        await weather.client.answered(second)
        await weather.client.answered(first)


async def _endure(weather: Weather) -> None:
    """For `length` seconds all that the other storms do, by chance."""

    async def accident() -> None:
        model = weather.dice.choice(weather.models)
        eviction = weather.dice.choice((DEEP, SHALLOW))
        match weather.dice.randrange(4):
            case 0:
                await weather.kill_engine(model)
            case 1 | 2:
                await weather.order("sleep", {"model": model, "eviction": eviction})
            case _:
                await weather.client.ask(model, leave_after=weather.dice.uniform(0.01, 1))

    clock = asyncio.get_running_loop().time
    end = clock() + weather.length
    async with asyncio.TaskGroup() as group:
        while clock() < end:
            model = weather.dice.choice(weather.models)
            stream = weather.dice.random() < 0.4
            group.create_task(weather.client.ask(model, stream=stream, tokens=weather.dice.randrange(1, 40)))
            if weather.dice.random() < 0.08:
                group.create_task(accident())
            await asyncio.sleep(weather.dice.expovariate(5))
    for model in weather.models:
        await weather.client.answered(model)


FULL_DISK = Storm(
    "full-disk",
    "the disk is full when a model is to sleep there",
    _full_disk,
    1,
    10,
    disk=512 << 20,
    checkpoint={"reuse": False},  # a model that has only answered since its wake would need no room
    excused=("503",),
)
ENDURANCE = Storm(
    "endurance",
    "ten minutes of everything: switches, streams, clients that leave, engines that are killed",
    _endure,
    5,
    600,
    models=4,
    awake=2,
    options=("--token-delay", "0.005"),
    fields=BRISK,
    model_fields={"restart": FORGIVING},
    excused=("429", *DYING),
)
