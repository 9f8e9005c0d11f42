"""What a key ring promises, over SQLite and over Postgres."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.errors import ConfigError, NotFound, RequestError, StoreError
from app.store import schema
from app.store.database import open_engine
from app.store.keys import REMEMBER_S, KeyRing, server_secret
from app.store.tables import keys
from tests.postgres import Server, free_port
from tests.store.conftest import Clock
from tests.store.groups import START

SECRET = bytes(range(32))


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    await schema.upgrade(url)
    engine = open_engine(url)
    yield engine
    await engine.dispose()


@pytest.fixture
def ring(engine: AsyncEngine, clock: Clock) -> KeyRing:
    return KeyRing(engine, SECRET, clock=clock)


async def test_a_new_key_is_known_by_its_plain_text_only(ring: KeyRing) -> None:
    row, plaintext = await ring.create("acme", ["infer", "traces:read"], "laptop")

    assert plaintext.startswith(f"vv-{row.id}-")
    assert await ring.verify(plaintext) == row
    assert (row.tenant, row.scopes, row.name) == ("acme", ("infer", "traces:read"), "laptop")
    assert (row.created_at, row.revoked_at) == (START, None)
    assert await ring.verify(plaintext[:-1] + ("0" if plaintext[-1] != "0" else "1")) is None


@pytest.mark.parametrize(
    "text", ["", "vv", "vv--", "sk-123", f"vv-{'0' * 12}-{'0' * 64}", "vv-\x00-\ud800", "x" * 10**6]
)
async def test_any_other_text_is_no_key(ring: KeyRing, text: str) -> None:
    assert await ring.verify(text) is None


async def test_the_secret_is_not_stored(ring: KeyRing, engine: AsyncEngine) -> None:
    _, plaintext = await ring.create("acme", ["infer"], "")
    secret = plaintext.split("-")[2]

    async with engine.connect() as connection:
        stored = repr((await connection.execute(select(keys))).all())

    assert secret not in stored


async def test_a_hash_is_worth_nothing_under_another_server_secret(
    ring: KeyRing, engine: AsyncEngine, clock: Clock
) -> None:
    _, plaintext = await ring.create("acme", ["infer"], "")

    assert await KeyRing(engine, bytes(32), clock=clock).verify(plaintext) is None


async def test_a_revoked_key_ends_here_at_once_and_elsewhere_within_a_minute(
    ring: KeyRing, engine: AsyncEngine, clock: Clock
) -> None:
    elsewhere = KeyRing(engine, SECRET, clock=clock)
    row, plaintext = await ring.create("acme", ["infer"], "")
    assert await elsewhere.verify(plaintext) == row

    await ring.revoke(row.id)

    assert await ring.verify(plaintext) is None
    assert await elsewhere.verify(plaintext) == row
    clock.now += REMEMBER_S
    assert await elsewhere.verify(plaintext) is None
    await ring.revoke(row.id)
    assert await ring.list() == (replace(row, revoked_at=START),)


async def test_revoking_an_unknown_key_says_so(ring: KeyRing) -> None:
    with pytest.raises(NotFound, match="no key 'nope␀'"):
        await ring.revoke("nope\x00")


@pytest.mark.parametrize(
    ("tenant", "scopes", "param"),
    [("a", ["root"], "scopes"), ("a", [], "scopes"), (" ", ["infer"], "tenant")],
)
async def test_a_bad_key_is_not_made(
    ring: KeyRing, tenant: str, scopes: list[str], param: str
) -> None:
    with pytest.raises(RequestError) as refused:
        await ring.create(tenant, scopes, "")

    assert refused.value.param == param
    assert await ring.list() == ()


async def test_keys_are_listed_oldest_first(ring: KeyRing, clock: Clock) -> None:
    made = []
    for name in ("first", "second", "third\x00"):
        made.append((await ring.create("acme", ["infer"], name))[0])
        clock.now += 1

    assert [row.name for row in await ring.list()] == ["first", "second", "third␀"]
    assert await ring.list() == tuple(made)


@pytest.mark.postgres
async def test_a_key_that_was_in_outlives_an_outage(postgres: Server, clock: Clock) -> None:
    url = postgres.new_database()
    await schema.upgrade(url)
    engine = open_engine(url)
    ring = KeyRing(engine, SECRET, clock=clock)
    used, plaintext = await ring.create("acme", ["infer"], "used")
    _, unused = await ring.create("acme", ["infer"], "unused")
    assert await ring.verify(plaintext) == used

    postgres.stop()
    try:
        clock.now += 10 * REMEMBER_S
        still = await ring.verify(plaintext)
        with pytest.raises(StoreError):
            await ring.verify(unused)
    finally:
        postgres.start()
        await engine.dispose()

    assert still == used


async def test_a_key_deleted_by_hand_is_forgotten_after_a_minute(
    ring: KeyRing, engine: AsyncEngine, clock: Clock
) -> None:
    _, plaintext = await ring.create("acme", ["infer"], "")
    await ring.verify(plaintext)
    async with engine.begin() as connection:
        await connection.execute(delete(keys))

    clock.now += REMEMBER_S

    assert await ring.verify(plaintext) is None


async def test_without_a_database_every_method_says_so(clock: Clock) -> None:
    engine = open_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    ring = KeyRing(engine, SECRET, clock=clock)

    for call in (ring.create("a", ["infer"], ""), ring.list(), ring.revoke("a")):
        with pytest.raises(StoreError, match="cannot be used"):
            await call
    await engine.dispose()


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secret"


def test_the_server_secret_is_made_once_and_is_the_owners(secret_file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(server_secret, [secret_file] * 16))

    assert len(seen) == 1
    assert len(seen.pop()) == 32
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert list(secret_file.parent.iterdir()) == [secret_file]


def test_a_secret_file_of_another_length_is_refused(secret_file: Path) -> None:
    secret_file.parent.mkdir()
    secret_file.write_bytes(b"short")

    with pytest.raises(ConfigError, match="not 32 bytes"):
        server_secret(secret_file)


def test_a_secret_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ConfigError, match="out of reach"):
        server_secret(tmp_path / "file" / "secret")
