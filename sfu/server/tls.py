"""The HTTPS certificate: a configured one, or one of our own so that a phone may use its camera at once."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sfu.config import ServerConfig
from sfu.durable import write_private
from sfu.errors import ConfigError
from sfu.faults import expanded, start_fault, words
from sfu.transport.addresses import machine_addresses

log = logging.getLogger(__name__)

VALID_DAYS = 397
"""Browsers distrust server certificates that live longer."""
RENEW_DAYS = 30
CERT, KEY = "cert.pem", "key.pem"
"""Files of our own certificate in the data directory."""


def context(config: ServerConfig, data_dir: Path) -> ssl.SSLContext:
    """The TLS context of the HTTPS port.

    Raises `ConfigError` or `StartError` where a file cannot be read, written or used.
    """
    key_name = "server.tls_key"
    cert, key = expanded("server.tls_cert", config.tls_cert), expanded(key_name, config.tls_key)
    if not config.tls_cert:
        key_name = "server.data_dir"
        cert, key = own_certificate(data_dir, datetime.datetime.now(datetime.UTC))
    for name, path in (("server.tls_cert", cert), (key_name, key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise start_fault(name, error) from error

    def pass_phrase() -> str:
        raise ConfigError(
            [f"{key_name}: {key}: encrypted, and a server has nobody to ask (openssl pkey -in KEY -out NEW)"]
        )

    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        made.load_cert_chain(cert, key, password=pass_phrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError([f"{key_name}: {key}: the key of another certificate than {cert}"]) from error
        reason = error.reason or "not PEM"
        raise ConfigError([f"server.tls_cert: {cert} and {key} cannot be used: {reason}"]) from error
    return made


def own_certificate(data_dir: Path, now: datetime.datetime) -> tuple[Path, Path]:
    """Paths of a self-signed certificate and its key that name this machine.

    They are kept in `data_dir` and made anew when they near their end, are broken, or the machine got another
    address. Raises `ConfigError` or `StartError`.
    """
    cert_path, key_path = data_dir / CERT, data_dir / KEY
    names = machine_names()
    try:
        if not _still_good(cert_path, key_path, names, now):
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            # A crash in between leaves a pair that does not match, and that is made anew.
            write_private(key_path, pem)
            write_private(cert_path, _self_signed(key, names, now).public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise start_fault("server.data_dir", error) from error
    return cert_path, key_path


def machine_names() -> list[x509.GeneralName]:
    """Host name, `localhost` and every address of this machine that can be found out."""
    hosts = {"localhost", *_host_name()}
    addresses = {ipaddress.ip_address(text) for text in ("127.0.0.1", "::1")}
    try:
        for version in (4, 6):
            addresses.update(map(ipaddress.ip_address, machine_addresses(version)))
    except OSError as error:
        log.warning("the certificate names no address of this machine: %s", words(error))
    ordered = sorted(addresses, key=lambda a: (a.version, int(a)))
    return [x509.DNSName(h) for h in sorted(hosts)] + [x509.IPAddress(a) for a in ordered]


def _host_name() -> list[str]:
    """The machine's name as a certificate has it; none where it has characters that no certificate takes."""
    name = socket.gethostname()
    return [name] if name.isascii() and name else []


def _still_good(
    cert_path: Path, key_path: Path, names: list[x509.GeneralName], now: datetime.datetime
) -> bool:
    """Whether both are whole, belong together and will last. Raises `OSError` where one cannot be read."""
    try:
        cert = x509.load_pem_x509_certificate(cert_path.read_bytes())
        covered = set(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    fits = key.public_key() == cert.public_key()
    lasts = cert.not_valid_after_utc - now > datetime.timedelta(days=RENEW_DAYS)
    # One that was made while the clock was ahead.
    begun = cert.not_valid_before_utc <= now
    return fits and begun and lasts and set(names) <= covered


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
