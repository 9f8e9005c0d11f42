"""All settings: one TOML file < environment < flags.

Environment variables are `VERIVOTE__SECTION__KEY`; a list in one is written as JSON. Unknown keys
are errors that name the key and the nearest known one. Secrets are written as `env:NAME` and read
when they are used.
"""

from app.settings.engines import EngineSettings
from app.settings.load import ENV_PREFIX, load_settings
from app.settings.retrain import (
    GateSettings,
    GuardSettings,
    RetrainSettings,
    ShapingSettings,
    ShareSettings,
)
from app.settings.routes import (
    DEFAULT_ROUTE,
    DefaultSettings,
    MatchSettings,
    RouteSettings,
    RoutingSettings,
)
from app.settings.server import (
    LOOPBACK_HOSTS,
    CacheSettings,
    ServerSettings,
    StoreSettings,
    TelemetrySettings,
)
from app.settings.verifiers import PoolSettings, VerifierSettings
from app.settings.whole import Settings

__all__ = [
    "DEFAULT_ROUTE",
    "ENV_PREFIX",
    "LOOPBACK_HOSTS",
    "CacheSettings",
    "DefaultSettings",
    "EngineSettings",
    "GateSettings",
    "GuardSettings",
    "MatchSettings",
    "PoolSettings",
    "RetrainSettings",
    "RouteSettings",
    "RoutingSettings",
    "ServerSettings",
    "Settings",
    "ShapingSettings",
    "ShareSettings",
    "StoreSettings",
    "TelemetrySettings",
    "VerifierSettings",
    "load_settings",
]
