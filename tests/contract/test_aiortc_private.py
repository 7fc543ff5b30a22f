"""The private names of aiortc that `sfu/transport/dtls.py` relies on, and what they must do."""

from __future__ import annotations

import inspect
from importlib.metadata import version

from aiortc import RTCDtlsTransport, RTCSctpTransport, rtcdtlstransport
from aiortc.rtcdtlstransport import SRTP_PROFILES, DataReceiver, RTCDtlsFingerprint, State
from aiortc.rtcsctptransport import InboundStream


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aiortc").split(".")[:2] == ["1", "16"]


def test_srtp_profiles_offer_what_is_preferred() -> None:
    names = {profile.openssl_profile for profile in SRTP_PROFILES}
    assert {b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"} <= names
    for profile in SRTP_PROFILES:
        material = bytes(range(2 * (profile.key_length + profile.salt_length)))
        client, server = (bytes(profile.get_key_and_salt(material, each)) for each in (0, 1))
        assert len(client) == len(server) == profile.key_length + profile.salt_length
        assert client[: profile.key_length] == material[: profile.key_length]
        assert server[: profile.key_length] == material[profile.key_length : 2 * profile.key_length]


def test_dtls_transport_has_the_names_that_are_used() -> None:
    source = inspect.getsource(RTCDtlsTransport)
    for name in (
        "_srtp_profiles",
        "_setup_srtp",
        "_set_role",
        "_set_state",
        "_ssl",
        "_role",
        "_data_receiver",
    ):
        assert name in source, name
    assert list(inspect.signature(RTCDtlsTransport._setup_srtp).parameters) == ["self"]
    assert "self.transport._recv()" in source
    assert "self.transport._send(data)" in source
    assert "srtp_profiles=self._srtp_profiles" in source


def test_data_reaches_its_receiver_through_one_door() -> None:
    for register in (RTCDtlsTransport._register_data_receiver, RTCDtlsTransport._unregister_data_receiver):
        assert list(inspect.signature(register).parameters) == ["self", "receiver"]
    assert list(inspect.signature(DataReceiver._handle_data).parameters) == ["self", "data"]
    source = inspect.getsource(RTCDtlsTransport)
    assert "await self._data_receiver._handle_data(data)" in source
    # What ends an association without a traceback.
    assert "except ConnectionError:" in source.partition("async def __run")[2].partition("def ")[0]


def test_sctp_keeps_the_books_that_are_bounded() -> None:
    source = inspect.getsource(RTCSctpTransport)
    for name in ("_advertised_rwnd", "_inbound_streams", "_sack_misordered"):
        assert f"self.{name}" in source, name
    assert "self._advertised_rwnd -= len(chunk.user_data)" in source
    assert InboundStream().reassembly == []


def test_states_and_fingerprints() -> None:
    assert {State.FAILED, State.CONNECTED, State.CLOSED} <= set(rtcdtlstransport.State)
    assert RTCDtlsFingerprint(algorithm="sha-256", value="AA").value == "AA"
