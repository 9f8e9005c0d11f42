"""A real vLLM for the tests marked `vllm`: one server for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import require
from tests.vllm.server import is_set_up, running_vllm

FOLDER = Path(__file__).parents[2] / ".build/vllm"


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address up to `/v1`: of `VERIVOTE_TEST_VLLM_URL` if set, else of a server started here."""
    if url := os.environ.get("VERIVOTE_TEST_VLLM_URL"):
        yield url
        return
    require(is_set_up(FOLDER), "there is no vLLM in .build/vllm: python tests/vllm/setup_vllm.py")
    with running_vllm(FOLDER, tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield url
