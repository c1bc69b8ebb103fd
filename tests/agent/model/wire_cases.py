"""What model servers really send, and what becomes of it: one table, in JSON and streamed alike.

Each case is the model's first message of a turn. Where it calls a tool, the second says "Done.".
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.support.raw_server import events, response

NAME = "execute_python"
CODE = "print(6*7)"
ARGUMENTS = json.dumps({"code": CODE})
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@dataclass(frozen=True)
class Case:
    """A message on the wire, and the turn that it makes.

    Attributes:
        wire: the response, whole or streamed.
        codes: what runs, in order.
        output: of the turn.
        told: what the model is told in place of a result; None where all calls run.
        finish_reason: of the turn.
        warnings: their codes.
        tokens: prompt and completion, of this message alone.
        error: the code of the error that ends the turn.
    """

    wire: bytes
    codes: tuple[str, ...] = ()
    output: str = "Done."
    told: str | None = None
    finish_reason: str = "stop"
    warnings: tuple[str, ...] = ()
    tokens: tuple[int, int] | None = None
    error: str | None = None


def message(content: Any = None, *calls: Any, **more: Any) -> dict[str, Any]:
    """A message as a whole answer has it."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls) or None, **more}


def whole(message_: Any, finish: Any = "stop", **more: Any) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "finish_reason": finish, "message": message_}
    body = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return response(body | more)


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "finish_reason": finish, "delta": delta or {}}
    return {"id": "x", "object": "chat.completion.chunk", "choices": [choice], **more}


