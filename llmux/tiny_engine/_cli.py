"""The command line: `serve MODEL` as vLLM's, and `train`."""

import argparse
import hashlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from llmux.tiny_engine._compile import default_cache
from llmux.tiny_engine._hub import find_model, hub_directory, new_snapshot
from llmux.tiny_engine._serve import ServeSettings, serve
from llmux.tiny_engine._train import CORPUS, EPOCHS, train
from llmux.tiny_engine.errors import TinyEngineError


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; exits with 1 on an error of ours, 2 on wrong use."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "serve":
            serve(_serve_settings(options))
        else:
            _train(options)
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
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a directory, or org/name in the model cache")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8000)
    parser.add_argument("--served-model-name", help="the name in the API (default: MODEL)")
    parser.add_argument("--log-file", type=Path, help="default: ~/.cache/llmux-tiny/log/PORT.log")
    parser.add_argument("--cache-dir", type=Path, default=default_cache(), help="for the compiled step")
    parser.add_argument(
        "--token-delay", type=_seconds, default=0.0, metavar="SECONDS", help="least time for each token"
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


def _serve_settings(options: argparse.Namespace) -> ServeSettings:
    return ServeSettings(
        model=find_model(options.model, hub_directory()),
        name=options.served_model_name or options.model,
        host=options.host,
        port=options.port,
        log=options.log_file or default_cache() / "log" / f"{options.port}.log",
        cache=options.cache_dir,
        token_delay=options.token_delay,
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


def _port(text: str) -> int:
    if not 0 < (port := int(text)) < 1 << 16:
        raise ValueError(text)
    return port


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < math.inf:
        raise ValueError(text)
    return seconds
