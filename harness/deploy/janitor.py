"""What a killed run's guard becomes: `python -m harness.deploy.janitor OWNER` clears what that run left behind."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from harness.deploy.container import remove_containers
from harness.deploy.leftovers import Owner, clear_leftovers
from harness.errors import InfrastructureError

_PATIENCE_S = 10.0
_POLL_S = 0.05


def main(text: str) -> None:
    owner = Owner.from_text(text)
    deadline_s = time.monotonic() + _PATIENCE_S
    while owner is not None and not owner.is_gone():  # its files close a moment before it is gone
        if time.monotonic() > deadline_s:
            return
        time.sleep(_POLL_S)
    clear_leftovers()
    with suppress(InfrastructureError):  # no engine, no containers
        remove_containers()


if __name__ == "__main__":
    main(sys.argv[1])
