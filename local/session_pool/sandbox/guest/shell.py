"""IPython without a terminal: runs one cell and hands back what it left behind."""

import asyncio
import builtins
import contextlib
import fcntl
import getpass
import subprocess
import sys
import types
from typing import Any

# The session image holds IPython; the environment that is type-checked does not.
from IPython.core.async_helpers import get_asyncio_loop  # type: ignore[import-not-found]
from IPython.core.displayhook import DisplayHook  # type: ignore[import-not-found]
from IPython.core.displaypub import DisplayPublisher  # type: ignore[import-not-found]
from IPython.core.interactiveshell import InteractiveShell  # type: ignore[import-not-found]
from traitlets import Type  # type: ignore[import-not-found]
from traitlets.config import Config  # type: ignore[import-not-found]

from .frames import printable
from .results import ResultCollector, StreamMarks
from .tracebacks import ShownError, shortened, without_sandbox


class _Collected:
    """Where the hooks below put what they see; IPython builds them itself, so this is shared."""

    results = ResultCollector()
    # The error that was shown last, until it is known whether it ends the cell.
    pending: ShownError | None = None

    @classmethod
    def take_pending(cls, ended_by: BaseException | None) -> ShownError | None:
        """Return the error that ended the cell; show any other."""
        error = cls.pending
        if error is None or ended_by is None or error.raised is not ended_by:
            cls.show_pending()
            return None
        cls.pending = None
        return error

    @classmethod
    def show_pending(cls) -> None:
        """It did not end the cell: it was raised while something was displayed, or was caught."""
        error, cls.pending = cls.pending, None
        if error is not None:
            with contextlib.suppress(Exception):  # the code may have replaced or closed it
                print(error.text, file=sys.stderr, flush=True)
            cls.results.error(error.name, error.message, error.text)


class _ResultHook(DisplayHook):  # type: ignore[misc]  # IPython is untyped here
    def __call__(self, result: object = None) -> None:
        if self.quiet():
            return
        bundle: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        if result is not None:
            self.update_user_ns(result)
            bundle, metadata = self.compute_format_data(result)
        self.fill_exec_result(result)
        _Collected.results.result(result, bundle, metadata, self.prompt_count)


class _Publisher(DisplayPublisher):  # type: ignore[misc]  # IPython is untyped here
    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *_: object,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **__: object,
    ) -> None:
        display_id = (transient or {}).get("display_id")
        _Collected.results.displayed(data, metadata, display_id=display_id, update=update)

    def clear_output(self, wait: bool = False) -> None:
        _Collected.results.clear(wait=wait)


# Libraries look for this name, pandas among them: a wide frame is then shown whole.
class ZMQInteractiveShell(InteractiveShell):  # type: ignore[misc]  # IPython is untyped here
    """The shell that code finds with `get_ipython()`."""

    displayhook_class = Type(_ResultHook)
    display_pub_class = Type(_Publisher)

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        found = super()._get_exc_info(exc_tuple)
        without_sandbox(found[1])
        return found

    def _showtraceback(self, etype: type, evalue: BaseException | None, stb: list[str]) -> None:
        _Collected.show_pending()
        _Collected.pending = ShownError.of(etype, evalue, stb)
        result = self.displayhook.exec_result
        if result is not None and evalue is not result.error_in_exec:
            _Collected.show_pending()

    def ask_exit(self) -> None:
        """`exit` and `quit` leave the kernel running, as in a notebook that is kept open."""

    def system(self, command: str) -> None:
        """`!command`: its output goes to the session's own streams, without a terminal between."""
        sys.stdout.flush()
        sys.stderr.flush()
        expanded = self.var_expand(command, depth=1)
        self.user_ns["_exit_code"] = subprocess.call(["/bin/sh", "-c", expanded])  # noqa: S603 - the guest's own

    system_piped = system_raw = system


def _no_input(prompt: object = "") -> str:
    raise RuntimeError("raw_input was called, but this frontend does not support input requests.")


class Shell:
    """One interpreter with its variables."""

    def __init__(self) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        config.InteractiveShell.cache_size = 100
        config.Completer.use_jedi = False
        # Code finds its own module under the name it expects (pickle, dataclasses).
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self._shell = ZMQInteractiveShell.instance(
            config=config, user_module=main, user_ns=main.__dict__
        )
        self._modules = {"synchronous": main}
        builtins.input = _no_input
        getpass.getpass = _no_input  # type: ignore[assignment]  # refuses whatever the arguments

    def warm(self, *, figure: bool) -> None:
        """Run the paths that are slow the first time, then forget them.

        Args:
            figure: also draw one; matplotlib must be importable.
        """
        self._shell.run_cell("print(end='')", store_history=False)
        if figure:
            self._shell.run_cell(
                "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('x')\nplt.show()",
                store_history=False,
                silent=True,
            )
        self._shell.reset(new_session=False)
        _Collected.results = ResultCollector()
        _Collected.pending = None

    def keep_streams(self) -> None:
        """Hold the session's own stdout and stderr, whatever code does with 1 and 2."""
        self._streams = (
            fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 60),
            fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 60),
        )

    def run(self, code: str, variables: str, marker: str) -> tuple[bool, ResultCollector, str]:
        """Run one cell.

        Args:
            code: the cell.
            variables: the name of the set of variables that it works on.
            marker: what marks the place of an output in the streams; "" marks none.

        Returns:
            Whether it succeeded, what it displayed, and its traceback (empty on success).
        """
        self._use(variables)
        # What a thread displayed since the last cell belongs to this one, as does what it printed.
        results = _Collected.results
        results.marks = StreamMarks(marker, self._streams)
        _Collected.pending = None
        succeeded, traceback, ended_by = False, "", None
        try:
            result = self._shell.run_cell(code, store_history=True)
            succeeded, ended_by = result.success, result.error_in_exec or result.error_before_exec
        except KeyboardInterrupt:
            traceback = "KeyboardInterrupt: "
        except BaseException as error:
            # IPython reports what code raises; what arrives here broke IPython itself.
            traceback = shortened(printable(f"{type(error).__name__}: {error}"))
        shown = _Collected.take_pending(ended_by)
        if shown is not None:
            results.error(shown.name, shown.message, None)
            traceback = shown.text
        elif traceback:
            results.error(traceback.partition(":")[0], "", None)
        _Collected.results = ResultCollector()
        if isinstance(ended_by, KeyboardInterrupt) or traceback.startswith("KeyboardInterrupt"):
            self._cancel_tasks()
        return succeeded, results, traceback

    def _use(self, variables: str) -> None:
        """The service has a kernel for each kind of execution; here they share a process."""
        module = self._modules.get(variables)
        is_new = module is None
        if module is None:
            module = self._modules[variables] = types.ModuleType("__main__")
            module.__dict__["__builtins__"] = builtins
        if self._shell.user_module is module:
            return
        sys.modules["__main__"] = module
        self._shell.user_module = module
        self._shell.user_ns = module.__dict__
        if is_new:
            self._shell.init_user_ns()

    @staticmethod
    def _cancel_tasks() -> None:
        """End what an interrupted `await` left behind, or it would go on inside the next cell."""
        loop = get_asyncio_loop()
        if loop is None or loop.is_running() or loop.is_closed():
            return
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.2))
