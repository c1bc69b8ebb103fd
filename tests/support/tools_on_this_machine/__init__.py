"""The shipped tools, as the agent loads them, against hosts of this machine."""
