"""Conversations in Azure Blob Storage."""
