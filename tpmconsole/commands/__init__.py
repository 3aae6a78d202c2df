"""One function per command: from its arguments to what it answers."""

from tpmconsole.commands import chip, install, keys, provision, service, sessions
from tpmconsole.commands.common import Commands

COMMANDS: Commands = (
    chip.COMMANDS
    | keys.COMMANDS
    | provision.COMMANDS
    | sessions.COMMANDS
    | service.COMMANDS
    | install.COMMANDS
)
