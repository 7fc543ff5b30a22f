"""Without keys: what a stranger, or a page that has rebound its name, may read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from signalling import clients, local_config
from test_api import Caller, body_of, declared, path_of

from sfu.config import AuthConfig, ServerConfig
from sfu.server.api import routes
from sfu.server.api.endpoint import Endpoint

__all__ = ["declared"]


async def test_without_keys_a_stranger_reads_nothing_of_any_room(declared: list[Endpoint]) -> None:
    """A member of another room is a stranger as well. Counts of the server name nobody."""
    patient = AuthConfig(max_failures=10_000)
    async with clients(local_config(auth=patient)) as those:
        await those.join(name="Ann", template="consultation")
        eve = Caller.participant(those, await those.join("other", name="Eve"))
        for each in declared:
            for caller in (Caller(those), eve):
                told = await caller.ask(each.method, path_of(each, "r"), body_of(each))
                if each.path in {"/openapi.json", "/stats"}:
                    assert "Ann" not in json.dumps(told)
                elif each.needs == "server" and caller is eve:
                    assert [room["name"] for room in told["rooms"]] == ["other"]
                else:
                    assert (caller.status, told["code"]) == (401, "bad_token"), each


@pytest.mark.parametrize(
    ("host", "kept", "status"),
    [
        ("rebound.evil.example", {}, 421),
        ("rebound.evil.example:7880", {}, 421),
        ("127.0.0.1.evil.example", {}, 421),
        ("localhost.evil.example", {}, 421),
        ("[::1", {}, 421),
        ("192.0.2.7:7880", {}, 200),
        ("[2001:db8::1]:7880", {}, 200),
        ("localhost:7880", {}, 200),
        ("classroom", {}, 200),
        ("classroom.local", {}, 200),
        ("sfu.school.example", {"allowed_origins": ("http://sfu.school.example",)}, 200),
        ("rebound.evil.example", {"trust_proxy": True}, 200),
    ],
)
async def test_without_keys_every_path_asks_by_which_name_it_was_found(
    host: str, kept: dict[str, Any], status: int
) -> None:
    """The page, the API and the WebSocket are one server: a name of a stranger's choice opens none."""
    config = local_config(server=ServerConfig(host="127.0.0.1", port=0, https_port=-1, **kept))
    async with clients(config) as those:
        for path in ("/", "/r/x", "/api/v1/stats", "/static/ui/app.js", "/healthz"):
            async with those.http.get(those.server.http_url + path, headers={"Host": host}) as answer:
                assert answer.status == status, path
                if status == 421 and path.startswith("/api/"):
                    assert (await answer.json())["error"]["code"] == "host_not_allowed"
        async with those.http.get(those.server.http_url + "/signal", headers={"Host": host}) as answer:
            assert (answer.status == 421) is (status == 421)


async def test_the_document_is_made_once_and_asked_for_by_its_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(routes, "document", lambda declared: made.append(1) or {"paths": "x" * 2000})
    async with clients() as those:
        url = f"{those.server.http_url}/api/v1/openapi.json"
        tags = set()
        for encoding in ("identity", "gzip", "gzip;q=0", "br, gzip"):
            async with those.http.get(url, headers={"Accept-Encoding": encoding}) as answer:
                assert (await answer.json()) == {"paths": "x" * 2000}
                expected = "gzip" if encoding in {"gzip", "br, gzip"} else None
                assert answer.headers.get("Content-Encoding") == expected
                tags.add(answer.headers["ETag"])
        assert len(tags) == 2
        for tag in tags:
            accept = {"Accept-Encoding": "gzip" if "gzip" in tag else "identity"}
            async with those.http.get(url, headers={"If-None-Match": tag, **accept}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
    assert len(made) == 1
