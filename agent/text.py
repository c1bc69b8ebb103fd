"""Text that is too long to be read or kept whole."""


def shortened(text: str, max_chars: int) -> str:
    """Head and tail of a text that is too long, with a marker that says how much is missing.

    It is never longer than `max_chars`, which must leave room for the marker (100 will do).
    """
    if len(text) <= max_chars:
        return text
    room = max_chars - len(_marker(len(text)))
    head, tail = room - room // 3, room // 3
    return f"{text[:head]}{_marker(len(text) - room)}{text[len(text) - tail :]}"


def _marker(missing_chars: int) -> str:
    return f"\n[... {missing_chars:,} characters left out ...]\n"
