"""The local Azure as a whole: managed identity, Azure OpenAI and session pool in one process."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Final, Self

from starlette.types import ASGIApp

from local import defaults
from local.azure_openai import AzureOpenAI, Model, Relay, ScriptedModel, StandInModel, Step
from local.managed_identity import ManagedIdentity
from local.serving import serve
from local.session_pool import PoolOptions, SessionPool

POOL: Final = PoolOptions(resource_group="rg-local", name="pool-local")


@dataclasses.dataclass(frozen=True)
class Ports:
    """The ports of the stand-ins on 127.0.0.1; 0 takes a free port."""

    azure_openai: int = 0
    session_pool: int = 0
    managed_identity: int = 0


FREE_PORTS: Final = Ports()
DEFAULT_PORTS: Final = Ports(
    azure_openai=defaults.AZURE_OPENAI_PORT,
    session_pool=defaults.SESSION_POOL_PORT,
    managed_identity=defaults.MANAGED_IDENTITY_PORT,
)


class LocalStack:
    """All stand-ins, from `async with` to its end; they stop in reverse order.

    Args:
        script: what the model does, step by step; a block that ends without all of it done, or
            that made it do more, raises ScriptError.
        model: who answers if there is no script: the stand-in model, or a relay to a real one.
        ports: free ones for tests, DEFAULT_PORTS for a developer.
        openai: whether to start Azure OpenAI.
        pool: whether to start the session pool, or its options. Without it no code is executed,
            and the start takes no time.

    Attributes:
        identity: the managed identity; mints tokens for tests.
        openai: the Azure OpenAI account; `openai.faults` makes it fail.
        script: the scripted model, if a script was given; holds the requests it saw.
        app_settings: what an app needs to use all of this, by the name of its app setting. Known
            before the start if no port is left open.
    """

    def __init__(
        self,
        *,
        script: Sequence[Step] | None = None,
        model: Model | Relay | None = None,
        ports: Ports = FREE_PORTS,
        openai: bool = True,
        pool: PoolOptions | bool = True,
    ) -> None:
        self.script = None if script is None else ScriptedModel(script)
        self.identity = ManagedIdentity()
        if ports.managed_identity:
            self.identity.identity_header = defaults.IDENTITY_HEADER
        answers = self.script or model
        self.openai = AzureOpenAI(
            self.identity.verifier(defaults.AZURE_OPENAI_AUDIENCE),
            # Front ends show this name: nobody should take the stand-in for a language model.
            deployment=StandInModel.name if answers is None else defaults.DEPLOYMENT,
            # What local.settings.json.example names, whoever answers.
            alias=StandInModel.name,
            model=answers,
        )
        self.app_settings: dict[str, str] = {}
        self._pool: SessionPool | None = None
        if pool:
            options = pool if isinstance(pool, PoolOptions) else POOL
            self._pool = SessionPool(
                self.identity.verifier(*defaults.SESSION_POOL_AUDIENCES), options
            )
        self._has_openai = openai
        self._ports = ports
        self._resources = contextlib.AsyncExitStack()
        if all((ports.azure_openai, ports.session_pool, ports.managed_identity)):
            self._settle(*(f"http://127.0.0.1:{port}" for port in dataclasses.astuple(ports)))

    @property
    def ports(self) -> list[int]:
        """The ports it was given."""
        return [port for port in dataclasses.astuple(self._ports) if port]

    @property
    def pool(self) -> SessionPool:
        """The session pool.

        Raises:
            RuntimeError: this stack has none.
        """
        if self._pool is None:
            raise RuntimeError("this LocalStack has no session pool")
        return self._pool

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as opening:

            async def url_of(app: ASGIApp, port: int) -> str:
                return await opening.enter_async_context(serve(app, port))

            identity_url = await url_of(self.identity.app, self._ports.managed_identity)
            openai_url = pool_url = ""
            if self._has_openai:
                openai_url = await url_of(self.openai.app, self._ports.azure_openai)
            if self._pool is not None:
                await opening.enter_async_context(self._pool)
                pool_url = await url_of(self._pool.app, self._ports.session_pool)
                opening.push_async_callback(self._pool.stop)
            self._settle(openai_url, pool_url, identity_url)
            self._resources = opening.pop_all()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._resources.aclose()
        if self.script is not None and kind is None:
            self.script.assert_done()

    def _settle(self, openai_url: str, pool_url: str, identity_url: str) -> None:
        self.app_settings = {
            "IDENTITY_ENDPOINT": identity_url + self.identity.path,
            "IDENTITY_HEADER": self.identity.identity_header,
        }
        if self._has_openai:
            self.app_settings |= {
                "AZURE_OPENAI_ENDPOINT": openai_url,
                "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME": self.openai.deployment,
                "AZURE_OPENAI_API_VERSION": defaults.AZURE_OPENAI_API_VERSION,
            }
        if self._pool is not None:
            self.app_settings["POOL_MANAGEMENT_ENDPOINT"] = pool_url + self._pool.path
