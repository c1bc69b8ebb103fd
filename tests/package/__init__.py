"""The deployment package: what is sent to Azure, and what the remote build makes of it."""
