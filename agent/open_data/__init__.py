"""Gets a file from a host of the web that the operator named (docs/open-data.md)."""
