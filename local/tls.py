"""https on loopback, for clients that insist on it: an authority of this machine's own.

The authority signs one certificate and its key is thrown away, so that trusting it means trusting
nothing else.
"""

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = datetime.timedelta(days=365)
_RENEW_BEFORE = datetime.timedelta(days=30)
_ADDRESS = ipaddress.IPv4Address("127.0.0.1")


@dataclass(frozen=True)
class TlsFiles:
    """The folder of the certificates.

    Attributes:
        folder: holds them; its files are written once and used until shortly before they expire.
        host_name: a name that the server has besides localhost.
    """

    folder: Path
    host_name: str | None = None

    @property
    def _names(self) -> list[str]:
        return ["localhost", *([self.host_name] if self.host_name else [])]

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The server's private key."""
        return self.folder / "server-key.pem"

    @property
    def authority(self) -> Path:
        """Our authority alone, for clients that reach nothing else."""
        return self.folder / "authority.pem"

    @property
    def bundle(self) -> Path:
        """The authorities that clients trust: those of this system, and ours.

        For SSL_CERT_FILE (httpx, openssl) and REQUESTS_CA_BUNDLE (requests): these replace a
        client's own list, and it may have to reach real servers too.
        """
        return self.folder / "trusted.pem"

    def server_files(self) -> tuple[str, str]:
        """Return certificate and key for a server, made anew if need be."""
        if not self._is_valid():
            self._make()
        return str(self.certificate), str(self.key)

    def _is_valid(self) -> bool:
        files = (self.certificate, self.key, self.authority, self.bundle)
        if not all(os.access(file, os.R_OK) for file in files):
            return False
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        alternative_names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        return (
            certificate.not_valid_after_utc - _now() > _RENEW_BEFORE
            and alternative_names.get_values_for_type(x509.DNSName) == self._names
        )

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        authority_key, server_key = _new_key(), _new_key()
        authority = _authority(authority_key, self._names)
        certificate = _server_certificate(server_key, authority, authority_key, self._names)
        self.key.unlink(missing_ok=True)
        with os.fdopen(os.open(self.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(
                server_key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )
        self.certificate.write_bytes(_pem(certificate))
        self.authority.write_bytes(_pem(authority))
        self.bundle.write_bytes(_system_authorities() + _pem(authority))


def _authority(key: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    hosts = [*map(x509.DNSName, names), x509.IPAddress(ipaddress.IPv4Network(_ADDRESS))]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local Azure (this machine only)")])
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(hosts, None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: list[str],
) -> x509.Certificate:
    hosts = [*map(x509.DNSName, names), x509.IPAddress(_ADDRESS)]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(name, authority.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(signer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(hours=1))
        .not_valid_after(_now() + _VALID)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _system_authorities() -> bytes:
    cafile = ssl.get_default_verify_paths().cafile
    for path in (cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/cert.pem"):
        if path and Path(path).exists():
            return Path(path).read_bytes().rstrip() + b"\n"
    return b""


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
