from cifarops.serving.metrics import Metrics


def series(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.exposition().decode().splitlines() if line.startswith(name + "{")]


def test_only_the_newest_versions_keep_their_series() -> None:
    metrics = Metrics("production", "0")
    for version in range(1, 1001):
        metrics.swapped(version)
        metrics.answered("/predict", 200, str(version), 0.01)
        metrics.computed(version, 1, 0.01)
        metrics.attempted(version, 0.01, failed=True)
    versions = {f'model_version="{version}"' for version in range(993, 1001)}
    for name in ("requests_total", "request_seconds_count", "model_seconds_count", "version_failures_total"):
        lines = series(metrics, f"cifarops_{name}")
        assert len(lines) == 8
        assert all(any(version in line for version in versions) for line in lines)
    metrics.answered("/predict", 200, "1", 0.01)
    assert any('model_version="1"' in line for line in series(metrics, "cifarops_requests_total"))


def test_going_to_an_older_version_is_a_rollback() -> None:
    metrics = Metrics("production", "0")
    for version in (1, 2, 3, 2, 4, 1):
        metrics.swapped(version)
    assert metrics.registry.get_sample_value("cifarops_swaps_total") == 6
    assert metrics.registry.get_sample_value("cifarops_rollbacks_total") == 2
    assert metrics.registry.get_sample_value("cifarops_model_version") == 1
