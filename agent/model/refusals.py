"""Maps a model service's refusals to our errors.

The service's own code and message reach the caller, bounded and without addresses and keys, with
the setting that would mend it. The log has the message, which may repeat the question, where the
operator set LOG_CONTENT.
"""

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from agent.errors import (
    AgentError,
    ContentFilteredError,
    ContextTooLongError,
    DeploymentNotFoundError,
    ModelAccessError,
    ModelFailedError,
    ModelParameterError,
    ModelThrottledError,
)
from agent.frozen import frozen
from agent.model.parameters import NAMES
from agent.text import shortened

ROLE: Final = "Cognitive Services OpenAI User"
MESSAGE_MAX_CHARS: Final = 500
CODE_MAX_CHARS: Final = 64

# The parameter that a service refuses → the setting it came from.
_SETTING_OF_PARAMETER: Final = {
    "max_completion_tokens": "Change or remove AZURE_OPENAI_MAX_COMPLETION_TOKENS.",
    "max_tokens": "Change or remove AZURE_OPENAI_MAX_COMPLETION_TOKENS.",
    "reasoning_effort": "Change or remove AZURE_OPENAI_REASONING_EFFORT.",
    "stream_options": "Set AZURE_OPENAI_API_VERSION to a newer version, or to v1.",
    "temperature": "Change or remove AZURE_OPENAI_TEMPERATURE.",
}
_NO_TOOLS: Final = (
    "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME must name a model that takes function tools; without "
    "POOL_MANAGEMENT_ENDPOINT none are sent."
)
# What a service says → what mends it; the first that fits.
_MENDS: Final = (
    (
        r"tools?\b.{0,40}\breasoning_effort|reasoning_effort\b.{0,40}\btools?\b",
        "Set AZURE_OPENAI_REASONING_EFFORT to none.",
    ),
    (
        r"not support (function |tool|the tool)|tools? (is|are) not supported"
        r"|(unsupported|unrecognized|unknown)\b.{0,40}\b(tools|tool_choice)\b|--enable-auto-tool-choice",
        _NO_TOOLS,
    ),
    (
        r"OperationNotSupported|does not work with the specified model",
        "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME must name a model for chat completions.",
    ),
    (
        r"image_url is only supported|image input|not support (images?|vision)|multimodal",
        "Set AZURE_OPENAI_VISION to none: this model cannot see.",
    ),
    (r"api.version", "Correct AZURE_OPENAI_API_VERSION."),
)
_CONTEXT: Final = (
    r"context_length_exceeded|string_above_max_length|exceed_context_size"
    r"|maximum context length|context (size|length|window)|too many tokens"
)
_NETWORK: Final = r"public (network )?access|private endpoint|virtual network|firewall"
# A setting that the service names itself: a relay knows better than we do what it was told.
_NAMES_A_SETTING: Final = r"\b[A-Z]+_[A-Z]+_[A-Z_]+\b"

_CODE: Final = re.compile(r"[\w.:/-]{1,64}")

# What must not leave: addresses of other machines, tokens, keys and ids.
_LOOPBACK: Final = r"(?:127\.0\.0\.1|localhost|\[::1\])(?![\w.-])"
_PRIVATE: Final = re.compile(
    rf"https?://(?!{_LOOPBACK})[^\s\"'<>)]+"
    r"|\b(?:[a-z0-9-]{1,63}\.){1,8}(?:com|net|org|io|cloud|local|internal)\b(?::\d+)?"
    r"|\b(?!127\.0\.0\.1)\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?"
    r"|\bBearer\s+\S+"
    r"|\b(?:sk|pk|key|api|tok)-[\w*.-]{6,}"
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"
    # With a digit: the name of a setting is as long.
    r"|(?<![\w+/=])(?=[A-Za-z+/_=]*\d)[\w+/=]{32,}",
    re.IGNORECASE,
)


