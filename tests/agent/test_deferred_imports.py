"""Modules that are loaded when they are first used, each in a process that has none of them yet."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.machinery import PathFinder
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.deferred_imports import asked_first

ROOT = Path(__file__).parents[2]
SEEN = "print(sorted(name for name in sys.modules if name.startswith('cryptography.x509.')))"


def run(code: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_a_module_is_loaded_by_its_first_use_and_by_no_import() -> None:
    lines = run(
        "import sys\n"
        "from agent.deferred_imports import deferred_imports\n"
        "with deferred_imports('cryptography.x509'):\n"
        "    from cryptography import x509\n"
        "from cryptography import x509 as once_more\n"
        f"{SEEN}\n"
        "from cryptography.x509 import Certificate\n"
        "assert x509 is once_more is sys.modules['cryptography.x509']\n"
        "assert x509.Certificate is Certificate\n"
        f"{SEEN}\n"
    )
    assert lines[0] == "[]"
    assert "cryptography.x509.base" in lines[1]


def test_an_import_that_goes_on_meanwhile_misses_no_finder() -> None:
    before = list(sys.meta_path)
    outside = iter(sys.meta_path)
    asked = [next(outside)]
    with asked_first(PathFinder()):
        inside = iter(sys.meta_path)
        next(inside)
        asked += outside
    assert asked == list(inside) == sys.meta_path == before


def certificate() -> bytes:
    """A certificate with its key, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_the_agent_loads_what_certificates_need_for_them_alone(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate())
    lines = run(
        "import sys\n"
        "import agent.http.chat, agent.http.dispatch\n"
        f"{SEEN}\n"
        "from azure.identity.aio import CertificateCredential\n"
        f"credential = CertificateCredential('tenant', 'client', {str(file)!r})\n"
        "print(type(credential).__name__)\n"
        f"{SEEN}\n"
    )
    assert lines[:2] == ["[]", "CertificateCredential"]
    assert "cryptography.x509.base" in lines[2]


def test_a_managed_identity_is_opened_without_requests_and_msals_own_client_loads_it() -> None:
    lines = run(
        "import asyncio, os, sys\n"
        "import agent.http.chat, agent.http.dispatch, aiohttp\n"
        "from agent.credentials import open_credential\n"
        "os.environ |= {'IDENTITY_ENDPOINT': 'http://127.0.0.1:1', 'IDENTITY_HEADER': 'a'}\n"
        "async def open_and_close():\n"
        "    async with aiohttp.ClientSession() as http, open_credential('id', http):\n"
        "        print('msal' in sys.modules, 'requests' in sys.modules)\n"
        "asyncio.run(open_and_close())\n"
        "from typing import get_type_hints\n"
        "from azure.identity._internal.msal_managed_identity_client import (\n"
        "    MsalManagedIdentityClient as Client)\n"
        "print(get_type_hints(Client.get_managed_identity)['return'])\n"
        "print('requests' in sys.modules)\n"
    )
    assert lines[0] == "True False"
    assert "msal.managed_identity.UserAssignedManagedIdentity" in lines[1]
    assert lines[2] == "True"
