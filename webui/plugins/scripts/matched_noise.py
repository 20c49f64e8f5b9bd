"""Noise that looks like a picture: what outpainting lays where nothing is yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def matched_noise(image: Array, mask: Array, *, falloff: float = 1.0, color_variation: float = 0.05) -> Array:
    """The picture with noise of its own spectrum and colours under the mask. The same every time.

    image: (H, W, 3), 0..1; black under the mask.   mask: (H, W), 1 where noise is wanted.
    falloff: how steeply fine detail fades; lower keeps more of it.   color_variation: 0 grey, 1 colourful.
    The idea is g-diffuser-bot's, which A1111's "Outpainting mk2" uses: random numbers get the amplitudes and phases of the known
    part's Fourier transform, and then the known part's histogram.
    """
    known, wanted = mask < 1e-3, mask > 1e-6
    if not wanted.any():
        return image
    if not known.any():
        known = wanted
    soft = mask[..., None]
    reference = image * (1 - soft)
    reference = reference / max(float(reference.max()), 1e-6) + float(image.mean()) * soft
    spectrum = np.fft.fft2(reference, axes=(0, 1), norm="ortho")
    amplitude = np.abs(spectrum)
    phase = np.divide(spectrum, amplitude, out=np.ones_like(spectrum), where=amplitude > 1e-12)
    noise = _smoothed(_random(image.shape, color_variation))
    shaped = np.abs(np.fft.fft2(noise, axes=(0, 1), norm="ortho")) ** 2 * amplitude**falloff * phase
    pattern = np.real(np.fft.ifft2(shaped, axes=(0, 1), norm="ortho"))
    matched = np.empty_like(pattern)
    for channel in range(pattern.shape[2]):
        matched[..., channel] = _with_histogram(pattern[..., channel], wanted, image[..., channel][known])
    return np.clip(image * (1 - soft) + matched * soft, 0.0, 1.0)


def _random(shape: tuple[int, ...], color_variation: float) -> Array:
    """Uniform numbers, mostly the same in all channels.  A fixed seed, so that a picture depends on its own seed alone."""
    noise = np.random.default_rng(0).random(shape)
    grey = noise.mean(axis=2, keepdims=True)
    mixed: Array = noise * color_variation + grey * (1 - color_variation)
    return mixed


def _smoothed(noise: Array) -> Array:
    """With high frequencies damped by 1 / ((u^2 + 1)(v^2 + 1)); u, v: -1..1 along the shorter side, more along the longer."""
    height, width = noise.shape[:2]
    shorter = min(height, width)
    down = np.fft.fftfreq(height)[:, None] * 2 * height / shorter
    across = np.fft.fftfreq(width)[None, :] * 2 * width / shorter
    window = 1 / ((down**2 + 1) * (across**2 + 1))
    smooth: Array = np.real(np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * window[..., None], axes=(0, 1)))
    return smooth


def _with_histogram(values: Array, place: NDArray[np.bool_], reference: Array) -> Array:
    """The values at `place` replaced, rank by rank, by those of the reference; the others as they are."""
    changed = values.copy()
    found = values[place]
    ranks = np.empty(found.size, dtype=np.float64)
    ranks[np.argsort(found, kind="stable")] = (np.arange(found.size) + 0.5) / found.size
    changed[place] = np.interp(ranks, (np.arange(reference.size) + 0.5) / reference.size, np.sort(reference))
    return changed
