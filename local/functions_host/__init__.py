"""A Functions host: how does function_app.py run here as it runs in Azure, without Core Tools?

Azure runs a Python function app in two processes: the host, which listens, checks keys and
routes, and the worker, which indexes function_app.py and calls its functions. The worker's code is
Microsoft's package azure-functions-runtime and is used here as it is. This package plays the host
around it.
"""
