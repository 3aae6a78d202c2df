"""Units for systemd: written for this board, shown before, and taken away again."""
