"""A request's account as `TimedApp` makes it, for tests that have no request."""

from __future__ import annotations

from harness.probe.accounting import Account


def new_account() -> Account:
    account = Account()
    for name in Account.__slots__:
        setattr(account, name, 0)
    return account
