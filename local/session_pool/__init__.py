"""Azure Container Apps dynamic sessions: where does the code run that the model writes?

async with SessionPool(verifier, PoolOptions()) as pool, serve(pool.app) as base_url:
    management_endpoint = base_url + pool.path
"""

from local.session_pool.http.faults import Faults
from local.session_pool.image import prepare_session_image
from local.session_pool.options import PoolOptions
from local.session_pool.pool.clock import Clock
from local.session_pool.sandbox.limits import SessionLimits
from local.session_pool.service import SessionPool, SessionPoolError

__all__ = [
    "Clock",
    "Faults",
    "PoolOptions",
    "SessionLimits",
    "SessionPool",
    "SessionPoolError",
    "prepare_session_image",
]
