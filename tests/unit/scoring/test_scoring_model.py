from pathlib import Path

import pytest

from cifarops.errors import UsageError
from cifarops.scoring.model import choose_model
from tests.support.bundles import colour_bundle
from tests.support.serving import set_version, settings_of


def test_by_default_what_the_environment_runs(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(UsageError, match="staging runs no version yet"):
        choose_model(settings, "staging", version=None, digest=None)
    bundle, other = colour_bundle(settings.bundles), colour_bundle(settings.bundles, rotation=1)
    set_version(settings.ledger, 3, bundle, "staging")
    assert choose_model(settings, "staging", version=None, digest=None).digest == bundle.digest
    assert choose_model(settings, "staging", version=None, digest=other.digest[:12]).digest == other.digest


def test_a_version_and_a_bundle_can_not_both_be_meant(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(UsageError, match="are named"):
        choose_model(settings, "production", version=1, digest="abc")
