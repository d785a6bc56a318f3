"""What is asked. Read classify.py first (scope -> operation), then rules.py and items.py; routes/ is under all."""

from ratelimit.operations.classify import ClassifyByOwn, ClassifyByRules, Rule, classify_for

__all__ = ["ClassifyByOwn", "ClassifyByRules", "Rule", "classify_for"]
