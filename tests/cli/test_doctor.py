from __future__ import annotations

import asyncio
import json
import socket
import sys

from app.cli.doctor import (
    look_at_cache,
    look_at_database,
    look_at_demo,
    look_at_engines,
    look_at_folder,
    look_at_names,
    look_at_port,
    look_at_route_policies,
    look_at_upstream,
)
from app.settings import CacheSettings, EngineSettings, ServerSettings, load_settings
from app.store import schema
from app.store.database import database_url, open_engine
from app.store.policies import Policy, PolicyTable
from tests.cli.command import verivote
from tests.engines.test_probe import like_vllm
from tests.fakes.upstream import FakeUpstream, always, model_list
from tests.fakes.vllm import FakeVLLM


def test_another_library_of_our_import_name_is_a_clash_with_a_fix():
    finding = look_at_names({"verifiers": ["verivote", "verifiers"], "app": ["verivote"]})

    assert finding.state == "missing"
    assert "'verifiers' also comes from verifiers" in finding.detail
    assert "pip uninstall verifiers" in finding.fix


def test_our_own_packages_are_no_clash():
    owners = {"verifiers": ["verivote"], "app": ["verivote", "verivote"], "yaml": ["PyYAML"]}

    assert look_at_names(owners).state == "ok"


def test_an_unreachable_model_server_is_named_with_its_key():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    engine = EngineSettings(base_url=f"http://127.0.0.1:{port}/v1")

    finding = look_at_upstream("main", engine, {})

    assert (finding.name, finding.state) == ("engine main", "missing")
    assert f"127.0.0.1:{port}" in finding.detail
    assert "engines.main.base_url" in finding.fix


def test_a_key_variable_that_is_not_set_is_named():
    engine = EngineSettings(base_url="http://127.0.0.1:1/v1", api_key="env:MODEL_KEY")

    finding = look_at_upstream("main", engine, {})

    assert (finding.state, finding.detail) == ("missing", "MODEL_KEY is not set")


async def test_what_a_vllm_lacks_for_training_is_a_note_with_the_fix():
    raw = like_vllm(processed=False)
    async with FakeUpstream(raw, always(model_list("smol", owned_by="vllm"))) as fake:
        engine = EngineSettings(base_url=fake.url)
        found = await asyncio.to_thread(look_at_engines, {"main": engine}, {})

    assert [f.state for f in found] == ["ok", "note", "note"]
    assert found[1].line() == (
        "note    engine main  lacks logprobs after temperature, which training needs — fix: "
        "start vLLM with --logprobs-mode processed_logprobs"
    )
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" in found[2].fix


def test_a_vllm_of_our_own_is_looked_for_and_not_started(tmp_path):
    fake = FakeVLLM(tmp_path)
    there = EngineSettings(kind="vllm", model=fake.model, python=fake.python)
    absent = EngineSettings(kind="vllm", model=fake.model, python=sys.executable)
    no_model = EngineSettings(kind="vllm", model="./none", python=fake.python)
    found = look_at_engines({"a": there, "b": absent, "c": no_model}, {})

    assert [f.state for f in found] == ["ok", "missing", "missing"]
    assert found[0].detail == f"vLLM for CPUs 0.32.0 in {fake.python}"
    assert "pip install 'vllm>=0.32'" in found[1].fix
    assert "'./none' is no folder" in found[2].detail
    assert fake.launches == []


async def test_a_policy_of_a_route_that_nobody_knows_is_a_note_with_its_key(tmp_path):
    routes = [
        {"name": name, "policy": policy}
        for name, policy in [("a", "smol"), ("b", "auto"), ("c", "policy-9"), ("d", "policy-1")]
    ]
    async with FakeUpstream(always({}), always(model_list("smol"))) as fake:
        flags = {"data": tmp_path, "engines": {"main": {"base_url": fake.url}}, "routes": routes}
        settings = load_settings(environ={}, flags=flags)
        await schema.upgrade(database_url(settings))
        database = open_engine(database_url(settings))
        trained = Policy(
            name="policy-1",
            engine="main",
            parent=None,
            base_model="smol",
            path=None,
            sha256=None,
            created_at=0.0,
        )
        await PolicyTable(database).add(trained)
        await database.dispose()
        found = await asyncio.to_thread(look_at_route_policies, settings, settings.engines, {})
    away = await asyncio.to_thread(look_at_route_policies, settings, settings.engines, {})

    assert [(f.state, f.detail) for f in found] == [
        ("note", "routes[2].policy is 'policy-9', which is no alias and no model of main")
    ]
    assert "route 'c'" in found[0].fix
    assert away == []


def test_a_data_folder_that_cannot_be_written_is_missing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    finding = look_at_folder(blocked / "data")

    assert finding.state == "missing"
    assert "--data DIR" in finding.fix


def test_a_taken_port_is_worth_a_note():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        finding = look_at_port(ServerSettings(port=port))

    assert finding.state == "note"
    assert "in use" in finding.detail


def test_the_small_model_is_installed_here():
    assert look_at_demo(needed=True).state == "ok"


def test_doctor_exits_1_and_prints_the_fix_when_something_is_missing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    done = verivote("doctor", "--data", str(blocked / "data"))

    assert done.returncode == 1
    assert "MISSING data folder" in done.stdout
    assert " — fix: name another with --data DIR" in done.stdout


def test_doctor_as_json_is_one_object_for_each_check(tmp_path):
    found = json.loads(verivote("doctor", "--json", "--data", str(tmp_path)).stdout)

    assert {"python", "packages", "data folder", "disk", "port"} <= {f["name"] for f in found}
    assert all(set(f) == {"name", "state", "detail", "fix"} for f in found)


def test_doctor_reports_broken_settings_instead_of_failing(tmp_path):
    done = verivote("doctor", VERIVOTE__SERVER__PROT="1")

    assert done.returncode == 1
    assert "MISSING settings     unknown key 'server.prot'" in done.stdout


def test_a_database_that_is_away_is_missing_and_its_password_is_not_shown():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    url = f"postgresql+psycopg://me:secret@127.0.0.1:{port}/verivote"

    finding = look_at_database(load_settings(environ={}, flags={"store": {"url": url}}))

    assert finding.state == "missing"
    assert "me:***@" in finding.detail
    assert "secret" not in finding.detail


def test_a_database_url_of_another_kind_is_explained():
    finding = look_at_database(load_settings(environ={}, flags={"store": {"url": "mysql://h/d"}}))

    assert finding.state == "missing"
    assert "mysql" in finding.detail
    assert finding.fix == "mend store.url"


def test_an_old_and_a_new_database_file(tmp_path):
    settings = load_settings(environ={}, flags={"data": tmp_path})
    absent = look_at_database(settings)
    (tmp_path / "verivote.db").touch()
    empty = look_at_database(settings)
    asyncio.run(schema.upgrade(database_url(settings)))
    current = look_at_database(settings)

    assert [f.state for f in (absent, empty, current)] == ["ok", "note", "ok"]
    assert "verivote db upgrade" in empty.fix


def test_a_cache_server_that_is_away_is_a_note_and_one_that_answers_is_fine(redis_server):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    away = look_at_cache(CacheSettings(url=f"redis://:secret@127.0.0.1:{port}"))
    there = look_at_cache(CacheSettings(url=redis_server.url))

    assert (away.state, there.state) == ("note", "ok")
    assert "secret" not in away.detail
    assert "cache.url" in away.fix
    assert look_at_cache(CacheSettings()).state == "ok"
