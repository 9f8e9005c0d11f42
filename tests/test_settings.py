from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from app.cli.config import redact, to_toml
from app.errors import ConfigError
from app.settings import Settings, load_settings


def settings(file: Path | None = None, environ: dict[str, str] | None = None, **flags: object):
    return load_settings(file, environ=environ or {}, flags=flags)


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        file = tmp_path / "verivote.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_a_flag_wins_over_the_environment_and_that_over_the_file(write):
    file = write('[server]\nport = 1\nmax_messages = 1\nhost = "localhost"\n')
    environ = {"VERIVOTE__SERVER__PORT": "2", "VERIVOTE__SERVER__MAX_MESSAGES": "2"}

    found = settings(file, environ, server={"port": 3}).server

    assert (found.port, found.max_messages, found.host) == (3, 2, "localhost")


def test_an_engine_can_be_named_by_the_environment_alone():
    found = settings(environ={"VERIVOTE__ENGINES__MAIN__BASE_URL": "http://h:1/v1/"})

    assert found.engines["main"].base_url == "http://h:1/v1"


def test_a_list_in_the_environment_is_json():
    found = settings(environ={"VERIVOTE__SERVER__ALLOWED_HOSTS": '["a.example", "b.example"]'})

    assert found.server.allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "unknown key 'server.prot'; did you mean 'port'?"),
        ("[sever]\nport = 1", "unknown key 'sever'; did you mean 'server'?"),
        (
            "[engines.main]\nbase_ur = 1",
            "unknown key 'engines.main.base_ur'; did you mean 'base_url'",
        ),
        ('[server]\nport = "x"', "server.port: "),
        ("[server]\nport = 99999", "server.port: "),
        ("[verifiers]\nworkers = 0", "verifiers.workers: "),
        ('[defaults]\neffort = "huge"', "defaults.effort: "),
        ('[engines.main]\nbase_url = "host:8000"', "engines.main.base_url: must begin with http"),
        ('[engines.m]\n[aliases]\nauto = "x"', "aliases.auto names engine 'x'; known: m"),
        ("server = 3", "server: "),
        ("[server\n", "is not TOML"),
    ],
)
def test_a_fault_in_the_file_names_its_key(write, text, message):
    with pytest.raises(ConfigError) as caught:
        settings(write(text))

    assert message in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"VERIVOTE__SERVER__PROT": "1"}, "unknown key 'server.prot'; did you mean 'port'?"),
        (
            {"VERIVOTE__SERVER__ALLOWED_HOSTS": "[a"},
            "VERIVOTE__SERVER__ALLOWED_HOSTS is not a JSON",
        ),
        (
            {"VERIVOTE__SERVER": "x", "VERIVOTE__SERVER__PORT": "1"},
            "'server' is set as a value and as a section",
        ),
    ],
)
def test_a_fault_in_the_environment_names_it(environ, message):
    with pytest.raises(ConfigError) as caught:
        settings(environ=environ)

    assert message in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for file, message in ((tmp_path / "no.toml", "does not exist"), (tmp_path, "cannot be read")):
        with pytest.raises(ConfigError) as caught:
            settings(file)

        assert str(file) in caught.value.message
        assert message in caught.value.message


def test_listening_beyond_loopback_needs_keys():
    with pytest.raises(ConfigError) as caught:
        settings(server={"host": "0.0.0.0"})

    assert 'server.keys = "required"' in caught.value.message
    assert settings(server={"host": "0.0.0.0", "keys": "required"}).server.keys == "required"


def test_shown_settings_can_be_used_as_a_file():
    before = settings(engines={"main": {"base_url": "http://h/v1"}}, aliases={"*": "main"})

    text = to_toml(redact(before))

    assert Settings.model_validate(tomllib.loads(text)) == before


