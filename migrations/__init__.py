"""Alembic migrations, packaged so that an installed `verivote db upgrade` finds them."""
