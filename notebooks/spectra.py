"""Spectra of a star: make them, find the lines, say how fast the star moves. Shared by the notebooks beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Hydrogen and sodium, in nm.
KNOWN = {"Hβ": 486.13, "Na D2": 588.99, "Na D1": 589.59, "Hα": 656.28}


@dataclass
class Line:
    """An absorption line: where it is (nm), how deep it goes below the continuum, how wide it is (nm)."""

    center: float
    depth: float
    width: float


def observe(seed: int, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths in nm and the flux of a star that nobody has seen; `seed` says which."""
    rng = np.random.default_rng(seed)
    wavelength = np.arange(460.0, 680.0, 0.05)
    shift = rng.normal(0, 4e-4)
    flux = np.ones_like(wavelength)
    for center in KNOWN.values():
        flux -= rng.uniform(0.4, 0.7) * np.exp(-0.5 * ((wavelength - center * (1 + shift)) / 0.12) ** 2)
    return wavelength, flux + rng.normal(0, noise, len(wavelength))


def find_lines(wavelength: np.ndarray, flux: np.ndarray, below: float = 0.8) -> list[Line]:
    """The absorption lines: each run of points below `below`, its center weighted by depth."""
    dark = np.flatnonzero(flux < below)
    runs = np.split(dark, np.flatnonzero(np.diff(dark) > 3) + 1) if len(dark) else []
    found = []
    for run in runs:
        depth = 1 - flux[run]
        center = float(np.average(wavelength[run], weights=depth))
        found.append(Line(center, float(depth.max()), float(wavelength[run[-1]] - wavelength[run[0]])))
    return found


def redshift(lines: list[Line]) -> float:
    """How much longer the waves are than in the laboratory, from the known lines nearest to those found."""
    shifts = []
    for line in lines:
        nearest = min(KNOWN.values(), key=lambda known: abs(known - line.center))
        shifts.append(line.center / nearest - 1)
    return float(np.median(shifts))
