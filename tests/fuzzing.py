"""What schemathesis comes up with for an OpenAPI document, sent to a server: its checks hold for each answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.config import ChecksConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig

EXAMPLES = 12
"""Of each operation, as its document has it and not."""


def fuzz(
    document: Mapping[str, object],
    url: str,
    checks: ChecksConfig,
    left_out: Collection[str] = (),
    headers: Mapping[str, str] | None = None,
) -> None:
    """Call every operation but those of these ids; raises what a check finds."""
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(checks=checks)))
    for found in schemathesis.openapi.from_dict(document, config=config).get_all_operations():
        operation = found.ok()
        raw = operation.definition.raw
        if raw["operationId"] in left_out:
            continue
        # Any text may be an id, and any a model's name in a path.
        can_be_wrong = any(each["in"] != "path" for each in raw["parameters"]) or "requestBody" in raw
        for mode in GenerationMode if can_be_wrong else (GenerationMode.POSITIVE,):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            def probe(case):
                case.call_and_validate(base_url=url, timeout=60, headers=headers)

            probe()
