"""`verivote retrain` and `verivote policies` as a person runs them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import policies as policies_command
from app.cli import retrain
from app.errors import ConfigError, NotFound, RequestError, StoreError, VerivoteError
from app.store import schema
from app.store.database import open_engine
from app.store.policies import Policy, PolicyTable
from tests.cli.command import serving, verivote
from tests.cli.upstreams import fake_upstream
from tests.retrain.nights import fake_trainer
from tests.store.groups import START


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two policies of a night that ended; the first of them serves."""

    async def fill() -> None:
        url = f"sqlite+aiosqlite:///{tmp_path / 'verivote.db'}"
        await schema.upgrade(url)
        engine = open_engine(url)
        table = PolicyTable(engine)
        for number in (1, 2, 3):
            await table.add(
                Policy(
                    name=f"policy-{number}",
                    engine="main",
                    parent=f"policy-{number - 1}" if number > 1 else None,
                    base_model="smol",
                    path=f"/policies/policy-{number}",
                    sha256="0" * 64,
                    created_at=START + number,
                )
            )
        await table.activate("policy-1", now=START)
        await table.refuse("policy-3", now=START)
        await engine.dispose()

    asyncio.run(fill())
    return tmp_path


def invoke(*arguments: str, cli: Any = retrain.cli) -> str:
    """Standard output. Raises what the command raised."""
    result = CliRunner().invoke(cli, list(arguments))
    if isinstance(result.exception, VerivoteError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_policy_is_promoted_and_taken_back(data: Path) -> None:
    there = ("--data", str(data))
    promoted = invoke("promote", "policy-2", *there)
    status = json.loads(invoke("status", "--json", *there))
    back = invoke("rollback", *there)
    base = json.loads(invoke("rollback", "--json", *there))

    assert promoted == "policy-2 serves on main\n"
    assert status["serving"] == {"main": {"active": "policy-2", "canary": None}}
    assert back == "policy-2 was taken back; policy-1 serves on main\n"
    assert base == {"engine": "main", "rolled_back": "policy-1", "active": None}


def test_what_cannot_be_is_one_line_with_the_reason(data: Path) -> None:
    there = ("--data", str(data))
    with pytest.raises(RequestError, match="'policy-3' was refused"):
        invoke("promote", "policy-3", *there)
    with pytest.raises(NotFound, match="there is no policy 'policy-9'"):
        invoke("promote", "policy-9", *there)
    with pytest.raises(NotFound, match="the base model serves on 'other'"):
        invoke("rollback", "--engine", "other", *there)


def test_policies_are_listed_with_what_became_of_them(data: Path) -> None:
    listed = json.loads(invoke("--json", "--data", str(data), cli=policies_command.cli))
    lines = invoke("--data", str(data), cli=policies_command.cli).splitlines()

    assert [(row["name"], row["status"]) for row in listed] == [
        ("policy-3", "refused"),
        ("policy-2", "candidate"),
        ("policy-1", "active"),
    ]
    assert lines[2].split("\t")[:2] == ["policy-1", "active"]


def test_a_machine_without_a_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there are no traces yet"):
        invoke("status", "--data", str(tmp_path))


def test_the_schedule_is_told(tmp_path: Path) -> None:
    config = tmp_path / "v.toml"
    config.write_text('[retrain]\nschedule = "02:30"\n')

    assert "off" in invoke("schedule")
    assert "nights begin at 02:30 UTC" in invoke("schedule", "--config", str(config))


@pytest.mark.parametrize(
    ("retrain_section", "said"),
    [
        ('schedule = "2:30"', "retrain.schedule"),
        ('objektive = "grpo"', "did you mean 'objective'?"),
        ("[retrain.gate]\nalhpa = 0.1", "unknown key 'retrain.gate.alhpa'; did you mean 'alpha'?"),
        ('objective = "gpro"', "retrain.objective 'gpro' is not known; known: tapered"),
        ("[retrain.gate]\nmax_prompts = 50", "no policy could ever pass"),
        ('engine = "other"\nschedule = "02:30"', "retrain.engine names engine 'other'"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, retrain_section: str, said: str) -> None:
    config = tmp_path / "v.toml"
    engine = '[engines.main]\nbase_url = "http://127.0.0.1:9/v1"\n'
    config.write_text(f'{engine}\n[aliases]\nauto = "main"\n[retrain]\n{retrain_section}\n')

    with pytest.raises(ConfigError) as wrong:
        invoke("run", "--config", str(config), "--data", str(tmp_path))
    assert said in wrong.value.message


def test_an_adapter_that_the_server_would_not_load_is_refused(data: Path) -> None:
    config = data / "v.toml"
    config.write_text('[engines.main]\nkind = "vllm"\nmodel = "smol"\n[retrain]\nlora_rank = 64\n')

    with pytest.raises(ConfigError, match=r"lora_rank is 64 and engines.main.max_lora_rank 32"):
        invoke("status", "--config", str(config), "--data", str(data))


def test_a_vllm_that_the_gateway_runs_is_left_to_the_gateway(data: Path) -> None:
    config = data / "v.toml"
    config.write_text('[engines.main]\nkind = "vllm"\nmodel = "smol"\n')

    with pytest.raises(ConfigError, match="retrain run --gateway URL"):
        invoke("run", "--config", str(config), "--data", str(data))


def test_a_night_by_command_beside_a_gateway_and_by_the_gateway(tmp_path: Path) -> None:
    """The log is empty, so both nights are skipped, with the reason and exit code 0."""
    (tmp_path / "base").mkdir()
    variables = {
        "VERIVOTE__RETRAIN__BASE": str(tmp_path / "base"),
        "VERIVOTE__RETRAIN__PYTHON": fake_trainer(tmp_path),
    }
    data = ("--data", str(tmp_path / "data"))
    with (
        fake_upstream("scripted") as upstream,
        serving("--upstream", upstream, "--port", "0", *data, **variables) as (_, line),
    ):
        url = line.split(" serves ")[1].split("/v1")[0]
        run = ("retrain", "run", "--upstream", upstream, *data)
        plan = verivote(*run, "--dry-run", **variables)
        mine = verivote(*run, "--day", "2026-11-26", "--json", **variables)
        again = verivote(*run, "--day", "2026-11-26", "--once", **variables)
        theirs = verivote("retrain", "run", "--gateway", url, "--day", "2026-11-27", **variables)
        status = json.loads(verivote("retrain", "status", "--json", *data).stdout)

    assert "The night is skipped: 0 groups can be used" in plan.stdout
    assert (mine.returncode, json.loads(mine.stdout)["status"]) == (0, "skipped"), mine.stderr
    assert "was begun before" in again.stderr
    assert theirs.stdout.startswith("night 2026-11-27-main (policy-2): skipped: 0 groups")
    assert [night["id"] for night in status["nights"]] == ["2026-11-27-main", "2026-11-26-main"]


def test_a_gateway_that_is_away_is_one_line() -> None:
    away = verivote("retrain", "run", "--gateway", "http://127.0.0.1:9")

    assert (away.returncode, away.stderr.count("\n")) == (3, 1)
    assert "does not answer" in away.stderr
