"""What may come in, what may go out, and what a change changes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from target_app.models import Hero
from target_app.passwords import hash_password, is_password
from target_app.repository import apply_changes, new_hero
from target_app.schemas import HeroCreate, HeroPublic, HeroUpdate

CREATE = {"name": "Nova", "secret_name": "Nora", "password": "correct horse"}


def hero() -> Hero:
    return Hero(name="Nova", secret_name="Nora", hashed_password="old", age=3, is_active=True, team_id=1)


def test_the_answer_has_no_field_for_a_secret() -> None:
    assert set(HeroPublic.model_fields) == {"id", "name", "age", "is_active", "team_id", "created_at", "updated_at"}


def test_a_new_hero_keeps_a_hash_instead_of_the_password() -> None:
    made = new_hero(HeroCreate(**CREATE, age=5))

    assert (made.name, made.secret_name, made.age, made.team_id) == ("Nova", "Nora", 5, None)
    assert "correct horse" not in made.hashed_password
    assert is_password("correct horse", made.hashed_password)
    assert not is_password("wrong horse", made.hashed_password)


def test_the_same_password_hashes_differently_and_fits_its_column() -> None:
    one, other = hash_password("p" * 200), hash_password("p" * 200)

    assert one != other
    assert len(one) <= Hero.__table__.c.hashed_password.type.length  # type: ignore[attr-defined]


def test_a_change_leaves_what_was_not_sent() -> None:
    changed = hero()

    apply_changes(changed, HeroUpdate.model_validate({"name": "Supernova"}))

    assert (changed.name, changed.secret_name, changed.hashed_password) == ("Supernova", "Nora", "old")
    assert (changed.age, changed.is_active, changed.team_id) == (3, True, 1)


def test_null_is_a_value_where_the_column_allows_it() -> None:
    changed = hero()

    apply_changes(changed, HeroUpdate.model_validate({"age": None, "team_id": None}))

    assert (changed.age, changed.team_id, changed.name) == (None, None, "Nova")


def test_a_changed_password_is_hashed() -> None:
    changed = hero()

    apply_changes(changed, HeroUpdate(password="new password"))

    assert is_password("new password", changed.hashed_password)
    assert not hasattr(changed, "password")


@pytest.mark.parametrize("field", ["name", "secret_name", "password", "is_active"])
def test_null_is_refused_where_a_value_is_needed(field: str) -> None:
    with pytest.raises(ValidationError, match=f"{field} may be left out, but not null"):
        HeroUpdate.model_validate({field: None})


@pytest.mark.parametrize("field", ["id", "is_deleted", "hashed_password", "created_at"])
def test_internal_fields_are_not_part_of_a_change(field: str) -> None:
    assert HeroUpdate.model_validate({field: 1}).changes() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "   "},
        {"name": "n" * 101},
        {"name": "a\x00b"},
        {"name": "a\nb\x00"},
        {"secret_name": "\x00"},
        {"password": "short"},
        {"password": "p" * 201},
        {"age": -1},
        {"age": 2**31},
        {"team_id": 0},
        {"team_id": 2**31},
    ],
)
@pytest.mark.parametrize("schema", [HeroCreate, HeroUpdate])
def test_what_postgres_would_refuse_is_refused_before(
    schema: type[HeroCreate | HeroUpdate], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as refused:
        schema.model_validate(CREATE | wrong)

    assert [error["loc"] for error in refused.value.errors()] == [tuple(wrong)]
