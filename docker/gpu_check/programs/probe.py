"""Say what the driver has, as JSON on standard output: a process of its own, since the driver may hang and leaves threads behind."""

import ctypes
import json
import sys

from llmux.tiny_engine._cuda import LIBRARY, Driver, DriverError, Gpu


def facts(gpu: Gpu) -> dict[str, str | int]:
    return {"name": gpu.name(), "uuid": gpu.uuid(), "total": gpu.memory()[1]}


def main() -> None:
    try:
        driver = Driver()
        gpus = [facts(Gpu(driver, ordinal)) for ordinal in range(driver.gpus())]
        found = {
            "gpus": gpus,
            "cuda": driver.version(),
            "checkpoint_api": hasattr(ctypes.CDLL(LIBRARY), "cuCheckpointProcessCheckpoint"),
            "no_gpu": "" if gpus else "the driver finds none",
        }
    except DriverError as error:
        found = {"no_gpu": str(error)}
    json.dump(found, sys.stdout)


main()
