"""The lock that a fork renews."""

import os
import pickle
import threading

from kdrec.store import ProcessLock


def in_a_child(lock: ProcessLock) -> int:
    """How a forked child ends that takes the lock."""
    child = os.fork()
    if child == 0:
        with lock:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    lock, held, done = ProcessLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert in_a_child(lock) == 7
    done.set()
    thread.join()
    with lock, lock:  # reentrant, and free again
        pass


def test_a_sent_lock_is_a_new_one_that_a_fork_renews_too() -> None:
    copy = pickle.loads(pickle.dumps(ProcessLock()))
    assert in_a_child(copy) == 7
