"""Settings of recipes: defaults, files, and assignments."""

from __future__ import annotations

from pathlib import Path

import pytest

from mathdnn_jax.errors import ConfigurationError
from mathdnn_jax.recipes import RECIPES, find_recipe, known_settings, parse_assignments, read_config, resolve


@pytest.mark.parametrize("name", RECIPES)
def test_defaults_are_settings_that_resolve(name: str) -> None:
    recipe = find_recipe(name)
    settings = resolve(name, recipe, {})
    assert set(settings) == set(known_settings(recipe))
    # Resolved settings are a fixed point, so the config of a run describes the same run.
    assert resolve(name, recipe, settings) == settings


def test_defaults_that_go_with_the_data() -> None:
    for data, levels, width in (("mnist", 256, 1000), ("digits", 17, 100), ("photographs", 17, 100)):
        settings = resolve("nice", RECIPES["nice"], {"data": data})
        assert (settings["levels"], settings["width"]) == (levels, width)
    assert resolve("nice", RECIPES["nice"], {"data": "digits", "width": 7})["width"] == 7
    assert resolve("nice", RECIPES["nice"], {"data": "digits", "levels": 5})["levels"] == 5
    assert resolve("autoencoder", RECIPES["autoencoder"], {})["outliers"] == "kmnist"


def test_assignments_are_toml_or_texts() -> None:
    given = parse_assignments(
        ["epochs=3", "rate = 1e-3", "data=digits", 'prior="normal"', "widths=[3, 2]", "flag=true"]
    )
    expected = {"epochs": 3, "rate": 1e-3, "data": "digits", "prior": "normal", "widths": [3, 2], "flag": True}
    assert given == expected
    for wrong in (["epochs"], ["=3"], ["epochs=1", "epochs=2"]):
        with pytest.raises(ConfigurationError):
            parse_assignments(wrong)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epochs", 2.5, "an integer"),
        ("epochs", True, "an integer"),
        ("epochs", 0, "at least 1, given epochs=0"),
        ("batch_size", -1, "at least 1, given batch_size=-1"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", float("nan"), "positive"),
        ("learning_rate", -1.0, "positive"),
        ("learning_rate", 1e-50, "positive"),
        ("learning_rate", 1e39, "float32"),
        ("learning_rate", float("inf"), "float32"),
        ("eps", 0.0, "positive"),
        ("eps", float("nan"), "positive"),
        ("b1", -0.1, r"\[0, 1\)"),
        ("b1", 1.0, r"\[0, 1\)"),
        ("b2", 1 - 1e-9, r"\[0, 1\) in float32"),
        ("b2", float("nan"), r"\[0, 1\)"),
        ("ema_decay", 1.0, r"\[0, 1\)"),
        ("clip_norm", -1.0, "0 for no clipping"),
        ("clip_norm", float("inf"), "float32"),
        ("latent_dim", -1, "whole number from 0"),
        ("hidden", 2**31, "whole number from 0"),
        ("validation", float("nan"), r"\[0, 1\)"),
        ("variance", float("nan"), "float32"),
        ("validation", 1.0, r"\[0, 1\)"),
        ("seed", -1, "seed"),
        ("schedule", "linear", "constant, cosine"),
        ("prior", "cauchy", "trainable, standard"),
        ("binarize", 1, "true or false"),
        ("hiden", 3, "its settings are b1, b2, batch_size, binarize"),
    ],
)
def test_wrong_settings(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolve("vae", RECIPES["vae"], {key: value})


def test_a_whole_number_serves_for_a_number() -> None:
    found = resolve("vae", RECIPES["vae"], {"learning_rate": 1})["learning_rate"]
    assert type(found) is float


def test_lists_are_checked_number_by_number() -> None:
    for widths in ([-3], [4, 2**31]):
        with pytest.raises(ConfigurationError, match="whole numbers from 0 to 2147483647"):
            resolve("autoencoder", RECIPES["autoencoder"], {"widths": widths})


def test_values_beyond_all_measure() -> None:
    for key, value, message in (
        ("epochs", 10**400, "whole number from 0 to 2147483647, given 1000"),
        ("epochs", 10**5000, "too long to print"),
        ("learning_rate", 10**400, "float32"),
        ("data", [[]] * 10_000, "a string, such as 'mnist'; given "),
    ):
        with pytest.raises(ConfigurationError, match=message) as raised:
            resolve("vae", RECIPES["vae"], {key: value})
        assert len(str(raised.value)) < 300


def test_assignments_beyond_all_measure_are_texts() -> None:
    for text in ("[" * 5000, "9" * 5000):
        assert parse_assignments([f"epochs={text}"]) == {"epochs": text}


@pytest.mark.parametrize("content", [b"x = " + b"[" * 5000, b"epochs = " + b"9" * 5000, b"\xff\xfe", b"x = 1\nx = 2"])
def test_config_files_beyond_all_measure(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"c.toml cannot be read") as raised:
        read_config(tmp_path / "c.toml", "nice")
    assert len(str(raised.value)) < 400


def test_config_files(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('model = "nice"\nepochs = 3\n[versions]\njax = "1"\n')
    assert read_config(path, "nice") == {"epochs": 3}
    with pytest.raises(ConfigurationError, match="'nice', not of 'glow'"):
        read_config(path, "glow")
    path.write_text("model = [[1]]\n")
    with pytest.raises(ConfigurationError, match=r"of \[\[1\]\], not of 'nice'"):
        read_config(path, "nice")
    path.write_text("epochs = \n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_config(path, "nice")
    with pytest.raises(ConfigurationError, match="known: nice"):
        find_recipe("resnet")
