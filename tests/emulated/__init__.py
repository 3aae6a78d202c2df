"""An emulated board: Debian with its own kernel, a TPM chip and a serial console, in QEMU."""
