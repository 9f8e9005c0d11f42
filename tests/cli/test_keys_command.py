"""`verivote keys` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.command import verivote


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "new"))

    made = verivote("keys", "create", "--tenant", "acme", "--name", "ci", *data)
    key_id = made.stdout.split("-")[1]
    before = json.loads(verivote("keys", "list", "--json", *data).stdout)
    revoked = verivote("keys", "revoke", key_id, *data)
    after = verivote("keys", "list", *data)

    assert made.stdout.startswith("vv-")
    assert [(k["id"], k["tenant"], k["scopes"], k["revoked_at"]) for k in before] == [
        (key_id, "acme", ["infer"], None)
    ]
    assert revoked.stdout == f"revoked {key_id}\n"
    assert after.stdout.split("\t")[4] != ""


def test_json_holds_the_key_once(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    scopes = ("--scope", "infer", "--scope", "admin")

    made = json.loads(
        verivote("keys", "create", "--tenant", "acme", *scopes, "--json", *data).stdout
    )
    listed = verivote("keys", "list", "--json", *data).stdout

    assert made["key"].startswith(f"vv-{made['id']}-")
    assert made["scopes"] == ["infer", "admin"]
    assert made["key"] not in listed


def test_faults_are_one_line(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))

    scope = verivote("keys", "create", "--tenant", "acme", "--scope", "root", *data)
    unknown = verivote("keys", "revoke", "nope", *data)

    assert (scope.returncode, unknown.returncode) == (1, 1)
    assert scope.stderr.startswith("verivote: unknown scope 'root'; known: infer")
    assert unknown.stderr == "verivote: there is no key 'nope'\n"
