"""What a cell showed, brought to the caller and told to the model.

A figure and a page become files of the turn. The model reads text, never pixels or HTML: of a
figure its name and size in its place.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from agent.events import Event, File, FileCreated, HtmlOutput, ImageOutput, Output, TextOutput
from agent.frozen import frozen
from agent.pictures import header_of
from agent.session_pool.outputs import Shown
from agent.text import shortened
from agent.turns.files import FileSink
from agent.turns.html_forms import html_of

# Best first; what is not here is shown in its text form.
IMAGE_TYPES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
}
_HTML_TYPE: Final = "text/html"
# `<Figure size 640x480 with 1 Axes>`: text that stands for something else.
_OBJECT: Final = re.compile(r"\s*<[^<>\n]*>\s*")
_MIN_TEXT_CHARS: Final = 200


@frozen
class TakenOutputs:
    """Outputs of one execution.

    Attributes:
        outputs: for the caller, in order.
        result: the value of the last expression as text; None if it has none or is an image.
        for_the_model: the text forms and names, in order; empty if there is nothing but the result.
    """

    outputs: tuple[Output, ...]
    result: str | None
    for_the_model: str


class OutputTaker:
    """Takes the outputs of one turn's executions.

    Args:
        sink: where figures and pages go.
        max_chars: of all texts that one execution shows.
        emit: gets an event for each file.
        left_out: is told what is not part of the answer: its name and its size in bytes.
        figure: is told the name and the content of each figure that is.
    """

    def __init__(
        self,
        sink: FileSink,
        max_chars: int,
        *,
        emit: Callable[[Event], None],
        left_out: Callable[[str, int], None],
        figure: Callable[[str, bytes], None],
    ) -> None:
        self._figure = figure
        self._sink = sink
        self._max_chars = max_chars
        self._emit = emit
        self._left_out = left_out
        self._numbers = {"image": 0, "output": 0}

    async def take(self, execution_id: str, shown: Sequence[Shown]) -> TakenOutputs:
        """All that one execution showed."""
        outputs: list[Output] = []
        told: list[str] = []
        result: str | None = None
        room = self._max_chars
        for one in shown:
            media_type, whole = _text_of(one.formats)
            text = shortened(whole, max(room, _MIN_TEXT_CHARS))
            room -= len(text)
            image = _image_of(one.formats)
            html = None if image else html_of(one.formats)
            if image is not None:
                output, line = await self._take_image(execution_id, *image)
            elif html is not None:
                output, line = await self._take_html(execution_id, html, text)
            else:
                output, line = TextOutput(media_type, text), text
                if not text:
                    continue
            outputs.append(output)
            told.append(line)
            if one.is_result and not isinstance(output, ImageOutput):
                result = text or None
        alone = len(told) == 1 and told[0] == result
        return TakenOutputs(tuple(outputs), result, "" if alone else "\n".join(told))

    async def _take_image(
        self, execution_id: str, media_type: str, content: bytes
    ) -> tuple[Output, str]:
        file = await self._take(execution_id, "image", media_type, content)
        if file is None:
            line = f"[image: {_size_of(content)}, too large to be shown]"
            return TextOutput("text/plain", line), line
        self._figure(file.name, content)
        line = f"[image: {file.name}, {_size_of(content)}, shown to the user]"
        return ImageOutput(media_type, file.name), line

    async def _take_html(self, execution_id: str, html: str, text: str) -> tuple[Output, str]:
        content = html.encode("utf-8", "replace")
        file = await self._take(execution_id, "output", _HTML_TYPE, content)
        output = HtmlOutput(_HTML_TYPE, text, file.name if file else None)
        if text and not _OBJECT.fullmatch(text):
            return output, text
        what = f"{file.name}, shown to the user" if file else "too large to be shown"
        return output, f"{text}\n[html: {what}]".lstrip()

    async def _take(
        self, execution_id: str, stem: str, media_type: str, content: bytes
    ) -> File | None:
        self._numbers[stem] += 1
        extension = IMAGE_TYPES.get(media_type, "html")
        name = self._sink.output_name(stem, self._numbers[stem], extension)
        file = await self._sink.take_output(name, media_type, content)
        if file is None:
            self._left_out(name, len(content))
        else:
            self._emit(FileCreated(execution_id, file))
        return file


def _image_of(formats: Mapping[str, JsonValue]) -> tuple[str, bytes] | None:
    for media_type in IMAGE_TYPES:
        text = formats.get(media_type)
        if not isinstance(text, str) or not text:
            continue
        if media_type.endswith("+xml"):
            return media_type, text.encode("utf-8", "replace")
        try:
            # Notebooks end lines in it.
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            continue
        return media_type, content
    return None


def _text_of(formats: Mapping[str, JsonValue]) -> tuple[str, str]:
    """The text form and its media type."""
    plain = formats.get("text/plain")
    text = plain if isinstance(plain, str) else ""
    if text and not _OBJECT.fullmatch(text):
        return "text/plain", text
    for media_type in ("text/markdown", "text/latex"):
        better = formats.get(media_type)
        if isinstance(better, str) and better:
            return media_type, better
    if "application/json" in formats:
        return "text/plain", json.dumps(formats["application/json"], ensure_ascii=False)
    if text or _HTML_TYPE in formats or any(name in formats for name in IMAGE_TYPES):
        return "text/plain", text
    others = ", ".join(sorted(formats))
    return "text/plain", f"[{others}: has no form that can be shown]" if others else ""


def _size_of(image: bytes) -> str:
    """Width and height, or the bytes of what does not say them."""
    header = header_of(image)
    return f"{header[1]}x{header[2]}" if header else f"{len(image)} bytes"
