"""What ends with a token, and what does not: revocations, expiry, and resuming."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from guarded import SECRET, call, error, guarded, member, refused, token
from signalling import clients

from sfu import clock
from sfu.server import revoking, tokens


def admin() -> str:
    return tokens.mint_admin("k", SECRET, identity="root", now_s=int(time.time()), ttl_s=60, jti="root")


async def test_a_token_revoked_in_the_file_ends_what_it_has_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "LOOK_EVERY_S", 0.02)
    file = tmp_path / "revoked"
    async with clients(guarded(revoked_file=str(file))) as those:
        ann = await member(those, "ann", role="owner", jti="owner-1")
        cam = await member(those, "cam", role="device", jti="cam-7")
        other = await member(those, "dan", jti="cam-8")
        file.write_text("cam-7\n")
        assert (await cam.ended())[0]["code"] == "removed"
        await ann.next("participant_left", participant=cam.me, reason="removed")
        status, _ = await call(those, "GET", "/rooms/r/participants", cam)
        assert status == 401, "its secret opens nothing either"
        for who in (ann, other):
            assert (await who.request("ping"))["type"] == "pong"


async def test_a_token_revoked_over_http_ends_what_it_has_opened() -> None:
    async with clients(guarded()) as those:
        cam = await member(those, "cam", role="device", jti="cam-7")
        status, _ = await call(those, "DELETE", "/tokens/cam-7", admin())
        assert status == 200
        assert (await cam.ended())[0]["code"] == "removed"
        assert await refused(those, token=token("cam", role="device", jti="cam-7")) == "token_revoked"


async def test_who_waits_with_a_revoked_token_is_not_admitted(tmp_path: Path) -> None:
    file = tmp_path / "revoked"
    async with clients(guarded(revoked_file=str(file))) as those:
        ann = await member(those, "ann", role="owner", template="consultation")
        pat, quin = await those.open(), await those.open()
        assert (await pat.join(token=token("pat", jti="pat-1")))["type"] == "waiting"
        assert (await quin.join(token=token("quin", jti="quin-1")))["type"] == "waiting"
        file.write_text("pat-1\n")
        assert (await ann.request("admit"))["type"] == "ok"
        assert (await pat.ended())[0]["code"] == "denied"
        assert (await quin.next("joined"))["participant"]["name"] == "Ann"
        assert [each["identity"] for each in (await ann.next("lobby", waiting=[]))["waiting"]] == []


async def test_who_is_in_stays_when_its_token_expires_and_may_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    async with clients(guarded()) as those:
        short = token("ann")
        ann = await those.join(token=short)
        monkeypatch.setattr(clock, "wall_ms", lambda: int((time.time() + 3600) * 1000))
        assert (await ann.request("chat", text="still here"))["type"] == "ok"
        await ann.drop()
        again, anew = await those.open(), await those.open()
        resumed = await again.join(
            token=short, resume={"participant": ann.me, "secret": ann.joined["secret"]}
        )
        assert (resumed["type"], resumed["resumed"]) == ("joined", True)
        assert error(await anew.join(token=short)) == "token_expired"


async def test_an_expired_token_resumes_nobody_without_the_secret_and_no_revoked_one_does() -> None:
    async with clients(guarded(revoked=("lost",))) as those:
        ann = await member(those, "ann")
        old = token("ann", ttl_s=-60)
        mine = {"participant": ann.me, "secret": ann.joined["secret"]}
        assert await refused(those, token=old, resume={**mine, "secret": "x"}) == "resume_failed"
        lost = token("ann", ttl_s=-60, jti="lost")
        assert await refused(those, token=lost, resume=mine) == "token_revoked"
        forged = tokens.mint("k", "x" * 32, identity="ann", room="r", now_s=0, ttl_s=1)
        assert await refused(those, token=forged, resume=mine) == "bad_token"


async def test_ones_own_valid_token_resumes_nobody_elses_session() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        stolen = {"participant": ann.me, "secret": ann.joined["secret"]}
        assert await refused(those, token=token("eve"), resume=stolen) == "resume_failed"
        elsewhere = await those.open()
        assert (
            error(await elsewhere.join("q", token=token("ann", room="q"), resume=stolen)) == "resume_failed"
        )
        assert (await ann.request("ping"))["type"] == "pong", "the session it would have replaced is there"
