"""The agent's own tools, one module each: what is here is offered to the model (docs/extend.md)."""
