"""The chip: which TPM, what it says, and the keys it holds."""
