"""The hosts that a text points to, and whether each is on the list.

A host is compared as written: one letter of another script makes another host. `example.org` allows
itself only, `*.example.org` every name below it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import re2

from verifiers.kinds.constraint_checks.lists import listed
from verifiers.kinds.policy_checks.hits import Hit

MAX_HOST_CHARS = 253


def find_foreign_hosts(text: str, allowed: Sequence[str]) -> Iterator[Hit]:
    """Hosts of addresses and bare domain names that are not allowed, and schemes without a host."""
    for found in _ADDRESS.finditer(text):
        host = host_of(found[1])
        if not is_allowed(host, allowed):
            yield Hit("host", host or found[0])
    for found in _BARE.finditer(text):
        if not is_allowed(host_of(found[1]), allowed):
            yield Hit("host", found[1])
    for found in _HOSTLESS.finditer(text):
        yield Hit("host", found[0])


def host_of(authority: str) -> str:
    """The host that a browser would go to: after the last `@`, before the port, lower case."""
    place = authority.replace("\\", "/").partition("/")[0]
    name = place.rpartition("@")[2].lower().strip(_AROUND)
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return unicodedata.normalize("NFKC", name.partition(":")[0]).rstrip(".")


def is_allowed(host: str, allowed: Sequence[str]) -> bool:
    return any(
        host == entry or (entry.startswith("*.") and host.endswith(entry[1:])) for entry in allowed
    )


def read_host(entry: object) -> str:
    """An entry of the list. Raises ValueError with what is wanted."""
    if not isinstance(entry, str) or not 0 < len(entry) <= MAX_HOST_CHARS:
        raise ValueError("a host is a text such as example.org or *.example.org")
    name = entry.strip().lower().rstrip(".")
    if not _HOST.fullmatch(name):
        raise ValueError("a host has no scheme, port or path: example.org or *.example.org")
    return name


_AROUND = " \t,;!*_~."
_ADDRESS = re2.compile(
    r"(?i)(?:\bhttps?:[/\\]*|\b[a-z][a-z0-9+.-]{1,20}:[/\\]{2,}|[\"'(=]\s?//)([^\s\"'<>()/?#{}|^`]+)"
)
_BARE_ENDINGS = "|".join(
    listed(
        "com org net io dev app ai co info biz xyz gov edu mil int eu de uk fr es it nl ru cn jp kr"
        " br au ca us ch at se dk pl cz ua top site online club shop store tech cloud link click"
        " live news page pro ly gg tv cc onion"
    )
)
_BARE = re2.compile(
    rf"(?i)(?:^|[^\w@./\\-])((?:[\w](?:[\w-]{{0,61}}[\w])?\.)+(?:{_BARE_ENDINGS}))(?:$|[^\w.@-]|\.\s|\.$|:\d)"
)
_HOSTLESS = re2.compile(r"(?i)\b(?:(?:java|vb)script:\s*\S|data:[a-z]+/|(?:file|blob):/)")
_HOST = re2.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
)
