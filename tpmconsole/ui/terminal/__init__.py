"""The line: profile, size and driver. No other room knows about escape codes."""
