"""docs/configuration.md and docs/config.schema.json, made from the configuration's types; `python tests/configuration_page.py` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from llmux.server import config
from llmux.server.config import Config

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "configuration.md"
SCHEMA = DOCS / "config.schema.json"

INTRO = """# Configuration

`llmux serve --config FILE` reads one object, in JSON, YAML (`.yaml`, `.yml`) or TOML (`.toml`); without `--config` it is `/etc/llmux/config.json`, or the one
with another of these suffixes. `llmux validate` reads it only. A field that is not known, a value that cannot be, a
name that nobody has, models that want one port: all faults of a file come together, each with the path to its field and what was probably meant (of a field in the wrong section, where it belongs), and nothing
starts (exit code 2). What this machine cannot do or hold of it is refused likewise (exit code 1). This page is made from the types that read the file (`make
configuration`).

```json
{
  "models": {
    "chat": {
      "model_path": "Qwen/Qwen3-14B", "port": 8001, "replicas": 2, "weight": 3,
      "extra_args": ["--gpu-memory-utilization", "0.45"],
      "eviction": {"weights": "offload", "process": "keep_running", "escalate": ["stop"]},
      "ladder": {"deepen_after": 600, "stop_after": 86400},
      "adapters": {"chat-sql": "/models/lora/sql"},
      "schedule": [{"cron": "0 8 * * MON-FRI", "for": 36000, "timezone": "UTC"}]
    },
    "night": {
      "model_path": "org/large", "port": 8010, "resources": {"gpus": 2, "host_memory": "24GiB", "disk": "30GiB"}, "ttl": 900
    }
  },
  "policy": {"policy_type": "fair", "max_wait_secs": 60},
  "checkpoint": {"images_dir": "/var/lib/llmux/checkpoints"},
  "port": 3000
}
```

The same begins so in YAML, and so in TOML:

```yaml
models:
  chat:
    model_path: Qwen/Qwen3-14B
    port: 8001
    extra_args: [--gpu-memory-utilization, "0.45"]
    eviction: {weights: offload, process: keep_running, escalate: [stop]}
```

```toml
[models.chat]
model_path = "Qwen/Qwen3-14B"
port = 8001
extra_args = ["--gpu-memory-utilization", "0.45"]
eviction = {weights = "offload", process = "keep_running", escalate = ["stop"]}
```

YAML is that of version 1.2, so that `no` is a text; anchors and `<<` work, tags do not. A key given twice is a fault in every format. Editors complete and check a
file by [the schema](config.schema.json), which `llmux validate --schema` prints too: name it at the top as `"$schema": "PATH"` (JSON), `# yaml-language-server:
$schema=PATH` (YAML) or `#:schema PATH` (TOML).

Sizes are bytes, or texts with a unit (`"20GiB"`, `"1.5 TB"`). Times are seconds unless a name says milliseconds; they are measured by a clock that only goes
forward. `null` stands for "not said". What [a sleep can be](evictions.md) is a page of its own.

## Who may be awake

A model that fits beside those that are awake is woken beside them; what it takes is in `models.NAME.resources`, what there is in `resources` at the top, or
found: host memory by the limit of llmux's control group or the machine's memory, disk by the file system of `checkpoint.images_dir` (what is free and what
checkpoints take already), GPUs by NVML, as far as `CUDA_VISIBLE_DEVICES` lets programs see them. At start the log says what was found and where. Where only a
count of GPUs is said, replicas are spread so that the largest choose first and each has the GPUs of which least is spoken for; each engine sees its own alone
(`CUDA_VISIBLE_DEVICES`). vLLM takes all of a GPU's memory in this account unless `gpu_memory`, `gpu_memory_fraction` or `--gpu-memory-utilization` says less.
Host memory that is neither said nor measured counts for nothing: until a model has been awake once, `max_awake` is the bound. What can never fit, alone or
beside what is pinned, is refused at start. Models of one group in `exclusive` are never awake together.

## LoRA adapters

