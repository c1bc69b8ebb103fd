"""The HTTP surface: bytes to the agent's types and back."""
