"""One function per command: from its arguments to what it answers."""

from tpmconsole.cli import identities, install, keys, sessions, status, support
from tpmconsole.cli.common import Commands

COMMANDS: Commands = (
    status.COMMANDS
    | keys.COMMANDS
    | identities.COMMANDS
    | sessions.COMMANDS
    | support.COMMANDS
    | install.COMMANDS
)
