"""One machine, several Python threads."""

import threading

import pytest

import bulkpages as bp


@pytest.mark.parametrize("threads", [False, True])
def test_threads_share_a_machine_and_lose_nothing(threads: bool) -> None:
    m = bp.Machine("128MiB", cpus=4, threads=threads)
    assert m.threads is threads
    errors: list[BaseException] = []
    left: list[bp.PageArray] = []

    def work(cpu: int) -> None:
        try:
            kept = bp.PageArray(64)
            for turn in range(200):
                a = bp.PageArray(97)
                m.alloc_pages_bulk(bp.GFP_KERNEL, a, api="v1" if turn % 2 else "v2", cpu=cpu)
                pfn = m.alloc_pages(bp.GFP_ATOMIC, turn % 4, cpu=cpu)
                if pfn is not None:
                    m.free_pages(pfn, turn % 4, cpu=(cpu + 1) % 4)
                m.free_bulk(a, cpu=(cpu + turn) % 4)
                if turn % 50 == 0:
                    m.drain_local_pages(cpu)
            m.alloc_pages_bulk(bp.GFP_KERNEL, kept, api="v2", cpu=cpu)
            left.append(kept)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(cpu,)) for cpu in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    pages = [page for a in left for page in a if page]
    assert len(pages) == len(set(pages)) == m.audit().allocated


def test_of_several_frees_of_one_page_one_succeeds() -> None:
    m = bp.Machine("64MiB", cpus=2, threads=True)
    for _ in range(50):
        pfn = m.alloc_pages(bp.GFP_KERNEL)
        assert pfn is not None
        outcomes: list[bool] = []

        def free(pfn: int = pfn, outcomes: list[bool] = outcomes) -> None:
            try:
                m.free_pages(pfn)
                outcomes.append(True)
            except bp.ApiMisuse:
                outcomes.append(False)

        workers = [threading.Thread(target=free) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(outcomes) == [False, False, False, True]
        m.audit()
