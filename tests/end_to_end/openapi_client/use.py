"""Uses a client that openapi-python-client made; prints what it got as JSON.

Runs in a process of its own: `use.py <address of the API> <a model>`, with the generated package
`agent_api` on its path.
"""

import json
import sys
from io import BytesIO

from agent_api import Client
from agent_api.api.default import (
    get_chat,
    get_conversations_conversation_id,
    get_conversations_conversation_id_files,
    get_conversations_conversation_id_files_name,
    get_v1_models,
    get_v1_models_name,
    post_chat,
    post_conversations,
    post_conversations_conversation_id_files,
    post_v1_chat_completions,
)
from agent_api.models import (
    ChatRequest,
    CompletionRequest,
    CompletionUserMessage,
    PostConversationsConversationIdFilesBody,
)
from agent_api.types import File

url, model = sys.argv[1:]
client = Client(base_url=url, timeout=60)
found: dict[str, object] = {}

found["question"] = get_chat.sync(client=client, input_="One?").output
conversation = post_conversations.sync(client=client)
upload = File(BytesIO(b"a,b\n1,2\n"), "data.csv", "text/csv")
uploaded = post_conversations_conversation_id_files.sync(
    conversation.id, client=client, body=PostConversationsConversationIdFilesBody(file=[upload])
)
found["uploaded"] = [(file.name, file.media_type, file.size_bytes) for file in uploaded.files]
answer = post_chat.sync(
    client=client, body=ChatRequest(input_="Two?", conversation_id=conversation.id)
)
found["answer"] = answer.output
found["executions"] = [(run.status, run.stdout) for run in answer.executions]
kept = get_conversations_conversation_id.sync(conversation.id, client=client)
found["turns"] = [(turn.input_, turn.output) for turn in kept.turns]
files = get_conversations_conversation_id_files.sync(conversation.id, client=client)
found["files"] = [file.name for file in files.files]
content = get_conversations_conversation_id_files_name.sync(
    conversation.id, "data.csv", client=client
)
found["content"] = content.payload.read().decode()
missing = get_conversations_conversation_id.sync("0" * 32, client=client)
found["missing"] = (missing.code, missing.status)
found["models"] = [entry.id for entry in get_v1_models.sync(client=client).data]
found["model"] = get_v1_models_name.sync(model, client=client).id
completion = post_v1_chat_completions.sync(
    client=client,
    body=CompletionRequest(
        model=model, messages=[CompletionUserMessage(role="user", content="Three?")], temperature=0
    ),
)
found["completion"] = completion.choices[0].message.content
print(json.dumps(found))
