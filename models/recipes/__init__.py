"""The table of all recipes: claims about initialization, as experiments that anyone can repeat."""

from __future__ import annotations

from models.recipes import criticality, depth, inputs, laws, notebooks, pretraining, zeros
from models.recipes.base import Judgement, Outcome, Recipe

__all__ = ["LONG", "RECIPES", "Judgement", "Outcome", "Recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in sorted(
        (
            *zeros.RECIPES,
            *laws.RECIPES,
            *depth.RECIPES,
            *criticality.RECIPES,
            *inputs.RECIPES,
            *notebooks.RECIPES,
            *pretraining.RECIPES,
        ),
        key=lambda recipe: int(recipe.name.removeprefix("R")),
    )
}

LONG = frozenset({"R14"})
"""Recipes that take many minutes; they run only when they are named."""
