"""`python -m local.session_pool`: the session pool and a managed identity for its tokens."""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path

from local import command_line, defaults
from local.managed_identity import ManagedIdentity
from local.processes import until_signal
from local.serving import PortInUseError, serve
from local.session_pool.image import ImagePreparationError, prepare_session_image
from local.session_pool.options import PoolOptions
from local.session_pool.service import SessionPool, SessionPoolError
from local.tls import TlsFiles

TLS_FOLDER = Path(__file__).parents[2] / ".local" / "session-pool-tls"


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the value is the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m local.session_pool",
        description="Azure Container Apps dynamic sessions on this machine, on loopback only.",
        allow_abbrev=False,
    )
    add_arguments(parser)
    return run(parser.parse_args(argv), parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Run the command that a parser with `add_arguments` read; the value is the exit code."""
    try:
        options = _options(arguments)
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        if sys.platform != "linux":
            raise SessionPoolError(
                f"Sessions are isolated with Linux namespaces, which {sys.platform} does not have:"
                " use a Linux machine (on Windows: WSL 2; on macOS: a virtual machine)."
            )
        if arguments.action == "prepare":
            prepare_session_image(_say, arguments.requirements)
        else:
            asyncio.run(until_signal(_serve(arguments, options)))
    except (SessionPoolError, ImagePreparationError, PortInUseError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def add_arguments(parser: argparse.ArgumentParser, *, of_command: bool = False) -> None:
    """Add the pool's options.

    Args:
        parser: of this program, or of `python -m local sessions`.
        of_command: the ports have their defaults from the program's parser; another default here
            would undo what stands before the command.
    """
    pool_defaults = PoolOptions()
    parser.add_argument(
        "action",
        nargs="?",
        choices=("serve", "prepare"),
        default="serve",
        help="serve (default), or prepare: install the packages of the session image and end",
    )
    for names, destination, default, what in (
        (("--port", "--pool-port"), "pool_port", defaults.SESSION_POOL_PORT, "of the pool"),
        (
            ("--identity-port",),
            "identity_port",
            defaults.MANAGED_IDENTITY_PORT,
            "of the managed identity",
        ),
    ):
        parser.add_argument(
            *names,
            dest=destination,
            type=command_line.port,
            default=argparse.SUPPRESS if of_command else default,
            metavar="PORT",
            help=f"{what} ({default}); 0 takes a free one",
        )
    parser.add_argument(
        "--max-sessions",
        type=command_line.whole_number,
        default=pool_defaults.max_sessions,
        metavar="N",
        help="alive at once; one more answers 429 (%(default)s)",
    )
    parser.add_argument(
        "--cooldown",
        type=command_line.whole_number,
        default=pool_defaults.cooldown_s,
        metavar="SECONDS",
        help="a session that nobody calls for so long ends: 300 to 3600 (%(default)s)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="answer as recorded from the service where its documentation differs, and take only"
        " identifiers and file names that every source allows",
    )
    parser.add_argument(
        "--requirements",
        type=command_line.file,
        metavar="FILE",
        help="a requirements file: more packages for the sessions",
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="https, with a certificate made for this machine; says how clients come to trust it",
    )
    parser.add_argument(
        "--host-name",
        type=command_line.host_name,
        metavar="NAME",
        help="https under this name too, for clients that take only *.dynamicsessions.io",
    )
    parser.add_argument(
        "--keep-files",
        type=Path,
        metavar="FOLDER",
        help="copy each session's files there when it ends (else they are gone, as in Azure)",
    )
    parser.add_argument(
        "--shell", action="store_true", help="a pool of type Shell: commands instead of Python"
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="no fork server: each session gets a bubblewrap of its own, which takes longer",
    )


def _options(arguments: argparse.Namespace) -> PoolOptions:
    return PoolOptions(
        container_type="Shell" if arguments.shell else "PythonLTS",
        max_sessions=arguments.max_sessions,
        cooldown_s=arguments.cooldown,
        strict=arguments.strict,
        extra_requirements=arguments.requirements,
        fork_server=not arguments.plain,
        log_requests=True,
        keep_files=arguments.keep_files,
    )


async def _serve(arguments: argparse.Namespace, options: PoolOptions) -> None:
    tls = (
        TlsFiles(TLS_FOLDER, arguments.host_name) if arguments.tls or arguments.host_name else None
    )
    try:
        tls_files = tls.server_files() if tls else None
    except PermissionError as error:
        raise SessionPoolError(f"{TLS_FOLDER} belongs to another user: remove it") from error
    await asyncio.to_thread(prepare_session_image, _say, arguments.requirements)
    identity = ManagedIdentity()
    identity.identity_header = defaults.IDENTITY_HEADER
    async with contextlib.AsyncExitStack() as resources:
        identity_url = await resources.enter_async_context(
            serve(identity.app, arguments.identity_port)
        )
        pool = await resources.enter_async_context(
            SessionPool(identity.verifier(*defaults.SESSION_POOL_AUDIENCES), options)
        )
        pool_url = await resources.enter_async_context(
            serve(pool.app, arguments.pool_port, tls_files=tls_files, host_name=arguments.host_name)
        )
        resources.push_async_callback(pool.stop)
        if arguments.host_name:
            pool_url = pool_url.replace("127.0.0.1", arguments.host_name)
        _say(f"Session pool ready (kernels: {pool.kernels}):")
        _say(f"  POOL_MANAGEMENT_ENDPOINT={pool_url}{pool.path}")
        _say(f"  IDENTITY_ENDPOINT={identity_url}{identity.path}")
        _say(f"  IDENTITY_HEADER={identity.identity_header}")
        if arguments.host_name:
            _say("Clients find it with this line in /etc/hosts:")
            _say(f"  127.0.0.1 {arguments.host_name}")
        if tls is not None:
            _say("The certificate is made for this machine; clients trust it with")
            _say(f"  export SSL_CERT_FILE={tls.bundle} REQUESTS_CA_BUNDLE={tls.bundle}")
        _say("Ctrl-C stops it.")
        await asyncio.Event().wait()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
