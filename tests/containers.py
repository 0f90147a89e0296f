"""Containers on an engine that other tests and runs use as well."""

from __future__ import annotations

import docker

from harness.deploy.container import OWNER_LABEL
from harness.deploy.leftovers import Owner


def containers_of(pid: int) -> set[str]:
    """The ids of what this process of ours started and is still there, running or not."""
    client = docker.from_env(timeout=10)
    try:
        labelled = client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True)
        owners = {each.id: Owner.from_text(each.labels[OWNER_LABEL]) for each in labelled}
    finally:
        client.close()
    return {found for found, owner in owners.items() if owner is not None and owner.pid == pid}
