"""What NVIDIA's driver shows in /proc, laid out below a directory of a test's own. The texts are in the driver's form, not taken from a machine."""

from __future__ import annotations

from pathlib import Path

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-B17-02-5)  Sun Jul 27 07:18:32 UTC 2025\nGCC version:  gcc version 12.3.0\n"
INFORMATION = "Model: \t\t {}\nIRQ:   \t\t 77\nGPU UUID: \t {}\nVideo BIOS: \t 96.00.30.00.01\nBus Type: \t PCIe\nDevice Minor: \t 0\nGPU Excluded:\t No\n"


def lay_driver(root: Path, version: str = "580.65.06", *gpus: tuple[str, str]) -> None:
    """Give `root` a /proc with the driver's files, or one without where `version` is empty."""
    driver = root / "proc/driver/nvidia"
    driver.parent.mkdir(parents=True, exist_ok=True)
    if version:
        (driver / "gpus").mkdir(parents=True)
        (driver / "version").write_text(OPEN.format(version))
    for number, (model, uuid) in enumerate(gpus):
        bus = driver / f"gpus/0000:{number:02x}:00.0"
        bus.mkdir()
        (bus / "information").write_text(INFORMATION.format(model, uuid))


def lay_library(root: Path, name: str, content: bytes = b"lib") -> None:
    path = root / "usr/lib/x86_64-linux-gnu" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
