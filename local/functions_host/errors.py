"""The error for a function app that cannot be served."""


class FunctionAppError(Exception):
    """The app folder cannot be served; the message is for the app's developer."""
