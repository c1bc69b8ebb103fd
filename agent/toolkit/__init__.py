"""Own tools: how they are written, found at start and called (docs/extend.md)."""
