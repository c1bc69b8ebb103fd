"""The chat page: how a browser gets it. Its sources are in page/, `make page` builds dist/."""
