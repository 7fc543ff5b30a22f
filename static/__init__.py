"""The web app's files, shipped as package data."""
