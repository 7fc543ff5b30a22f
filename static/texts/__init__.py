"""Every text of the web app, by language."""
