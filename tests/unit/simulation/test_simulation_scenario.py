from pathlib import Path

import numpy as np
import pytest

from cifarops.data.snapshot import Arrays
from cifarops.errors import UsageError
from cifarops.simulation.drill import load_scenarios
from cifarops.simulation.scenario import Change, Scenario, draw, load_scenario

CLASSES = ("cat", "dog", "owl")
SCENARIOS = Path(__file__).parents[3] / "scenarios"


def grey(count: int) -> Arrays:
    labels = np.random.default_rng(count).integers(0, 3, count)
    images = np.random.default_rng(count).integers(60, 180, (count, 16, 16, 3)).astype(np.uint8)
    return images, labels


def scenario(*changes: Change, requests: int = 400) -> Scenario:
    return Scenario(name="test", requests=requests, changes=changes)


def write(path: Path, text: str) -> Path:
    file = path / "s.yaml"
    file.write_text(text)
    return file


def test_every_scenario_of_the_project_is_valid() -> None:
    scenarios = load_scenarios(SCENARIOS)
    assert {each.truth for each in scenarios} == {
        "none",
        "covariate shift",
        "label shift",
        "broken input",
        "new content",
    }


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("requests: 10\nchange: []", "unknown key 'change'; did you mean 'changes'?", "changes"),
        ("requests: 10\nchanges: [{what: fgo}]", "no change 'fgo'; did you mean 'fog'?", "simulate.md"),
        ("requests: 10\nchanges: [{what: fog, severty: 2}]", "did you mean 'severity'?", "severity"),
        ("requests: 10\nchanges: [{what: fog, start: 5, end: 5}]", "before it starts", "simulate.md"),
        ("requests: 10\nchanges: [{what: mix}]", "`mix` names classes", "simulate.md"),
        ("requests: 0", "requests = 0", "simulate.md"),
        ("requests: 5\nlabels: {coverage: 2}", "labels.coverage = 2", "simulate.md"),
        ("- fog", "is no mapping", "name"),
        ("a: [", "is not YAML", "line"),
    ],
)
def test_a_slip_is_named_with_what_helps(tmp_path: Path, text: str, said: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_scenario(write(tmp_path, text))
    assert said in caught.value.message
    assert fix in caught.value.fix


def test_no_file_and_no_scenarios_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="has no scenarios"):
        load_scenarios(tmp_path)


def test_a_change_begins_grows_and_ends() -> None:
    change = Change(what="inverted", start=100, ramp=99, end=300, share=0.5)
    shares = change.shares(np.array([0, 99, 100, 149, 199, 299, 300]))
    assert shares == pytest.approx([0, 0, 0.005, 0.25, 0.5, 0.5, 0])
    images, _ = draw(scenario(change), 250, 200, grey, CLASSES)
    differs = (images != grey(200)[0]).any(axis=(1, 2, 3))
    assert 10 <= differs[:50].sum() <= 40
    assert not differs[50:].any()


def test_the_mix_of_classes_is_what_was_asked_for() -> None:
    mixed = scenario(Change(what="mix", mix={"cat": 0.5, "owl": 0.0}))
    _, labels = draw(mixed, 0, 3000, grey, CLASSES)
    shares = np.bincount(labels, minlength=3) / 3000
    assert shares == pytest.approx([1 / 3, 2 / 3, 0], abs=0.03)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(UsageError, match="no class 'cta'; did you mean 'cat'"):
        draw(scenario(Change(what="mix", mix={"cta": 2})), 0, 5, grey, CLASSES)


def test_objects_of_no_class_have_no_label() -> None:
    images, labels = draw(scenario(Change(what="new_class", start=5)), 0, 10, grey, CLASSES)
    assert (labels[5:] == -1).all()
    assert (labels[:5] >= 0).all()
    assert images.shape == (10, 16, 16, 3)


def test_the_same_seed_gives_the_same_requests_and_sources_stay_unchanged() -> None:
    kept = grey(50)

    def source(count: int) -> Arrays:
        return kept[0][:count], kept[1][:count]

    before = kept[0].copy()
    wanted = scenario(Change(what="camera"), Change(what="thumbnail", share=0.5))
    first, again = (draw(wanted, 0, 50, source, CLASSES) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(kept[0], before)


def test_load_rises_for_its_time() -> None:
    spiked = Scenario.model_validate(
        {"name": "s", "requests": 9, "spikes": [{"start": 2, "end": 4, "workers": 20}]}
    )
    assert [spiked.workers_at(k) for k in (1, 2, 3, 4)] == [4, 20, 20, 4]
    assert scenario().onset is None
