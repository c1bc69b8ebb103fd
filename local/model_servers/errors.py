"""What keeps a real model from answering here."""


class ModelServerError(Exception):
    """A model server or its model is not there; the message says what to do."""
