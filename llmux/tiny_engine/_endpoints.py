"""The paths of the sockets between the two processes."""

import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True)
class Endpoints:
    """ZMQ addresses: `requests` is bound by the API process, the others by the worker."""

    requests: str
    outputs: str
    utility: str

    def unlink(self) -> None:
        """Remove the socket files, those of a process that was killed too."""
        for address in astuple(self):
            Path(address.removeprefix("ipc://")).unlink(missing_ok=True)


def new_endpoints() -> Endpoints:
    """Choose `ipc:///tmp/<uuid>` addresses, in the directory for temporary files, as vLLM does (its VLLM_RPC_BASE_PATH)."""
    return Endpoints(*(f"ipc://{tempfile.gettempdir()}/{uuid4()}" for _ in range(3)))
