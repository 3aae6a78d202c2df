"""Page 4: sessions."""
