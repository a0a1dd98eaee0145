"""The tables say what was measured."""

from __future__ import annotations

from bench.report import medians, table


def a_round(p50: float, client: float) -> dict[str, object]:
    return {"p50_ms": p50, "mapped_s": None, "cpu_us_call": {"client": client, "worker": 10.0}}


def test_the_median_is_taken_figure_by_figure_and_a_missing_one_stays_missing() -> None:
    summary = medians([a_round(3.0, 1.0), a_round(1.0, 5.0), a_round(2.0, 3.0)])
    assert summary["p50_ms"] == 2.0
    assert summary["mapped_s"] is None


def test_cpu_time_is_summed_over_the_roles_of_a_round_and_kept_by_role() -> None:
    summary = medians([a_round(1.0, 1.0), a_round(1.0, 5.0), a_round(1.0, 3.0)])
    assert summary["cpu_us_call"] == 13.0
    assert summary["cpu_us_call_by_role"] == {"client": 3.0, "worker": 10.0}


def test_ratios_are_ours_divided_by_the_peer_and_absent_figures_are_dashes() -> None:
    text = table({"ours": medians([a_round(1.0, 1.0)]), "parsl": medians([a_round(4.0, 1.0)])}, "ours")
    ratio = next(line for line in text.splitlines() if line.startswith("| Parsl HTEX |") and "×" in line)
    assert ratio.startswith("| Parsl HTEX | 0.25× | – |")


def test_a_reference_that_was_not_measured_leaves_the_figures_alone() -> None:
    text = table({"parsl": medians([a_round(4.0, 1.0)])}, "ours")
    assert "×" not in text
    assert "| Parsl HTEX | 4.00 |" in text