def call(arguments: Any = ARGUMENTS, name: Any = NAME, id_: Any = "call_1") -> dict[str, Any]:
    """A tool call, whole."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def piece(index: Any = 0, id_: Any = None, name: Any = None, arguments: Any = None) -> Any:
    """A piece of a tool call; None leaves a field out."""
    function = {"name": name, "arguments": arguments}
    fields = {"index": index, "id": id_, "type": "function" if id_ else None}
    return {name: value for name, value in fields.items() if value is not None} | {
        "function": {name: value for name, value in function.items() if value is not None}
    }


def pieces(*pieces_: Any, finish: Any = "tool_calls") -> bytes:
    """A streamed answer of these pieces of tool calls, each in a chunk of its own."""
    return events(
        chunk({"role": "assistant", "content": None}),
        *(chunk({"tool_calls": [part]}) for part in pieces_),
        chunk({}, finish),
    )


def said(*texts: Any, finish: Any = "stop") -> bytes:
    """A streamed answer of these texts."""
    return events(*(chunk({"content": text}) for text in texts), chunk({}, finish))


def both(name: str, calls: list[Any], **expected: Any) -> dict[str, Case]:
    """The same calls in a whole answer, and streamed in one piece each."""
    streamed = [{**one, "index": index} for index, one in enumerate(calls)]
    return {
        f"{name}, whole": Case(whole(message(None, *calls), "tool_calls"), **expected),
        f"{name}, streamed": Case(pieces(*streamed), **expected),
    }


def arguments(name: str, text: Any, **expected: Any) -> dict[str, Case]:
    """Arguments of one call."""
    return both(f"arguments: {name}", [call(text)], **expected)


def texts(name: str, message_: dict[str, Any], **expected: Any) -> dict[str, Case]:
    """A message without calls, whole and in one piece."""
    return {
        f"{name}, whole": Case(whole(message_), **expected),
        f"{name}, streamed": Case(events(chunk(message_), chunk({}, "stop")), **expected),
    }


RUNS: dict[str, Any] = {"codes": (CODE,)}
HALF = len(ARGUMENTS) // 2
TWO_LINES = "print(1)\nprint(2)"

TOOL_NAMES = {
    **both("the tool's own name", [call()], **RUNS),
    **both("functions.", [call(name=f"functions.{NAME}")], **RUNS),
    **both("the plugin and a dot", [call(name=f"python.{NAME}")], **RUNS),
    **both("the plugin and a hyphen", [call(name=f"functions.python-{NAME}")], **RUNS),
    **both("spaces", [call(name=f" {NAME}\n")], **RUNS),
    **both("a space inside", [call(name="execute python")], **RUNS),
    **both("another case", [call(name="Execute_Python")], **RUNS),
    **both("the model's own markup", [call(name=f"{NAME}<|channel|>commentary")], **RUNS),
    **both("no name", [call(name="")], **RUNS),
    **both("null for a name", [call(name=None)], **RUNS),
    **both("another tool", [call(name="search.the web!")], told="There is no tool 'search.the"),
    **both("a name without end", [call(name="x" * 5000)], told="There is no tool 'xxx"),
    **both("an unknown name", [call("{}", "b\u00e4ckerei")], told="There is no tool 'b\u00e4ck"),
    **both(
        "parallel calls",
        [
            call(
                json.dumps(
                    {
                        "tool_uses": [
                            {"recipient_name": f"functions.{NAME}", "parameters": {"code": "1"}},
                            {"recipient_name": NAME, "parameters": {"code": "2"}},
                        ]
                    }
                ),
                "multi_tool_use.parallel",
            )
        ],
        codes=("1", "2"),
    ),
    **both(
        "parallel calls of nothing",
        [call('{"tool_uses": []}', "multi_tool_use.parallel")],
        told="There is no tool 'multi_tool_use.parallel'",
    ),
}
IDS = {
    **both("no id", [call(id_=None)], **RUNS),
    **both("an empty id", [call(id_="")], **RUNS),
    **both("a long id", [call(id_="call_" + "x" * 60)], **RUNS),
    **both("an id of odd characters", [call(id_="call 1/\u00e9")], **RUNS),
    **both("a number for an id", [call(id_=7)], **RUNS),
    **both("one id twice", [call('{"code": "1"}'), call('{"code": "2"}')], codes=("1", "2")),
}
PIECES = {
    "in pieces": Case(
        pieces(piece(0, "call_1", NAME, ""), *(piece(0, arguments=c) for c in ARGUMENTS)), **RUNS
    ),
    "interleaved": Case(
        pieces(
            piece(0, "call_1", NAME, '{"code": '),
            piece(1, "call_2", NAME, '{"code": '),
            piece(0, arguments='"1"}'),
            piece(1, arguments='"2"}'),
        ),
        codes=("1", "2"),
    ),
    "id and name in each piece": Case(
        pieces(
            piece(0, "call_1", NAME, ARGUMENTS[:HALF]), piece(0, "call_1", NAME, ARGUMENTS[HALF:])
        ),
        **RUNS,
    ),
    "empty id and name in later pieces": Case(
        pieces(piece(0, "call_1", NAME, ARGUMENTS[:HALF]), piece(0, "", "", ARGUMENTS[HALF:])),
        **RUNS,
    ),
    "an id that changes": Case(
        pieces(
            piece(0, "call_1", NAME, ARGUMENTS[:HALF]), piece(0, "call_2", NAME, ARGUMENTS[HALF:])
        ),
        **RUNS,
    ),
    "no index": Case(
        pieces(
            piece(None, "call_1", NAME, ARGUMENTS[:HALF]), piece(None, arguments=ARGUMENTS[HALF:])
        ),
        **RUNS,
    ),
    "no index, by id": Case(
        pieces(
            piece(None, "call_1", NAME, '{"code": '),
            piece(None, "call_2", NAME, '{"code": '),
            piece(None, "call_1", arguments='"1"}'),
            piece(None, "call_2", arguments='"2"}'),
        ),
        codes=("1", "2"),
    ),
    "no index and no id": Case(
        pieces(piece(None, None, NAME, '{"code": "1"}'), piece(None, None, NAME, '{"code": "2"}')),
        codes=("1", "2"),
    ),
    "index 0 for all": Case(
        pieces(
            piece(0, "call_1", NAME, '{"code": "1"}'), piece(0, "call_2", NAME, '{"code": "2"}')
        ),
        codes=("1", "2"),
    ),
    "both in one chunk": Case(
        events(
            chunk(
                {
                    "tool_calls": [
                        {**call('{"code": "1"}'), "index": 0},
                        {**call('{"code": "2"}', id_="b"), "index": 1},
                    ]
                },
                "tool_calls",
            ),
        ),
        codes=("1", "2"),
    ),
    "a call that is no list": Case(
        events(chunk({"tool_calls": {**call(), "index": 0}}), chunk({}, "tool_calls")), **RUNS
    ),
    "a function_call": Case(
        events(
            chunk({"function_call": {"name": NAME, "arguments": ARGUMENTS[:HALF]}}),
            chunk({"function_call": {"arguments": ARGUMENTS[HALF:]}}),
            chunk({}, "function_call"),
        ),
        **RUNS,
    ),
    "a function_call, whole": Case(
        whole(message(function_call={"name": NAME, "arguments": ARGUMENTS}), "function_call"),
        **RUNS,
    ),
    "a custom tool": Case(
        whole(
            message(None, {"id": "a", "type": "custom", "custom": {"name": NAME, "input": CODE}})
        ),
        **RUNS,
    ),
    "pieces that are nothing": Case(
        events(
            chunk({"tool_calls": [None, 7, "x"]}), chunk({"tool_calls": 7, "content": "Hi"}), "x"
        ),
        error="ModelAnswerInvalid",
    ),
}
ARGUMENT_FORMS = {
    **arguments("raw Python", CODE, **RUNS),
    **arguments("raw Python of lines", TWO_LINES, codes=(TWO_LINES,)),
    **arguments(
        "raw Python that begins with a list", "[x for x in 'ab']", codes=("[x for x in 'ab']",)
    ),
    **arguments("raw line breaks", '{"code": "print(1)\nprint(2)"}', codes=(TWO_LINES,)),
    **arguments("one brace too many", ARGUMENTS + "}", **RUNS),
    **arguments("one brace too few", ARGUMENTS[:-1], **RUNS),
    **arguments("single quotes", "{'code': 'print(6*7)'}", **RUNS),
    **arguments(
        "single quotes, escaped",
        r"{'code': 'print(\'a\')\nprint(1)'}",
        codes=("print('a')\nprint(1)",),
    ),
    **arguments("triple quotes", '{"code": """print(1)\nprint(2)"""}', codes=(TWO_LINES,)),
    **arguments("a JSON text", json.dumps(CODE), **RUNS),
    **arguments("a list", json.dumps([CODE]), **RUNS),
    **arguments("a list of lines", json.dumps(["print(1)", "print(2)"]), codes=(TWO_LINES,)),
    **arguments(
        "lines as a list", json.dumps({"code": ["print(1)", "print(2)"]}), codes=(TWO_LINES,)
    ),
    **arguments("JSON in JSON", json.dumps(ARGUMENTS), **RUNS),
    **arguments("an object that is no text", {"code": CODE}, **RUNS),
    **arguments("another name", json.dumps({"python": CODE}), **RUNS),
    **arguments(
        "the call in itself", json.dumps({"name": NAME, "arguments": {"code": CODE}}), **RUNS
    ),
    **arguments("nulls beside it", json.dumps({"code": CODE, "timeout": None}), **RUNS),
    **arguments("a fence", json.dumps({"code": f"```python\n{CODE}\n```"}), **RUNS),
    **arguments("a fence around all", f"```python\n{CODE}\n```", **RUNS),
    **arguments("a fence around JSON", f"```json\n{ARGUMENTS}\n```", **RUNS),
    **arguments("half of a pair", r'{"code": "\ud83d"}', codes=("\ufffd",)),
    **arguments("a NUL", r'{"code": "a\u0000b"}', codes=("a\0b",)),
    **arguments("none", "", told="it has no arguments"),
    **arguments("null", "null", told="it has no arguments"),
    **arguments("absent", None, told="it has no arguments"),
    **arguments("an empty object", "{}", told="`code` is missing"),
    **arguments("null for code", '{"code": null}', told="`code` is missing"),
    **arguments("blank code", '{"code": "  "}', told="`code` is empty"),
    **arguments("a number for code", '{"code": 42}', told="`code` is not a text"),
    **arguments("a number", "42", told="malformed, not a JSON object but 42"),
    **arguments("a list of numbers", "[1, 2]", told="malformed, not a JSON object but [1, 2]"),
    **arguments("cut JSON", '{"code": "pri', told='malformed, not a JSON object but {"code": "pri'),
    **arguments("deep", "[" * 20_000, codes=("[" * 20_000,)),
    **arguments("deep objects", '{"code":' * 100_000, told="malformed"),
    **arguments(
        "another argument",
        '{"code": "1", "timeout": 30}',
        told="it has an unexpected argument: timeout",
    ),
    **arguments(
        "Semantic Kernel's own",
        '{"code": "1", "settings": "x"}',
        told="it has an unexpected argument: settings",
    ),
}
FINISH_REASONS = {
    "stop with calls": Case(pieces(piece(0, "a", NAME, ARGUMENTS), finish="stop"), **RUNS),
    "stop with calls, whole": Case(whole(message(None, call()), "stop"), **RUNS),
    "no reason with calls": Case(pieces(piece(0, "a", NAME, ARGUMENTS), finish=None), **RUNS),
    "tool_calls without any": Case(whole(message("Hi"), "tool_calls"), output="Hi"),
    "tool_calls without any, streamed": Case(said("Hi", finish="tool_calls"), output="Hi"),
    "an unknown one": Case(whole(message("Hi"), "insufficient_system_resource"), output="Hi"),
    "an unknown one, streamed": Case(said("Hi", finish="eos"), output="Hi"),
    "a number": Case(whole(message("Hi"), 7), output="Hi"),
    "null": Case(whole(message("Hi"), None), output="Hi"),
    "null, streamed": Case(said("Hi", finish=None), output="Hi"),
    "length": Case(said("Half a", finish="length"), output="Half a", finish_reason="length"),
    "another word for length": Case(
        whole(message("Half"), "MAX_TOKENS"), output="Half", finish_reason="length"
    ),
    "length in the middle of a call": Case(
        pieces(piece(0, "a", NAME, '{"code": "print(1)'), finish="length"),
        told="reached its token limit",
    ),
    "length in the middle of a call, whole": Case(
        whole(message(None, call("print(1")), "length"), told="reached its token limit"
    ),
    "length behind a call": Case(pieces(piece(0, "a", NAME, ARGUMENTS), finish="length"), **RUNS),
    "the filter": Case(
        said("Part of ", finish="content_filter"),
        output="Part of ",
        finish_reason="content_filter",
    ),
    "the filter in a call": Case(
        pieces(piece(0, "a", NAME, ARGUMENTS), finish="content_filter"),
        output="",
        finish_reason="content_filter",
        warnings=("EmptyAnswer",),
    ),
}
LISTED = [{"type": "text", "text": "Hel"}, "lo", {"type": "image", "x": 1}, None]
CONTENTS = {
    **texts("text", message("Hi"), output="Hi"),
    **texts("null", message(None), output="", warnings=("EmptyAnswer",)),
    **texts("blank", message(" \n"), output="", warnings=("EmptyAnswer",)),
    **texts("a list", message(LISTED), output="Hello"),
    **texts("an object", message({"type": "text", "text": "Hi"}), output="Hi"),
    **texts("a number", message(7), output="", warnings=("EmptyAnswer",)),
    **texts("a refusal", message(None, refusal="I cannot."), output="I cannot."),
    **texts("text and a refusal", message("Well. ", refusal="No."), output="Well. No."),
    **texts("a refusal in a list", message([{"type": "refusal", "refusal": "No."}]), output="No."),
    **texts("reasoning apart", message("42", reasoning_content="Hm."), output="42"),
    **texts(
        "nothing but reasoning",
        message(None, reasoning="Hm, 42."),
        output="Hm, 42.",
        warnings=("EmptyAnswer",),
    ),
    **texts(
        "thoughts in a list",
        message([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, "42"]),
        output="42",
    ),
    **texts("thoughts in the text", message("<think>Hm</think>42"), output="<think>Hm</think>42"),
    **texts("an odd role", message("Hi", role="model"), output="Hi"),
    **texts("no role", {"content": "Hi"}, output="Hi"),
    "a refusal in pieces": Case(
        events(
            chunk({"content": None, "refusal": ""}),
            chunk({"refusal": "I can"}),
            chunk({"refusal": "not."}),
            chunk({}, "stop"),
        ),
        output="I cannot.",
    ),
    "text beside a call": Case(
        whole(message("Let me see.", call()), "tool_calls"), **RUNS, output="Let me see.\n\nDone."
    ),
    "text beside a call, streamed": Case(
        events(
            chunk({"content": "Let me see."}),
            chunk({"tool_calls": [{**call(), "index": 0}]}, "tool_calls"),
        ),
        **RUNS,
        output="Let me see.\n\nDone.",
    ),
    "no delta": Case(
        events(
            {"choices": [], "prompt_filter_results": []},
            chunk({"content": "Hel"}),
            {"choices": [{"index": 0, "content_filter_offsets": {}}]},
            chunk({"content": "lo"}),
            chunk({}, "stop"),
        ),
        output="Hello",
    ),
    "two choices": Case(
        events(
            chunk({"content": "first"}),
            {"choices": [{"index": 1, "delta": {"content": "SECOND"}}]},
            chunk({}, "stop"),
        ),
        output="first",
    ),
    "two choices, whole": Case(
        response(
            {
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": message("first")},
                    {"index": 1, "finish_reason": "stop", "message": message("SECOND")},
                ]
            }
        ),
        output="first",
    ),
    "a pair in two pieces": Case(said("\ud83d", "\ude00!"), output="\U0001f600!"),
    "half of a pair": Case(said("a\ud83d", "b\ude00"), output="a\ufffdb\ufffd"),
    "half of a pair at the end": Case(said("a\ud83d"), output="a\ufffd"),
    "half of a pair, whole": Case(whole(message("a\ud83db")), output="a\ufffdb"),
    "a NUL": Case(whole(message("a\0b")), output="a\0b"),
    "broken UTF-8": Case(
        events(b'data: {"choices": [{"delta": {"content": "a\xffb"}}]}\n\n'), output="a\ufffdb"
    ),
    "raw control characters": Case(
        events(b'data: {"choices": [{"delta": {"content": "a\tb"}}]}\n\n'), output="a\tb"
    ),
}
TOKENS: dict[str, Any] = {"output": "Hi", "tokens": (10, 5)}
NO_TOKENS: dict[str, Any] = {"output": "Hi", "tokens": (0, 0)}
USAGES = {
    "at the end": Case(
        events(chunk({"content": "Hi"}, "stop"), {"choices": [], "usage": USAGE}), **TOKENS
    ),
    "in each piece": Case(
        events(
            chunk({"content": "H"}, usage=USAGE | {"completion_tokens": 2}),
            chunk({"content": "i"}, "stop", usage=USAGE),
            {"choices": [], "usage": USAGE},
        ),
        **TOKENS,
    ),
    "whole": Case(whole(message("Hi")), **TOKENS),
    "none": Case(said("Hi"), **NO_TOKENS),
    "null": Case(whole(message("Hi"), usage=None), **NO_TOKENS),
    "empty": Case(whole(message("Hi"), usage={}), **NO_TOKENS),
    "odd": Case(whole(message("Hi"), usage={"prompt_tokens": "x", "a": -1}), **NO_TOKENS),
    "a list": Case(whole(message("Hi"), usage=[1]), **NO_TOKENS),
    "true": Case(whole(message("Hi"), usage={"completion_tokens": True}), **NO_TOKENS),
    "more than any": Case(
        whole(message("Hi"), usage={"prompt_tokens": 10**30, "completion_tokens": 2**63}),
        **NO_TOKENS,
    ),
    "a part": Case(whole(message("Hi"), usage={"total_tokens": 3}), output="Hi", tokens=(3, 0)),
    "another part": Case(
        whole(message("Hi"), usage={"completion_tokens": 3, "total_tokens": 9}),
        output="Hi",
        tokens=(6, 3),
    ),
}
CUT: dict[str, Any] = {"error": "ModelAnswerCut"}
HI = chunk({"content": "Hi"})
LINES = b'event: message\r\ndata:{"choices": [{"delta": {"content": "Hi"}}]}\r\n\r\n: ping\r\n\r\n'
STREAMS = {
    "no [DONE]": Case(events(HI, chunk({}, "stop"), done=False), output="Hi"),
    "no end of a last event": Case(
        events(HI, b'data: {"choices": [{"finish_reason": "stop"}]}', done=False), output="Hi"
    ),
    "no end": Case(events(HI, done=False), **CUT),
    "no end of a call": Case(
        events(chunk({"tool_calls": [{**call(), "index": 0}]}), done=False), **CUT
    ),
    "a broken connection": Case(events(HI, done=False, ends=False), **CUT),
    "a broken connection behind a call": Case(
        events(chunk({"tool_calls": [{**call(), "index": 0}]}), done=False, ends=False), **CUT
    ),
    "a broken answer": Case(whole(message("Hi"))[:-20], **CUT),
    "nothing": Case(events(done=False), **CUT),
    "nothing, whole": Case(response(b""), error="ModelAnswerInvalid"),
    "comments and other lines": Case(events(LINES), output="Hi"),
    "a CR for each line": Case(
        events(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\r\rdata: [DONE]\r\r'),
        output="Hi",
    ),
    "an event of many lines": Case(
        events(b'data: {"choices": [{"delta":\ndata: {"content": "Hi"}}]}\n\n'), output="Hi"
    ),
    "a page": Case(
        response(b"<html>Sign in</html>", content_type="text/html"), error="ModelAnswerInvalid"
    ),
    "a page that says it is JSON": Case(response(b"<html>"), error="ModelAnswerInvalid"),
    "a page that says it is events": Case(
        events(b"<html>", done=False), error="ModelAnswerInvalid"
    ),
    "broken JSON": Case(events(HI, b"data: {broken\n\n"), error="ModelAnswerInvalid"),
    "broken JSON, whole": Case(response(b'{"choices": ['), error="ModelAnswerInvalid"),
    "another JSON": Case(response({"status": "ok"}), **CUT),
    "a list": Case(response([1]), error="ModelAnswerInvalid"),
    "deep JSON": Case(response(b"[" * 200_000), error="ModelAnswerInvalid"),
    "an error with status 200": Case(
        response({"error": {"message": "quota", "code": "x"}}), error="ModelFailed"
    ),
    "an error in the middle": Case(
        events(HI, {"error": {"message": "The server had an error", "type": "server_error"}}),
        error="ModelFailed",
    ),
    "an error of its own kind in the middle": Case(
        events(HI, b'event: error\ndata: {"message": "overloaded", "code": 429}\n\n'),
        error="ModelThrottled",
    ),
    "the filter in the middle": Case(
        events(HI, {"error": {"message": "x", "code": "content_filter"}}), error="ContentFiltered"
    ),
    "one object for a stream": Case(
        response(
            {"choices": [{"message": message("Hi"), "finish_reason": "stop"}]},
            content_type="text/plain",
        ),
        output="Hi",
    ),
    "more behind the end": Case(
        events(HI, chunk({}, "stop"), b"data: [DONE]\n\n", HI), output="Hi"
    ),
}

CASES: dict[str, Case] = {
    f"{kind}: {name}": case
    for kind, cases in {
        "name": TOOL_NAMES,
        "id": IDS,
        "pieces": PIECES,
        "call": ARGUMENT_FORMS,
        "finish reason": FINISH_REASONS,
        "content": CONTENTS,
        "usage": USAGES,
        "stream": STREAMS,
    }.items()
    for name, case in cases.items()
}
