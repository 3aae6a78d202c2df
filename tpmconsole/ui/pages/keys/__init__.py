"""Page 2: keys."""
