from hypothesis import given
from hypothesis import strategies as st

from cifarops.serving.rate import Rate


def bucket(arrivals: list[float], per_second: float, burst: int) -> list[bool]:
    """The same limit as a bucket of tokens that fills steadily."""
    level, last, allowed = float(burst), arrivals[0], []
    for at in arrivals:
        level, last = min(burst, level + (at - last) * per_second), at
        allowed.append(level >= 1 - 1e-6)
        level -= allowed[-1]
    return allowed


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
    st.sampled_from([0.5, 1.0, 4.0]),
    st.integers(1, 8),
)
def test_it_allows_what_a_bucket_of_tokens_allows(steps: list[int], per_second: float, burst: int) -> None:
    arrivals = [sum(steps[: k + 1]) / 16 for k in range(len(steps))]
    rate = Rate(per_second, burst)
    assert [not rate.wait_s("a", at) for at in arrivals] == bucket(arrivals, per_second, burst)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=40))
def test_after_the_wait_that_it_names_a_request_is_allowed(steps: list[int]) -> None:
    rate, now = Rate(2, 3), 0.0
    for step in steps:
        now += step / 10
        if wait := rate.wait_s("a", now):
            now += wait
            assert rate.wait_s("a", now) == 0


def test_clients_do_not_count_for_each_other_and_only_so_many_are_remembered() -> None:
    rate = Rate(1, 1)
    assert rate.wait_s("a", 0) == 0
    assert rate.wait_s("a", 0) == 1
    for k in range(20_000):
        assert rate.wait_s(f"client {k}", 0) == 0
    assert len(rate._expected) == 10_000
