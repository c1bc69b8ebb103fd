"""Small function apps to start a host with."""

import json
import shutil
from pathlib import Path

APPS = Path(__file__).parent


def copy_app(name: str, to: Path, settings: object = None, host_json: object = None) -> Path:
    """Copy a sample app into a folder of its own, with a local.settings.json if given."""
    folder = Path(shutil.copytree(APPS / name, to / name))
    if settings is not None:
        (folder / "local.settings.json").write_text(json.dumps(settings))
    if host_json is not None:
        (folder / "host.json").write_text(json.dumps(host_json))
    return folder
