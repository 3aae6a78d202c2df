"""Turn Textual's output into bytes on the line."""
