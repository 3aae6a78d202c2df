"""Imports without end, for the board: a power cut always comes in the middle of one.

``python import_for_ever.py IDENTITIES FIRST SECOND TRUST COUNTER``: two certificates in turn.
"""

import itertools
import sys
from pathlib import Path

from tpmconsole.identity.store import IdentityStore

identities, first, second, trust, counter = map(Path, sys.argv[1:])
store = IdentityStore(identities)
chains = [first.read_bytes(), second.read_bytes()]
for number in itertools.count(1):
    store.install("gateway", chains[number % 2], trust.read_bytes())
    counter.write_text(str(number))
