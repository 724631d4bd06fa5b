"""Signed answers: a client that sends a nonce can tell whether the answer is to its own request, and whole.

The nonce travels in the header `x-nonce`, which proxies pass on and vLLM ignores. The signature is a field of a JSON
answer; of a stream it is the last event before `[DONE]`, with no choices, so a stream without it was cut. An answer
that was aborted has none.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Final

NONCE_HEADER: Final = "x-nonce"
_REMEMBERED: Final = 1 << 16


@dataclass(frozen=True)
class Signature:
    """What a signed answer says of itself."""

    model: str
    """The name that it was asked by."""
    nonce: str
    prompt_sha256: str
    """`prompt_digest` of the request's `prompt` or `messages`."""
    text_sha256: str
    """Of the answer's whole text, in UTF-8."""
    times: int
    """How often this engine has begun to answer this nonce: above 1, somebody asked again."""


@dataclass(frozen=True)
class Signer:
    """Signs the answer to one request."""

    model: str
    nonce: str
    prompt_sha256: str
    times: int

    def sign(self, text: str) -> Mapping[str, object]:
        """Return the field to add to the answer."""
        signature = Signature(self.model, self.nonce, self.prompt_sha256, digest(text), self.times)
        return {"signature": asdict(signature)}


class Nonces:
    """The nonces that came; of the oldest beyond 65,536 it is forgotten how often."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()

    def signer(self, nonce: str | None, model: str, prompt_sha256: str) -> Signer | None:
        """Begin an answer; None where the request has no nonce."""
        if not nonce:
            return None
        times = self._times.pop(nonce, 0) + 1
        self._times[nonce] = times
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        return Signer(model, nonce, prompt_sha256, times)


def prompt_digest(prompt: object) -> str:
    """Digest a request's `prompt` or `messages`, whatever way its JSON was written."""
    return digest(json.dumps(prompt, sort_keys=True, separators=(",", ":")))


def digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
