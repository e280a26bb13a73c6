"""A page to draw on, and pictures over HTTP."""
