"""An app that fails while it is indexed."""

import json

LIMITS = json.loads("{'not': 'json'}")
