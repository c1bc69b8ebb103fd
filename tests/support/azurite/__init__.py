"""Azure Blob Storage on this machine: Microsoft's emulator Azurite, https and tokens included."""
