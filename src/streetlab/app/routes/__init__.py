"""The routes of the REST API and of the page."""
