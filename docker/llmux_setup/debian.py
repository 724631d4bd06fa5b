"""Packages and mirrors of the machine's own Debian or Ubuntu."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .paths import CACHE
from .shell import SetupError, output, run, step, succeeds

# Asked by every maintainer script before it starts a service (Debian Policy 9.3.3.2); 101 is "do not".
_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES = "#!/bin/sh\nexit 101\n"


def is_root() -> bool:
    return os.geteuid() == 0


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def knows(package: str) -> bool:
    """Tell whether the machine's sources offer `package`."""
    return "Candidate: (none)" not in output("apt-cache", "policy", package) and succeeds(
        "apt-cache", "show", package
    )


def install(*packages: str, why: str) -> None:
    """Install packages as root on Debian or Ubuntu; elsewhere, and for anyone else, SetupError names them."""
    names = " ".join(packages)
    if not has_apt():
        raise SetupError(f"{why} is missing", hint=f"install what your system calls {names}, then repeat")
    if not is_root():
        raise SetupError(f"{why} is missing", hint=f"sudo apt-get install {names}")
    with step(f"{why}: installing {names}"), _services_stay_off():
        settings = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", env=settings)
        run(
            *("apt-get", "install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"),
            *packages,
            env=settings,
            hint="see what apt says above; `apt-get -f install` mends a half-done installation",
        )


@contextlib.contextmanager
def _services_stay_off() -> Iterator[None]:
    """Keep packages from starting system services while they are installed."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def mirror() -> str | None:
    """Return the Debian mirror this machine's apt uses; None where it is no Debian."""
    release = _os_release()
    if release.get("ID") != "debian" or not has_apt():
        return None
    options = private_lists(CACHE / "apt")
    # apt names its mirrors only once it has their lists, and the machine's own may be missing.
    run("apt-get", *options, "update", hint="does this machine reach its Debian mirror? see /etc/apt")
    lines = output(
        "apt-get", *options, "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"
    )
    return parse_mirror(lines, release.get("VERSION_CODENAME", ""))


def private_lists(directory: Path) -> tuple[str, ...]:
    """Return options with which apt keeps its lists and downloads in `directory`, and works for any user."""
    (directory / "lists/partial").mkdir(parents=True, exist_ok=True)
    return (
        *("-o", f"Dir::State::lists={directory}/lists"),
        *("-o", f"Dir::Cache={directory}"),
        *("-o", "Acquire::Languages=none"),
        # The user that root's apt downloads as cannot write there.
        *("-o", "APT::Sandbox::User="),
    )


def parse_mirror(lines: str, codename: str) -> str | None:
    """Return the first repository of `RELEASE URI` lines that serves `codename` itself, not its updates."""
    pairs = (line.split(maxsplit=1) for line in lines.splitlines() if line.strip())
    return next((uri for name, uri in pairs if name == codename), None)


def _os_release() -> dict[str, str]:
    try:
        return parse_os_release(Path("/etc/os-release").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def parse_os_release(text: str) -> dict[str, str]:
    """Parse os-release(5)'s KEY=value lines."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip("\"'") for key, value in pairs}
