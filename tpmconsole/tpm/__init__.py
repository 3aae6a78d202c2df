"""The chip: which TPM is used, its state, and the keys it holds.

**Why the TPM has a process of its own.** A hung TPM blocks ESAPI forever: no signal, no TCTI
time-out and no thread gets out of the call, and a blocked thread would keep the screen from
exiting. A process can be killed and replaced. It also keeps the messages of the TSS and of GLib off
the screen (its standard error is the log), keeps a crash in C code away from the user, and starts
while Textual is still being imported. So ``tpm.worker`` alone imports tpm2_pytss, and everything
here that other packages call (``client``, ``signer``, ``keys``) only sends jobs to it. Every job
has a deadline by its kind: ``client.DEADLINES``.

**Why listing never loads a key.** To load a key file uses the parent's authorisation, and a wrong
one counts towards the lock-out (TPM 2.0 Part 1, 19.8). So ``keyfile`` reads key files without a
TPM, and ``client.Tpm.check_key`` tests whether a key is usable only when the user asks for it.

**Why the TCTI is always explicit.** Without one, the TSS tries one TCTI after the other and takes
any swtpm that listens on localhost for a TPM. ``tcti`` chooses, says why, and looks at the device
file first: a device that is absent and one that this user cannot open give the same response code.

**Passwords** travel as one ``auth.Auth`` from the front end to the worker, which encrypts them for
the TPM in a salted session and wipes them after the job.
"""
