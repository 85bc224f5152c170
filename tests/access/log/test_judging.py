"""What a judgement costs where very much is wrong."""

from lastgood.access.log import judging, merkle


def test_rows_whose_finding_is_only_counted_are_not_looked_up() -> None:
    """To look one up reads a file; an export that went through a change of line ends has a million of them."""
    hashes = [bytes([1]) + number.to_bytes(31, "big") for number in range(1200)]
    tiles = merkle.extend(0, hashes, merkle.nothing)
    asked: list[int] = []

    def name(index: int) -> str:
        asked.append(index)
        return "a row"

    report = judging.Report()
    other = b"".join(bytes([2]) + one[1:] for one in hashes)
    judging.judge(report, judging.Evidence(1200, 0, other, tiles, name), [])
    assert (len(report.findings), report.more) == (1000, 201), "the rows, and a tile over them"
    assert len(asked) == sum(finding.kind == "altered" for finding in report.findings) == 999
