"""The tool with a test's authorities, names and addresses; all else is what ships."""

from agent.tools.fetch_open_data import AT_ONCE, TIMEOUT_S, FetchOpenData, OpenDataSettings
from tests.support.https_sites import Web, is_this_machine

__all__ = ["AT_ONCE", "TIMEOUT_S", "FetchOnThisMachine"]

# The hosts of the test that is running.
WEBS: list[Web] = []


class FetchOnThisMachine(FetchOpenData):
    """The tool."""

    def __init__(self, settings: OpenDataSettings) -> None:
        web = WEBS[-1]
        super().__init__(settings, web.tls, web.names, is_this_machine)