An adapter under `adapters` is a model to clients: `GET /v1/models` lists it with its `parent` and its path as `root`, and a request that names it is one of its
base's in every respect (queue, turn, sleep, retries), answered by the base's engine. The engine loads it at its first request
(`POST /v1/load_lora_adapter`), replica by replica, and at most `max_adapters` at a time: then the one that was used least recently is unloaded. One with requests
in flight never is; where all have some, the request waits for the first that has none, and requests for any of the engine's adapters that come after it wait behind it. After a
wake llmux asks the engine what it has, so that an adapter that was in a checkpoint answers at once; discarded weights take adapters with them, and they are read again
at their next request. What the engine refuses to load is a 503 `adapter_not_loaded` with its words; the base serves on. `/control/status` names the replicas that have
each adapter loaded.

vLLM and the tiny engine are started with `--enable-lora --max-loras` (`max_adapters`) and `VLLM_ALLOW_RUNTIME_LORA_UPDATING`; what else they need is for
`extra_args` (`--max-lora-rank` for a rank over 16), and a `command` has to be started so by its own words. `path` must be there in every container that the model
may wake in.

## Names of models

Clients ask for a model by its name, by one of its `aliases`, or by an adapter's name; a request that names none is for `default_model`. `GET /v1/models` lists
them all, each with its `state`. Where a client's name is not the one that the engine knows, llmux writes the engine's into the request and the client's into the
answer, streams included; all else passes byte for byte. [Which paths, whose errors, what an engine lacks](apis.md) is a page of its own.

## Files of earlier releases

They load as they stand. `sleep_level` of a model or of `policy` is an eviction (1: offload, keep_running; 2: discard, keep_running; 3: retain, cuda_suspend;
4: retain, checkpoint; 5: discard, stop); `policy`, `vllm_command` and `startup_timeout_secs` say what holds for every model that does not say it itself.
`warmup` and `checkpoint.object_store` are read and do nothing; a line in the log says so. What differs: a model without an eviction goes to disk,
where it was stopped; the default policy is `fair`, where it was `fifo`; and `"weights": "retain", "process": "stop"` is refused, because a stopped engine
retains nothing (say `"weights": "discard"`).

## Reloading

SIGHUP reads the file again, as does `POST /control/reload`, and with `watch` a change of the file: an edit, another file in its place, or a link that leads
elsewhere. It is taken whole or not at all: with a fault in it, with more than the node has, or with something new in `host`, `port`, `admin_port`, `metrics_port`,
`listen`, `tls`, `log_dir`, `state_dir`, `checkpoint`, `hooks`, `tracing` or `watch`, which need a restart of llmux, nothing changes. A reload reads keys that are in files, and the
certificate, again. The log says what is wrong, and so do the answer of `/control/reload` (400
with all faults) and `reload` in `/control/status`, which tells of the last one.

| What is new | What happens |
| --- | --- |
| a model | It is there at once, asleep if it has a checkpoint. |
| a model is gone | Who waits for it, or asks, gets 404 and is told of the reload. Answers in flight go on for as long as its `drain` lets them (`give_up` ends them); then its engine ends. Its checkpoint stays on disk. |
| `model_path`, `engine`, `vllm_command`, `program`, `command`, `calls`, `remote`, `extra_args`, `env`, `isolation`, `max_adapters`, a port, GPUs, the first or last adapter; on several GPUs an `eviction` or `nccl` that wants another start | A start, wake or sleep under way is let finish, answers are drained as above, and the engine ends. Requests are held meanwhile, and the next one starts it as configured now: its old checkpoint is of another start, and is not used. |
| `replicas` | Further ones are there at once; those too many are drained and end. |
| anything else of a model | It holds from now on. The engine is not touched; the timeouts of its own steps hold from its next start or wake. |
| `access`, `policy`, `resources`, `max_awake`, `exclusive`, `queue`, `shutdown_timeout`, `engines_at_exit` | It holds from now on. |

