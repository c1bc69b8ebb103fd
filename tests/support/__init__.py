"""What tests share: processes, clients, emulators, and what must be installed for them."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
