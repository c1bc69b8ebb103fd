"""IPython without a terminal: runs one cell and hands back what it left behind."""

import asyncio
import builtins
import contextlib
import contextvars
import fcntl
import getpass
import importlib
import site
import subprocess
import sys
import types
from typing import Any

# The session image holds IPython; the environment that is type-checked does not.
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from . import figures
from .frames import printable
from .results import ResultCollector, StreamMarks
from .tracebacks import ShownError, prepare, shortened


class _Collected:
    """Shared by the hooks below, which IPython builds itself."""

    results = ResultCollector()
    # The error that was shown last, until it is known whether it ends the cell; the one that did.
    pending: ShownError | None = None
    final: ShownError | None = None

    @classmethod
    def begin(cls) -> None:
        cls.pending = cls.final = None

    @classmethod
    def show(cls, error: ShownError, result: Any) -> None:
        """An error was shown.

        Args:
            error: what there is to show.
            result: of the cell; None before it has begun to run, and after.
        """
        cls.show_pending()
        if result is None:
            cls.pending = error
        elif error.raised is result.error_in_exec:
            cls._end_with(error)
        else:
            cls._go_on_after(error)

    @classmethod
    def end(cls, ended_by: BaseException | None) -> str:
        """Return the traceback of what ended the cell; "" for nothing, or what IPython printed."""
        error, cls.pending = cls.pending, None
        if error is not None:
            if error.raised is ended_by:
                cls._end_with(error)
            else:
                cls._go_on_after(error)
        return cls.final.text if cls.final is not None else ""

    @classmethod
    def show_pending(cls) -> None:
        error, cls.pending = cls.pending, None
        if error is not None:
            cls._go_on_after(error)

    @classmethod
    def _end_with(cls, error: ShownError) -> None:
        cls.final = error
        cls.results.error(error.name, error.message, None)

    @classmethod
    def _go_on_after(cls, error: ShownError) -> None:
        """It did not end the cell: it was raised while something was displayed, or was caught."""
        cls.results.error(error.name, error.message, error.text)
        with contextlib.suppress(Exception):  # the code may have replaced or closed it
            print(error.text, file=sys.stderr, flush=True)
        # Up to here stderr says what the output does.
        cls.results.marks.set()


class _ResultHook(DisplayHook):
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


class _Publisher(DisplayPublisher):
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
class ZMQInteractiveShell(InteractiveShell):
    """The shell that code finds with `get_ipython()`."""

    displayhook_class = Type(_ResultHook)
    display_pub_class = Type(_Publisher)

    def _get_exc_info(self, exc_tuple: Any = None) -> Any:
        found = super()._get_exc_info(exc_tuple)
        prepare(found[1])
        return found

    def _showtraceback(self, etype: type, evalue: BaseException | None, stb: list[str]) -> None:
        _Collected.show(ShownError.of(etype, evalue, stb), self.displayhook.exec_result)

    def enable_gui(self, gui: str | None = None) -> None:
        """`%matplotlib` asks for an event loop of a window system; there is none to run."""

    def ask_exit(self) -> None:
        """`exit` and `quit` leave the kernel running, as in a notebook that is kept open."""

    def system(self, command: str) -> None:
        """`!command`: its output goes to the session's own streams, without a terminal between."""
        sys.stdout.flush()
        sys.stderr.flush()
        expanded = self.var_expand(command, depth=1)
        self.user_ns["_exit_code"] = subprocess.call(["/bin/sh", "-c", expanded])  # noqa: S603 - whoever writes `!command` asks for a shell, and gets the sandbox's

    system_piped = system_raw = system


def _no_input(*_: object, **__: object) -> str:
    raise StdinNotImplementedError(
        "raw_input was called, but this frontend does not support input requests."
    )


