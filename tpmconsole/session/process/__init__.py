"""What runs inside a session's own process: ``python -m tpmconsole.session.process``.

The event loop serves the connections. Signatures are made in one thread, so a TPM that hangs stops
new handshakes but no open connection.
"""
