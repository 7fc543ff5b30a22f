import contextlib
import datetime
import logging
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from sfu.config import ServerConfig
from sfu.errors import ConfigError
from sfu.server import tls
from sfu.server.certificates import Certificates

NOW = datetime.datetime.now(datetime.UTC)


def make(folder: Path, made: datetime.datetime = NOW) -> tuple[bytes, bytes]:
    """A certificate that was made at that time, for 396 days, and its key."""
    folder.mkdir(exist_ok=True)
    cert, key = tls.own_certificate(folder, made)
    pair = cert.read_bytes(), key.read_bytes()
    cert.unlink()
    key.unlink()
    return pair


def put(folder: Path, cert: bytes, key: bytes) -> ServerConfig:
    (folder / "c.pem").write_bytes(cert)
    (folder / "k.pem").write_bytes(key)
    return ServerConfig(tls_cert=str(folder / "c.pem"), tls_key=str(folder / "k.pem"))


def served(context: ssl.SSLContext) -> bytes:
    """The certificate that a client gets, as DER."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    c_in, c_out, s_in, s_out = (ssl.MemoryBIO() for _ in range(4))
    client = trusting.wrap_bio(c_in, c_out)
    server = context.wrap_bio(s_in, s_out, server_side=True)
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
            s_in.write(c_out.read())
            c_in.write(s_out.read())
    found = client.getpeercert(True)
    assert found is not None
    return found


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def test_replaced_files_are_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    old, new = make(tmp_path / "a"), make(tmp_path / "b")
    certificates = Certificates(put(tmp_path, *old), tmp_path)
    assert served(certificates.context) == der(old[0])
    certificates.check(NOW)
    assert "replaced" not in caplog.text
    put(tmp_path, *new)
    certificates.check(NOW)
    assert served(certificates.context) == der(new[0])
    assert caplog.text.count("was replaced") == 1


def test_half_of_a_new_pair_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old, new = make(tmp_path / "a"), make(tmp_path / "b")
    certificates = Certificates(put(tmp_path, *old), tmp_path)
    put(tmp_path, new[0], old[1])
    certificates.check(NOW)
    certificates.check(NOW)
    assert served(certificates.context) == der(old[0])
    assert caplog.text.count("is not used") == 1
    put(tmp_path, *new)
    certificates.check(NOW)
    assert served(certificates.context) == der(new[0])


@pytest.mark.parametrize(
    ("left", "says"), [(31, ""), (29, "expires in 28 days"), (1, "expires in 0 days"), (-1, "has expired")]
)
def test_an_end_that_nears_is_warned_of(
    tmp_path: Path, left: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = NOW - datetime.timedelta(days=tls.VALID_DAYS - 1 - left)
    Certificates(put(tmp_path, *make(tmp_path / "a", made)), tmp_path)
    assert (says in caplog.text) if says else not caplog.text


def test_the_warning_comes_once_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificates = Certificates(put(tmp_path, *make(tmp_path / "a")), tmp_path)
    near = NOW + datetime.timedelta(days=tls.VALID_DAYS - 10)
    for hours in (0, 1, 23, 25, 26):
        certificates.check(near + datetime.timedelta(hours=hours))
    assert caplog.text.count("expires in") == 2


def test_our_own_is_renewed_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(ServerConfig(), tmp_path)
    before = served(certificates.context)
    names = [*tls.machine_names(), x509.DNSName("moved.example")]
    monkeypatch.setattr(tls, "machine_names", lambda: names)
    certificates.check(NOW)
    assert served(certificates.context) != before
    assert "expires" not in caplog.text


def test_a_reload_takes_other_files_or_changes_nothing(tmp_path: Path) -> None:
    certificates = Certificates(ServerConfig(), tmp_path)
    before = served(certificates.context)
    with pytest.raises(ConfigError):
        certificates.reload(put(tmp_path, b"", b""))
    assert served(certificates.context) == before
    new = make(tmp_path / "b")
    certificates.reload(put(tmp_path, *new))
    assert served(certificates.context) == der(new[0])
