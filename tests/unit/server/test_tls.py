import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509

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


def test_damaged_certificate_is_replaced(tmp_path: Path) -> None:
    cert, _ = tls.own_certificate(tmp_path, NOW)
    cert.write_text("garbage")
    tls.own_certificate(tmp_path, NOW)
    assert x509.load_pem_x509_certificate(cert.read_bytes())


def test_context_serves_own_and_refuses_unreadable(tmp_path: Path) -> None:
    assert tls.context(ServerConfig(), tmp_path)
    with pytest.raises(ConfigError, match="tls_cert"):
        tls.context(ServerConfig(tls_cert="/nowhere.pem", tls_key="/nowhere.key"), tmp_path)
