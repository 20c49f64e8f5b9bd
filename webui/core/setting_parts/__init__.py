"""Settings by feature, where one has many; `webui.core.settings` is made of them."""
