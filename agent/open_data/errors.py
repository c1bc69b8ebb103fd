"""Why there is no file: a sentence for the model, which says what to do."""


class FetchError(Exception):
    """There is no file; the text is for the model."""


class AddressNotPublicError(OSError):
    """A host's name leads to an address that is not of the public internet."""
