"""What runs inside the sandbox?

These modules are bound read-only into it and import nothing but the standard library, IPython and each
other. The host imports only `frames`, for the names and limits that both ends share.
"""
