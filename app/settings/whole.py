"""The sections together, and what they have to agree on."""

from __future__ import annotations

import difflib
from pathlib import Path

from pydantic import Field, model_validator

from app.settings.base import Section
from app.settings.engines import EngineSettings
from app.settings.retrain import RetrainSettings
from app.settings.routes import DefaultSettings, RouteSettings, RoutingSettings
from app.settings.server import (
    LOOPBACK_HOSTS,
    CacheSettings,
    ServerSettings,
    StoreSettings,
    TelemetrySettings,
)
from app.settings.verifiers import VerifierSettings


def default_data() -> Path:
    """`./.verivote` in a checkout and where there is no home, else `~/.local/share/verivote`."""
    if Path("app", "gateway.py").is_file() and Path("pyproject.toml").is_file():
        return Path(".verivote")
    try:
        return Path.home() / ".local" / "share" / "verivote"
    except RuntimeError:
        return Path(".verivote")


class Settings(Section):
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    cache: CacheSettings = CacheSettings()
    engines: dict[str, EngineSettings] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=lambda: {"auto": "main", "*": "main"})
    defaults: DefaultSettings = DefaultSettings()
    routes: tuple[RouteSettings, ...] = Field(
        (), description="The first that matches says how a request is answered."
    )
    routing: RoutingSettings = RoutingSettings()
    retrain: RetrainSettings = RetrainSettings()
    verifiers: VerifierSettings = VerifierSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    data: Path = Field(
        default_factory=default_data,
        description="Folder of all state: `./.verivote` in a checkout, else "
        "`~/.local/share/verivote`.",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Settings:
        for alias, engine in self.aliases.items():
            if self.engines and engine not in self.engines:
                known = ", ".join(sorted(self.engines))
                raise ValueError(f"aliases.{alias} names engine '{engine}'; known: {known}")
        judge = self.verifiers.judge_engine
        if judge and self.engines and judge not in self.engines:
            known = ", ".join(sorted(self.engines))
            raise ValueError(f"verifiers.judge_engine names engine '{judge}'; known: {known}")
        if self.engines and self.retrain.schedule != "off":
            self._check_engine("retrain.engine", self.retrain.engine)
        self._check_rank()
        self._check_routes()
        if self.server.keys == "off" and self.server.host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"server.keys is 'off' but server.host is '{self.server.host}': "
                'off loopback a key is required; set server.keys = "required"'
            )
        return self

    def _check_rank(self) -> None:
        engine, rank = self.engines.get(self.retrain.engine), self.retrain.lora_rank
        if engine is not None and engine.kind == "vllm" and rank > engine.max_lora_rank:
            raise ValueError(
                f"retrain.lora_rank is {rank} and engines.{self.retrain.engine}.max_lora_rank "
                f"{engine.max_lora_rank}: the server would not load what is trained"
            )

    def _check_engine(self, key: str, engine: str) -> None:
        if engine not in self.engines:
            known = ", ".join(sorted(self.engines))
            raise ValueError(f"{key} names engine '{engine}'; known: {known}")

    def _check_routes(self) -> None:
        places: dict[str, int] = {}
        for place, route in enumerate(self.routes):
            if (first := places.setdefault(route.name, place)) != place:
                raise ValueError(f"routes[{place}].name '{route.name}' is that of routes[{first}]")
            self._check_alias(f"routes[{place}].fallback", route.fallback)
            if "*" not in self.aliases:
                self._check_alias(f"routes[{place}].match.alias", route.match.alias)

    def _check_alias(self, key: str, alias: str) -> None:
        if alias and (alias == "*" or alias not in self.aliases):
            known = sorted(self.aliases.keys() - {"*"})
            near = difflib.get_close_matches(alias, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            listed = ", ".join(known) or "none"
            raise ValueError(f"{key} names alias '{alias}'; {hint}known: {listed}")
