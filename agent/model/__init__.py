"""The model: Semantic Kernel and the openai client, behind one door (`sdk`)."""
