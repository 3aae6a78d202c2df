"""What the tests of every ring share."""
