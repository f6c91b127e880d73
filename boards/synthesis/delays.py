"""Published delays of logic cells, and a stated model of nets: short ones, and those of a full device."""

import dataclasses
import hashlib
import math
from dataclasses import dataclass

__all__ = ["DELAYS", "Delays"]


@dataclass(frozen=True, kw_only=True)
class Delays:
    """Delays of one family and speed grade, all in ns, slow corner; nets as in small designs (the optimistic corner).

    Parameters
    ----------
    title : str
    lut : float
        Any input to output, mean over pins.
    mux : float
        MUXF7, MUXF8, MUXF9.
    ff_out, ff_setup, ff_control : float
        Clock to Q; set-up of D; set-up of CE and R.
    carry_in_carry, carry_in_sum, carry_data_carry, carry_data_sum : float
        Through one CARRY4: from CI or from S and DI, to CO or to O.
    dsp_in, dsp_pre_add, dsp_multiply, dsp_add, dsp_out : float
        Stages of a DSP48: input multiplexers, adder of an operand, multiplier to the M register, adder to the P
        register, output.
    dsp_clock, dsp_clock_p, dsp_setup, dsp_control : float
        Clock to the output of an internal register; of the P register to the pin; set-up; of CE and RST.
    bram_out, bram_out_registered, bram_setup : float
        Block RAM: clock to output without and with output register; set-up of address, data, enables.
    uram_out, uram_out_registered, uram_setup : float
        UltraRAM: the same.
    lutram_out, lutram_clock, lutram_setup : float
        Address to output; write clock to output; set-up of data, address, enable.
    net, net_doubling : float
        A net to one load; more for every doubling of the loads.
    net_local : float
        A net that placement keeps within a slice: LUT to its flip-flop or carry chain, carry chain to flip-flop.
    net_full : float
        By how much nets are longer in the pessimistic corner: of a device that is well filled.
    uncertainty : float
        Clock uncertainty and skew.
    sources : dict of str to str
        Where each figure is from.
    """

    title: str
    lut: float
    mux: float
    ff_out: float
    ff_setup: float
    ff_control: float
    carry_in_carry: float
    carry_in_sum: float
    carry_data_carry: float
    carry_data_sum: float
    dsp_in: float
    dsp_multiply: float
    dsp_pre_add: float
    dsp_add: float
    dsp_out: float
    dsp_clock: float
    dsp_clock_p: float
    dsp_setup: float
    dsp_control: float
    bram_out: float
    bram_out_registered: float
    bram_setup: float
    uram_out: float
    uram_out_registered: float
    uram_setup: float
    lutram_out: float
    lutram_clock: float
    lutram_setup: float
    net: float
    net_doubling: float
    net_local: float
    net_full: float
    uncertainty: float
    sources: dict[str, str]

    @property
    def pessimistic(self) -> "Delays":
        """The same cells, with the nets of a device that is well filled."""
        return dataclasses.replace(
            self,
            net=self.net * self.net_full,
            net_doubling=self.net_doubling * self.net_full,
            net_local=self.net_local * self.net_full,
        )

    @property
    def digest(self) -> str:
        """Of all figures: what was computed with them belongs to it."""
        figures = {
            field: value for field, value in dataclasses.asdict(self).items() if field not in ("title", "sources")
        }
        return hashlib.sha256(repr(sorted(figures.items())).encode()).hexdigest()[:16]

    def net_delay(self, loads: int) -> float:
        """Delay of a routed net with so many loads, ns."""
        return self.net + self.net_doubling * math.log2(max(loads, 1))


