"""What the apps run on in Azure: the package that the remote build leaves, and Blob storage."""

import ssl
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from agent.conversations.blob.container import API_VERSION
from bench.app_process import ROOT
from local.managed_identity import ManagedIdentity
from tests.package.building import SITE_PACKAGES, build_package
from tests.support.azurite.server import AUDIENCE, running


def unpack_package(folder: Path) -> tuple[Path, Path]:
    """Build the package of this project and unpack it; the app's folder, and its packages."""
    (folder / "build").mkdir()
    with zipfile.ZipFile(build_package(ROOT, folder / "build")) as archive:
        archive.extractall(folder / "wwwroot")
    return folder / "wwwroot", folder / "wwwroot" / SITE_PACKAGES


@contextmanager
def blob_storage(folder: Path, trusted: str) -> Iterator[Mapping[str, str]]:
    """Start Azurite; the app settings by which conversations are kept there.

    Args:
        folder: gets a file of certificates.
        trusted: a file of certificates that the app is to trust besides.
    """
    with running() as azurite:
        url = f"{azurite.account_url}/conversations"
        _create(url, azurite.ca_file)
        certificates = folder / "certificates.pem"
        texts = [Path(file).read_text() for file in (trusted, azurite.ca_file)]
        certificates.write_text("".join(texts))
        yield {"CONVERSATIONS_URL": url, "SSL_CERT_FILE": str(certificates)}


def _create(url: str, ca_file: str) -> None:
    headers = {
        "Authorization": f"Bearer {ManagedIdentity().mint(AUDIENCE)}",
        "x-ms-version": API_VERSION,
    }
    tls = ssl.create_default_context(cafile=ca_file)
    made = httpx2.put(url, params={"restype": "container"}, headers=headers, verify=tls)
    made.raise_for_status()
