"""Programs for developers; nothing here is needed to run the web UI."""
