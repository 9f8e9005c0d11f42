from __future__ import annotations

import json
import tomllib

import pytest

from app import __version__
from app.cli import COMMANDS, exit_code
from app.errors import ConfigError, EngineTimeout, ModelNotFound
from tests.cli.command import verivote


def test_version_is_the_package_version():
    done = verivote("version")

    assert (done.returncode, done.stdout) == (0, f"verivote {__version__}\n")


def test_version_as_json_names_python_too():
    found = json.loads(verivote("version", "--json").stdout)

    assert found["verivote"] == __version__
    assert found["python"].startswith("3.")


def test_help_lists_every_command_and_loads_none():
    done = verivote("--help", PYTHONVERBOSE="1")

    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "import 'fastapi'" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    done = verivote(name, "--help")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: verivote {name} ")
    assert "--install-completion" not in done.stdout


def test_an_unknown_command_names_the_nearest_one():
    done = verivote("sevre")

    assert done.returncode == 2
    assert "No such command 'sevre'. Did you mean 'serve'?" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("x"), 2), (EngineTimeout(), 3), (ModelNotFound(), 1)]
)
def test_the_exit_code_says_whose_fault_it_is(error, code):
    assert exit_code(error) == code


def test_config_check_says_what_is_wrong_in_one_line(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[server]\nprot = 1\n")

    done = verivote("config", "check", "--config", str(file))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "verivote: unknown key 'server.prot'; did you mean 'port'?\n"


def test_config_check_of_valid_settings_names_the_engines(tmp_path):
    done = verivote("config", "check", "--json", VERIVOTE__ENGINES__MAIN__KIND="embedded")

    assert json.loads(done.stdout) == {"valid": True, "engines": ["main"], "routes": []}


def test_config_check_looks_into_routes_too(tmp_path):
    file = tmp_path / "verivote.toml"
    for route, said in (
        ('match = { regex = "(" }', "routes[0].match.regex is not an RE2 pattern"),
        ('verifiers = [{ use = "nubmer" }]', "routes[0].verifiers[0].use: unknown verifier"),
        ('fallback = "big"', "routes[0].fallback names alias 'big'"),
    ):
        file.write_text(f'[[routes]]\nname = "a"\n{route}\n', encoding="utf-8")

        done = verivote("config", "check", "--config", str(file))

        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_config_show_prints_what_is_in_force(tmp_path):
    done = verivote("config", "show", "--data", str(tmp_path), VERIVOTE__SERVER__PORT="1234")

    shown = tomllib.loads(done.stdout)
    assert (shown["server"]["port"], shown["data"]) == (1234, str(tmp_path))


def test_config_schema_is_a_json_schema_of_all_sections():
    schema = json.loads(verivote("config", "schema").stdout)

    assert {"server", "store", "engines", "aliases", "data"} <= set(schema["properties"])
