from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cifarops.config import Params, load_params
from cifarops.errors import UsageError
from cifarops.strict import Section

PARAMS = Path(__file__).parents[2] / "params.yaml"


def _file(tmp_path: Path, change: str, to: str) -> Path:
    text = PARAMS.read_text()
    assert change in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(change, to, 1))
    return path


@pytest.mark.parametrize("profile", ["smoke", "demo", "fast", "best"])
def test_every_profile_is_complete(profile: str) -> None:
    assert load_params(PARAMS, profile).profile == profile


def test_every_profile_names_the_sections_that_the_pipeline_asks_for() -> None:
    for name, profile in yaml.safe_load(PARAMS.read_text())["profiles"].items():
        assert {"data", "train"} <= profile.keys(), name


def test_the_file_names_the_default_profile() -> None:
    assert load_params(PARAMS).profile == yaml.safe_load(PARAMS.read_text())["profile"]


def test_a_profile_overrides_the_base_and_the_command_line_overrides_both() -> None:
    base = yaml.safe_load(PARAMS.read_text())["base"]["train"]["epochs"]
    assert load_params(PARAMS, "smoke").train.epochs != base
    assert load_params(PARAMS, "smoke", {"train": {"epochs": 7}}).train.epochs == 7
    assert load_params(PARAMS, "smoke", {"train": {"epochs": 7}}).train.seed == 0


def test_an_unknown_key_is_named_with_the_nearest_valid_one(tmp_path: Path) -> None:
    path = _file(tmp_path, "batch_size:", "batchsize:")
    with pytest.raises(UsageError) as caught:
        load_params(path)
    assert "'train.batchsize'; did you mean 'batch_size'?" in caught.value.message
    assert "batch_size" in caught.value.fix


def test_a_slip_in_a_profile_that_is_not_selected_is_found(tmp_path: Path) -> None:
    document = yaml.safe_load(PARAMS.read_text())
    document["profiles"]["fast"]["data"]["sorce"] = "cifar10"
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(UsageError) as caught:
        load_params(path, "smoke")
    assert "profile fast: unknown key 'data.sorce'; did you mean 'source'?" in caught.value.message


def test_what_the_command_line_overrides_is_laid_over_the_selected_profile_only() -> None:
    with pytest.raises(UsageError, match=r"profile smoke: unknown key 'train\.epoks'"):
        load_params(PARAMS, "smoke", {"train": {"epoks": 1}})


def test_a_value_out_of_range_is_named(tmp_path: Path) -> None:
    path = _file(tmp_path, "valid_fraction: 0.1", "valid_fraction: 1.5")
    with pytest.raises(UsageError, match=r"data\.valid_fraction = 1\.5"):
        load_params(path)


def test_an_unknown_profile_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'fast'"):
        load_params(PARAMS, "fats")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1, 2]",
        "a: [",
        "base: 3\nprofiles: {demo: {}}\nprofile: demo",
        "base: {}\nprofiles: {}",
        "base: {}\nprofiles: {demo: fast}",
        "base: {}\nprofiles: {demo: {}}\ngate: {}",
        "\x00",
    ],
)
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(UsageError):
        load_params(path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no parameter file"):
        load_params(tmp_path / "absent.yaml")


def _keys(section: type[Section], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    keys: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            keys += _keys(annotation, (*prefix, name))
        else:
            keys.append((*prefix, name))
    return [key for key in keys if key != ("profile",)]


@given(st.sampled_from(_keys(Params)), st.text(alphabet="abcdefghij_", min_size=1, max_size=12))
def test_any_misspelt_key_anywhere_is_refused_by_its_full_name(key: tuple[str, ...], typo: str) -> None:
    name = f"{key[-1]}{typo}"
    override: dict[str, object] = {name: 1}
    for part in reversed(key[:-1]):
        override = {part: override}
    if ".".join((*key[:-1], name)) in {".".join(known) for known in _keys(Params)}:
        return
    with pytest.raises(UsageError) as caught:
        load_params(PARAMS, "smoke", override)
    assert ".".join((*key[:-1], name)) in caught.value.message
