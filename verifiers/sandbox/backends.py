"""The back ends by the name that the settings give them."""

from __future__ import annotations

from verifiers.sandbox.bubblewrap import Bubblewrap
from verifiers.sandbox.docker import DockerEngine
from verifiers.sandbox.engine import Engine
from verifiers.sandbox.local import LocalEngine

BACK_ENDS = ("on", "bubblewrap", "docker", "unsafe")


def read_back_end(name: str) -> str:
    """The name itself. Raises ValueError for one that is not known."""
    kind, colon, image = name.partition(":")
    if kind not in BACK_ENDS or (colon and (kind != "docker" or not image)):
        known = ", ".join(BACK_ENDS)
        raise ValueError(f"'{name}' is no sandbox; known: {known}, docker:IMAGE")
    return name


def needs_trial(name: str) -> bool:
    """True for a back end that needs a program or a service beside the kernel."""
    return name.partition(":")[0] in ("bubblewrap", "docker")


def make_engine(name: str, *, size: int) -> Engine:
    """The engine that runs `size` jobs at once. Raises ValueError for an unknown name."""
    kind, _, image = read_back_end(name).partition(":")
    if kind == "docker":
        return DockerEngine(image, size=size)
    if kind == "bubblewrap":
        return LocalEngine(size=size, launcher=Bubblewrap())
    return LocalEngine(size=size, unsafe=kind == "unsafe")
