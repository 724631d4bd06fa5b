"""The command line: `serve MODEL` as vLLM's, `train` and `train-adapter`."""

import argparse
import hashlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from llmux.tiny_engine._adapters import parse_module, run_time_updates
from llmux.tiny_engine._app import Offers
from llmux.tiny_engine._compile import default_cache
from llmux.tiny_engine._faults import Kind, parse_fault
from llmux.tiny_engine._hub import find_model, hub_directory, new_snapshot
from llmux.tiny_engine._lora import LoraLimits
from llmux.tiny_engine._serve import ServeSettings, serve
from llmux.tiny_engine._train import CORPUS, EPOCHS, train
from llmux.tiny_engine._train_adapter import RANK, train_adapter
from llmux.tiny_engine._worker import DeviceSettings
from llmux.tiny_engine.errors import TinyEngineError


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; exits with 1 on an error of ours, 2 on wrong use."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        match options.command:
            case "serve":
                serve(_serve_settings(parser, options))
            case "train":
                _train(options)
            case _:
                _train_adapter(options)
    except (TinyEngineError, OSError) as error:
        sys.exit(f"llmux.tiny_engine: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llmux.tiny_engine", description=sys.modules[__package__].__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands.add_parser("serve", help="serve a model over HTTP", allow_abbrev=False))
    _add_train(commands.add_parser("train", help="make a model from text", allow_abbrev=False))
    adapter = commands.add_parser("train-adapter", help="make a LoRA adapter for a model", allow_abbrev=False)
    _add_train_adapter(adapter)
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a directory, or org/name in the model cache")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8000)
    parser.add_argument("--served-model-name", help="the name in the API (default: MODEL)")
    parser.add_argument(
        "--log-file",
        type=Path,
        help="standard error has the same (default: ~/.cache/llmux-tiny/log/PORT.log)",
    )
    parser.add_argument("--cache-dir", type=Path, default=default_cache(), help="for the compiled step")
    parser.add_argument(
        "--token-delay", type=_seconds, default=0.0, metavar="SECONDS", help="least time for each token"
    )
    device = parser.add_argument_group("where the weights are")
    device.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: on a GPU, by its driver alone"
    )
    device.add_argument(
        "--device-bytes", type=_bytes, default=0, metavar="N", help="ballast on the GPU beside the weights"
    )
    _add_lora(parser.add_argument_group("LoRA adapters"))
    faults = parser.add_argument_group("faults on demand, for tests")
    faults.add_argument("--allow-faults", action="store_true", help="offer POST /fault")
    faults.add_argument(
        "--fault",
        type=parse_fault,
        action="append",
        default=[],
        metavar="KIND[=AMOUNT]",
        help="let one happen from the start: " + ", ".join(Kind),
    )


def _add_lora(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--enable-lora", action="store_true")
    group.add_argument("--max-loras", type=_positive, default=1, help="how many answer together")
    group.add_argument(
        "--max-cpu-loras", type=_positive, help="how many are kept in memory (default: MAX_LORAS)"
    )
    group.add_argument("--max-lora-rank", type=_positive, default=16)
    group.add_argument(
        "--lora-modules",
        type=parse_module,
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="adapters loaded at start; JSON with name, path, base_model_name too",
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out_dir", type=Path, nargs="?", help="where to write the model")
    parser.add_argument(
        "--hub-name", metavar="ORG/NAME", help="write to the model cache under this name instead"
    )
    parser.add_argument(
        "--text", type=Path, nargs="+", default=[CORPUS], help="what to learn (default: about lighthouses)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)


def _add_train_adapter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a directory, or org/name in the model cache")
    parser.add_argument("out_dir", type=Path, help="where to write the adapter")
    parser.add_argument(
        "--text", type=Path, nargs="+", default=[CORPUS], help="what to mix up (default: about lighthouses)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=_positive, default=RANK)


def _serve_settings(parser: argparse.ArgumentParser, options: argparse.Namespace) -> ServeSettings:
    cached = options.max_cpu_loras or options.max_loras
    if cached < options.max_loras:
        parser.error(f"--max-cpu-loras is {cached}, must be at least --max-loras, {options.max_loras}")
    if options.device_bytes and options.device == "cpu":
        parser.error("--device-bytes needs --device cuda")
    return ServeSettings(
        model=find_model(options.model, hub_directory()),
        name=options.served_model_name or options.model,
        host=options.host,
        port=options.port,
        log=options.log_file or default_cache() / "log" / f"{options.port}.log",
        cache=options.cache_dir,
        token_delay=options.token_delay,
        lora=LoraLimits(options.max_loras if options.enable_lora else 0, cached, options.max_lora_rank),
        device=DeviceSettings(options.device == "cuda", options.device_bytes),
        offers=Offers(
            tuple(options.lora_modules),
            lora_calls=run_time_updates(os.environ),
            faults=options.allow_faults,
            faults_at_start=tuple(options.fault),
        ),
    )


def _train(options: argparse.Namespace) -> None:
    texts = [path.read_text(encoding="utf-8") for path in options.text]
    if (options.out_dir is None) == (options.hub_name is None):
        sys.exit("llmux.tiny_engine train: give either OUT_DIR or --hub-name")
    directory: Path = options.out_dir
    if options.hub_name is not None:
        identity = hashlib.sha256(
            "\0".join([str(options.seed), str(options.epochs), *texts]).encode()
        ).hexdigest()
        directory = new_snapshot(hub_directory(), options.hub_name, identity)
    loss = train(directory, texts, options.seed, options.epochs)
    print(f"{directory}: trained to a loss of {loss:.2f} nats per token")  # noqa: T201 - the CLI prints


def _train_adapter(options: argparse.Namespace) -> None:
    texts = [path.read_text(encoding="utf-8") for path in options.text]
    model = find_model(options.model, hub_directory())
    loss = train_adapter(model, options.out_dir, texts, options.seed, options.rank)
    print(f"{options.out_dir}: trained to a loss of {loss:.2f} nats per token")  # noqa: T201 - the CLI prints


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def _bytes(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError(text)
    return number


def _port(text: str) -> int:
    if not 0 < (port := int(text)) < 1 << 16:
        raise ValueError(text)
    return port


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < math.inf:
        raise ValueError(text)
    return seconds
