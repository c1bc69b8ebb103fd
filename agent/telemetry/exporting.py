"""Sends what the app records: to Azure Monitor, to a collector, or to both.

A cold start pays for the SDK's tracer alone. The exporters are imported in a thread once the first
turn has its answer; until then spans and measurements wait in buffers of a fixed length, of which
the oldest are dropped. An exporter that does not get through costs no turn anything: it works in
threads of its own, and the log says once that it fails and once that it works again.
"""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FrameType
from typing import Final, Protocol

from agent.deferred_imports import deferred_imports
from agent.frozen import frozen
from agent.telemetry import recording
from agent.telemetry.logs import logger
from agent.telemetry.metrics import Of
from agent.telemetry.recording import Measurement, Recording

# Half of what importing the SDK's tracer takes; only a detector of resources uses it, which
# OTEL_EXPERIMENTAL_RESOURCE_DETECTORS may name.
with deferred_imports("psutil"):
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    from agent.telemetry.tracing import Span, Spans

SERVICE: Final = "functions-code-interpreter"
# The answer is sent when the turn has ended: the import must not hold it up.
OPEN_AFTER_S: Final = 1.0
# What is left is dropped then: whoever stops a worker does not wait long.
FLUSH_TIMEOUT_S: Final = 4.0
WAITING_SPANS_MAX: Final = 2048
WAITING_MEASUREMENTS_MAX: Final = 8192

# Each of these would log every attempt that fails.
_TALKATIVE: Final = (
    "azure.monitor.opentelemetry",
    "opentelemetry.exporter",
    "opentelemetry.sdk",
    "urllib3.connectionpool",
)
_SENDING: Final = "agent.telemetry.sending"


@frozen
class Destinations:
    """Where telemetry goes.

    Attributes:
        connection_string: of Application Insights; empty: not there.
        client_id: of the user-assigned managed identity that may send there.
        otlp_endpoint: of a collector that takes OTLP over HTTP; empty: not there. The exporter
            itself reads this and the other OTEL_EXPORTER_OTLP_* variables.
    """

    connection_string: str = ""
    client_id: str | None = None
    otlp_endpoint: str = ""


type Measure = Callable[[float, Of], None]


class Sending(Protocol):
    """The exporters, once they are there; see agent/telemetry/sending.py."""

    take: Callable[[Span], None]
    measures: Mapping[str, Measure]

    def export_much(self) -> None:
        """Have what waits sent, by other threads, where it is much."""
        ...

    def flush(self) -> None:
        """Send what there is."""
        ...

    def close(self) -> None:
        """Send what is left, the last time."""
        ...


class _Measurements:
    """Keeps measurements until there are exporters, and later until many can be added up at once.

    What is done with each takes half the time where it is done with many, by a thread that has no
    turn's work in the processor's caches.
    """

    def __init__(self) -> None:
        self.waiting: deque[Measurement] = deque(maxlen=WAITING_MEASUREMENTS_MAX)
        self._measures: Mapping[str, Measure] | None = None

    def add_up(self) -> None:
        """Measure what waits, once there is something to do it with."""
        while self._measures is not None:
            try:
                values, attributes = self.waiting.popleft()
            except IndexError:
                return
            of = tuple(attributes.items())
            for name, value in values.items():
                self._measures[name](value, of)

    def add_up_by(self, measures: Mapping[str, Measure]) -> None:
        """There is something to do it with."""
        self._measures = measures
        self.add_up()


class Exporting:
    """The telemetry of this worker, from now until `stop`.

    Args:
        destinations: at least one.
        service: names the app where OTEL_SERVICE_NAME does not.
        content: whether questions, code, outputs and answers are put on spans.
        open_after_s: how long after the end of the first turn exporters are imported.
    """

    def __init__(
        self,
        destinations: Destinations,
        *,
        service: str = SERVICE,
        content: bool = False,
        open_after_s: float = OPEN_AFTER_S,
    ) -> None:
        self._destinations = destinations
        self._open_after_s = open_after_s
        self._resource = _resource(service)
        # It reads the standard variables for the sampler and the limits of spans.
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self._waiting: deque[Span] = deque(maxlen=WAITING_SPANS_MAX)
        self._spans = Spans(provider, self._waiting.append)
        self._measurements = _Measurements()
        self._sending: Sending | None = None
        self._opener: threading.Timer | None = None
        self._lock = threading.Lock()
        self._stopped = False
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        recording.start(
            Recording(self._spans.begin, self._measurements.waiting.append, self._answered, content)
        )
        threading.Thread(target=self._stop_at_the_end, name="telemetry at the end").start()
        _flush_before_sigterm(self.flush)

    def flush(self) -> None:
        """Send what there is, for at most FLUSH_TIMEOUT_S; whatever comes later is recorded too."""
        if not self._stopped:
            _in_time(lambda: self._send_all(last=False))

    def stop(self) -> None:
        """Record nothing more and send what is left, for at most FLUSH_TIMEOUT_S."""
        if self._stopped:
            return
        self._stopped = True
        recording.stop()
        if self._opener is not None:
            self._opener.cancel()
        _in_time(lambda: self._send_all(last=True))

    def _stop_at_the_end(self) -> None:
        # Python waits for this thread, and can start others meanwhile; in atexit it cannot.
        threading.main_thread().join()
        self.stop()

    def _send_all(self, *, last: bool) -> None:
        if self._sending is not None or self._waiting or self._measurements.waiting:
            self._open()
        if self._sending is None:
            return
        self._pass_on()  # a span that ended in the moment of the opening
        if last:
            self._sending.close()
        else:
            self._sending.flush()

    def _answered(self) -> None:
        if self._sending is not None:
            self._sending.export_much()
            if len(self._measurements.waiting) > WAITING_MEASUREMENTS_MAX / 2:
                self._measurements.add_up()
        elif self._opener is None:
            self._opener = threading.Timer(self._open_after_s, self._open)
            self._opener.daemon = True
            self._opener.start()

    def _open(self) -> None:
        with self._lock:
            if self._sending is not None:
                return
            try:
                sending: Sending = import_module(_SENDING).open_sending(
                    self._destinations, self._resource, self._measurements.add_up
                )
            except Exception as error:
                recording.stop()
                self._waiting.clear()
                self._measurements.waiting.clear()
                # Its text may hold a value.
                logger.warning(
                    "telemetry: nothing is sent: %s; see the OTEL_* variables", type(error).__name__
                )
                return
            self._sending = sending
            self._measurements.add_up_by(sending.measures)
            self._spans.ended = sending.take
            self._pass_on()

    def _pass_on(self) -> None:
        while self._sending is not None and self._waiting:
            self._sending.take(self._waiting.popleft())


def _resource(service: str) -> Resource:
    found = Resource.create()
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: service}))
    return found


def _in_time(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work, name="telemetry", daemon=True)
    thread.start()
    thread.join(FLUSH_TIMEOUT_S)


def _flush_before_sigterm(flush: Callable[[], None]) -> None:
    """Flush when the process is told to end, then do what would be done without this.

    In Azure's worker that is uvicorn's handler, which waits for running requests and then has the
    signal end the process, without another line of Python.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        flush()
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
