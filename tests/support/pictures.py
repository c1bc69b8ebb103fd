"""Pictures of 20 by 10 pixels in each form that a model takes, and what only looks like one."""

import base64
import struct
from base64 import b64decode

WIDTH, HEIGHT = 20, 10
PICTURES = {
    "image/png": b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAABQAAAAKCAIAAAA7N+mxAAAARklEQVR42mNkYPh/Qk6egSzAdEJO3uLRQzI1MzAwkK2f"
        "CUKRp58JziJDPxMyh1T9TGh8kvQzYQoRr58JqyiR+plwSRCjHwBd5R0YupstBgAAAABJRU5ErkJggg=="
    ),
    "image/jpeg": b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDACgcHiMeGSgjISMtKygwPGRBPDc3PHtYXUlkkYCZlo+AjIqgtObDoKra"
        "rYqMyP/L2u71////m8H////6/+b9//j/2wBDASstLTw1PHZBQXb4pYyl+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4"
        "+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj4+Pj/wAARCAAKABQDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAA"
        "AAT/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAAAAMF/8QAFBEBAAAAAAAAAAAAAAAA"
        "AAAAAP/aAAwDAQACEQMRAD8AmASaAAD/2Q=="
    ),
    "image/gif": b64decode(
        "R0lGODdhFAAKAIEAAMgeHgAA/wAAAAAAACwAAAAAFAAKAAAIJwADABhIsKBBgwIPKjyYcKFDAA0fKowoEWHFhRQvDsyo"
        "keNFjwMDAgA7"
    ),
    "image/webp": b64decode(
        "UklGRlAAAABXRUJQVlA4IEQAAAAwAwCdASoUAAoAP3Ggxlk0q6gjsAgCkC4JQBYdg9EtILqwAP5yp4XPy89Yk0mPPUQg"
        "l0xT/GBBVOz/GH0PsJHvrpQAAA=="
    ),
}
WEBP_LOSSLESS = b64decode(
    "UklGRjoAAABXRUJQVlA4TC0AAAAvE0ACAA8wHoP8j//5Dx4ohiRJQijkQRuUQZjn3lsaEf2PL0+ODGkpSQnx4wMA"
)
WEBP_WITH_ALPHA = b64decode(
    "UklGRoAAAABXRUJQVlA4WAoAAAAQAAAAEwAACQAAQUxQSBYAAAABDzD/ERGCMNsIYf6wl34PIaL/QZMbVlA4IEQAAABQ"
    "AwCdASoUAAoAP3Ggxlk0q6ejsAgCkC4JYgCw7B4+7Gl8EAD+cp8VqD2kl6hFR71hkny16mXeBZP6k+3kIbvCeetgAA=="
)


def png_that_says(width: int, height: int) -> bytes:
    """The beginning of a PNG, which is all that is looked at."""
    return PICTURES["image/png"][:16] + struct.pack(">II", width, height) + bytes(5)


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """The content as an address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
