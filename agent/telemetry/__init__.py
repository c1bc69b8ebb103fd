"""What an operator sees of the app: spans, metrics and logs; this package decides what is private.

A span is named by the OpenTelemetry conventions for generative AI, which say what its attributes
mean: https://github.com/open-telemetry/semantic-conventions-genai. Nothing is recorded until
`recording.start` is called, which agent.runtime does where an app setting names a place to send to.
"""

from agent.telemetry.logs import configure_logging, log_content, logger

__all__ = ["configure_logging", "log_content", "logger"]
