"""OpenAI's chat completions API: the same turns for clients that speak it."""
