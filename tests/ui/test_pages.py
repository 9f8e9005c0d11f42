"""The pages over HTTP, as a browser and as somebody who means ill would ask for them."""

from __future__ import annotations

import re

import httpx
import pytest

from app.api.auth import SESSION_COOKIE
from tests.ui.conftest import CACHE_KEY
from tests.ui.sample_groups import (
    every_group,
    hostile,
    split_vote,
    tool_call,
    trace_id,
    without_content,
)

SPLIT = f"/traces/{split_vote().trace_id}"
POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]


def said(site, trace: str) -> list[tuple[str, str | None]]:
    """Labels in the store."""
    labels = site.ask(site.app.state.rim.store.labels(trace))
    return [(label.kind, label.note) for label in labels]


def test_the_root_leads_to_the_list(site):
    with site.client() as client:
        reply = client.get("/")

    assert (reply.status_code, reply.headers["location"]) == (307, "/traces")


@pytest.mark.parametrize("path", ["/traces", SPLIT, "/traces/nothing", "/traces?status=x"])
def test_every_page_forbids_what_does_not_come_from_here(site, path):
    with site.client() as client:
        reply = client.get(path)

    assert set(reply.headers["content-security-policy"].split("; ")) == POLICY
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"


def test_every_group_has_its_page(site):
    with site.client() as client:
        replies = [client.get(f"/traces/{group.trace_id}") for group in every_group()]

    assert {reply.status_code for reply in replies} == {200}


def test_model_text_never_becomes_html(site):
    with site.client() as client:
        pages = [client.get("/traces").text, client.get(f"/traces/{hostile().trace_id}").text]

    for page in pages:
        assert "&lt;script&gt;alert(&#39;owned&#39;)" in page
        assert "<script>" not in page
        assert "<img" not in page
        assert "{{ 7 * 7 }}" in page
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b\ufeff]", page)


def test_a_large_integer_is_shown_digit_by_digit(site):
    with site.client() as client:
        page = client.get(f"/traces/{tool_call().trace_id}").text

    assert "get_order(id=9007199254740993)" in page
    assert "{&#34;id&#34;:9007199254740993}" in page


def test_a_trace_without_content_says_so(site):
    with site.client() as client:
        page = client.get(f"/traces/{without_content().trace_id}").text

    assert "The text is not kept." in page
    assert "No texts are kept for this request." in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", set(range(10))),
        ("?status=failed", {4}),
        ("?status=agreed", {0, 5}),
        ("?route=easy", {4, 8}),
        ("?view=cached", {3}),
        ("?view=verifier_error", {6}),
        ("?q=trays", {2}),
        ("?model=auto:fast", {8}),
        (f"?before={trace_id(3)}", {0, 1, 2}),
    ],
)
def test_filters_live_in_the_url(site, query, shown):
    with site.client() as client:
        page = client.get(f"/traces{query}").text

    assert set(re.findall(r'class="row-link" href="/traces/([^"]+)"', page)) == {
        trace_id(number) for number in shown
    }


def test_an_unknown_filter_value_is_explained_on_a_page(site):
    with site.client() as client:
        reply = client.get("/traces?status=%3Cb%3E")

    assert reply.status_code == 400
    assert "status is &#39;&lt;b&gt;&#39;; known: verified, agreed" in reply.text


@pytest.mark.parametrize("path", ["/traces/nothing", "/traces/%00", "/traces/%ed%a0%80"])
def test_a_trace_that_is_not_there_is_a_page_with_404(site, path):
    with site.client() as client:
        reply = client.get(path)

    assert reply.status_code == 404
    assert "There is no trace" in reply.text


def test_an_empty_store_tells_how_to_make_the_first_trace(empty_site):
    with empty_site.client() as client:
        page = client.get("/traces").text

    assert f"curl {empty_site.url}/v1/chat/completions" in page


def test_a_static_file_may_be_kept_for_ever_because_its_address_has_its_hash(site):
    with site.client() as client:
        address = re.search(
            r'href="(/static/ui/verivote.css\?v=\w{12})"', client.get("/traces").text
        )
        reply = client.get(address[1])

    assert reply.status_code == 200
    assert "immutable" in reply.headers["cache-control"]


def test_a_label_is_stored_and_shown(own_site):
    with own_site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), "kind": "right", "note": "  checked  "}
        reply = client.post(f"{SPLIT}/label", data=form)
        page = client.get(SPLIT).text

    assert (reply.status_code, reply.headers["location"]) == (303, f"{SPLIT}#labels-title")
    assert said(own_site, split_vote().trace_id) == [("right", "checked")]
    assert "<bdi>checked</bdi>" in page


def test_htmx_gets_the_fragment_only(own_site):
    with own_site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), "kind": "note", "note": "<b>hm</b>"}
        reply = client.post(f"{SPLIT}/label", data=form, headers={"HX-Request": "true"})

    assert reply.status_code == 200
    assert "Saved: note." in reply.text
    assert "&lt;b&gt;hm&lt;/b&gt;" in reply.text
    assert "<html" not in reply.text