DELAYS: dict[str, Delays] = {
    "zynqmp": Delays(
        title="UltraScale+, speed grade -2",
        lut=0.10,
        mux=0.06,
        ff_out=0.08,
        ff_setup=-0.025,
        ff_control=0.06,
        carry_in_carry=0.012,
        carry_in_sum=0.10,
        carry_data_carry=0.16,
        carry_data_sum=0.18,
        dsp_in=0.268,
        dsp_multiply=0.552,
        dsp_pre_add=0.45,
        dsp_add=0.585,
        dsp_out=0.109,
        dsp_clock=0.21,
        dsp_clock_p=0.24,
        dsp_setup=0.10,
        dsp_control=0.16,
        bram_out=0.83,
        bram_out_registered=0.28,
        bram_setup=0.30,
        uram_out=1.30,
        uram_out_registered=0.50,
        uram_setup=0.35,
        lutram_out=0.10,
        lutram_clock=0.65,
        lutram_setup=0.15,
        net=0.20,
        net_doubling=0.06,
        net_local=0.03,
        net_full=1.35,
        uncertainty=0.13,
        sources={
            "lut": "routed Vivado reports of xcvu3p-2 (RapidWright documentation): 0.037 to 0.124 by pin, mean 0.096",
            "ff_out, ff_setup, ff_control": "the same reports: 0.078 to 0.081, -0.025, 0.061",
            "carry_*": "the same reports, CARRY8: S to CO[7] 0.155 to 0.163, CI to CO[4] 0.099; CI to CO[7] and O "
            "scaled from routed reports of "
            "xczu3eg-1 (0.023 and 0.146) by the ratio of the grades; a CARRY4 is half of a CARRY8",
            "dsp_in, dsp_multiply, dsp_add, dsp_out": "a routed Vivado report of a DSP48E2: 0.192 + 0.076, 0.505 + "
            "0.047, 0.585, 0.109",
            "dsp_control": "the same: set-up of CEA2 0.159",
            "dsp_clock": "routed reports of xczu3eg-1 (0.263) by the ratio of the grades",
            "bram_out": "a routed Vivado report of a RAMB36E2: 0.830",
            "dsp_pre_add, dsp_clock_p, dsp_setup, bram_out_registered, bram_setup, uram_*, lutram_*, mux": "assumed, "
            "from the family's reports in general",
            "net, net_doubling": "a model. The reports named above have 0.05 to 0.52 a net, mean 0.20, at up to 24 "
            "loads in small designs; a full device "
            "is worse",
            "net_full": "assumed: the upper quartile of the same reports' nets over their mean; units routed "
            "alone on an ECP5 need 1.4 to 1.5 for nine of ten of their longer paths, a whole accelerator 2.5 "
            "(docs/route.json)",
            "uncertainty": "assumed for a clock of the processing system",
        },
    ),
    "zynq7000": Delays(
        title="7 series, speed grade -1",
        lut=0.124,
        mux=0.25,
        ff_out=0.456,
        ff_setup=0.05,
        ff_control=0.205,
        carry_in_carry=0.114,
        carry_in_sum=0.334,
        carry_data_carry=0.532,
        carry_data_sum=0.62,
        dsp_in=0.362,
        dsp_multiply=2.24,
        dsp_pre_add=1.30,
        dsp_add=1.26,
        dsp_out=0.18,
        dsp_clock=0.43,
        dsp_clock_p=0.434,
        dsp_setup=0.40,
        dsp_control=0.43,
        bram_out=2.454,
        bram_out_registered=0.882,
        bram_setup=0.74,
        uram_out=0.0,
        uram_out_registered=0.0,
        uram_setup=0.0,
        lutram_out=0.124,
        lutram_clock=1.30,
        lutram_setup=0.45,
        net=0.45,
        net_doubling=0.12,
        net_local=0.05,
        net_full=1.35,
        uncertainty=0.20,
        sources={
            "lut, ff_*, carry_*": "Vivado reports of 7-series -1 parts: LUT 0.124, FDRE 0.456, CARRY4 CI to CO "
            "0.114, CI to O 0.334, S to CO 0.532",
            "dsp_*": "Vivado reports: A to P of an unregistered DSP48E1 about 4.0 in all, P register to pin 0.434",
            "bram_*": "DS187, T_RCKO_DO -1: 2.454 without and 0.882 with output register",
            "dsp_pre_add, dsp_setup, dsp_control, bram_setup, lutram_*, mux": "assumed, from the family's reports in "
            "general",
            "net, net_doubling": "a model",
            "net_full": "assumed, as for UltraScale+",
            "uncertainty": "assumed for a clock of the processing system",
        },
    ),
}
