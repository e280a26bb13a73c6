"""Look before training: what is measured of a data set, and what is found wrong with it."""

from limner.checks.checking import CHECKS, CheckResult, check_data

__all__ = ["CHECKS", "CheckResult", "check_data"]
