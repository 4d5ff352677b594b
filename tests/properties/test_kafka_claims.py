"""What is settled of one partition, over several claims, against a plain list of what became of each offset."""

from hypothesis import given
from hypothesis import strategies as st

from microlith.transports.kafka.claims import Claim
from microlith.transports.kafka.marks import read_mark, write_mark

START = 40

steps = st.lists(
    st.sampled_from(["take", "take", "take", "settle", "settle again", "put back", "give up"]), max_size=60
)


class Partition:
    """A partition, and everybody who has ever had it."""

    def __init__(self) -> None:
        self.claim = Claim(0, START, START)
        self.out: set[int] = set()
        self.settled: set[int] = set()
        self.handed_out: list[int] = []
        self.high = START

    def take(self) -> None:
        offset = self.claim.next
        self.claim.next += 1
        if self.claim.take_in(offset):
            assert offset not in self.settled, "handed out though it was settled"
            self.out.add(offset)
            assert offset < self.claim.seen or offset not in self.handed_out, "handed out again without a word"
            self.handed_out.append(offset)
            self.high = max(self.high, offset + 1)
        else:
            assert offset in self.settled, "passed over though it was not settled"

    def settle(self, offset: int) -> None:
        self.claim.settle(offset)
        self.settled.add(offset)
        self.out.discard(offset)

    def put_back(self, offset: int) -> None:
        """What waits and was not handed out: the end of what is out."""
        self.claim.put_back(offset)
        self.claim.next = offset
        self.out = {one for one in self.out if one < offset}
        self.handed_out = [one for one in self.handed_out if one < offset or one in self.settled]

    def give_up(self) -> None:
        """Somebody else of the group goes on where the commit says."""
        done, mark = self.claim.done, write_mark(self.claim.done, self.claim.settled)
        untouched = self.claim.untouched
        assert not untouched or not any(offset >= done for offset in self.handed_out), "it was touched"
        self.claim = Claim(0, done, done if untouched else self.high)
        self.claim.remember(done, read_mark(done, mark))
        self.out.clear()

    def check(self) -> None:
        unsettled = [offset for offset in range(START, self.claim.next) if offset not in self.settled]
        assert self.claim.done == (unsettled[0] if unsettled else self.claim.next)
        assert self.claim.out == bool(self.out)


@given(steps, st.data())
def test_only_what_is_settled_from_the_start_on_is_committed_and_nothing_settled_comes_again(steps, data):
    partition = Partition()

    for step in steps:
        out = sorted(partition.out)
        if step == "take":
            partition.take()
        elif step == "settle" and out:
            partition.settle(data.draw(st.sampled_from(out)))
        elif step == "settle again" and partition.settled:
            partition.claim.settle(data.draw(st.sampled_from(sorted(partition.settled))))
        elif step == "put back" and out and out[-1] == partition.claim.next - 1:
            partition.put_back(out[-1])
        elif step == "give up":
            partition.give_up()
        partition.check()
