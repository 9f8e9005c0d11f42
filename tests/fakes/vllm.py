"""A Python that has the fake vLLM of `vllm_site`, and what its launches left behind."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SITE = Path(__file__).with_name("vllm_site")


@dataclass(frozen=True)
class FakeVLLM:
    """`order("crash", "")` makes the first launch crash and all later ones serve."""

    folder: Path

    @property
    def python(self) -> str:
        """An interpreter that finds it, and tells it the folder."""
        script = self.folder / "bin/python"
        if not script.exists():
            script.parent.mkdir(parents=True)
            told = f'export PYTHONPATH="{SITE}" FAKE_VLLM="{self.folder}" PYTHONUNBUFFERED=1'
            script.write_text(f'#!/bin/sh\n{told}\nexec "{sys.executable}" "$@"\n')
            script.chmod(0o755)
        return str(script)

    @property
    def model(self) -> str:
        """A folder that looks like one of a model."""
        folder = self.folder / "tiny"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        return str(folder)

    def adapter(self, name: str) -> Path:
        folder = self.folder / "adapters" / name
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        return folder

    def order(self, *launches: str) -> None:
        (self.folder / "orders").write_text("".join(f"{words}\n" for words in launches))

    @property
    def launches(self) -> list[dict[str, Any]]:
        file = self.folder / "launches"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def is_alive(pid: int) -> bool:
    """A process that ended and was not waited for yet counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(is_so: Callable[[], bool], within_s: float = 30.0) -> bool:
    end = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
