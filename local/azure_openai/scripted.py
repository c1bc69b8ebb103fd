"""A model that follows a script: for tests, in which nothing may happen that was not foreseen."""

from collections.abc import Sequence

from local.azure_openai.requests import ChatRequest
from local.azure_openai.steps import Step


class ScriptError(AssertionError):
    """The conversation does not follow the script."""


class ScriptedModel:
    """Takes one step per request, in order.

    Use it as a context manager, or call `assert_done` at the end: both fail for unused steps, for
    requests after the last step and for requests that a step did not expect.

    Attributes:
        requests: every request seen, the unexpected ones too.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.requests: list[ChatRequest] = []
        self._steps = list(steps)
        self._position = 0
        self._problems: list[str] = []

    def __call__(self, request: ChatRequest) -> Step:
        """The next step; a ScriptError becomes a 500 that callers do not retry."""
        self.requests.append(request)
        if self._position >= len(self._steps):
            raise self._problem(
                f"request {len(self.requests)} comes after the script's last step:"
                f" {request.messages[-1]!r}"
            )
        step = self._steps[self._position]
        self._position += 1
        if step.expect is not None:
            try:
                step.expect(request)
            except AssertionError as error:
                raise self._problem(f"step {self._position} expected otherwise: {error}") from error
        return step

    def assert_done(self) -> None:
        """Fail unless the conversation followed the script to its end.

        Raises:
            ScriptError: it did not.
        """
        unused = self._steps[self._position :]
        problems = [*self._problems, *(f"unused step: {step!r}" for step in unused)]
        if problems:
            raise ScriptError("; ".join(problems))

    def __enter__(self) -> "ScriptedModel":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.assert_done()

    def _problem(self, problem: str) -> ScriptError:
        self._problems.append(problem)
        return ScriptError(problem)
