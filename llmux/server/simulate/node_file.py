"""A node described for the simulation: JSON text to a scenario, or every fault at once, each with its path."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmux.server.simulate.scenario import Model, Rung, Scenario

Amount = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RungFile(_Section):
    """One depth of sleep."""

    keeps: dict[Name, Amount] = Field(default_factory=dict)
    wake: Seconds = 5.0
    sleep: Seconds = 2.0
    stays: Seconds | None = None


class ModelFile(_Section):
    """One model."""

    needs: dict[Name, Amount]
    rungs: tuple[RungFile, ...] = Field(default=(RungFile(),), min_length=1)
    drain: Seconds = 30.0
    concurrency: Annotated[int, Field(ge=1)] = 16
    service: Seconds = 1.0
    seconds_per_token: Seconds = 0.02
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    priority: int = 0
    min_awake: Seconds = 5.0
    ttl: Seconds | None = None
    pinned: bool = False
    wanted: bool = False


class NodeFile(_Section):
    """The node and its models."""

    capacity: dict[Name, Amount]
    models: dict[Name, ModelFile] = Field(min_length=1)
    request_timeout: Seconds | None = None


def parse(text: str) -> Scenario | tuple[str, ...]:
    """Return the scenario that this text describes, or what is wrong with it."""
    try:
        json.loads(text)
        node = NodeFile.model_validate_json(text)
    except (json.JSONDecodeError, RecursionError) as error:
        return (f"it is not JSON: {error}",)
    except ValidationError as error:
        return tuple(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
            for fault in error.errors()
        )
    return Scenario(
        node.capacity,
        {name: _model(name, model) for name, model in node.models.items()},
        node.request_timeout,
    )


def _model(name: str, model: ModelFile) -> Model:
    given = model.model_dump(exclude={"rungs"})
    return Model(name=name, rungs=tuple(Rung(**rung.model_dump()) for rung in model.rungs), **given)
