"""Key, request and certificate of a device. Pure: knows private-key objects, never a TPM."""
