"""`python -m local`: Azure on this machine."""

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping

from local import command_line, defaults
from local.model_servers import ModelServerError, OpenModel, offers, open_model
from local.processes import until_signal
from local.run import PROJECT, FunctionsHostOptions, RunError, run
from local.serving import PortInUseError
from local.session_pool import SessionPoolError
from local.session_pool import __main__ as session_pool
from local.stack import LocalStack, Ports
from local.tracing import FILE, tracing

_environment = os.environ  # noqa: TID251 - for programs that it starts, and for the variables that name a model
_STAND_IN = """The model is a stand-in: a small program, not a language model. To use a real one:

  {ollama}    (or llama.cpp, vllm, lmstudio, a URL: what runs there answers)
  {file}    (starts llama-server with this model)"""


def main(argv: list[str] | None = None) -> int:
    """Run one command until it ends or is stopped; the value is the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        if arguments.openai_port != defaults.AZURE_OPENAI_PORT:
            parser.error("--openai-port: `sessions` starts no Azure OpenAI")
        if arguments.model is not None:
            parser.error("--model: `sessions` starts no Azure OpenAI")
        return session_pool.run(arguments, parser)
    if sys.platform != "linux":
        return _fail(
            f"Sessions are isolated with Linux namespaces, which {sys.platform} does not have: use "
            "a Linux machine (on Windows: WSL 2; on macOS: a virtual machine)."
        )
    _tell_progress()
    try:
        asyncio.run(until_signal(arguments.command(arguments)))
    except (RunError, PortInUseError, SessionPoolError, ModelServerError) as error:
        return _fail(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="Azure on this machine: Azure OpenAI, a session pool and a managed identity. "
        "Without a command it starts these three and says how an app reaches them.",
        epilog="LOCAL_MODEL is --model in the environment. Beside it: LOCAL_MODEL_NAME, the model "
        "of a server; LOCAL_MODEL_KEY, the server's key; LOCAL_MODEL_MAX_TOKENS, the longest "
        "answer (4096; 0: no bound).",
        allow_abbrev=False,
    )
    _add_ports(parser)
    _add_model(parser)
    _add_trace(parser)
    parser.set_defaults(command=_serve_all)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    run_parser = commands.add_parser(
        "run",
        help="start the agent too, ask it a question and serve (`make run`)",
        allow_abbrev=False,
    )
    _add_ports(run_parser, of_command=True)
    _add_model(run_parser, of_command=True)
    run_parser.add_argument(
        "--port",
        type=command_line.port,
        default=defaults.FUNCTIONS_HOST_PORT,
        help="of the functions host (%(default)s); 0 takes a free one",
    )
    run_parser.add_argument(
        "--app",
        type=command_line.folder,
        default=PROJECT,
        metavar="FOLDER",
        help="where function_app.py is (this project)",
    )
    run_parser.add_argument(
        "--sign-in",
        action="store_true",
        help="put App Service Authentication in front, with people to sign in as",
    )
    _add_trace(run_parser, of_command=True)
    run_parser.set_defaults(command=_run)
    sessions_parser = commands.add_parser(
        "sessions", help="start the session pool and the identity only", allow_abbrev=False
    )
    session_pool.add_arguments(sessions_parser, of_command=True)
    # Its command line is the session pool's own.
    sessions_parser.set_defaults(command=None)
    command_line.refuse_options_of_commands(parser, commands.choices)
    return parser


def _add_ports(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    """Add the stand-ins' ports; a command's own default must not undo what stands before it."""
    ports = [
        ("--openai-port", defaults.AZURE_OPENAI_PORT, "of Azure OpenAI"),
        ("--pool-port", defaults.SESSION_POOL_PORT, "of the session pool"),
        ("--identity-port", defaults.MANAGED_IDENTITY_PORT, "of the managed identity"),
    ]
    for option, default, what in ports:
        parser.add_argument(
            option,
            type=command_line.port,
            default=argparse.SUPPRESS if of_command else default,
            metavar="PORT",
            help=f"{what} ({default}); 0 takes a free one",
        )


def _add_model(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    parser.add_argument(
        "--model",
        default=argparse.SUPPRESS if of_command else None,
        metavar="MODEL",
        help="a real one in place of the stand-in: ollama, ollama:NAME, llama.cpp, vllm, lmstudio, "
        "a URL, or the path of a .gguf file (LOCAL_MODEL)",
    )


def _add_trace(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    parser.add_argument(
        "--trace",
        action="store_true",
        default=argparse.SUPPRESS if of_command else False,
        help="start an ingestion endpoint of Azure Monitor too; print each turn as a tree of spans",
    )


async def _serve_all(arguments: argparse.Namespace) -> None:
    async with _model(arguments, "python -m local --model {}") as (model, about):
        stack = LocalStack(model=model.relay if model else None, ports=_ports(arguments))
        async with _traces(stack, arguments) as settings:
            await _serve(stack, model, about, settings)


async def _run(arguments: argparse.Namespace) -> None:
    async with _model(arguments, "make run LOCAL_MODEL={}") as (model, about):
        stack = LocalStack(model=model.relay if model else None, ports=_ports(arguments))
        options = FunctionsHostOptions(
            arguments.app.resolve(),
            arguments.port,
            dict(_environment),
            stack.identity.mint(defaults.SIGN_IN_AUDIENCE) if arguments.sign_in else "",
        )
        async with _traces(stack, arguments) as settings:
            options = dataclasses.replace(options, environment={**options.environment, **settings})
            await run(stack, options, about)


@contextlib.asynccontextmanager
async def _model(
    arguments: argparse.Namespace, command: str
) -> AsyncIterator[tuple[OpenModel | None, Awaitable[str]]]:
    """The model that answers in place of the stand-in, and words about who answers.

    What takes time goes on beside the start: the look for servers, and the question to a model
    whether it calls tools.
    """
    settings = {**_environment} | ({"LOCAL_MODEL": arguments.model} if arguments.model else {})
    async with open_model(settings, _print) as model:
        about = asyncio.create_task(_about(model, command))
        checking = asyncio.create_task(_check(model)) if model else about
        try:
            yield model, about
        finally:
            about.cancel()
            checking.cancel()
            await asyncio.gather(about, checking, return_exceptions=True)


async def _about(model: OpenModel | None, command: str) -> str:
    if model is not None:
        return f"The model is {model}."
    ways = {"ollama": command.format("ollama"), "file": command.format("model.gguf")}
    return "\n\n".join([_STAND_IN.format(**ways), *await offers(command)])


async def _check(model: OpenModel) -> None:
    _print(*await model.check())


@contextlib.asynccontextmanager
async def _traces(
    stack: LocalStack, arguments: argparse.Namespace
) -> AsyncIterator[dict[str, str]]:
    if not arguments.trace:
        yield {}
        return
    async with tracing(stack.identity, _print) as settings:
        file = FILE.relative_to(PROJECT)
        _print(f"Each turn is shown as a tree of spans; {file} has all that is sent.", "")
        yield settings


async def _serve(
    stack: LocalStack, model: OpenModel | None, about: Awaitable[str], more: Mapping[str, str]
) -> None:
    async with stack:
        settings = {**stack.app_settings, **more}
        rows = [
            ("Managed identity", settings["IDENTITY_ENDPOINT"]),
            ("Session pool", settings["POOL_MANAGEMENT_ENDPOINT"]),
            ("", f"sessions start by {stack.pool.kernels}"),
        ]
        if endpoint := settings.get("AZURE_OPENAI_ENDPOINT"):
            answerer = "the stand-in model, a small program" if model is None else str(model)
            deployment = settings["AZURE_OPENAI_CHAT_DEPLOYMENT_NAME"]
            rows.insert(0, ("Azure OpenAI", endpoint))
            rows.insert(1, ("", f"deployment {deployment}, answered by {answerer}"))
        _print("Azure on this machine is ready:", "")
        _print(*(f"  {name:<17} {where}" for name, where in rows))
        _print("", "App settings (the same as in local.settings.json.example, on these ports):", "")
        _print(*(f"  export {name}={shlex.quote(value)}" for name, value in settings.items()))
        _print("", await about, "", "Ctrl-C stops it.")
        await asyncio.Event().wait()


def _ports(arguments: argparse.Namespace) -> Ports:
    return Ports(
        azure_openai=arguments.openai_port,
        session_pool=arguments.pool_port,
        managed_identity=arguments.identity_port,
    )


def _tell_progress() -> None:
    """Show the stand-ins' log lines, and none of the libraries below them."""
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
