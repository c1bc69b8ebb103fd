"""Values that the parts of the local Azure agree on, and local.settings.json.example with them.

Each is written here alone: a stand-in that another one calls must be found where that one looks.
"""

from typing import Final

# Ports of a developer's machine; 7071 is Azure Functions Core Tools' own.
FUNCTIONS_HOST_PORT: Final = 7071
AZURE_OPENAI_PORT: Final = 7081
SESSION_POOL_PORT: Final = 7082
MANAGED_IDENTITY_PORT: Final = 7083
AZURE_MONITOR_PORT: Final = 7084

# For whom a token is meant: `aud`, and `resource` when it is asked for.
AZURE_OPENAI_AUDIENCE: Final = "https://cognitiveservices.azure.com"
SESSION_POOL_AUDIENCES: Final = ("https://dynamicsessions.io", "https://acasessions.io")
AZURE_MONITOR_AUDIENCE: Final = "https://monitor.azure.com"
STORAGE_AUDIENCE: Final = "https://storage.azure.com"
# The app registration that callers sign in to, and its exposed API.
SIGN_IN_CLIENT_ID: Final = "5d0c1d6a-0000-4000-8000-000000000003"
SIGN_IN_AUDIENCE: Final = f"api://{SIGN_IN_CLIENT_ID}"

# Behind a known port the value of IDENTITY_HEADER is the same at every start, so that
# local.settings.json can name it. It protects nothing: the tokens that it buys are worth something
# to these stand-ins only.
IDENTITY_HEADER: Final = "local-identity-header"

# Of any model but the stand-in.
DEPLOYMENT: Final = "gpt-5.4-mini"
AZURE_OPENAI_API_VERSION: Final = "2024-10-21"

# As in infra/: a file of 128 MB and the form around it.
MAX_REQUEST_BODY_BYTES: Final = 135_266_304
