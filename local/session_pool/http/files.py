"""Files of a session."""

from starlette.responses import Response, StreamingResponse

from local.session_pool.errors import DeleteFileError, FileMissingError
from local.session_pool.files.names import DATA_ROOT, check_name, split_path
from local.session_pool.http.bodies import read_upload
from local.session_pool.http.service_call import Call, json_response
from local.session_pool.pool.session import Session


async def list_files(call: Call) -> Response:
    """List a folder; the old generation lists every file below /mnt/data."""
    folder = split_path(call.request.query_params.get("path"), strict=False)
    is_recursive = call.request.query_params.get("recursive", "").lower() == "true"
    session = await call.allocated_session()
    recursive = not call.version.is_flat or (is_recursive and call.version.lists_deep)
    entries = await call.services.files.list_folder(
        session.kernel.data_directory, folder, recursive=recursive
    )
    return json_response(call.wire.file_list(entries))


async def upload(call: Call) -> Response:
    """Take a file; one of the same name is replaced."""
    strict = call.services.strict
    folder = split_path(call.request.query_params.get("path"), strict=strict)
    identifier = call.identifier()
    async with read_upload(call.request) as file:
        subfolder, name = _split(file.filename or "")
        check_name(name, strict=strict)
        session = await call.services.pool.allocate(identifier)
        entry = await call.services.files.write(
            session.kernel.data_directory, _joined(folder, subfolder), name, file.file
        )
    return json_response(call.wire.uploaded(entry))


async def describe(call: Call) -> Response:
    """Answer with one file's metadata."""
    session, folder, name = await _target(call)
    entry = await call.services.files.describe(session.kernel.data_directory, folder, name)
    return json_response(call.wire.file(entry))


async def download(call: Call) -> Response:
    """Answer with one file's content: bytes, whatever its name; its metadata has the type."""
    session, folder, name = await _target(call)
    size, content = await call.services.files.read(session.kernel.data_directory, folder, name)
    headers = {"content-length": str(size)}
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


async def delete(call: Call) -> Response:
    """Delete one file, or a folder with its content."""
    session, folder, name = await _target(call)
    try:
        await call.services.files.delete(session.kernel.data_directory, folder, name)
    except FileMissingError as error:
        raise DeleteFileError(error.message) from error
    return Response(status_code=204)


async def _target(call: Call) -> tuple[Session, str, str]:
    """Return the session, the folder and the name that a path means."""
    folder = split_path(call.request.query_params.get("path"), strict=False)
    subfolder, name = _split(call.found["name"])
    # Code in the session calls its files as it likes: only uploads are held to documented names.
    check_name(name, strict=False)
    return await call.allocated_session(), _joined(folder, subfolder), name


def _split(path: str) -> tuple[str, str]:
    """Split a client's file name into folder and name, both below /mnt/data."""
    folder, _, name = path.removeprefix(f"{DATA_ROOT}/").rpartition("/")
    return split_path(folder, strict=False), name


def _joined(*folders: str) -> str:
    return "/".join(folder for folder in folders if folder)
