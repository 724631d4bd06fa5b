"""docs/metrics.md, made from the catalogue of figures; `python tests/metrics_page.py` writes it anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from llmux.server.metrics._catalogue import FAMILIES, LABELS, Family, Kind
from llmux.server.metrics._engines import LIMIT

PAGE = Path(__file__).resolve().parents[1] / "docs/metrics.md"

INTRO = """# Metrics

`GET /metrics` answers in Prometheus's text format, on llmux's own port and, where `metrics_port` is set, on that port (`listen.metrics_host`) with nothing else beside it. Seconds
and bytes throughout. This page is made from the catalogue that the figures are made from (`make metrics`).

```yaml
# prometheus.yml
rule_files: [alerts.yml]
scrape_configs:
  - job_name: llmux
    static_configs: [{targets: ["localhost:3000"]}]
```

`deploy/prometheus/alerts.yml` in the repository has alerts and recording rules, and `deploy/grafana/llmux.json` is a dashboard to import into Grafana. The alerts
expect the job's name to be `llmux`. `make test` loads both into a real Prometheus, and each panel must have something to show.

Labels hold configured names only: no client can make up a new series. A model that is configured no longer is forgotten with the next scrape, and a new one
begins at 0 where a first failure must be seen as an increase. llmux's own process is told of by the usual `process_*` and `python_gc_*`, without labels
`model` and `replica`.
"""

ENGINES = f"""## The engines' own metrics

What engines tell at their `/metrics` (vLLM's `vllm:*`, for one) is there too, each series with the labels `model` and `replica`. Only engines that are awake are
asked, all at once, for {LIMIT:g} s at most: an engine that sleeps is not woken by a scrape, and one that hangs does not hold it up; `llmux_engine_metrics_up` tells of it.
Counters begin anew where an engine starts cold, go on where it is woken, and are not there while it sleeps. Labels `model` and `replica` of an engine's own
become `exported_model` and `exported_replica`. Left out are names that begin with `llmux_`, a family whose type differs from that of the first engine with the same,
and what is no valid name.
"""

TITLES = {
    "llmux_requests": "Requests",
    "llmux_replica_state": "Replicas, sleeps and wakes",
    "llmux_engine_losses": "What goes wrong, and what is decided",
    "llmux_checkpoint_bytes": "Checkpoints",
    "llmux_budget_capacity": "The node",
    "llmux_gpu_memory_bytes": "GPUs",
    "llmux_config_last_reload_successful": "llmux itself",
}
"""The sections, by the first figure of each."""


def page() -> str:
    """Return the page's text."""
    return "\n".join((INTRO, *_sections(FAMILIES), _labels(), ENGINES))


def _sections(families: Iterable[Family]) -> Iterator[str]:
    for family in families:
        if title := TITLES.get(family.name):
            yield f"## {title}\n\n| Name | Type | Labels | What it says |\n| --- | --- | --- | --- |"
        yield _row(family)
    yield ""


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    buckets = f", {len(family.buckets)} buckets" if family.kind is Kind.HISTOGRAM else ""
    return f"| `{family.exposed}` | {family.kind}{buckets} | {labels} | {family.meaning} |"


def _labels() -> str:
    rows = (f"| `{label}` | {meaning} |" for label, meaning in LABELS.items())
    return "\n".join(("## Labels", "", "| Label | What it holds |", "| --- | --- |", *rows, ""))


if __name__ == "__main__":
    PAGE.write_text(page())
