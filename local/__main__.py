"""`python -m local`: Azure on this machine."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from local.azure_openai import Relay
from local.defaults import FUNCTIONS_HOST_PORT
from local.processes import until_signal
from local.run import PROJECT, FunctionsHostOptions, RunError, run
from local.serving import PortInUseError
from local.session_pool import SessionPoolError
from local.session_pool.__main__ import main as serve_sessions
from local.stack import DEFAULT_PORTS, LocalStack, Ports

_environment = os.environ  # noqa: TID251 - a command line of local/
_STAND_IN = """The model is a stand-in: a small program, not a language model. To use a real one,
name a server that speaks the OpenAI protocol (this is Ollama's address):

  LOCAL_MODEL_URL=http://127.0.0.1:11434/v1 LOCAL_MODEL_NAME=qwen3 make run"""


def main(argv: list[str] | None = None) -> int:
    """Run one command until it ends or is stopped; the value is the exit code."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["sessions"]:
        return serve_sessions(given[1:])
    arguments = _parser().parse_args(given)
    if sys.platform != "linux":
        return _fail(
            f"Sessions are isolated with Linux namespaces, which {sys.platform} does not have: use "
            "a Linux machine (on Windows: WSL 2; on macOS: a virtual machine)."
        )
    _tell_progress()
    try:
        asyncio.run(until_signal(arguments.command(arguments)))
    except (RunError, PortInUseError, SessionPoolError) as error:
        return _fail(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Azure on this machine: Azure OpenAI, a session pool and a managed identity. "
        "Without a command it starts these three and says how an app reaches them.",
        epilog="LOCAL_MODEL_URL, LOCAL_MODEL_NAME and LOCAL_MODEL_KEY name an OpenAI-compatible "
        "server that answers in place of the stand-in model.",
    )
    _add_ports(parser)
    parser.set_defaults(command=_serve_all)
    commands = parser.add_subparsers(title="commands", metavar="")
    run_parser = commands.add_parser(
        "run", help="start the agent too, ask it a question and serve (`make run`)"
    )
    _add_ports(run_parser)
    run_parser.add_argument(
        "--port",
        type=_port,
        default=FUNCTIONS_HOST_PORT,
        help="of the functions host (%(default)s)",
    )
    run_parser.add_argument(
        "--app",
        type=Path,
        default=PROJECT,
        metavar="FOLDER",
        help="where function_app.py is (this project)",
    )
    run_parser.set_defaults(command=_run)
    # Listed here; its options are the session pool's own, see `main`.
    commands.add_parser("sessions", help="start the session pool and the identity only")
    return parser


def _add_ports(parser: argparse.ArgumentParser) -> None:
    ports = [
        ("--openai-port", DEFAULT_PORTS.azure_openai, "of Azure OpenAI"),
        ("--pool-port", DEFAULT_PORTS.session_pool, "of the session pool"),
        ("--identity-port", DEFAULT_PORTS.managed_identity, "of the managed identity"),
    ]
    for option, default, what in ports:
        parser.add_argument(
            option, type=_port, default=default, metavar="PORT", help=f"{what} (%(default)s)"
        )


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port: 1 to 65535")
    return number


async def _serve_all(arguments: argparse.Namespace) -> None:
    relay = _relay()
    await _serve(LocalStack(model=relay, ports=_ports(arguments)), relay)


async def _run(arguments: argparse.Namespace) -> None:
    relay = _relay()
    options = FunctionsHostOptions(arguments.app.resolve(), arguments.port, dict(_environment))
    about = _STAND_IN if relay is None else f"The model is {relay.name} at {relay.url}."
    await run(LocalStack(model=relay, ports=_ports(arguments)), options, about)


async def _serve(stack: LocalStack, relay: Relay | None) -> None:
    async with stack:
        settings = stack.app_settings
        rows = [
            ("Managed identity", settings["IDENTITY_ENDPOINT"]),
            ("Session pool", settings["POOL_MANAGEMENT_ENDPOINT"]),
            ("", f"sessions start by {stack.pool.kernels}"),
        ]
        if endpoint := settings.get("AZURE_OPENAI_ENDPOINT"):
            answerer = "the stand-in model, a small program"
            if relay is not None:
                answerer = f"{relay.name} at {relay.url}"
            deployment = settings["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"]
            rows.insert(0, ("Azure OpenAI", endpoint))
            rows.insert(1, ("", f"deployment {deployment}, answered by {answerer}"))
        _print("Azure on this machine is ready:", "")
        _print(*(f"  {name:<17} {where}" for name, where in rows))
        _print("", "App settings (the same as in local.settings.json.example, on these ports):", "")
        _print(*(f"  export {name}={value}" for name, value in settings.items()))
        _print("", "Ctrl-C stops it.")
        await asyncio.Event().wait()


def _ports(arguments: argparse.Namespace) -> Ports:
    return Ports(
        azure_openai=getattr(arguments, "openai_port", 0),
        session_pool=arguments.pool_port,
        managed_identity=arguments.identity_port,
    )


def _relay() -> Relay | None:
    """Who answers instead of the stand-in model, if the environment names somebody."""
    try:
        return Relay.from_settings(_environment)
    except ValueError as error:
        raise RunError(str(error)) from error


def _tell_progress() -> None:
    """Show what the stand-ins report while they start, and nothing of the libraries below them."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("local")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _fail(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
