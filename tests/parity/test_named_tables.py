"""Rule tables of named models: the same kind as those in files, and strict where sizes are read off parameters."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import parity
from parity import errors
from parity.models import MODELS

from .network_states import CONFIGS, network_state
from .test_network_conversion import same


@pytest.mark.parametrize("model", list(CONFIGS))
def test_a_models_own_table_is_one_that_files_hold_and_any_tree_takes(tmp_path: Path, model: str) -> None:
    state, specification = network_state(model), MODELS[model]
    table = specification.table(CONFIGS[model])
    parity.write_rules(tmp_path / "rules.toml", table)
    assert parity.read_rules(tmp_path / "rules.toml") == table
    by_name = parity.convert(state, model)
    by_table = parity.convert(state, jax.tree.map(jnp.zeros_like, by_name), table)
    assert jax.tree.map(lambda a, b: bool((a == b).all()), by_name, by_table) == jax.tree.map(lambda _: True, by_name)
    assert same(parity.export(by_table, table), parity.export(by_name, model))


def test_half_precision_is_for_tables_alone_unless_it_is_asked_for() -> None:
    half = network_state("small-net", dtype=np.float16)
    table = MODELS["small-net"].table(CONFIGS["small-net"])
    variables = parity.convert(half, "small-net", dtype=jnp.float32)
    with pytest.raises(errors.UnsupportedDtypeError, match="is float16, expected float32"):
        parity.convert(half, "small-net")
    kept = parity.convert(half, variables, table)
    assert same(parity.export(kept, table), half)
    with pytest.raises(errors.UnsupportedDtypeError, match="is float16, expected float32 or float64"):
        parity.export(kept, "small-net")


@pytest.mark.parametrize("shape", [(2, 4), (3, 2, 4), (3, 3, 3, 2, 4)])
def test_a_kernel_of_another_rank_shows_no_size(shape: tuple[int, ...]) -> None:
    variables = parity.convert(network_state("small-net"), "small-net")
    variables["params"]["conv1_0"]["kernel"] = np.zeros(shape, np.float32)
    with pytest.raises(errors.WrongModelError, match=r"expected arrays such as .*conv1\.0\.weight"):
        parity.export(variables, "small-net")


@pytest.mark.parametrize("model", list(CONFIGS))
def test_networks_take_images(model: str) -> None:
    assert MODELS[model].event_ndims == len(MODELS[model].events(CONFIGS[model]).shape) == 3