def test_shown_settings_hold_no_secret():
    found = settings(
        engines={
            "a": {"base_url": "http://u:pw1@h/v1", "api_key": "pw2"},
            "b": {"api_key": "env:K"},
        },
        aliases={"*": "a"},
        store={"url": "postgresql+psycopg://u:pw3@h/d"},
    )

    text = to_toml(redact(found))

    assert not {"pw1", "pw2", "pw3"} & set(text.replace('"', ":").replace("@", ":").split(":"))
    assert 'api_key = "env:K"' in text


ROUTES = """
[aliases]
auto = "main"
big = "main"
[[routes]]
name = "sums"
match = { alias = "auto", metadata = { team = "a b" }, regex = "[0-9]" }
verifiers = [{ use = "number", reference = 42 }, { use = "steps" }]
rule = "two_kinds"
max_error = 0.05
fallback = "big"
[[routes]]
name = "rest"
"""


def test_routes_are_read_in_their_order(write):
    first, second = settings(write(ROUTES)).routes

    assert (first.name, first.rule, first.fallback, first.max_error) == (
        "sums",
        "two_kinds",
        "big",
        0.05,
    )
    assert first.match.metadata == {"team": "a b"}
    assert (second.name, second.match.regex, second.effort) == ("rest", "", None)


def test_routes_of_the_environment_are_a_json_list():
    found = settings(environ={"VERIVOTE__ROUTES": '[{"name": "all", "effort": "low"}]'})

    assert [(route.name, route.effort) for route in found.routes] == [("all", "low")]


def test_shown_routes_can_be_used_as_a_file(write):
    pools = '[verifiers.pools.p]\nverifiers = [{ use = "steps" }]\n'
    before = settings(write(ROUTES + pools))

    text = to_toml(redact(before))

    assert Settings.model_validate(tomllib.loads(text)) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nam = "b"', "unknown key 'routes[1].nam'; did you mean 'name'?"),
        ('name = "b"\nmacth = {}', "unknown key 'routes[1].macth'; did you mean 'match'?"),
        ('name = "b"\nmatch = { rgx = "" }', "unknown key 'routes[1].match.rgx'"),
        ("effort = 'low'", "routes[1].name: Field required"),
        ('name = "B c"', "routes[1].name: "),
        ('name = "default"', "routes[1].name: 'default' is the name of requests that match no"),
        ('name = "a"', "routes[1].name 'a' is that of routes[0]"),
        ('name = "b"\nfallback = "bigg"', "routes[1].fallback names alias 'bigg'; did you mean"),
        ('name = "b"\nfallback = "*"', "routes[1].fallback names alias '*'"),
        ('name = "b"\nmatch = { alias = "atuo" }', "routes[1].match.alias names alias 'atuo'"),
        ('name = "b"\nmatch = { system_sha256 = "ab" }', "routes[1].match.system_sha256: "),
        ('name = "b"\nmatch = { metadata = { a = 1 } }', "routes[1].match.metadata.a: "),
        ('name = "b"\nrule = "majority"', "routes[1].rule: "),
        ('name = "b"\nmax_error = 5', "routes[1].max_error: "),
        ('name = "b"\nverifiers = ["number"]', "routes[1].verifiers[0]: "),
        ('name = "b"\nverifiers = [{ us = "number" }]', "routes[1].verifiers: must be a list like"),
        ('name = "b"\nreuse = "fuzzy"', "routes[1].reuse: "),
    ],
)
def test_a_fault_in_a_route_names_its_place(write, text, message):
    start = '[aliases]\nauto = "main"\nbig = "main"\n[[routes]]\nname = "a"\n[[routes]]\n'

    with pytest.raises(ConfigError) as caught:
        settings(write(start + text))

    assert message in caught.value.message


def test_any_alias_may_be_matched_where_a_wildcard_lets_any_be_asked_for(write):
    text = '[[routes]]\nname = "a"\nmatch = { alias = "gpt-x" }\n'

    assert settings(write(text)).routes[0].match.alias == "gpt-x"
