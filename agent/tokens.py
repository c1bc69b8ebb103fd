"""What the clients of services ask for tokens."""

from typing import Protocol


class TokenProvider(Protocol):
    """Gives a token when it is called."""

    async def __call__(self) -> str:
        """A token."""
        ...

    async def renew(self, refused: str) -> bool:
        """Forget a token that its service refused; tells whether there is another one now."""
        ...
