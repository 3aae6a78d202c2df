"""From Textual's cells to bytes on the line."""
