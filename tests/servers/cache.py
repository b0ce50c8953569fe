"""Where fetched servers are kept, and how a Debian package gets there without being installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FETCH_TIMEOUT_S = 300


class ServerMissingError(Exception):
    """A server that a test needs is neither installed nor to be had. Says what to do."""


def cache_dir() -> Path:
    """`$EDGE_TEST_CACHE`, or `.cache/servers` in this repository."""
    named = os.environ.get("EDGE_TEST_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[2] / ".cache" / "servers"


def debian_package(name: str, program: str, *more: str) -> tuple[Path, dict[str, str]]:
    """The program at `program` of Debian package `name`, with what it depends on, and the environment to run it in.

    Fetched by apt into the cache, with package lists of its own, when it is not there; `more` packages into the same
    place. Raises ServerMissingError.
    """
    root = cache_dir() / name
    with locked(root):
        if not (root / program).exists():
            _fetch(name, root, more)
    libraries = sorted({str(found.parent) for found in root.rglob("*.so*")})
    return root / program, {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def _fetch(name: str, root: Path, more: Sequence[str]) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ServerMissingError(f"{name} is not on the PATH and this is no Debian: install {name}")
    scratch = root.with_name(f"{root.name}.fetching")
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (scratch / folder).mkdir(parents=True)
    apt = [
        "apt-get",
        *_options(
            {
                "Dir::State::Lists": f"{scratch}/lists",
                "Dir::Cache": f"{scratch}/cache",
                "Debug::NoLocking": "true",
                "APT::Sandbox::User": "",
                "APT::Get::List-Cleanup": "false",
            }
        ),
        "-q",
    ]
    try:
        _run([*apt, "update"])
        _run([*apt, "install", "--download-only", "--no-install-recommends", "--reinstall", "-y", name, *more])
        packages = sorted((scratch / "cache" / "archives").glob("*.deb"))
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(scratch / "root")])
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise ServerMissingError(
            f"{name} is not on the PATH and can't be fetched with apt into {root}: install it, or give this machine access "
            f"to its Debian mirror. apt said: {said.strip()[-500:]}"
        ) from error
    shutil.rmtree(root, ignore_errors=True)
    (scratch / "root").rename(root)
    shutil.rmtree(scratch, ignore_errors=True)


def _options(settings: dict[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        yield "-o"
        yield f"{name}={value}"


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One test process fetches, the others wait for it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
