"""Questions that are asked once a run: growth, windows, failures, contention, published figures, claims."""
