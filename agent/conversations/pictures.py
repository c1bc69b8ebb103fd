"""The pictures of a question: kept among the files of its conversation, or found there."""

from agent.conversations.files import FILES_MAX, FILES_MAX_BYTES, ConversationKey
from agent.conversations.store import ConversationStore
from agent.errors import FileNotStoredError, InvalidRequestError, PayloadTooLargeError
from agent.pictures import PICTURE_MAX_BYTES, Picture, check_number, picture_of, too_large
from agent.turns.files import in_chunks
from agent.turns.turn import FileToSee, TurnRequest


async def pictures_of(
    store: ConversationStore, key: ConversationKey, request: TurnRequest
) -> tuple[Picture, ...]:
    """All that the question shows: what came with it, which is kept, then files of before.

    Raises:
        InvalidRequestError: a file is not there, or no picture.
        PayloadTooLargeError: it is too large, or there is no room for what came.
    """
    if request.pictures:
        await _keep(store, key, request.pictures)
    found = [await _found(store, key, file) for file in request.looks_at]
    pictures = (*request.pictures, *found)
    if found:
        check_number(pictures, request.looks_at[0].field.partition(".")[0])
    return pictures


async def _keep(
    store: ConversationStore, key: ConversationKey, pictures: tuple[Picture, ...]
) -> None:
    sizes = {file.name: file.size_bytes for file in await store.list_files(key.owner, key.id)}
    # A name stands for a content; but code may have changed the file since.
    contents = {picture.name: picture.content for picture in pictures}
    sizes |= {name: len(content) for name, content in contents.items()}
    if len(sizes) > FILES_MAX or sum(sizes.values()) > FILES_MAX_BYTES:
        raise PayloadTooLargeError(
            f"The conversation has no room for the pictures: its files may be {FILES_MAX:,} and "
            f"have {FILES_MAX_BYTES:,} bytes. Delete some."
        )
    for name, content in contents.items():
        await store.put_file(key.owner, key.id, name, in_chunks(content))


async def _found(store: ConversationStore, key: ConversationKey, file: FileToSee) -> Picture:
    content = bytearray()
    try:
        async with store.open_file(key.owner, key.id, file.name) as (_, chunks):
            async for chunk in chunks:
                content += chunk
                if len(content) > PICTURE_MAX_BYTES:
                    raise too_large(file.field)
    except FileNotStoredError:
        raise InvalidRequestError(
            f"`{file.field}` names no file of the conversation: upload it first "
            "(POST /api/conversations/{id}/files).",
            field=file.field,
        ) from None
    return picture_of(bytes(content), file.field, file.name)
