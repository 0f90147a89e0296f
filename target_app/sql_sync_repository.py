"""SyncHeroRepository over a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from target_app import statements
from target_app.models import Base, Hero, Team
from target_app.repository import (
    AUTOCOMMIT,
    REPEATABLE_READ,
    TRANSACTION,
    Behaviour,
    RefusedError,
    SimultaneousChangeError,
    apply_changes,
    move_all,
    new_hero,
    refusals,
)
from target_app.schemas import HeroCreate, HeroUpdate, ImportResult, RefusedRow, TeamCreate
from target_app.settings import Loader


class SqlSyncHeroRepository:
    """SyncHeroRepository over a session."""

    def __init__(self, session: Session, behaviour: Behaviour) -> None:
        self._session = session
        self._behaviour = behaviour

    def create(self, body: HeroCreate) -> Hero:
        hero = new_hero(body)
        self._session.add(hero)
        with refusals():
            self._save(hero)
        return hero

    def get(self, hero_id: int) -> Hero | None:
        self._only_read()
        return self._session.scalar(statements.HERO_BY_ID, {"hero_id": hero_id})

    def page(self, *, offset: int, limit: int) -> Sequence[Hero]:
        self._only_read()
        return self._session.scalars(statements.HERO_PAGE, {"offset": offset, "limit": limit}).all()

    def page_after(self, hero_id: int, *, limit: int) -> Sequence[Hero]:
        self._only_read()
        return self._session.scalars(statements.HERO_PAGE_AFTER, {"after": hero_id, "limit": limit}).all()

    def update(self, hero_id: int, body: HeroUpdate) -> Hero | None:
        mode = self._behaviour.update_mode
        if mode == "repeatable_read":
            self._session.connection(execution_options=REPEATABLE_READ)
        statement = statements.hero_to_change(mode, returning=self._behaviour.returning)
        with refusals():
            hero: Hero | None = self._session.scalar(statement, {"hero_id": hero_id})
            if hero is not None:
                apply_changes(hero, body)
                self._save(hero)
        return hero

    def delete(self, hero_id: int) -> bool:
        statement = statements.DELETE_HERO if self._behaviour.hard_delete else statements.MARK_HERO_DELETED
        with refusals():
            deleted = self._session.scalar(statement, {"hero_id": hero_id})
            self._commit()
        return deleted is not None

    def import_heroes(self, bodies: Sequence[HeroCreate]) -> ImportResult:
        """All in one transaction, each behind a savepoint: a row that is refused takes nothing else with it."""
        result = ImportResult(imported=[], refused=[])
        with self._unit_of_work():
            for row, body in enumerate(bodies):
                hero = new_hero(body)
                try:
                    with refusals(), self._session.begin_nested():
                        self._session.add(hero)
                    result.imported.append(hero.id)
                except RefusedError as error:
                    result.refused.append(RefusedRow(row=row, reason=error.detail))
        return result

    def create_team(self, body: TeamCreate) -> Team:
        team = Team(**body.model_dump())
        self._session.add(team)
        with refusals():
            self._save(team)
        return team

    def team(self, team_id: int) -> Team | None:
        self._only_read()
        return self._session.scalar(statements.TEAM_BY_ID, {"team_id": team_id})

    def teams(self, *, offset: int, limit: int) -> Sequence[Team]:
        self._only_read()
        return self._session.scalars(statements.TEAM_PAGE, {"offset": offset, "limit": limit}).all()

    def rosters(self, *, offset: int, limit: int, loader: Loader) -> Sequence[Team]:
        self._only_read()
        found = self._session.scalars(statements.ROSTERS[loader], {"offset": offset, "limit": limit})
        teams = found.unique().all()
        for team in teams:
            _ = team.heroes  # a query where they are lazy, nothing where they are there
        return teams

    def move(self, hero_ids: Sequence[int], team_id: int) -> Sequence[Hero]:
        """All or none."""
        with refusals(), self._unit_of_work():
            heroes = self._session.scalars(statements.HEROES_TO_MOVE, {"hero_ids": hero_ids}).all()
            move_all(heroes, hero_ids, team_id)
        if self._behaviour.refresh:
            heroes = self._session.scalars(statements.HEROES_BY_IDS, {"hero_ids": hero_ids}).all()
        return heroes

    def _only_read(self) -> None:
        """Begin without BEGIN, if that is asked for."""
        if self._behaviour.autocommit_reads:
            self._session.connection(execution_options=AUTOCOMMIT)

    @contextmanager
    def _unit_of_work(self) -> Iterator[None]:
        """A transaction: committed at the end, rolled back on an exception."""
        if not self._behaviour.commit:
            yield
            self._session.flush()
            return
        with self._session.begin():
            if self._behaviour.autocommit:
                self._session.connection(execution_options=TRANSACTION)
            yield

    def _commit(self) -> None:
        if self._behaviour.commit:
            self._session.commit()
        else:
            self._session.flush()

    def _save(self, row: Base) -> None:
        self._commit()
        if self._behaviour.refresh:
            try:
                self._session.refresh(row)
            except InvalidRequestError as error:  # the row is gone again
                raise SimultaneousChangeError from error
