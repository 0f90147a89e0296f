"""Whom a load reaches, and from where: services that are somebody's, generators on other machines."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from harness.domain.cell import Cell
from harness.domain.experiment import Load, Target
from harness.errors import UsageError
from harness.plan.lines import Source


def check_reach(cell: Cell, source: Source) -> None:
    """Raise UsageError for a load that nobody has said is welcome, or that workers could not send."""
    _check_welcome(cell.target, source)
    if cell.load.workers is not None:
        _check_workers(cell.load, cell.target, source)


def _check_welcome(target: Target, source: Source) -> None:
    """An experiment saturates what it measures, so a service elsewhere has to be the user's own."""
    if target.url is None or target.mine:
        return
    host = _host(target.url)
    if not host:
        raise UsageError(
            f"{_at(source, 'target.url')}: target.url is no http:// or https:// address.",
            next_step='Set target.url, for example to "http://127.0.0.1:8000".',
        )
    if not is_loopback(host):
        raise UsageError(
            f"{_at(source, 'target.url')}: target.url is on {host}, not on this machine, and a load may overwhelm it.",
            next_step="If the service is yours to load, set target.mine = true.",
        )


def _check_workers(load: Load, target: Target, source: Source) -> None:
    assert load.workers is not None
    if load.processes > 1:
        raise UsageError(
            f"{_at(source, 'load.processes')}: load.processes and load.workers are both given.",
            next_step="Take one of them out: each worker is one process; start more workers instead.",
        )
    host, _, port = load.workers.bind.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(
            f'{_at(source, "load.workers.bind")}: load.workers.bind must be host:port, not "{load.workers.bind}".',
            next_step='Set it, for example, to "0.0.0.0:5557".',
        )
    if not is_loopback(host) and (target.url is None or is_loopback(_host(target.url))):
        raise UsageError(
            f"{_at(source, 'load.workers.bind')}: workers on other machines cannot reach a target that listens on this "
            "machine's loopback.",
            next_step="Set target.url to an address that the workers can reach, or bind to 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; a name other than localhost may lead anywhere."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _host(url: str) -> str:
    """The host of a URL, without user, password and port; "" when it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in ("http", "https") else ""


def _at(source: Source, key: str) -> str:
    return source.where(f"matrix.{key}", key)
