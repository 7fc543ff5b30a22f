"""The web app's pages and their parts."""
