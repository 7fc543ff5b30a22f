"""What a credential opens over HTTP, and what it does not, beside somebody who is in the room."""

from __future__ import annotations

from guarded import call, guarded, member, token
from signalling import clients


async def test_a_tokens_limits_hold_although_its_identity_is_present_with_more_rights() -> None:
    async with clients(guarded()) as those:
        ann, ben = await member(those, "ann", role="owner"), await member(those, "ben")
        weak = token("ann", role="observer", join=False)
        assert (await call(those, "PATCH", "/rooms/r", weak, {"locked": True}))[0] == 403
        assert (await call(those, "POST", "/rooms/r/files", weak, {"name": "a", "bytes": 1}))[0] == 403
        moderator = token("ann", role="participant", moderate=True)
        assert (await call(those, "PATCH", "/rooms/r", moderator, {"locked": True}))[0] == 200
        promoted = await call(those, "PATCH", f"/rooms/r/participants/{ben.me}", moderator, {"role": "owner"})
        assert promoted[0] == 403, "only an owner makes owners, and the token is none"
        assert (await call(those, "DELETE", "/rooms/r", moderator))[0] == 403
        assert (await call(those, "DELETE", "/rooms/r", ann))[0] == 200
