"""The names and paths of files that the service accepts.

https://learn.microsoft.com/azure/container-apps/sessions-code-interpreter#file-naming
"""

from local.session_pool.errors import FileRefusedError

_PUNCTUATION = frozenset("-_ .@$&=;,#%^()")
_MAX_NAME_BYTES = 255
DATA_ROOT = "/mnt/data"


def check_name(name: str, *, strict: bool) -> str:
    """Return `name` if a file may be called so.

    Args:
        name: one component.
        strict: take the documented characters only; otherwise any that can be in a name.

    Raises:
        FileRefusedError: see above.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise FileRefusedError("The file name is empty or leads elsewhere.", "name")
    if len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
        raise FileRefusedError("The file name is longer than 255 bytes.", "name")
    if strict:
        for char in name:
            if not (char.isalnum() or char in _PUNCTUATION or ord(char) > 0x7F):
                raise FileRefusedError(
                    f"The file name has a character that is not allowed: {char!r}.", "name"
                )
    return name


def split_path(path: str | None, *, strict: bool) -> str:
    """Return the folder that a `path` parameter names, relative to /mnt/data; "" for that itself.

    Raises:
        FileRefusedError: it has a component that is not a name, or leads outside.
    """
    relative = (path or "").strip()
    if relative == DATA_ROOT or relative.startswith(f"{DATA_ROOT}/"):
        relative = relative[len(DATA_ROOT) :]
    parts = [part for part in relative.strip("/").split("/") if part]
    if parts == ["."]:
        return ""
    for part in parts:
        check_name(part, strict=strict)
        if strict and "." in part:
            raise FileRefusedError("The path cannot contain '.'.", "path")
    return "/".join(parts)
