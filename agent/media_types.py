"""The media type of a file name: the same on every machine and in every part of the app."""

import mimetypes
from typing import Final

# The language's own table without the machine's files, so that every machine gives one answer.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
for _extension, _type in {
    ".avif": "image/avif",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".feather": "application/vnd.apache.arrow.file",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}.items():
    _TYPES.add_type(_type, _extension)


def media_type_of(name: str) -> str:
    """The media type of a file by its name; what an uploader claims is not trusted.

    A compressed file is what it is compressed with (`data.csv.gz` is `application/gzip`); a name
    that says nothing is `application/octet-stream`.
    """
    guess, encoding = _TYPES.guess_file_type(name, strict=True)
    match encoding:
        case None:
            return guess or "application/octet-stream"
        case "gzip":
            return "application/gzip"
    return "application/octet-stream"
