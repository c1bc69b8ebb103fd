"""Pictures in messages: what the service refuses of them, and what they cost.

https://learn.microsoft.com/azure/ai-foundry/openai/how-to/gpt-with-vision. They are looked into as
far as their size; what they show, no small program can tell.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from local.azure_openai.errors import InvalidRequestError, NotEmulatedError
from local.azure_openai.requests import ChatRequest, ImagePart, ImageUrl, Message, UserMessage

IMAGES_MAX: Final = 10
_IMAGE_MAX_BYTES: Final = 20 * 1024**2
_DATA_URL: Final = re.compile(r"data:([^;,]+);base64,", re.IGNORECASE)
# Signature → kind.
_KINDS: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
)
# Of a large model: https://platform.openai.com/docs/guides/images-vision#calculating-costs
LOW_TOKENS: Final = 85
HIGH_TOKENS: Final = 765


@dataclass(frozen=True)
class Image:
    """A picture that the model was shown.

    Attributes:
        kind: `png`, `jpeg`, `gif` or `webp`.
        size_bytes: of its file.
    """

    kind: str
    size_bytes: int


def check_images(request: ChatRequest, *, sees: bool) -> None:
    """Refuses pictures that the service refuses.

    Args:
        request: to the deployment.
        sees: whether its model can see.

    Raises:
        InvalidRequestError: the model cannot see, or a picture is none.
        NotEmulatedError: it is to be fetched: nothing leaves this machine.
    """
    for number, (param, image) in enumerate(_parts(request.messages), 1):
        if not sees:
            raise InvalidRequestError(
                "Invalid content type. image_url is only supported by certain models.",
                param=f"{param}.type",
            )
        if number > IMAGES_MAX:
            raise InvalidRequestError(
                f"Too many images in request. Max is {IMAGES_MAX}.", param=param
            )
        _read(image, f"{param}.image_url.url")


def images_of(messages: Sequence[Message]) -> list[Image]:
    """The pictures of these messages, in order."""
    return [_read(image, param) for param, image in _parts(messages)]


def image_tokens(request: ChatRequest) -> int:
    """What the pictures cost, at most."""
    details = [image.detail for _, image in _parts(request.messages)]
    return sum(LOW_TOKENS if detail == "low" else HIGH_TOKENS for detail in details)


def _parts(messages: Sequence[Message]) -> Iterator[tuple[str, ImageUrl]]:
    for index, message in enumerate(messages):
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            for n, part in enumerate(message.content):
                if isinstance(part, ImagePart):
                    yield f"messages.[{index}].content.[{n}]", part.image_url


def _read(image: ImageUrl, param: str) -> Image:
    if image.url.lower().startswith(("http://", "https://")):
        raise NotEmulatedError("Fetching a picture from the internet")
    declared = _DATA_URL.match(image.url)
    if declared is None:
        raise InvalidRequestError(
            "Invalid image URL. Expected a valid URL or a base64-encoded data URL.",
            param=param,
            code="invalid_image_url",
        )
    if not declared[1].lower().startswith("image/"):
        raise InvalidRequestError(
            "Invalid MIME type. Only image types are supported.",
            param=param,
            code="invalid_image_format",
        )
    try:
        content = base64.b64decode(image.url[declared.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError(
            "Invalid image data: the provided image data is not correctly formatted in base64.",
            param=param,
            code="invalid_base64",
        ) from None
    kind = next((kind for signature, kind in _KINDS if signature.match(content)), None)
    if kind is None or len(content) > _IMAGE_MAX_BYTES:
        raise InvalidRequestError(
            "You uploaded an unsupported image. Please make sure your image is below 20 MB in size"
            " and is of one the following formats: ['png', 'jpeg', 'gif', 'webp'].",
            param=param,
            code="invalid_image_format",
        )
    return Image(kind, len(content))
