"""One turn: how a question becomes an answer, with a model that runs Python on the way."""
