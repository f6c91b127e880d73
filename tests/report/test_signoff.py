"""The sign-off page is that of its data, and says what failed."""

import json
from pathlib import Path

from moesaic.flow.verify.all import CAMPAIGNS, USUAL, Signoff
from moesaic.flow.verify.campaign import CampaignReport, Failure, Origin
from moesaic.records import to_plain
from moesaic.report.signoff import page, print_signoff, read_signoff, write_signoff

PAGE = Path(__file__).parents[2] / "docs" / "signoff.md"


def test_the_page_is_that_of_its_data() -> None:
    signoff = read_signoff(PAGE)
    assert page(signoff) == PAGE.read_text(encoding="utf-8")
    names = [campaign.origin.campaign for campaign in signoff.campaigns]
    assert set(USUAL) <= set(names) and names == [name for name in CAMPAIGNS if name in names]
    for campaign in signoff.campaigns:
        assert campaign.cases == sum(campaign.endings.values()) and (campaign.tolerant or not campaign.failures)


def test_failures_are_named(tmp_path: Path, capsys) -> None:
    origin = Origin("slaves", 3, 100, "d" * 32, "0.1.0")
    failure = Failure(17, "latency 9000", "WATCHDOG")
    signoff = Signoff((CampaignReport(origin, "slow", 1200, {"WATCHDOG": 1, "done, bit exact": 1199}, (failure,)),))
    write_signoff(signoff, tmp_path / "new" / "signoff.md")
    assert read_signoff(tmp_path / "new" / "signoff.md") == signoff
    text = (tmp_path / "new" / "signoff.md").read_text(encoding="utf-8")
    assert "1,200 cases, 1 failures" in text and "* Case 17, latency 9000: **WATCHDOG**" in text
    assert "moesaic verify slaves --count 1200 --seed 3" in text and "## Changed programs" not in text
    print_signoff(signoff)
    assert "slaves 17, latency 9000: WATCHDOG" in capsys.readouterr().out


def test_other_campaigns_of_the_page_stay(tmp_path: Path) -> None:
    """A campaign takes the place of the one with its name, in the order of the page."""

    def signoff(name: str, count: int) -> Signoff:
        origin = Origin(name, 0, 100, "d" * 32, "0.1.0")
        return Signoff((CampaignReport(origin, name, count, {"noticed: a run": count}, (), name == "mutation"),))

    path = tmp_path / "signoff.md"
    for name, count in (("mutation", 100), ("slaves", 100), ("mutation", 200)):
        write_signoff(signoff(name, count), path)
    found = [(report.origin.campaign, report.cases) for report in read_signoff(path).campaigns]
    assert found == [("slaves", 100), ("mutation", 200)]
    assert path.read_text(encoding="utf-8").count("200 are not proved equivalent. Of these 100.0 % are noticed.") == 1


def test_records_are_those_of_the_page() -> None:
    """Of campaigns that go on: as many cases as the page says, of the same hardware or sources."""
    known = {report.origin.campaign: report for report in read_signoff(PAGE).campaigns}
    records = sorted((PAGE.parent / "records").glob("*.jsonl"))
    assert records
    for path in records:
        origin, *chunks = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        report = known[origin["campaign"]]
        assert path.stem == origin["campaign"] and origin == to_plain(report.origin)
        assert sum(chunk["cases"] for chunk in chunks) == report.cases
