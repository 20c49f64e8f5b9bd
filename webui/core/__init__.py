"""Plain data that every other room speaks: requests, events, settings, errors. No torch, gradio or fastapi."""
