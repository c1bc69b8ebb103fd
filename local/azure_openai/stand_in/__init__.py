"""The stand-in model: what can a small program do in a language model's place, honestly?"""

from local.azure_openai.stand_in.model import StandInModel

__all__ = ["StandInModel"]
