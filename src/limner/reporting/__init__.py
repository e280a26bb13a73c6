"""Pages, plots and tables that one shows: drawn from results and logs, never from a training."""
