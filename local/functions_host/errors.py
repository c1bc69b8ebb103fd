"""What keeps a function app from being served."""


class FunctionAppError(Exception):
    """The app folder cannot be served; the message is for the app's developer."""
