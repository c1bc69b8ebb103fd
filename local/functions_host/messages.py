"""The FunctionRpc messages that azure-functions-runtime builds and reads, as plain classes.

In Azure these are protobuf classes generated from
https://github.com/Azure/azure-functions-language-worker-protobuf and travel over gRPC between host
and worker. Here both live in one process, so nothing is serialized. The runtime takes this module
as its `protos`.
"""


class Message:
    """Holds its keyword arguments as attributes; None leaves a field unset, as in protobuf.

    There is no `__getattr__` for unset fields: the runtime probes messages for attributes.
    """

    def __init__(self, **fields: object) -> None:
        for name, value in fields.items():
            if value is not None:
                setattr(self, name, value)


class OneOf(Message):
    """A message of which exactly one field is set."""

    def WhichOneof(self, _group: str) -> str | None:
        """Name the field that is set."""
        return next(iter(vars(self)), None)


class StatusResult(Message):
    """The result of a request to the worker."""

    Failure = 0
    Success = 1
    Cancelled = 2


class RpcException(Message):
    """An exception of the app: `message`, `stack_trace`."""


class WorkerMetadata(Message):
    """Versions of Python and of the worker."""


class WorkerInitResponse(Message):
    """Says whether function_app.py was indexed: `result`."""


class BindingInfo(Message):
    """Type and direction of one binding; directions and data types are ints."""

    # The direction IN is spelled `in` in the protocol and never read by that name.
    out = 1
    inout = 2
    undefined = 0
    string = 1
    binary = 2
    stream = 3


class RpcRetryOptions(Message):
    """A function's retry policy."""


class RpcFunctionMetadata(Message):
    """One indexed function: `name`, `function_id`, `raw_bindings` (JSON texts)."""


class FunctionMetadataResponse(Message):
    """All indexed functions: `function_metadata_results`."""


class FunctionLoadResponse(Message):
    """Says that a function is loaded."""


class RpcHttp(Message):
    """The HTTP request of an invocation.

    With the HTTP extension only the route parameters travel in it; the request itself reaches the
    function as an ASGI request.
    """

    def __init__(self, **fields: object) -> None:
        unset: dict[str, object] = {
            "method": "",
            "url": "",
            "headers": {},
            "params": {},
            "query": {},
            "body": TypedData(),
        }
        super().__init__(**{**unset, **fields})


class TypedData(OneOf):
    """A value in one of several encodings: `http`, `json`, `string`, `bytes`, `int`, `double`."""


class ParameterBinding(Message):
    """A named argument of an invocation."""

    def WhichOneof(self, _group: str) -> str:
        """Say that the argument is in `data`, never in shared memory."""
        return "data"


class RpcTraceContext(Message):
    """W3C trace context of an invocation: `trace_parent`, `trace_state`, `attributes`."""


class RetryContext(Message):
    """The attempt of an invocation; an HTTP trigger has only one."""

    retry_count = 0
    max_retry_count = 0
    exception = None


class InvocationResponse(Message):
    """The end of an invocation: `result`."""
