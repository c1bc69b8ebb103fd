"""Whether a turn's model would answer, found out as a turn would find it out."""

import asyncio
from typing import Final

from agent.errors import AgentError, ModelFailedError
from agent.messages import Message
from agent.model.call import ask
from agent.model.history import chat_history
from agent.model.kernel import build_kernel
from agent.model.parameters import ModelParameters
from agent.model.wire import Answer
from agent.turns.code_interpreter import CodeInterpreter
from agent.turns.files import InlineFiles
from agent.turns.session_files import TurnSession
from agent.turns.turn import TurnServices

# How long a result is good for: probes come every few seconds, and each would be a model call.
REMEMBERED_S: Final = 60
_ONE_TOKEN: Final = ModelParameters(max_completion_tokens=1)
# Nobody's: the tool is declared and never called.
_NO_SESSION: Final = "probe"


class ModelProbe:
    """Asks the model for one token, with the tools declared, at most once a minute."""

    def __init__(self, services: TurnServices) -> None:
        self._services = services
        self._asking = asyncio.Lock()
        self._asked_at: float | None = None
        self._error: AgentError | None = None

    async def check(self, *, deadline: float) -> None:
        """Find out whether the model answers, or remember it.

        Args:
            deadline: event-loop time.

        Raises:
            AgentError: it does not, by the same error that a turn would end with.
        """
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if self._asked_at is None or now - self._asked_at >= REMEMBERED_S:
                self._error = await self._ask(deadline)
                self._asked_at = now
        if self._error is not None:
            raise self._error.with_traceback(None)

    async def _ask(self, deadline: float) -> AgentError | None:
        services = self._services
        tools = []
        own = [tool.declared for tool in services.tools]
        if sessions := services.sessions:
            session = TurnSession(sessions, _NO_SESSION, InlineFiles(sessions, _NO_SESSION))
            tools = [
                CodeInterpreter(
                    session,
                    services.options.output,
                    deadline=deadline,
                    execution_deadline=deadline,
                    emit=lambda _: None,
                ).execute_python
            ]
        answer = ask(
            services.model,
            build_kernel(services.model, [*tools, *own]),
            # No instructions: they would be most of what it costs.
            chat_history("Answer with one word.", [Message("user", "Hi")]),
            Answer(),
            parameters=services.options.parameters | _ONE_TOKEN,
            tools=bool(tools or own),
            stream=False,
            deadline=deadline,
        )
        try:
            async for _ in answer:
                pass
        except ModelFailedError as error:
            # It took all the rest: some reasoning models cannot begin with so few tokens, and some
            # services know the bound by another name. A turn asks for none.
            if "max_completion_tokens" in error.detail or "max_tokens" in error.detail:
                return None
            return error
        except AgentError as error:
            return error
        return None
