"""How figures are written."""


def tally(counts):
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def ms(microseconds):
    return f"{microseconds / 1000:,.1f} ms"


def mb(count):
    """Megabytes of a million bytes each, as the bars mean them."""
    return f"{count / 1e6:,.1f} MB"
