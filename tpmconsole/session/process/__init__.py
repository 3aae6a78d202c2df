"""What runs inside a session's own process."""
