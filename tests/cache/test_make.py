"""Settings name a cache and the key that signs it."""

from __future__ import annotations

import time

import pytest

from app.cache.make import make_cache, signing_key
from app.cache.memory import MemoryCache
from app.cache.redis import RedisCache
from app.errors import ConfigError
from app.settings import CacheSettings, load_settings

SECRET = b"32 random bytes of this server.."


def test_the_url_names_the_back_end():
    def made(url: str):
        return make_cache(CacheSettings(url=url), SECRET, clock=time.time)

    assert isinstance(made("memory://"), MemoryCache)
    for url in ("redis://127.0.0.1:1/0", "rediss://127.0.0.1:1", "unix:///run/redis.sock"):
        assert isinstance(made(url), RedisCache)


def test_gateways_share_a_key_by_its_name_in_the_environment():
    named = CacheSettings(hmac_key="env:KEY")
    environ = {"KEY": "0123456789abcdef"}

    assert signing_key(named, SECRET, environ) == signing_key(named, b"other", environ)
    assert signing_key(CacheSettings(), SECRET) != signing_key(CacheSettings(), b"other")
    assert SECRET not in signing_key(CacheSettings(), SECRET)


@pytest.mark.parametrize("environ", [{}, {"KEY": "short"}])
def test_a_key_that_is_missing_or_short_is_refused(environ):
    with pytest.raises(ConfigError, match=r"cache\.hmac_key.*KEY"):
        signing_key(CacheSettings(hmac_key="env:KEY"), SECRET, environ)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("url", "http://cache", "redis://"),
        ("hmac_key", "the key itself, in the file", "env:NAME"),
        ("prefix", "a b", "prefix"),
        ("ttl_s", "0", "ttl_s"),
    ],
)
def test_settings_that_cannot_be_meant_name_their_key(key, value, says):
    with pytest.raises(ConfigError, match=rf"^cache\.{key}: ") as refused:
        load_settings(environ={}, flags={"cache": {key: value}})

    assert says in refused.value.message
