"""From bytes on the line to events."""
