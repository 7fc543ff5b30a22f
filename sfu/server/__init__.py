"""The aiohttp application. The only importer of aiohttp."""
