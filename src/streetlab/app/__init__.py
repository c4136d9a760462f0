"""The web app: a page that shows what finished runs see in photos and videos, and the REST API behind it."""
