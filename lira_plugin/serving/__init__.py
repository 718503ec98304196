"""A server that answers as OpenAI's does, with masks. Only some of its files need ``lira_plugin[serve]``."""
