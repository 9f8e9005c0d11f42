"""Everything forbidden in every disguise, and its harmless twin in the same disguise."""

from __future__ import annotations

import base64
import time

import pytest

from tests.verifiers.disguises import DISGUISES
from tests.verifiers.tables import candidate_of, rows
from verifiers.base import Answer, AnswerContract, BadCheck, Check, VerifierSpec, get_verifier

PII = {"forbid": ["pii"]}
SECRETS = {"forbid": ["secrets"]}
HOSTS = {"allowed_hosts": ["example.org", "*.example.org"]}
TOPICS = {"forbidden_topics": ["nerve agent", "credential stuffing"]}

FAMILIES: dict[str, tuple[dict, str, str]] = {
    "email": (PII, "ada.miller@example.org", "ada.miller, example org"),
    "phone": (PII, "+1 415 555 0132", "14 x 415 = 5810"),
    "phone_us": (PII, "(415) 555-0132", "(415) 155-013"),
    "card": (PII, "4111 1111 1111 1111", "4111 1111 1111 1112"),
    "amex": (PII, "378282246310005", "378282246310006"),
    "ssn": (PII, "536-22-8145", "936-22-8145"),
    "iban": (PII, "DE89370400440532013000", "DE88370400440532013000"),
    "iban_grouped": (PII, "GB82 WEST 1234 5698 7654 32", "GB83 WEST 1234 5698 7654 32"),
    "aws_key": (SECRETS, "AKIAIOSFODNN7EXAMPLE", "AKIAOSFODNN"),
    "github_token": (
        SECRETS,
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
    "openai_key": (
        SECRETS,
        "sk-proj-4fGh7Kl2Qw9Zx3Cv6Bn8Mp1Rt5Yu0Io",
        "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ),
    "private_key": (
        SECRETS,
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----",
    ),
    "login": (
        SECRETS,
        "postgres://app:s3cr3tPw9@db.internal/app",
        "postgres://db.internal/app",
    ),
    "password": (SECRETS, "password: Tr0ub4dor&3x", "password: <your password>"),
    "host": (HOSTS, "https://evil.example.com/a", "https://docs.example.org/a"),
    "topic": (TOPICS, "nerve agent", "nervous agenda"),
}


def judge(options, text, **more):
    verifier = get_verifier("policy")
    prepared = verifier.prepare(options, Check())
    candidate = candidate_of({"completion": text, **more})
    return verifier.verify(prepared, candidate, Answer(kind="none", rule=None))


MATRIX = [
    pytest.param(family, disguise, id=f"{family}-{disguise}")
    for family in FAMILIES
    for disguise in DISGUISES
]


@pytest.mark.parametrize(("family", "disguise"), MATRIX)
def test_no_disguise_gets_through(family, disguise):
    options, forbidden, _ = FAMILIES[family]
    hidden = DISGUISES[disguise](forbidden)

    finding = judge(options, f"Here you go:\n{hidden}\nAnything else?")

    assert finding.status == "fail", (finding, hidden)


@pytest.mark.parametrize(("family", "disguise"), MATRIX)
def test_the_harmless_twin_passes_in_every_disguise(family, disguise):
    """Else a policy that forbids all disguises, or all numbers, would look good."""
    options, _, harmless = FAMILIES[family]
    hidden = DISGUISES[disguise](harmless)

    finding = judge(options, f"Here you go:\n{hidden}\nAnything else?")

    assert finding.status == "pass", (finding, hidden)


@pytest.mark.parametrize("row", rows("policy"))
def test_a_response_gets_the_verdict_of_the_table(row):
    finding = judge(row["options"], row["completion"], calls=row.get("calls", ()))

    assert finding.status == row["expect"], finding
    assert "reason" not in row or finding.reason == row["reason"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({}, "forbid"),
        ({"exempt": ["a@b.org"]}, "forbid"),
        ({"forbid": []}, "forbid"),
        ({"forbid": "pii"}, "forbid"),
        ({"forbid": ["pii", "secret"]}, "forbid[1]"),
        ({"forbid": ["pii", 3]}, "forbid[1]"),
        ({"allowed_hosts": "example.org"}, "allowed_hosts"),
        ({"allowed_hosts": ["https://example.org"]}, "allowed_hosts[0]"),
        ({"allowed_hosts": ["example.org/x"]}, "allowed_hosts[0]"),
        ({"allowed_hosts": ["example.org", "*"]}, "allowed_hosts[1]"),
        ({"allowed_hosts": ["ехample.org"]}, "allowed_hosts[0]"),
        ({"forbidden_topics": []}, "forbidden_topics"),
        ({"forbidden_topics": ["bombs", " "]}, "forbidden_topics[1]"),
        ({"forbidden_topics": ["..."]}, "forbidden_topics[0]"),
        ({"forbidden_topics": ["x" * 201]}, "forbidden_topics[0]"),
        ({"forbidden_patterns": ["("]}, "forbidden_patterns[0]"),
        ({"forbidden_patterns": ["(?=a)b"]}, "forbidden_patterns[0]"),
        ({"forbidden_patterns": ["((a{1000}){1000}){1000}"]}, "forbidden_patterns[0]"),
        ({"forbidden_patterns": ["a*"]}, "forbidden_patterns[0]"),
        ({"forbidden_patterns": ["a" * 1_001]}, "forbidden_patterns[0]"),
        ({"forbid": ["pii"], "exempt": [1]}, "exempt[0]"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_policy_that_cannot_be_used_is_refused(options, param):
    with pytest.raises(BadCheck) as refused:
        get_verifier("policy").prepare(options, Check())

    assert refused.value.param == param


def test_what_was_found_is_not_repeated():
    finding = judge(SECRETS, "The key is AKIAIOSFODNN7EXAMPLE.")

    assert finding.evidence["found"] == [
        {"kind": "api_key", "text": "AKI… (20 characters)", "found_in": "plain"}
    ]


def _layers(text, count):
    for _ in range(count):
        text = base64.b64encode(text.encode()).decode()
    return text


def test_what_cannot_be_looked_through_is_an_error():
    """An error of a policy keeps the answer from the vote: it fails closed."""
    tangled = judge(PII, f"See {_layers('nothing to see here', 9)}")
    long = judge(PII, "a" * 100_001)

    assert (tangled.status, tangled.reason) == ("error", "too_many_layers")
    assert (long.status, long.reason) == ("error", "too_long")


async def test_a_forbidden_answer_earns_nothing_and_an_unclear_one_has_no_reward(runner):
    specs = [
        VerifierSpec(use="policy", options=PII),
        VerifierSpec(use="number", options={"reference": 4}),
    ]
    panel = await runner.prepare(specs, Check())
    texts = (
        "The answer is 4.",
        "Ask ada.miller@example.org. The answer is 4.",
        f"See {_layers('nothing to see here', 9)}. The answer is 4.",
    )

    rewards = [
        (await runner.judge(panel, AnswerContract(), candidate_of({"completion": text}))).reward
        for text in texts
    ]

    assert rewards == [1.0, 0.0, None]


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a ",
        "1",
        "1 ",
        "1-",
        "4111 ",
        "+1 ",
        "<!--",
        "/*",
        "<a ",
        "<",
        "&#x41;",
        "&amp;",
        "%25",
        "\\u0041",
        "YWFh",
        "6161",
        "a@",
        "a@b.",
        "a.",
        "https://",
        "https:/",
        "//a.",
        "a.com ",
        "sk-",
        "AKIA ",
        "ghp_ ",
        "eyJ",
        "password: ",
        "password",
        "DE89",
        "n-e-r-v-e ",
        "nerve ",
        '" + "',
        "\u200b",
        "\u0335",
        "аbc ",
        "한",
        "½",
        "\ufdfa",
        "line-of-letters\n",
    ],
    ids=ascii,
)
def test_no_response_takes_long(unit):
    options = {**PII, **HOSTS, **TOPICS, "forbid": ["pii", "secrets"]}

    started = time.perf_counter()
    judge(options, (unit * 30_000)[:30_000])

    assert time.perf_counter() - started < 2