class Shell:
    """One interpreter with its variables."""

    def __init__(self) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.IPKernelApp.parent_handle = 0  # libraries ask whether there is such a section
        config.InteractiveShell.colors = "nocolor"
        config.Completer.use_jedi = False
        # Code finds its own module under the name it expects (pickle, dataclasses).
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        self._shell = ZMQInteractiveShell.instance(
            config=config, user_module=main, user_ns=main.__dict__
        )
        # pandas shows frames for a terminal unless there is one.
        self._shell.kernel = types.SimpleNamespace(shell=self._shell)
        self._modules = {"synchronous": main}
        self._streams = (1, 2)
        self._context = contextvars.copy_context()
        builtins.input = _no_input
        getpass.getpass = _no_input

    def warm(self, preload: list[str]) -> None:
        """Import modules, run the paths that are slow the first time, then forget them.

        Args:
            preload: what to import, as code in a cell would: some libraries look for IPython then.
        """
        with self._shell.builtin_trap:
            for module in preload:
                importlib.import_module(module)
        cells = ["print(end='')", "1"]
        if "matplotlib.pyplot" in sys.modules:
            cells.append(
                "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('x')\nplt.show()"
            )
        with contextlib.closing(asyncio.new_event_loop()) as self._loop:
            for cell in cells:
                self.run(cell, "synchronous", "")[1].frame(every_output=False)
        self._shell.reset()
        self._context = contextvars.copy_context()

    def begin(self) -> None:
        """Make what belongs to this process alone; a fork of it must not share an event loop.

        The session's own stdout and stderr are held, whatever code does with 1 and 2.
        """
        self._streams = (
            fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 60),
            fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 60),
        )
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        # What `pip install` puts into the home folder can be imported; this Python is isolated.
        sys.path.append(site.getusersitepackages())

    def run_tasks_until_readable(self, descriptor: int) -> None:
        """Between two cells, go on with tasks that code has started, as Jupyter does."""
        if asyncio.all_tasks(self._loop):
            readable = self._loop.create_future()
            self._loop.add_reader(descriptor, _resolve, readable)
            self._loop.run_until_complete(readable)
            self._loop.remove_reader(descriptor)

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
        _Collected.begin()
        succeeded, traceback, ended_by = False, "", None
        figures.show_inline_again()
        # Variables of the context stay between cells: decimal's precision is one.
        cell = self._loop.create_task(self._run_cell(code), context=self._context)
        try:
            result = self._loop.run_until_complete(cell)
            succeeded, ended_by = result.success, result.error_in_exec or result.error_before_exec
        except KeyboardInterrupt:
            self._cancel(cell)
            traceback = "KeyboardInterrupt: "
        except BaseException as error:
            # IPython reports what code raises; what arrives here broke IPython itself.
            traceback = shortened(printable(f"{type(error).__name__}: {error}"))
        if traceback:
            results.error(traceback.partition(":")[0], "", None)
        else:
            traceback = _Collected.end(ended_by)
        _Collected.results = ResultCollector()
        return succeeded, results, traceback

    def _use(self, variables: str) -> None:
        """The service has a kernel for each kind of execution; here they share a process."""
        module = self._modules.get(variables)
        is_new = module is None
        if module is None:
            module = self._modules[variables] = types.ModuleType("__main__")
            module.__dict__["__builtins__"] = builtins
        for name in ("__spec__", "__loader__", "__package__"):
            # `%reset` deletes them; multiprocessing cannot start a process without.
            module.__dict__.setdefault(name, None)
        if self._shell.user_module is module:
            return
        sys.modules["__main__"] = module
        self._shell.user_module = module
        self._shell.user_ns = module.__dict__
        if is_new:
            self._shell.init_user_ns()

    async def _run_cell(self, code: str) -> Any:
        """Run a cell inside the event loop: code finds one that runs, as in Jupyter."""
        shell, transformed, failure = self._shell, code, None
        try:
            transformed = shell.transform_cell(code)
        except Exception:
            failure = sys.exc_info()
        result = None
        try:
            result = await shell.run_cell_async(
                code,
                store_history=True,
                transformed_cell=transformed,
                preprocessing_exc_tuple=failure,
            )
        finally:
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", result)
        return result

    def _cancel(self, cell: asyncio.Task[Any]) -> None:
        """End an interrupted `await`, or it would go on inside the next cell."""
        cell.cancel()
        self._loop.run_until_complete(asyncio.wait([cell], timeout=0.2))
        if cell.done() and not cell.cancelled():
            cell.exception()
        _Collected.begin()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
