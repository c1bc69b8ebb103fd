"""Real models on this machine: which servers run, what can their models do, who starts one?"""

from local.model_servers.errors import ModelServerError
from local.model_servers.offering import offers
from local.model_servers.opening import OpenModel, open_model

__all__ = ["ModelServerError", "OpenModel", "offers", "open_model"]