def test_a_wrong_answer_leaves_the_cache(own_site):
    with own_site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), "kind": "wrong"}
        client.post(f"{SPLIT}/label", data=form)

    assert own_site.ask(own_site.app.state.rim.cache.get(CACHE_KEY)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_form_of_another_site_changes_nothing(site, headers):
    with site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), "kind": "wrong"}
        reply = client.post(f"{SPLIT}/label", data=form, headers=headers)

    assert reply.status_code == 403
    assert said(site, split_vote().trace_id) == []


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
def test_a_form_without_the_page_s_token_changes_nothing(site, token):
    with site.client() as client:
        reply = client.post(f"{SPLIT}/label", data={"token": token, "kind": "right"})

    assert reply.status_code == 403
    assert "Reload it" in reply.text
    assert said(site, split_vote().trace_id) == []


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"kind": "maybe"}, "kind is &#39;maybe&#39;; known: right, wrong, note"),
        ({}, "kind is &#39;&#39;; known: right, wrong, note"),
        ({"kind": "note", "note": "  "}, "The note is empty"),
    ],
)
def test_a_label_that_says_nothing_is_refused(site, form, why):
    with site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), **form}
        reply = client.post(f"{SPLIT}/label", data=form)

    assert reply.status_code == 400
    assert why in reply.text


@pytest.mark.parametrize(
    ("body", "status"), [(b"x" * 20_000, 413), (b"note=%ff%fe", 400), (b"a=1&" * 30, 400)]
)
def test_a_form_that_is_no_form_is_refused(site, body, status):
    with site.client() as client:
        reply = client.post(f"{SPLIT}/label", content=body)

    assert reply.status_code == status


def test_a_label_for_no_trace_is_not_found(site):
    with site.client() as client:
        form = {"token": token_of(client.get(SPLIT)), "kind": "right"}
        reply = client.post("/traces/nothing/label", data=form)

    assert reply.status_code == 404


@pytest.mark.parametrize("path", ["/traces", f"{SPLIT}?a=b"])
def test_where_keys_are_required_a_page_leads_to_the_login(locked_site, path):
    with locked_site.client() as client:
        reply = client.get(path)

    assert reply.status_code == 303
    assert reply.headers["location"] == "/login?next=" + path.replace("?", "%3F").replace(
        "=", "%3D"
    )


def test_a_key_becomes_a_session_that_scripts_and_other_sites_cannot_use(locked_site):
    with locked_site.client() as client:
        reply = client.post("/login", data={"key": " vv-reader ", "next": SPLIT})
        page = client.get(SPLIT)

    cookie = reply.headers["set-cookie"]
    assert (reply.status_code, reply.headers["location"]) == (303, SPLIT)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "vv-reader" not in cookie
    assert page.status_code == 200
    assert "Log out" in page.text


@pytest.mark.parametrize(
    ("key", "status", "why"),
    [("vv-guess", 401, "not valid"), ("", 401, "not valid"), ("vv-asker", 403, "may not read")],
)
def test_a_key_that_may_not_read_traces_does_not_log_in(locked_site, key, status, why):
    with locked_site.client() as client:
        reply = client.post("/login", data={"key": key})

    assert reply.status_code == status
    assert why in reply.text
    assert SESSION_COOKIE not in reply.cookies


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/v1"]
)
def test_a_login_never_leads_to_another_site(locked_site, wanted):
    with locked_site.client() as client:
        reply = client.post("/login", data={"key": "vv-reader", "next": wanted})

    assert reply.headers["location"] == "/traces"


def test_another_tenant_sees_nothing_of_it(locked_site):
    with locked_site.client() as client:
        client.post("/login", data={"key": "vv-other"})
        page, trace = client.get("/traces"), client.get(SPLIT)

    assert "No traces yet" in page.text
    assert trace.status_code == 404


def test_a_token_of_one_session_does_not_serve_another(locked_site):
    with locked_site.client() as client:
        client.post("/login", data={"key": "vv-reader"})
        token = token_of(client.get(SPLIT))
        client.post("/login", data={"key": "vv-other"})
        reply = client.post(f"{SPLIT}/label", data={"token": token, "kind": "wrong"})

    assert reply.status_code == 403


def test_a_changed_cookie_is_no_session(locked_site):
    with locked_site.client() as client:
        client.post("/login", data={"key": "vv-reader"})
        cookie = client.cookies[SESSION_COOKIE]
        client.cookies.clear()
        reply = client.get(SPLIT, headers={"Cookie": f"{SESSION_COOKIE}={cookie[:-2]}AA"})

    assert reply.status_code == 303


def test_logging_out_ends_the_session(locked_site):
    with locked_site.client() as client:
        client.post("/login", data={"key": "vv-reader"})
        client.post("/logout")
        reply = client.get(SPLIT)

    assert reply.status_code == 303


def test_with_keys_off_there_is_no_login(site):
    with site.client() as client:
        reply = client.get("/login")

    assert reply.headers["location"] == "/traces"