Engines of models that are not named here serve on. `becomes` in the status is `anew` or `gone` for a replica on its way.
"""

PLACES = {
    "Config": "The top",
    "ModelConfig": "`models.NAME`",
    "EvictionConfig": "`models.NAME.eviction`, `policy.eviction`",
    "LadderConfig": "`models.NAME.ladder`",
    "ModelResources": "`models.NAME.resources`",
    "ScheduleConfig": "`models.NAME.schedule`, each",
    "AdapterConfig": "`models.NAME.adapters.NAME`; the path alone stands for it",
    "CallsConfig": "`models.NAME.calls`",
    "CallConfig": "`models.NAME.calls.sleep`, `models.NAME.calls.wake`, each",
    "RemoteConfig": "`models.NAME.remote`",
    "RequestCaps": "`models.NAME.request_caps`",
    "ModelQueueConfig": "`models.NAME.queue`",
    "DrainConfig": "`models.NAME.drain`",
    "RestartConfig": "`models.NAME.restart`",
    "IsolationConfig": "`models.NAME.isolation`",
    "Timeouts": "`models.NAME.timeouts`",
    "PolicyConfig": "`policy`",
    "NodeResources": "`resources`",
    "QueueConfig": "`queue`",
    "AccessConfig": "`access`",
    "KeyConfig": "`access.keys.NAME`",
    "SecretConfig": "`access.token`",
    "ListenConfig": "`listen`",
    "TlsConfig": "`tls`",
    "HookConfig": "`hooks`, each; see [hooks.md](hooks.md)",
    "TracingConfig": "`tracing`; see [tracing.md](tracing.md)",
    "CheckpointConfig": "`checkpoint`",
    "ObjectStoreConfig": "`checkpoint.object_store`",
}

Schema = Mapping[str, object]


def page() -> str:
    """Return the page's text."""
    schema = Config.model_json_schema()
    sections = {"Config": schema, **schema["$defs"]}
    return INTRO + "".join(_section(place, sections[name], sections) for name, place in PLACES.items())


def _section(place: str, schema: Schema, sections: Mapping[str, Schema]) -> str:
    rows = "".join(_row(name, field, schema, sections) for name, field in schema["properties"].items())
    return (
        f"\n## {place}\n\n{schema['description']}\n\n| field | value | default | |\n|---|---|---|---|\n{rows}"
    )


def _row(name: str, field: Schema, schema: Schema, sections: Mapping[str, Schema]) -> str:
    default = "required" if name in schema.get("required", ()) else _default(field)
    section = sections.get(str(field.get("$ref", "")).rpartition("/")[2], {})
    said = " ".join((field.get("description") or section["description"]).split())
    return f"| `{name}` | {_kind(field)} | {default} | {said} |\n"


def _default(field: Schema) -> str:
    match field.get("default"):
        case None | [] | dict():  # a section's own table has its fields'
            return ""
        case float(number):
            return f"`{number:g}`"
        case value:
            return f"`{json.dumps(value)}`"


def _kind(field: Schema) -> str:
    match field:
        case {"anyOf": [*_, {"format": "bytes"}]} | {"anyOf": [*_, {"format": "bytes"}, {"type": "null"}]}:
            return "size"
        case {"anyOf": several}:
            return " or ".join(_kind(each) for each in several if each != {"type": "null"})
        case {"$ref": "#/$defs/JsonValue"}:
            return "any value"
        case {"$ref": _}:
            return "section"
        case {"enum": values}:
            return ", ".join(f"`{each}`" for each in values)
        case _:
            return _simple(field)


def _simple(field: Schema) -> str:
    match field:
        case {"type": "array", "items": item}:
            return f"list of {_kind(item)}"
        case {"type": "object", "additionalProperties": item}:
            return f"name to {_kind(item)}"
        case {"type": "string", "format": "path"}:
            return "absolute path"
        case {"type": kind}:
            return {"string": "text", "boolean": "true, false"}.get(kind, kind) + _bounds(field)


def _bounds(field: Schema) -> str:
    match field:
        case {"minimum": least, "maximum": most}:
            return f", {least:.10g} to {most:.10g}"
        case {"exclusiveMinimum": below, "maximum": most}:
            return f" over {below:.10g}, to {most:.10g}"
        case {"minimum": least}:
            return f" from {least:.10g}"
        case _:
            return ""


def schema() -> str:
    """Return the schema's text."""
    return json.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
