"""Policies: which versions of the model there are, and which one serves on each engine.

A name never stands for other weights. At most one policy of an engine is active and at most one is
its canary; the database itself holds that. No active one means that the base model serves.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import NotFound, RequestError
from app.store.database import transact
from app.store.tables import policies

PolicyStatus = Literal["candidate", "canary", "active", "retired", "refused"]
"""`candidate`: trained and not yet judged; `canary`: serves a share; `retired`: served before."""

NAME = re.compile(r"policy-([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One trained version of the model."""

    name: str
    """`policy-<n>`, for ever."""
    engine: str
    """Engine that it serves on."""
    parent: str | None
    """The policy it was trained from and goes back to; None is the base model."""
    base_model: str
    """Name by which the engine knows the base model."""
    path: str | None
    """Folder of its files; None when they are elsewhere."""
    sha256: str | None
    """Of names and contents of its files."""
    status: PolicyStatus = "candidate"
    created_at: float
    """Unix seconds."""
    changed_at: float | None = None
    """When its status became what it is."""
    night_id: str | None = None

    @property
    def incumbent(self) -> str:
        """Name that its parent's samples are logged under."""
        return self.parent or self.base_model


class PolicyTable:
    """The table `policies`. Every method may raise `StoreError`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, policy: Policy) -> None:
        """Keep a new policy; the same one again changes nothing.

        Raises `RequestError` when the name stands for other files already.
        """

        async def write(connection: AsyncConnection) -> None:
            await lock(connection)
            known = await _get(connection, policy.name)
            if known is None:
                await connection.execute(insert(policies).values(_values(policy)))
            elif known.sha256 != policy.sha256 or known.engine != policy.engine:
                raise RequestError(
                    f"policy '{policy.name}' exists already with other files; names are used once"
                )

        await transact(self._engine, write)

    async def get(self, name: str) -> Policy | None:
        return await transact(self._engine, lambda c: _get(c, name))

    async def list(self, engine: str | None = None) -> tuple[Policy, ...]:
        """Newest first."""
        return await transact(self._engine, lambda c: _list(c, engine))

    async def activate(self, name: str, *, now: float, over_parent: bool = False) -> Policy:
        """Let a policy serve; the one that served is retired, and so is a canary that it was not.

        `over_parent`: only while its parent, which it was compared with, serves. Raises `NotFound`
        for an unknown one, `RequestError` for one that was refused or has another before it.
        """

        async def write(connection: AsyncConnection) -> Policy:
            await lock(connection)
            policy = await _may_serve(connection, name)
            if over_parent and policy.status != "active":
                _must_follow_parent(policy, await _list(connection, policy.engine))
            await _retire(connection, policy.engine, now, besides=name)
            if policy.status != "active":
                await _become(connection, name, "active", now)
            return await _known(connection, name)

        return await transact(self._engine, write)

    async def start_canary(self, name: str, *, now: float) -> Policy:
        """Let a policy serve a share beside its parent.

        Raises `RequestError` unless its parent serves and no other canary does.
        """

        async def write(connection: AsyncConnection) -> Policy:
            await lock(connection)
            policy = await _may_serve(connection, name)
            known = await _list(connection, policy.engine)
            canary = next((p for p in known if p.status == "canary"), None)
            if canary is not None and canary.name != name:
                raise RequestError(f"'{canary.name}' is the canary of '{policy.engine}' already")
            _must_follow_parent(policy, known)
            if policy.status != "canary":
                await _become(connection, name, "canary", now)
            return await _known(connection, name)

        return await transact(self._engine, write)

    async def end_canary(self, name: str, *, promote: bool, now: float) -> bool:
        """Promote or refuse a canary. False when somebody else has ended it before."""

        async def write(connection: AsyncConnection) -> bool:
            await lock(connection)
            policy = await _known(connection, name)
            if policy.status != "canary":
                return False
            if promote:
                await _retire(connection, policy.engine, now, besides=name)
            await _become(connection, name, "active" if promote else "refused", now)
            return True

        return await transact(self._engine, write)

    async def refuse(self, name: str, *, now: float) -> None:
        """A candidate never serves; one that serves is left alone."""

        async def write(connection: AsyncConnection) -> None:
            await lock(connection)
            if (await _known(connection, name)).status == "candidate":
                await _become(connection, name, "refused", now)

        await transact(self._engine, write)

    async def rollback(self, engine: str, *, now: float) -> tuple[Policy, Policy | None]:
        """End the canary where there is one, else go back to the active policy's parent.

        What was taken back, and what serves now (None: the base model). Raises `NotFound` when
        the base model serves already.
        """

        async def write(connection: AsyncConnection) -> tuple[Policy, Policy | None]:
            await lock(connection)
            serving = {p.status: p for p in await _list(connection, engine)}
            active, canary = serving.get("active"), serving.get("canary")
            if canary is not None:
                await _become(connection, canary.name, "refused", now)
                return canary, active
            if active is None:
                raise NotFound(f"the base model serves on '{engine}': there is nothing before it")
            await _become(connection, active.name, "retired", now)
            if active.parent is None:
                return active, None
            await _become(connection, active.parent, "active", now)
            return active, await _known(connection, active.parent)

        return await transact(self._engine, write)


async def lock(connection: AsyncConnection) -> None:
    """From here to the end of the transaction nobody else changes a policy or a night."""
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql("LOCK TABLE policies IN SHARE ROW EXCLUSIVE MODE")
    else:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _get(connection: AsyncConnection, name: str) -> Policy | None:
    row = (await connection.execute(_rows(policies.c.name == name))).mappings().first()
    return None if row is None else _policy(row)


async def _known(connection: AsyncConnection, name: str) -> Policy:
    policy = await _get(connection, name)
    if policy is None:
        raise NotFound(f"there is no policy '{name[:80]}'", param="policy")
    return policy


async def _may_serve(connection: AsyncConnection, name: str) -> Policy:
    policy = await _known(connection, name)
    if policy.status == "refused":
        raise RequestError(f"policy '{name}' was refused and cannot serve", param="policy")
    return policy


def _must_follow_parent(policy: Policy, known: Sequence[Policy]) -> None:
    active = next((p for p in known if p.status == "active"), None)
    if (active.name if active else None) != policy.parent:
        served = active.name if active else policy.base_model
        raise RequestError(
            f"'{policy.name}' was compared with '{policy.incumbent}', and '{served}' serves now"
        )


async def _list(connection: AsyncConnection, engine: str | None) -> tuple[Policy, ...]:
    of_engine = [policies.c.engine == engine] if engine is not None else []
    found = (await connection.execute(_rows(*of_engine))).mappings()
    return tuple(sorted(map(_policy, found), key=_age, reverse=True))


def _age(policy: Policy) -> tuple[float, int]:
    number = NAME.fullmatch(policy.name)
    return policy.created_at, int(number[1]) if number else 0


async def _retire(connection: AsyncConnection, engine: str, now: float, *, besides: str) -> None:
    serving = policies.c.status.in_(("active", "canary"))
    ours = (policies.c.engine == engine) & (policies.c.name != besides)
    change = update(policies).where(ours, serving).values(status="retired", changed_at=now)
    await connection.execute(change)


async def _become(connection: AsyncConnection, name: str, status: PolicyStatus, now: float) -> None:
    change = update(policies).where(policies.c.name == name)
    await connection.execute(change.values(status=status, changed_at=now))


def _rows(*where: ColumnElement[bool]) -> Any:
    return select(policies).where(*where)


def _policy(row: RowMapping) -> Policy:
    values: dict[str, Any] = dict(row)
    path, sha256 = values.pop("adapter_path"), values.pop("adapter_sha256")
    return Policy(path=path, sha256=sha256, **values)


def _values(policy: Policy) -> dict[str, Any]:
    values = dataclasses.asdict(policy)
    values["adapter_path"], values["adapter_sha256"] = values.pop("path"), values.pop("sha256")
    values["changed_at"] = policy.changed_at or policy.created_at
    return values


def lineage_of(policy: Policy | None, known: Sequence[Policy]) -> tuple[str, ...]:
    """Names of a policy's ancestors, its base model last; nothing for the base model itself."""
    by_name = {each.name: each for each in known}
    found: list[str] = []
    while policy is not None:
        found.append(policy.incumbent)
        policy = by_name.get(policy.parent) if policy.parent else None
    return tuple(found)
