"""Experiments: tables of papers and grids of one's own, cell by cell, resumable, with a report."""
