"""The HTTPS certificate: a configured one, or one of our own so that a phone may use its camera at once."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path

import ifaddr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sfu.config import ServerConfig
from sfu.errors import ConfigError

VALID_DAYS = 397
"""Browsers distrust server certificates that live longer."""
RENEW_DAYS = 30


def context(config: ServerConfig, data_dir: Path) -> ssl.SSLContext:
    """The TLS context of the HTTPS port. Raises `ConfigError` when a configured file cannot be used."""
    cert, key = Path(config.tls_cert), Path(config.tls_key)
    if not config.tls_cert:
        cert, key = own_certificate(data_dir, datetime.datetime.now(datetime.UTC))
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"server.tls_cert: {error}"]) from error
    return made


def own_certificate(data_dir: Path, now: datetime.datetime) -> tuple[Path, Path]:
    """Paths of a self-signed certificate and its key that name this machine.

    It is kept in `data_dir` and made anew when it nears its end or the machine got another address.
    """
    cert_path, key_path = data_dir / "cert.pem", data_dir / "key.pem"
    names = machine_names()
    if not _still_good(cert_path, key_path, names, now):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_private(key_path, pem)
        cert_path.write_bytes(_self_signed(key, names, now).public_bytes(serialization.Encoding.PEM))
    return cert_path, key_path


def machine_names() -> list[x509.GeneralName]:
    """Host name, `localhost` and every address of this machine."""
    hosts = {"localhost", socket.gethostname()}
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.partition("%")[0])
            if not address.is_link_local:
                addresses.add(address)
    ordered = sorted(addresses, key=lambda a: (a.version, int(a)))
    return [x509.DNSName(h) for h in sorted(hosts)] + [x509.IPAddress(a) for a in ordered]


def _still_good(
    cert_path: Path, key_path: Path, names: list[x509.GeneralName], now: datetime.datetime
) -> bool:
    if not (cert_path.exists() and key_path.exists()):
        return False
    try:
        cert = x509.load_pem_x509_certificate(cert_path.read_bytes())
        covered = set(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (ValueError, x509.ExtensionNotFound):
        return False
    return set(names) <= covered and cert.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)


def _self_signed(
    key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], now: datetime.datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pysfu")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
