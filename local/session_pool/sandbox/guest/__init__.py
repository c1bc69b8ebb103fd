"""The code that runs inside the sandbox.

These modules are bound read-only into it and import nothing but the standard library, IPython and
each other. The host imports `frames` and `probe`, for the names that both ends share.
"""
