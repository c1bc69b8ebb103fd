"""Conversations: turns that are kept, with their history and files, each for its owner."""