@frozen
class Refusal:
    """An answer that is an error.

    Attributes:
        status: of the HTTP response.
        code: the service's own, as text; empty if it has none.
        message: its words; empty if it sent a page or nothing.
        param: the field of the request that it refused.
    """

    status: int
    code: str = ""
    message: str = ""
    param: str = ""

    @classmethod
    def read(cls, status: int, body: object) -> "Refusal":
        """A refusal in any of the envelopes that are in use; `body` is JSON, or text."""
        if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping | str):
            body = body["error"]
        if isinstance(body, str):
            # A page is for people; a gateway's, mostly.
            page = body.lstrip().startswith("<")
            return cls(status, "", "" if page else _bounded(body))
        if not isinstance(body, Mapping):
            return cls(status)
        code = next(
            (
                str(body[name])
                for name in ("code", "type", "statusCode")
                if _is_code(body.get(name))
            ),
            "",
        )
        message = body.get("message") or body.get("detail") or body.get("msg")
        return cls(
            status,
            _bounded(code, CODE_MAX_CHARS),
            _bounded(message if isinstance(message, str) else ""),
            _bounded(str(body.get("param") or ""), CODE_MAX_CHARS),
        )

    @classmethod
    def in_answer(cls, body: Mapping[str, object]) -> "Refusal":
        """A refusal that came as an answer, with status 200 or in the middle of a stream."""
        refusal = cls.read(200, body)
        if re.fullmatch("[45][0-9]{2}", refusal.code):
            return replace(refusal, status=int(refusal.code))
        return refusal

    @property
    def quote(self) -> str:
        """Code and message, for people."""
        code = "" if self.code == str(self.status) else self.code
        words = ": ".join(part for part in (code, self.message) if part)
        return f"HTTP {self.status}, {words}" if words else f"HTTP {self.status}"

    @property
    def mend(self) -> str:
        """The app setting to change; empty if unknown."""
        if re.search(_NAMES_A_SETTING, self.message):
            return ""
        text = f"{self.code} {self.message}"
        for pattern, mend in _MENDS:
            if re.search(pattern, text, re.IGNORECASE):
                return mend
        if self.param in ("tools", "tool_choice"):
            return _NO_TOOLS
        return _SETTING_OF_PARAMETER.get(self.param, "")

    def as_error(self, retry_after_s: int | None = None) -> AgentError:
        """Our error for it."""
        error = self._error(retry_after_s)
        error.quoted = self.message
        return error

    def _error(self, retry_after_s: int | None) -> AgentError:
        text = f"{self.code} {self.message}"
        match self.status:
            case 429:
                return ModelThrottledError(
                    "The model deployment's tokens or requests per minute are used up "
                    f"({self.quote}).",
                    retry_after_s=retry_after_s,
                )
            case 401 | 403:
                return self._access_error(text)
            case 404:
                return self._not_found_error()
        if self.code == "content_filter":
            return ContentFilteredError("Azure OpenAI's content filter refused the prompt.")
        if self.status in (200, 400, 413) and re.search(_CONTEXT, text, re.IGNORECASE):
            return ContextTooLongError(
                f"Shorten the input or start a new conversation ({self.quote})."
            )
        if 300 <= self.status < 400:
            return ModelFailedError(
                f"The model's address redirects (HTTP {self.status}), and a model call is never "
                "sent elsewhere. Set AZURE_OPENAI_ENDPOINT to the address that answers."
            )
        detail = f"The model answered {_sentence(self.quote)} {self.mend}".rstrip()
        parameter = "max_completion_tokens" if self.param == "max_tokens" else self.param
        # Another fault of the value is the caller's own: the next one may send a better one.
        is_unsupported = "unsupported" in text.lower() or "not support" in text.lower()
        if self.status == 400 and parameter in NAMES and is_unsupported:
            return ModelParameterError(detail, parameter)
        return ModelFailedError(detail, retry_after_s=retry_after_s)

    def _access_error(self, text: str) -> AgentError:
        if re.search(_NETWORK, text, re.IGNORECASE):
            return ModelAccessError(
                "The Azure OpenAI account takes no calls from the app's network "
                f"({self.quote}). Allow it in the account's Networking, or give the account a "
                "private endpoint in the app's network."
            )
        if (
            self.status == 403
            and self.message
            and not re.search(r"principal|permission|role|data action|authori", text, re.IGNORECASE)
        ):
            return ModelAccessError(
                f"The model answered {_sentence(self.quote)} {self.mend}".rstrip()
            )
        return ModelAccessError(
            f"The app's identity needs the role '{ROLE}' on the Azure OpenAI account "
            f"({self.quote}). A new assignment takes some minutes."
        )

    def _not_found_error(self) -> AgentError:
        if re.search(_NAMES_A_SETTING, self.message):
            return DeploymentNotFoundError(f"The model answered {_sentence(self.quote)}")
        return DeploymentNotFoundError(
            "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME names no deployment of the account at "
            "AZURE_OPENAI_ENDPOINT, or AZURE_OPENAI_API_VERSION is not one of its versions "
            f"({self.quote})."
        )


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Seconds before a retry, rounded up: `retry-after-ms`, or `Retry-After` as number or date.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        return math.ceil(seconds) if 0 <= seconds < 1e6 else None
    try:
        when = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0, math.ceil((when - datetime.now(UTC)).total_seconds()))


def _is_code(value: object) -> bool:
    """Whether it names an error: words without space between them are no sentence."""
    return isinstance(value, str | int) and bool(_CODE.fullmatch(str(value)))


def _bounded(text: str, max_chars: int = MESSAGE_MAX_CHARS) -> str:
    """The text on one line, short, and without what must not leave."""
    # Only the beginning is looked through: an answer may be as long as it likes.
    line = " ".join(text[: 4 * max_chars].split())
    return shortened(_PRIVATE.sub("[…]", line), max_chars).replace("\n", " ")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
