"""Shared by tests: processes, clients, emulators, and the installation of their packages."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
