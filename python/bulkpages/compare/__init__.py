"""The cross-version suite: design of experiments, statistics, report."""
