"""A Stable Diffusion web UI and API in the manner of AUTOMATIC1111's, on diffusers."""

__version__ = "0.1.0"
