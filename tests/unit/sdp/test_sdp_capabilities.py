from __future__ import annotations

import pytest

from sfu.sdp.capabilities import SUBSCRIBE_EXTENSION_IDS, canonical_fmtp


@pytest.mark.parametrize(
    ("name", "fmtp", "canonical"),
    [
        ("opus", "", "minptime=10;useinbandfec=1"),
        ("opus", "minptime=3;maxaveragebitrate=510000;useinbandfec=0", "minptime=10;useinbandfec=1"),
        ("opus", "usedtx=1; stereo=0", "minptime=10;useinbandfec=1;usedtx=1"),
        ("opus", "stereo=1; sprop-stereo=0", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
        ("opus", "sprop-stereo=1", "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1"),
        ("vp8", "max-fs=12288", ""),
        ("vp9", "profile-id=2;evil=\x01", "profile-id=2"),
        ("vp9", "", ""),
        ("vp9", "profile-id=x", None),
        ("av1", "tier=0;level-idx=5;profile=0;x=y", "level-idx=5;profile=0;tier=0"),
        ("av1", "profile=100000000", None),
        (
            "h264",
            "profile-level-id=42E01F;packetization-mode=1;level-asymmetry-allowed=1;sprop-parameter-sets=Z0I",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        ),
        ("h264", "", "packetization-mode=0"),
        ("h264", "packetization-mode=2", None),
        ("h264", "packetization-mode=1;profile-level-id=42e0", None),
        ("red", "111/111", ""),
        ("pcmu", "", None),
    ],
)
def test_canonical_fmtp(name: str, fmtp: str, canonical: str | None) -> None:
    assert canonical_fmtp(name, fmtp) == canonical


def test_offered_extension_ids_fit_the_one_byte_form() -> None:
    ids = list(SUBSCRIBE_EXTENSION_IDS.values())
    assert len(set(ids)) == len(ids)
    assert all(1 <= number <= 14 for number in ids)
