"""A llama-server that needs no model: its command line, its /health and its list of models.

What it was started with is in its list of models. MODE changes what it does.
"""

import http.server
import json
import os
import signal
import sys
from typing import Any

ENVIRONMENT = os.environ  # noqa: TID251 - llama-server itself takes its options from variables


class Handler(http.server.BaseHTTPRequestHandler):
    """Loads for two looks at /health, then answers."""

    looks = 0

    def do_GET(self) -> None:
        """The health and the models."""
        if self.path == "/health":
            Handler.looks += 1
            ready = Handler.looks > 2
            return self.say({"status": "ok"} if ready else {"error": {}}, 200 if ready else 503)
        if self.path == "/v1/models":
            return self.say({"data": [{"id": option("--alias"), "owned_by": "llamacpp"}]})
        if self.path == "/props":
            bounds = {n: v for n, v in ENVIRONMENT.items() if n.startswith("LLAMA_ARG_")}
            context = int(bounds["LLAMA_ARG_CTX_SIZE"])
            started = {"arguments": sys.argv[1:], "bounds": bounds, "pid": os.getpid()}
            return self.say({"default_generation_settings": {"n_ctx": context}, **started})
        if self.path == "/die":
            print("\nlast words", flush=True)
            os._exit(3)
        return self.say({}, 404)

    def say(self, body: Any, status: int = 200) -> None:
        """Answer with JSON."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def option(name: str) -> str:
    """The value of an option."""
    return sys.argv[sys.argv.index(name) + 1]


match ENVIRONMENT.get("MODE"):
    case "dies":
        print("\n".join(f"line {n}" for n in range(100)))
        sys.exit("error loading model: unknown architecture 'x'")
    case "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
address = (option("--host"), int(option("--port")))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
