"""What code in a session may try against the machine, and the same tried outside as a control."""
