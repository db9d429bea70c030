"""A caller of your own for `bulkpages sweep`: a ring that is refilled, in two forms."""

import bulkpages as bp

ring = bp.callers.own("ring_refill")


@ring.form("v1")
def v1(env, array):
    """Passes the array unchanged until a call returns no new page."""
    filled = 0
    while filled < len(array):
        last, filled = filled, env.alloc_pages_bulk(bp.GFP_KERNEL, array, api="v1")
        if filled == last:
            return -12
    return 0


@ring.form("v2")
def v2(env, array):
    """Moves its pages to the front, then requests the rest."""
    filled = env.compact(array)
    while filled < len(array):
        got = env.alloc_pages_bulk(bp.GFP_KERNEL, array[filled:], api="v2")
        if not got:
            return -12
        filled += got
    return 0
