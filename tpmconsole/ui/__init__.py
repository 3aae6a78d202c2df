"""The screens: the only package that imports Textual.

**Why the screen never waits.** No TPM call, file, socket or program runs in the event loop. A page
starts a job (``background``) in a thread, which posts immutable messages; handlers on the screen
own all state.

**Why a command is one object.** ``command.Command`` has the key, the label, the help and the
condition under which it is possible, so that the key line, the help and the kiosk always agree.
"""
