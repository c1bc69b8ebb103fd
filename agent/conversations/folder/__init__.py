"""Conversations in a folder on this machine."""
