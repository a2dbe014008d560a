"""What is predicted of subset sums: bounds of a finite n, exact where n is small or reach decides.

The theorems are orders without constants and promise nothing of any n.
"""


def predict(problem):
    return {}


def lemma(problem, epsilon, delta):
    return None


def facts(problem):
    return []


def widths(problem, criterion, epsilon, delta):
    return "-", "-"
