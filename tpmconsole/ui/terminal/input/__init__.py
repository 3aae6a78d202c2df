"""Turn bytes from the line into events."""
