import datetime
import errno
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import ifaddr
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sfu.config import ServerConfig
from sfu.errors import ConfigError
from sfu.server import tls

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_own_certificate_names_this_machine_and_is_kept(tmp_path: Path) -> None:
    cert, key = tls.own_certificate(tmp_path, NOW)
    names = x509.load_pem_x509_certificate(cert.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert "localhost" in names.value.get_values_for_type(x509.DNSName)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = cert.read_bytes()
    tls.own_certificate(tmp_path, NOW + datetime.timedelta(days=10))
    assert cert.read_bytes() == before


def test_own_certificate_is_renewed_before_it_ends(tmp_path: Path) -> None:
    before = tls.own_certificate(tmp_path, NOW)[0].read_bytes()
    later = NOW + datetime.timedelta(days=tls.VALID_DAYS - tls.RENEW_DAYS + 1)
    assert tls.own_certificate(tmp_path, later)[0].read_bytes() != before


def test_a_new_address_makes_a_new_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tls.own_certificate(tmp_path, NOW)[0].read_bytes()
    names = [*tls.machine_names(), x509.DNSName("moved.example")]
    monkeypatch.setattr(tls, "machine_names", lambda: names)
    assert tls.own_certificate(tmp_path, NOW)[0].read_bytes() != before


def garbage(path: Path) -> None:
    path.write_text("garbage")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def of_another(path: Path) -> None:
    folder = path.parent / "another"
    folder.mkdir()
    path.write_bytes((tls.own_certificate(folder, NOW)[path.name == "key.pem"]).read_bytes())


@pytest.mark.parametrize("damage", [garbage, emptied, missing, of_another])
@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_own_files_that_are_broken_are_made_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    tls.own_certificate(tmp_path, now)
    damage(tmp_path / name)
    assert tls.context(ServerConfig(), tmp_path)


def test_own_files_that_cannot_be_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(errno.EROFS, "", str(path))

    monkeypatch.setattr(tls, "write_private", fail)
    with pytest.raises(ConfigError, match=rf"server\.data_dir: {tmp_path}/key\.pem: Read-only file system"):
        tls.context(ServerConfig(), tmp_path)


def test_without_netlink_the_certificate_names_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise OSError(errno.EAFNOSUPPORT, "")

    monkeypatch.setattr(ifaddr, "get_adapters", refuse)
    assert tls.context(ServerConfig(), tmp_path)
    assert "Address family not supported" in caplog.text


def test_a_host_name_that_no_certificate_takes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "bücherei")
    assert tls.context(ServerConfig(), tmp_path)


def configured(folder: Path) -> ServerConfig:
    cert, key = tls.own_certificate(folder, datetime.datetime.now(datetime.UTC))
    return ServerConfig(tls_cert=str(cert), tls_key=str(key))


@pytest.mark.parametrize(("key", "name"), [("tls_cert", "cert.pem"), ("tls_key", "key.pem")])
def test_a_configured_file_that_cannot_be_read_is_named(tmp_path: Path, key: str, name: str) -> None:
    config = configured(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=rf"server\.{key}: {tmp_path}/{name}: No such file"):
        tls.context(config, tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=rf"server\.{key}: {tmp_path}/{name}: Is a directory"):
        tls.context(config, tmp_path)


def test_an_encrypted_key_is_refused_without_a_question(tmp_path: Path) -> None:
    config = configured(tmp_path)
    path = tmp_path / "key.pem"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(ConfigError, match=rf"server\.tls_key: {path}: encrypted"):
        tls.context(config, tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    config = configured(tmp_path)
    of_another(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match=r"server\.tls_key: .* the key of another certificate"):
        tls.context(config, tmp_path)


def test_a_configured_file_that_is_broken_is_not_made_anew(tmp_path: Path) -> None:
    config = configured(tmp_path)
    garbage(tmp_path / "cert.pem")
    with pytest.raises(ConfigError, match=r"server\.tls_cert: .*cert\.pem and .* cannot be used"):
        tls.context(config, tmp_path)
    assert (tmp_path / "cert.pem").read_text() == "garbage"


@pytest.mark.parametrize("days", [-7300, -400, 5, 60, 730])
def test_a_certificate_of_a_wrong_clock_is_replaced(tmp_path: Path, days: int) -> None:
    before = tls.own_certificate(tmp_path, NOW + datetime.timedelta(days=days))[0].read_bytes()
    cert, _ = tls.own_certificate(tmp_path, NOW)
    assert cert.read_bytes() != before
    made = x509.load_pem_x509_certificate(cert.read_bytes())
    assert made.not_valid_before_utc < NOW < made.not_valid_after_utc
