"""The guided tour: why a device's key belongs into a TPM, told by doing it. Free of Textual."""
