"""The process that owns the ESAPI context, and the way to it."""
