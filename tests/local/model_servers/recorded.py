"""What each server says on the wire, as its documentation, its source and reports of it show.

Bytes, and small: only what tells one server from another. Nothing here comes from a mock library.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.raw_server import RawServer, raw_server, response

NOT_FOUND = response(b"404 page not found", status=404, content_type="text/plain")

# Path → body. Ollama 0.20 and later say in /api/tags what a model can do.
OLLAMA = {
    "/v1/models": b'{"object":"list","data":[{"id":"nomic-embed-text:latest","object":"model",'
    b'"created":1,"owned_by":"library"},{"id":"gemma3:4b","object":"model","created":1,'
    b'"owned_by":"library"},{"id":"qwen3:4b","object":"model","created":1,"owned_by":"library"}]}\n',
    "/api/tags": b'{"models":[{"name":"nomic-embed-text:latest","model":"nomic-embed-text:latest",'
    b'"size":1,"capabilities":["embedding"]},{"name":"gemma3:4b","model":"gemma3:4b","size":1,'
    b'"capabilities":["completion","vision"]},{"name":"qwen3:4b","model":"qwen3:4b","size":1,'
    b'"capabilities":["completion","tools","thinking"]}]}',
    "/api/ps": b'{"models":[{"name":"qwen3:4b","model":"qwen3:4b","size":1,"digest":"a",'
    b'"size_vram":0,"context_length":4096}]}',
}
OLLAMA_BEFORE = OLLAMA | {
    "/api/tags": b'{"models":[{"name":"mxbai-embed-large:latest","model":"m"},'
    b'{"name":"mistral:latest","model":"mistral:latest"}]}',
    "/api/ps": b'{"models":[]}',
}
# A list without elements is null in its language.
OLLAMA_EMPTY = {
    "/v1/models": b'{"object":"list","data":null}\n',
    "/api/tags": b'{"models":[]}',
    "/api/ps": b'{"models":[]}',
}
LLAMA_CPP = {
    "/v1/models": b'{"models":[{"name":"SmolLM2","model":"SmolLM2"}],"object":"list","data":[{'
    b'"id":"SmolLM2","object":"model","created":1,"owned_by":"llamacpp","meta":{"n_ctx_train":8192,'
    b'"n_params":134515008}}]}',
    "/props": b'{"default_generation_settings":{"id":0,"n_ctx":8192,"params":{"n_predict":-1}},'
    b'"total_slots":1,"model_path":"/m/SmolLM2.gguf","chat_template":"{% for m in messages %}",'
    b'"chat_template_caps":{"supports_tools":false,"supports_tool_calls":false}}',
}
LLAMA_CPP_LOADING = {
    "/v1/models": b'{"object":"list","data":[{"id":"/m/a.gguf","object":"model","created":1,'
    b'"owned_by":"llamacpp","meta":null}]}',
}
# Several models behind one address; /props answers only for one that is named.
LLAMA_CPP_ROUTER = {
    "/v1/models": b'{"object":"list","data":[{"id":"a","owned_by":"llamacpp","status":{"value":'
    b'"unloaded"}},{"id":"b","owned_by":"llamacpp","status":{"value":"loaded"}}]}',
}
VLLM = {
    "/v1/models": b'{"object":"list","data":[{"id":"Qwen/Qwen3-4B","object":"model","created":1,'
    b'"owned_by":"vllm","root":"Qwen/Qwen3-4B","parent":null,"max_model_len":2048,"permission":[{'
    b'"id":"modelperm-1","object":"model_permission"}]}]}',
}
LM_STUDIO = {
    "/v1/models": b'{"data":[{"id":"qwen3-4b","object":"model","owned_by":"organization_owner"},'
    b'{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","owned_by":"x"}],'
    b'"object":"list"}',
    "/api/v0/models": b'{"object":"list","data":[{"id":"gemma-3-4b","object":"model","type":"vlm",'
    b'"state":"not-loaded","max_context_length":131072},{"id":"qwen3-4b","object":"model",'
    b'"type":"llm","state":"loaded","max_context_length":32768,"loaded_context_length":4096,'
    b'"capabilities":["tool_use"]},{"id":"text-embedding-nomic-embed-text-v1.5","object":"model",'
    b'"type":"embeddings","state":"not-loaded","max_context_length":2048}]}',
}
LM_STUDIO_BEFORE = {"/v1/models": LM_STUDIO["/v1/models"]}
HOSTED = {"/v1/models": b'{"object":"list","data":[{"id":"big-1","owned_by":"somebody"}]}'}


@asynccontextmanager
async def server(bodies: dict[str, bytes], *, port: int = 0) -> AsyncIterator[RawServer]:
    """A server that says these bodies, and 404 elsewhere."""
    async with raw_server(NOT_FOUND, port=port) as started:
        started.pages = {path: response(body) for path, body in bodies.items()}
        yield started
