"""The pages as the whole gateway serves them, for an answer that it drew, checked and stored."""

from __future__ import annotations

import httpx

from tests.fakes.upstream import FakeUpstream, scripted


async def test_a_reply_s_id_leads_to_its_page_and_to_its_json(gateway):
    async with FakeUpstream(scripted("It is 401.", "It is 411.", "It is 459.")) as fake:
        url = gateway(fake.url).url
        ask = {"model": "auto", "messages": [{"role": "user", "content": "What is 17*24+3?"}]}
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            reply = await client.post("/v1/chat/completions", json=ask)
            page = await client.get(f"/traces/{reply.json()['id']}")
            listed = await client.get("/traces")
            as_json = await client.get(f"/v1/traces/{reply.json()['id']}")

    assert reply.json()["verification"]["status"] == "verified"
    assert "Proven: calculator checked this answer and passed it." in page.text
    assert reply.json()["id"] in listed.text
    assert (page.status_code, as_json.status_code) == (200, 200)
