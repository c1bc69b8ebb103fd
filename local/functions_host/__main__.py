"""`python -m local.functions_host`: serve a function app on http://localhost:7071."""

import argparse
import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from local import command_line
from local.app_service_auth import AppServiceAuth
from local.defaults import FUNCTIONS_HOST_PORT
from local.functions_host.body_limit import DEFAULT_MAX_BODY_BYTES, BodyLimit
from local.functions_host.errors import FunctionAppError
from local.functions_host.host import FunctionsHost
from local.functions_host.keys import FunctionKey
from local.functions_host.routes import HttpFunction
from local.functions_host.settings import HostJson, LocalSettings
from local.functions_host.worker import Worker
from local.processes import stop_with_parent, until_signal
from local.serving import PortInUseError, serve

KEY_SETTING = "LOCAL_FUNCTION_KEY"
# Of the local identity, whose tokens callers may bring where they sign in; as PEM.
IDENTITY_KEY_SETTING = "LOCAL_IDENTITY_PUBLIC_KEY"
_BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
_SCRIPT_SETTING = "PYTHON_SCRIPT_FILE_NAME"

# The app reads its settings from the environment of its process, so a host must write them there.
_environment = os.environ  # noqa: TID251 - see above: what the rule keeps from the app is the host's work


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the value is the exit code."""
    arguments = _arguments(argv)
    if arguments.stop_with_parent:
        stop_with_parent()
    _log_like_core_tools()
    try:
        asyncio.run(_serve(arguments))
    except (FunctionAppError, PortInUseError) as error:
        print(f"The function app cannot be served: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass  # Ctrl-C while the app was being indexed
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.functions_host",
        description="Serve a Python function app on this machine, as Azure Functions would.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "app_dir", nargs="?", type=command_line.folder, default=Path(), help="default: this folder"
    )
    parser.add_argument(
        "--port",
        type=command_line.port,
        help="default: LocalHttpPort of local.settings.json, "
        f"else {FUNCTIONS_HOST_PORT}; 0 takes any",
    )
    parser.add_argument(
        "--key",
        help=f"function key that callers must send; default: the app setting {KEY_SETTING}, "
        "and without it everybody may call",
    )
    parser.add_argument(
        "--cors", metavar="ORIGINS", help="origins whose web pages may call, with commas between"
    )
    parser.add_argument(
        "--sign-in",
        action="store_true",
        help="put App Service Authentication in front of the app, with people to sign in as",
    )
    parser.add_argument(
        "--grace",
        type=command_line.whole_number,
        default=5,
        metavar="SECONDS",
        help="how long running requests may go on after Ctrl-C (default: 5)",
    )
    parser.add_argument("--stop-with-parent", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


async def _serve(arguments: argparse.Namespace) -> None:
    app_dir: Path = arguments.app_dir.resolve()
    host_json, settings = HostJson.read(app_dir), LocalSettings.read(app_dir)
    port = _first(arguments.port, settings.port, FUNCTIONS_HOST_PORT)
    _apply(settings, app_dir, port)
    if arguments.sign_in:
        _environment["WEBSITE_AUTH_ENABLED"] = "True"  # as App Service does
    key = FunctionKey(arguments.key or _environment.get(KEY_SETTING) or None)
    host = FunctionsHost(
        Worker(app_dir, _environment.get(_SCRIPT_SETTING, "function_app.py")), host_json, key
    )
    origins = arguments.cors.split(",") if arguments.cors else settings.cors_origins
    app = _with_body_limit(host)
    if arguments.sign_in:
        app = AppServiceAuth(app, public_key=_environment.get(IDENTITY_KEY_SETTING))
    app = _with_cors(app, origins, credentials=settings.cors_credentials)

    async with serve(app, port, also_ipv6=True, grace_s=arguments.grace) as base_url:
        functions = await host.load()
        # Only now: a signal ends an app that hangs while it is indexed as it ends any process.
        open_to_all = not (key.is_set or arguments.sign_in)
        url = base_url.replace("127.0.0.1", "localhost")
        await until_signal(_announce(functions, url, open_to_all=open_to_all))
    _exit_at_the_latest_in(seconds=2)


def _apply(settings: LocalSettings, app_dir: Path, port: int) -> None:
    """Make the app settings the environment; existing variables win, as in Core Tools."""
    for name, value in settings.values.items():
        if name in _environment:
            _print(f"Skipping '{name}' from local settings: it is set in the environment.")
        else:
            _environment[name] = value
    _environment.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    _environment.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
    _environment.setdefault("WEBSITE_HOSTNAME", f"localhost:{port}")
    _environment["AzureWebJobsScriptRoot"] = str(app_dir)


def _with_body_limit(app: ASGIApp) -> ASGIApp:
    text = _environment.get(_BODY_LIMIT_SETTING, str(DEFAULT_MAX_BODY_BYTES))
    if not (text.isascii() and text.isdigit()):
        raise FunctionAppError(f"{_BODY_LIMIT_SETTING} is {text!r}, not a number of bytes")
    return BodyLimit(app, int(text))


def _with_cors(app: ASGIApp, origins: Iterable[str], *, credentials: bool) -> ASGIApp:
    allowed = [origin.strip() for origin in origins]
    if not allowed:
        return app
    return CORSMiddleware(
        app,
        allow_origins=allowed,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=credentials,
    )


def _exit_at_the_latest_in(*, seconds: float) -> None:
    """End the process even if a function without `async` still runs in its thread."""
    watchdog = threading.Timer(seconds, os._exit, [0])
    watchdog.daemon = True
    watchdog.start()


async def _announce(functions: Iterable[HttpFunction], base_url: str, *, open_to_all: bool) -> None:
    """Print where the functions are, then wait to be cancelled."""
    lines = [f"\t{f.name}: [{','.join(f.methods)}] {base_url}/{f.template}" for f in functions]
    _print("\n".join(["", "Functions:", "", *lines, ""]))
    if open_to_all:
        _print(f"Anyone on this machine may call: no function key is set (--key, {KEY_SETTING}).")
    await asyncio.Event().wait()


def _log_like_core_tools() -> None:
    formatter = logging.Formatter("[%(asctime)s.%(msecs)03dZ] %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # The library writes two lines per invocation under this name; the host writes its own.
    logging.getLogger("azure.functions").setLevel(logging.WARNING)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
