"""The two files beside function_app.py that configure a host: host.json and local.settings.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from local.functions_host.errors import FunctionAppError


@dataclass(frozen=True)
class HostJson:
    """The parts of host.json that this host reads.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook#hostjson-settings
    """

    route_prefix: str = "api"
    custom_headers: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def read(cls, app_dir: Path) -> "HostJson":
        """Read host.json, which every function app has.

        Raises:
            FunctionAppError: it is missing, is no JSON or is not for version 2.0 and above.
        """
        http = _read(app_dir / "host.json", _HostFile).extensions.http
        headers = ((name.encode(), value.encode()) for name, value in http.custom_headers.items())
        return cls(http.route_prefix.strip("/"), tuple(headers))


@dataclass(frozen=True)
class LocalSettings:
    """local.settings.json: app settings for this machine, and how the local host listens.

    https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file
    """

    values: Mapping[str, str]
    port: int | None = None
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False

    @classmethod
    def read(cls, app_dir: Path) -> "LocalSettings":
        """Read local.settings.json; without the file there are no settings.

        Raises:
            FunctionAppError: the file is encrypted, is no JSON or has another shape.
        """
        path = app_dir / "local.settings.json"
        if not path.exists():
            return cls({})
        file = _read(path, _SettingsFile)
        if file.is_encrypted:
            raise FunctionAppError(
                f"{path.name} is encrypted (IsEncrypted is true), which only Core Tools can read: "
                "run `func settings decrypt` once"
            )
        origins = tuple(origin.strip() for origin in file.host.cors.split(",") if origin.strip())
        return cls(file.values, file.host.port, origins, file.host.cors_credentials)


class _Http(BaseModel):
    route_prefix: str = Field("api", alias="routePrefix")
    custom_headers: dict[str, str] = Field({}, alias="customHeaders")


class _Extensions(BaseModel):
    http: _Http = _Http()


class _HostFile(BaseModel):
    version: str = Field(pattern=r"^2\.0$")
    extensions: _Extensions = _Extensions()


class _Host(BaseModel):
    model_config = ConfigDict(extra="ignore")

    port: int | None = Field(None, alias="LocalHttpPort")
    cors: str = Field("", alias="CORS")
    cors_credentials: bool = Field(False, alias="CORSCredentials")


def _text(value: object) -> object:
    """Take numbers and booleans as text, as Core Tools does."""
    return str(value) if isinstance(value, bool | int | float) else value


type _Text = Annotated[str, BeforeValidator(_text)]


class _SettingsFile(BaseModel):
    is_encrypted: bool = Field(False, alias="IsEncrypted")
    values: dict[str, _Text] = Field({}, alias="Values")
    host: _Host = Field(_Host(), alias="Host")


def _read[Model: BaseModel](path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise FunctionAppError(f"there is no {path.name} in {path.parent}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise FunctionAppError(f"{path.name}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise FunctionAppError(f"{path.name} is no JSON: {error}") from None
