"""Who records says so, needs the right to, and is seen by everybody; `sfu record` does all that."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest
from signalling import Signal, clients, local_config
from test_access import guarded, member

from sfu.config import Config, RoomConfig
from sfu_client.commands import record


async def told(who: Signal) -> tuple[str, bool]:
    message = await who.next("recording")
    return message["participant"], message["on"]


async def test_recording_needs_the_right_and_is_seen() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben = await member(those, "ben")
        assert (await ben.request("set_recording", on=True))["code"] == "not_allowed"
        await ann.request("set_grants", participant=ben.me, grants={"record": True})
        for _ in range(2):
            assert (await ben.request("set_recording", on=True))["type"] == "ok"
        assert await told(ann) == (ben.me, True)
        cid = await member(those, "cid")
        assert cid.joined["room"]["recording"] == [ben.me]
        await ben.request("set_recording", on=False)
        assert await told(cid) == (ben.me, False)
        assert (await ben.request("set_recording", on=False))["type"] == "ok"


async def test_recording_ends_with_the_right_and_with_the_membership() -> None:
    async with clients(guarded()) as those:
        ann = await member(those, "ann", role="owner")
        ben, cid = await member(those, "ben", record=True), await member(those, "cid", record=True)
        for who in (ben, cid):
            await who.request("set_recording", on=True)
            assert await told(ann) == (who.me, True)
        await ann.request("set_grants", participant=ben.me, grants={"record": False})
        assert await told(ann) == (ben.me, False)
        await cid.request("leave")
        assert await told(ann) == (cid.me, False)


async def test_a_dropped_recorder_is_seen_until_its_grace_ends() -> None:
    async with clients(guarded_with_grace(0.05)) as those:
        ann = await member(those, "ann", role="owner")
        ben = await member(those, "ben", record=True)
        await ben.request("set_recording", on=True)
        await ben.drop()
        assert await told(ann) == (ben.me, True)
        assert await told(ann) == (ben.me, False)


def guarded_with_grace(seconds: float) -> Config:
    return local_config(auth=guarded().auth, room=RoomConfig(grace_s=seconds))


async def test_sfu_record_waits_for_the_right_and_ends_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with clients() as those:
        ann = await those.join()
        parser = argparse.ArgumentParser()
        record.configure(parser)
        where = ["--server", those.server.http_url, "--room", "r", "--output", str(tmp_path)]
        running = asyncio.create_task(record.run(parser.parse_args(where)))
        recorder = (await ann.next("participant_joined"))["participant"]["id"]
        await ann.request("set_grants", participant=recorder, grants={"record": True})
        assert await told(ann) == (recorder, True)
        await ann.request("set_grants", participant=recorder, grants={"record": False})
        assert await told(ann) == (recorder, False)
        assert await asyncio.wait_for(running, 10) == 77
    assert "withdrawn" in capsys.readouterr().err
