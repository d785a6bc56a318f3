"""What is asked. Read classify.py first (scope -> operation), then rules.py and items.py; paths.py is under all."""

from ratelimit.operations.classify import ClassifyByOwn, ClassifyByRules, Rule, classify_for

__all__ = ["ClassifyByOwn", "ClassifyByRules", "Rule", "classify_for"]
