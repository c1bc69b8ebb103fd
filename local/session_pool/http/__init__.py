"""The service's REST interface: how do requests become calls of the pool, and results answers?"""
