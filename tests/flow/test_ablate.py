"""What each idea is worth, on the RTL: every variant changes cycles or bytes, and no bit of the result."""

from pathlib import Path

from moesaic import job
from moesaic.flow.ablate import VARIANTS, ablate
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.golden.training import scenes
from moesaic.report.ablation import add_to_report
from moesaic.report.stored import read_report


def test_variants(tmp_path: Path) -> None:
    request = make_request(model="m3vit-micro", blocks=2)
    stages = Stages(quiet=True)
    program, _ = make_program(request, stages)
    image = scenes.render_batch([7], request.model.image_size)[0][0]
    result = ablate(program, image, "semseg", stages)
    rows = {row.name: row for row in result.variants}
    assert [*rows] == [variant.name for variant in VARIANTS]
    for row in rows.values():
        assert row.bit_exact, row
        assert abs(row.model_cycles / row.cycles - 1) < 0.05, row
    whole = rows.pop("all")
    for name, row in rows.items():
        # Small as it is, this network hides most of DDR: what waits longer may end in the same cycle, never earlier.
        # Only experts in another order may: by what the cost model says, to a cycle.
        if name == "no_speculation":
            assert abs((row.cycles - whole.cycles) - (row.model_cycles - whole.model_cycles)) <= 1, row
        else:
            assert row.cycles >= whole.cycles, row
        assert (row.cycles, row.bytes_read) != (whole.cycles, whole.bytes_read), row
        assert row.bytes_read > whole.bytes_read or name in (
            "no_speculation",
            "no_prefetch",
            "no_attention_reordering",
        )
    assert rows["no_token_reordering"].bytes_read > 5 * whole.bytes_read
    assert rows["no_attention_reordering"].cycles > 2 * whole.cycles

    job.simulate(program, Options(out=tmp_path / "out", rtl=False), stages)
    page = add_to_report(result, tmp_path / "out")
    assert read_report(tmp_path / "out").ablation == result
    assert "What each idea is worth" in page.read_text()
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 1000
