"""Measuring: metrics of images and folders, and the report on them."""
