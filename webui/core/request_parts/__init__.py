"""The parameters of a request, a file a feature. `webui.core.request` puts them together."""
