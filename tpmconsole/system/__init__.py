"""The Linux board below us; it knows no TPM."""
