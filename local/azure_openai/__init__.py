"""Azure OpenAI chat completions: which model answers when there is no Azure account?"""

from local.azure_openai.faults import (
    AnswerFiltered,
    Cut,
    Failed,
    Fault,
    Faults,
    PromptFiltered,
    RoleMissing,
    Slow,
    Throttled,
)
from local.azure_openai.limits import RateLimits
from local.azure_openai.relay import ModelRefused, Relay
from local.azure_openai.requests import ChatRequest
from local.azure_openai.routes import AzureOpenAI
from local.azure_openai.scripted import ScriptedModel, ScriptError
from local.azure_openai.stand_in import StandInModel
from local.azure_openai.steps import CallTool, CallTools, Model, Say, Step

__all__ = [
    "AnswerFiltered",
    "AzureOpenAI",
    "CallTool",
    "CallTools",
    "ChatRequest",
    "Cut",
    "Failed",
    "Fault",
    "Faults",
    "Model",
    "ModelRefused",
    "PromptFiltered",
    "RateLimits",
    "Relay",
    "RoleMissing",
    "Say",
    "ScriptError",
    "ScriptedModel",
    "Slow",
    "StandInModel",
    "Step",
    "Throttled",
]
