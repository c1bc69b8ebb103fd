"""A runtime with own tools, for a module's table of cases."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.runtime import Runtime
from agent.settings import Settings
from local.stack import LocalStack


@asynccontextmanager
async def runtime_with_tools(
    stack: LocalStack, package: str, environment: Mapping[str, str], conversations: Path
) -> AsyncIterator[Runtime]:
    """Clients on a running local Azure, and the tools of a package.

    Args:
        stack: it runs.
        package: its modules are the tools.
        environment: app settings of the tools.
        conversations: the folder where they are kept.
    """
    known = {name.lower(): value for name, value in stack.app_settings.items()}
    known["conversations_url"] = conversations.as_uri()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
            patch.setenv(name, stack.app_settings[name])
        for name, value in environment.items():
            patch.setenv(name, value)
        async with Runtime(Settings.model_validate(known), tools=package) as opened:
            yield opened
