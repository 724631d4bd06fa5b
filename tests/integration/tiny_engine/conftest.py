"""Real engines on free ports, with every call that would block the event loop turned into an error."""

import json
import subprocess  # noqa: TID251 - the engine is started as its users start it
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from ports import free_port

from llmux.tiny_engine._train import CORPUS, train

_STRICT = (
    "from blockbuster import BlockBuster; import runpy, sys; BlockBuster().activate();"
    "sys.argv[0] = 'llmux.tiny_engine'; runpy.run_module('llmux.tiny_engine', run_name='__main__', alter_sys=True)"
)
_START = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def json(self):
        return json.loads(self.text)


@dataclass(frozen=True)
class Engine:
    """A running engine and how to talk to it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    output: Path
    """What it writes to its standard error."""
    cache: Path

    @contextmanager
    def open(
        self, method: str, path: str, body: object = None, nonce: str = "", timeout: float = 60
    ) -> Iterator[HTTPResponse]:
        headers = {"x-nonce": nonce} if nonce else {}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            with connection.getresponse() as response:
                yield response

    def get(self, path: str) -> Answer:
        with self.open("GET", path) as response:
            return Answer(response.status, response.read().decode())

    def post(self, path: str, body: object = None, nonce: str = "") -> Answer:
        with self.open("POST", path, body, nonce) as response:
            return Answer(response.status, response.read().decode())

    def chat(self, content: str = "What is a lens?", nonce: str = "", **options: object) -> Answer:
        messages = [{"role": "user", "content": content}]
        body = {"messages": messages, "temperature": 0, "max_tokens": 20, **options}
        return self.post("/v1/chat/completions", body, nonce)

    def answer(self, content: str = "What is a lens?", **options: object) -> str:
        return self.chat(content, **options).json["choices"][0]["message"]["content"]

    def metric(self, name: str) -> int:
        lines = self.get("/metrics").text.splitlines()
        return next(int(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        eventually(condition, what)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


StartEngine = Callable[..., AbstractContextManager[Engine]]


@contextmanager
def running(model: Path, directory: Path, *options: str) -> Iterator[Engine]:
    port, log, cache = free_port(), directory / "engine.log", directory / "cache"
    output = directory / "output"
    arguments = [
        "--port",
        str(port),
        "--log-file",
        str(log),
        "--cache-dir",
        str(cache),
        "--served-model-name",
        "tiny",
    ]
    command = [sys.executable, "-c", _STRICT, "serve", str(model), *arguments, *options]
    with (
        output.open("w") as file,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=file) as process,
    ):
        engine = Engine(process, port, log, output, cache)
        try:
            eventually(lambda: _healthy(engine), "the engine is healthy", _START)
            yield engine
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _healthy(engine: Engine) -> bool:
    assert engine.process.poll() is None, engine.output.read_text()
    try:
        return engine.get("/health").status == 200
    except ConnectionError:
        return False


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> list[Path]:
    """Two models, of different seeds, trained briefly."""
    directories = [tmp_path_factory.mktemp(f"model{seed}") for seed in (0, 1)]
    for seed, directory in enumerate(directories):
        train(directory, [CORPUS.read_text()[:3000]], seed, epochs=2)
    return directories


@pytest.fixture(scope="module")
def engine(models, tmp_path_factory) -> Iterator[Engine]:
    """One engine for the tests that leave it awake and well."""
    with running(models[0], tmp_path_factory.mktemp("engine")) as started:
        yield started


@pytest.fixture
def start(models, tmp_path) -> StartEngine:
    """Start an engine of a test's own, with options; the seed chooses the model."""
    return lambda *options, seed=0: running(models[seed], tmp_path, *options)
