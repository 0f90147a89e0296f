"""`python -m harness.generator.outline`: load scenarios without sending anything, for `poolbench plan`.

Reads a JSON list of `{"launch": a launch as in loadplan.json, "model", "users"}` from standard input and writes, as the
last line of standard output, what each comes to: `{"tasks": {name: share}, "users": {class: count}, "notes"}`, or
`{"failure": as in failed.json}`. What scenarios print goes to standard error. No listener but that of the scenario's
arguments is told anything.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections import Counter
from typing import Any

from harness.errors import PoolbenchError
from harness.generator.closed_users import divide
from harness.generator.exchange import launch_of
from harness.generator.monitor import live_no_longer_than
from harness.generator.scenario import load_scenario
from harness.signals import failure


def main() -> None:
    live_no_longer_than(os.getppid())
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    wanted = json.load(sys.stdin)
    outlines = [_outline(number, **each) for number, each in enumerate(wanted)]
    with os.fdopen(answer, "w", encoding="utf-8") as file:
        json.dump(outlines, file)
    gc.freeze()  # the interpreter would look through all of it once more at the end


def _outline(number: int, *, launch: Any, model: Any, users: int) -> dict[str, Any]:
    try:
        scenario = load_scenario(launch_of({**launch, "launch_id": f"outline{number}"}), {model})
    except PoolbenchError as error:
        return {"failure": failure(error)}
    total = sum(task.weight for task in scenario.tasks)
    classes = [] if model == "open" else divide(scenario.user_classes, users)
    return {
        "tasks": {task.name: task.weight / total for task in scenario.tasks},
        "users": Counter(user_class.__name__ for user_class in classes),
        "notes": list(scenario.notes),
    }


if __name__ == "__main__":
    main()
