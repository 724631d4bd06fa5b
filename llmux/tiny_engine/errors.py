"""What can go wrong, each with what to do about it."""

from pathlib import Path


class TinyEngineError(Exception):
    """Root of this package's errors: `message` says what, `hint` what to do next."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class ModelNotFoundError(TinyEngineError):
    """Neither a directory nor in the model cache."""

    def __init__(self, model: str, looked_at: Path) -> None:
        super().__init__(
            f"no model {model!r}: neither a directory, nor a snapshot below {looked_at}",
            "name a directory that `python -m llmux.tiny_engine train` wrote, or mount the model cache and set HF_HOME",
        )
        self.model = model
        self.looked_at = looked_at


class ModelDamagedError(TinyEngineError):
    """A file of the model is missing, cut short, or not this engine's."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}", "make the model again with `python -m llmux.tiny_engine train`")
        self.path = path
        self.reason = reason


class TextTooShortError(TinyEngineError):
    """Nothing to learn from."""

    def __init__(self, paragraphs: int) -> None:
        super().__init__(
            f"the text has {paragraphs} paragraphs of two sentences or more",
            "give at least two, with a blank line between paragraphs",
        )
        self.paragraphs = paragraphs


class PortTakenError(TinyEngineError):
    """The listening address cannot be had."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}", "choose another --port or --host")
        self.host = host
        self.port = port


class WorkerDiedError(TinyEngineError):
    """The worker process ended by itself."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(
            f"the worker ended with exit code {exit_code}", "the log says why; start the engine again"
        )
        self.exit_code = exit_code


class NotReadyError(TinyEngineError):
    """Asleep, or awake without weights."""


class DeviceError(TinyEngineError):
    """The GPU, its driver, or what is in its memory is not as it was."""


class DeviceMissingError(DeviceError):
    """No GPU can be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no GPU: {reason}", "leave --device out, or see what `nvidia-smi` says")
        self.reason = reason


class DeviceFullError(DeviceError):
    """The GPU has too little free memory."""

    def __init__(self, size: int, reason: str) -> None:
        super().__init__(
            f"the GPU has no {size:,} bytes: {reason}",
            "`nvidia-smi` says who has them; ask for fewer --device-bytes",
        )
        self.size = size


class DeviceCallError(DeviceError):
    """The driver refused a call about memory that had been given."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the GPU cannot be used any more: {reason}", "start the engine again; dmesg may tell an Xid"
        )
        self.reason = reason


class DeviceDamagedError(DeviceError):
    """Bytes on the GPU are not those that were written there."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the GPU's memory has changed: {what}", "start the engine again: nothing it says can be trusted"
        )
        self.what = what


class AdapterNotFoundError(TinyEngineError):
    """No adapter's files where they should be."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(
            f"Loading lora {name} failed: No adapter found for {path}",
            "give a directory that `python -m llmux.tiny_engine train-adapter` wrote",
        )
        self.name = name
        self.path = path


class AdapterRefusedError(TinyEngineError):
    """An adapter that this engine cannot use."""

    def __init__(
        self, name: str, reason: str, hint: str = "make it with `python -m llmux.tiny_engine train-adapter`"
    ) -> None:
        super().__init__(f"Loading lora {name} failed: {reason}", hint)
        self.name = name
        self.reason = reason


class MissingError(TinyEngineError):
    """The worker says that what a call names is not there."""


class BusyError(TinyEngineError):
    """Every slot of the prompt ring holds a prompt that the worker has not read yet."""

    def __init__(self, slots: int) -> None:
        super().__init__(f"all {slots} slots for waiting prompts are taken", "try again later")
        self.slots = slots
