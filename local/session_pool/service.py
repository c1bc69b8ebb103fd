"""The session pool as one object: `async with SessionPool(verifier, options) as pool`."""

import asyncio
import contextlib
import dataclasses
import logging
import resource
from types import TracebackType
from typing import Self
from urllib.parse import quote

from starlette.types import ASGIApp

from local.session_pool.files.session_files import SessionFiles
from local.session_pool.http.app import PoolApp
from local.session_pool.http.auth import TokenVerifier
from local.session_pool.http.faults import Faults
from local.session_pool.http.metadata import PoolMetadata
from local.session_pool.http.operations import Operations
from local.session_pool.http.service_call import Services
from local.session_pool.image import ImagePreparationError, prepare_session_image
from local.session_pool.options import PoolOptions
from local.session_pool.pool.clock import Clock
from local.session_pool.pool.pool import Pool
from local.session_pool.pool.session import Session
from local.session_pool.sandbox.bubblewrap import BubblewrapMissingError
from local.session_pool.sandbox.fork_server import ForkServerKernels
from local.session_pool.sandbox.guard import GuardedKernels
from local.session_pool.sandbox.kernel_process import KernelProcess, KernelStartError
from local.session_pool.sandbox.kernels import KernelSource
from local.session_pool.sandbox.plain import PlainKernels
from local.session_pool.sandbox.runtime import GuestRuntime
from local.session_pool.sandbox.seccomp import UnsupportedMachineError
from local.session_pool.sandbox.self_test import SandboxNotEnforcedError, prove
from local.session_pool.sandbox.start import SandboxStarter

_log = logging.getLogger(__name__)
# Pipes, processes, folders of one session and its caller's connection; what the pool opens besides.
_OPEN_FILES_OF_A_SESSION, _OWN_OPEN_FILES = 12, 100


class SessionPoolError(Exception):
    """The pool does not start; the message says why and what to do."""


class SessionPool:
    """Azure Container Apps dynamic sessions on this machine.

    Attributes:
        app: the ASGI application; serve it on loopback.
        path: where in it the pool is: management endpoint = base URL + path.
        faults: failures on demand.
        clock: what cooldowns are measured by.
        kernels: how kernels are started and held; known once the pool has started.
    """

    def __init__(self, verifier: TokenVerifier, options: PoolOptions | None = None) -> None:
        self._options = options or PoolOptions()
        self.path = self._options.path
        self.clock = Clock()
        self.faults = Faults(self.clock, self._lose)
        self._app = PoolApp(
            self.path, verifier, self.faults, log_requests=self._options.log_requests
        )
        self.app: ASGIApp = self._app
        self.kernels = ""
        self._pool: Pool | None = None
        self._resources = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        state = f"{len(self._pool.sessions())} sessions" if self._pool else "not started"
        return f"<SessionPool {self._options.name}: {state}>"

    async def __aenter__(self) -> Self:
        try:
            async with contextlib.AsyncExitStack() as opening:
                await self._open(opening)
                self._resources = opening.pop_all()
        except (
            BubblewrapMissingError,
            ImagePreparationError,
            KernelStartError,
            SandboxNotEnforcedError,
            UnsupportedMachineError,
        ) as error:
            raise SessionPoolError(str(error)) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool = self._app.services = None
        await self._resources.aclose()

    async def stop(self) -> None:
        """Answer every request that runs: for a server that ends, before it does."""
        self._app.stop()
        if self._app.services is not None:
            await self._app.services.operations.close()

    async def _open(self, opening: contextlib.AsyncExitStack) -> None:
        options = dataclasses.replace(self._options, max_sessions=_possible_sessions(self._options))
        image = options.image
        if image is None:
            image = await asyncio.to_thread(
                prepare_session_image, _log.info, options.extra_requirements
            )
        starter = SandboxStarter(GuestRuntime.of_this_interpreter(image), options.limits)
        opening.callback(starter.close)
        chosen = await self._choose_source(starter)
        source = GuardedKernels(chosen, options.limits, control_groups=options.control_groups)
        opening.push_async_callback(source.close)
        await source.start()
        self.kernels = source.name
        files = SessionFiles()
        opening.callback(files.close)

        async def copy_files(old: KernelProcess, new: KernelProcess) -> list[str]:
            return await files.copy_all(
                old.data_directory,
                new.data_directory,
                max_bytes=options.limits.data_bytes,
                max_files=options.limits.inodes,
            )

        async def keep_files(session: Session) -> None:
            if options.keep_files is not None:
                folder = options.keep_files / f"{_folder_name(session.identifier)}-{session.guid}"
                try:
                    left_out = await files.export(
                        session.kernel.data_directory,
                        folder,
                        max_bytes=options.limits.data_bytes,
                    )
                except OSError as error:
                    _log.error("%s: the files are not kept: %s", folder, error.strerror)
                    return
                if left_out:
                    _log.warning(
                        "%s: %s files, folders or links are left out", folder, len(left_out)
                    )

        keep = keep_files if options.keep_files else None
        pool = Pool(options, self.clock, source, copy_files, keep, self.faults.before_allocation)
        await pool.start()
        opening.push_async_callback(pool.close)
        metadata = PoolMetadata(image, source.name, self.clock.now())
        services = Services(
            pool,
            files,
            metadata,
            self.faults,
            Operations(self.clock),
            base=self.path,
            strict=options.strict,
            shell=options.container_type == "Shell",
        )
        opening.push_async_callback(services.operations.close)
        self._pool, self._app.services = pool, services

    async def _choose_source(self, starter: SandboxStarter) -> KernelSource:
        """Return the fork server if it passes the self-test, else the plain way if that does.

        Raises:
            SandboxNotEnforcedError: neither passes: nothing is started without its sandbox.
        """
        if self._options.fork_server:
            source = ForkServerKernels(starter, self._options.preload)
            try:
                await source.start()
                await prove(source)
            except (KernelStartError, SandboxNotEnforcedError) as error:
                await source.close()
                _log.warning("the fork server cannot be used here: %s", error)
            else:
                return source
        plain = PlainKernels(starter)
        await prove(plain)
        return plain

    def _lose(self, identifier: str | None) -> None:
        if self._pool is not None:
            self._pool.lose(identifier)


def _possible_sessions(options: PoolOptions) -> int:
    """Open as many files as this process may; return how many sessions that is enough for.

    Raises:
        SessionPoolError: not for one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # the machine's own bound is lower by now
        hard = soft
    possible = (hard - _OWN_OPEN_FILES) // _OPEN_FILES_OF_A_SESSION - options.ready_sessions
    if hard == resource.RLIM_INFINITY or possible >= options.max_sessions:
        return options.max_sessions
    if possible < 1:
        raise SessionPoolError(
            f"the limit of open files (`ulimit -n`) is {hard}, too few for a session: raise it"
        )
    _log.warning(
        "the limit of open files (`ulimit -n`) is %s: %s of %s sessions can be alive at once",
        hard,
        possible,
        options.max_sessions,
    )
    return possible


def _folder_name(identifier: str) -> str:
    """The identifier as a name on disk; percent-encoded it may be longer than a name can be."""
    return quote(identifier, safe="")[:180]
