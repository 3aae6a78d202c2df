"""Page 3: from a key to an installed certificate."""
