"""The agent: how is a question answered by a model that runs Python in an isolated session?

Importing a module of this package does no I/O; `agent.runtime` opens what needs opening.
"""
