"""The session pool: Azure Container Apps dynamic sessions, over its REST API."""
