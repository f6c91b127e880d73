"""What an instruction may be: one table for all who need to know.

The RTL makes its checks from it (`hw.decode.legality`), the functional simulator and the compiler call `refusal`, and a
section of `docs/isa.md` is `to_markdown`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.functions import FUNCTIONS, functions_that
from moesaic.hw.spec.isa import FORMATS, Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.quantity import Quantity, constant, of_field, of_setting
from moesaic.hw.spec.rules import Among, Has, Multiple, Needs, Paired, Rule, Within
from moesaic.hw.spec.tables import LOGIT_SHIFT_BITS

__all__ = ["RULES", "refusal", "to_markdown"]


_WRITTEN, _TAP = functions_that("written"), functions_that("tap")
_HEADS = (Stationary.KEYS, Stationary.VALUES)  # of attention


def _at_least(low: int, name: str) -> Within:
    return Within(of_field(name), low=constant(low))


def _at_most(high: Quantity, quantity: Quantity) -> Within:
    return Within(quantity, high=high)


def _equal(quantity: Quantity, other: Quantity) -> Within:
    return Within(quantity, low=other, high=other)


def _up_to(name: str, high: Quantity) -> Within:
    return Within(of_field(name), low=constant(1), high=high)


def _functions() -> tuple[Rule, ...]:
    """Each function with the option that has its unit, and with what it works on."""
    options = dict.fromkeys(use.option for use in FUNCTIONS.values() if use.option is not None)
    return (
        *(Rule({"function": functions_that("option", option)}, Has(option)) for option in options),
        *(
            Rule(
                {"function": functions_that("stationary", stationary)},
                Among("stationary", (stationary,)),
            )
            for stationary in Stationary
        ),
    )


def _keys(planes: int, blocks: Quantity) -> Rule:
    """Blocks of keys: as many as the keys need, the last one not empty."""
    lanes = of_setting("lanes")
    return Rule(
        {"stationary": (Stationary.VALUES,), "wide_stationary": (planes,)},
        Within(of_field("key_count"), low=(blocks - 1) * lanes + 1, high=blocks * lanes),
    )


_IN_BLOCKS, _PLANE = of_field("in_blocks"), of_field("shift_block")
_LAST_TOKEN = of_field("token_base") + of_field("token_count")
_ALONE = {"expert_valid": (0,)}

RULES: Mapping[Opcode, tuple[Rule, ...]] = MappingProxyType(
    {
        Opcode.MATMUL: (
            *_functions(),
            Rule(
                {"stationary": (Stationary.WEIGHTS, Stationary.KEYS)},
                Among("stream", (Stream.ACTIVATION, Stream.NORMALISED)),
            ),
            Rule({"stationary": (Stationary.VALUES,)}, Among("stream", (Stream.PROBABILITY,))),
            Rule({}, _at_least(1, "out_count")),
            Rule({}, _at_least(1, "in_blocks")),
            Rule({}, _at_most(of_setting("groups") - 1, of_field("group"))),
            # Tokens.
            Rule(_ALONE, _up_to("token_count", of_setting("max_tokens"))),
            Rule(_ALONE | {"stationary": (Stationary.WEIGHTS,)}, _at_most(of_setting("max_tokens"), _LAST_TOKEN)),
            Rule(_ALONE | {"stationary": _HEADS}, _at_most(2 * of_setting("max_tokens"), _LAST_TOKEN)),
            Rule({"expert_valid": (1,)}, _at_most(of_setting("experts") - 1, of_field("expert"))),
            Rule({"expert_valid": (1,)}, Among("function", functions_that("expert"))),
            # Widths; operands in planes: two planes on one side are the same words twice, on both sides four times.
            Rule({"narrow": (1,)}, Among("stationary", (Stationary.WEIGHTS,))),
            Rule({}, Needs("narrow", "narrow_weights")),
            Rule({"wide_stream": (0,), "wide_stationary": (0,)}, _equal(_PLANE, constant(0))),
            Rule({"wide_stream": (0,), "wide_stationary": (1,)}, _equal(_IN_BLOCKS, 2 * _PLANE)),
            Rule({"wide_stream": (1,), "wide_stationary": (0,)}, _equal(_IN_BLOCKS, 2 * _PLANE)),
            Rule({"wide_stream": (1,), "wide_stationary": (1,)}, _equal(_IN_BLOCKS, 4 * _PLANE)),
            Rule({"wide_stream": (1,)}, Among("stream", (Stream.ACTIVATION, Stream.NORMALISED))),
            Rule({"wide_stationary": (1,)}, Among("narrow", (0,))),
            Rule({"wide_result": (1,)}, Among("function", functions_that("wide"))),
            Rule({"stream": (Stream.ACTIVATION,)}, Needs("wide_stream", "wide_operands")),
            Rule({}, Needs("wide_stationary", "wide_operands")),
            Rule({}, Needs("wide_result", "wide_operands")),
            # Gates and values.
            Rule({"gated": (1,)}, Among("function", functions_that("gate"))),
            Rule({"gated": (1,)}, Paired("out_count", of_setting("rows"))),
            Rule({}, Needs("gated", "gated_mlp")),
            # Heads.
            Rule({"stationary": _HEADS}, _at_least(1, "lane_count")),
            Rule({"stationary": _HEADS}, _at_most(of_setting("lanes"), of_field("lane_low") + of_field("lane_count"))),
            Rule({"extra": (1,)}, Among("stationary", _HEADS)),
            Rule({"extra": (1,)}, Among("wide_stream", (0,))),
            Rule({"extra": (1,)}, Among("wide_stationary", (0,))),
            Rule({}, Needs("extra", "extra_key")),
            _keys(0, _IN_BLOCKS),
            _keys(1, _PLANE),
            # Results.
            Rule({"function": (Function.ROUTE,)}, _up_to("out_count", of_setting("experts"))),
            Rule({"function": (Function.ROUTE,)}, _up_to("top_k", of_setting("max_top_k"))),
            Rule({"function": (Function.ROUTE,)}, _at_most(of_field("out_count"), of_field("top_k"))),
            Rule(
                {"function": (Function.ROUTE,)}, _at_most(constant((1 << LOGIT_SHIFT_BITS) - 1), of_field("post_shift"))
            ),
            Rule({"append": (1,)}, Among("function", (Function.ROUTE,))),
            # An old residual elsewhere: the sums of the new one start anew.
            Rule({"function": (Function.ADD,), "fresh": (0,)}, _equal(of_field("scalar"), constant(0))),
            Rule({"function": _WRITTEN}, Among("dst_memory", (Memory.ACTIVATION, Memory.KV))),
            # The copy goes to the activation memory, so the result must not.
            Rule({"tap": (1,)}, Among("stream", (Stream.NORMALISED,))),
            Rule({"tap": (1,)}, Among("function", _TAP)),
            Rule({"tap": (1,), "function": tuple(f for f in _TAP if f in _WRITTEN)}, Among("dst_memory", (Memory.KV,))),
        ),
        Opcode.NORM: (
            Rule({}, _up_to("dim", of_setting("max_dim"))),
            Rule({}, _at_least(1, "epsilon")),
        ),
        Opcode.COPY: (
            Rule({}, Among("memory", (Memory.ACTIVATION, Memory.RESIDUAL))),
            Rule({}, _at_least(1, "words")),
        ),
        Opcode.FETCH: (
            Rule({}, _at_least(1, "beats")),
            Rule({}, Multiple("beats", of_setting("beats_per_word"))),
            Rule({"expert_valid": (1,)}, _at_most(of_setting("experts") - 1, of_field("expert"))),
        ),
        Opcode.STORE: (
            Rule({}, _at_least(1, "words")),
            Rule({}, Multiple("offset", of_setting("port_bits") // 8)),
            Rule({}, _at_most(of_setting("residual_words"), of_field("src_addr") + of_field("words"))),
        ),
    }
)


def refusal(opcode: Opcode, fields: Mapping[str, int], config: AcceleratorConfig | None = None) -> str | None:
    """Why an instruction means nothing: "with function GELU, dst_memory must be ACTIVATION or KV, not RESIDUAL".

    Parameters
    ----------
    opcode : Opcode
    fields : mapping of field name to int
        Enumerated fields have one of their values (`isa.decode` sees to it). Rules about fields that are not there are
        left out: the compiler asks before it knows all of them.
    config : AcceleratorConfig, optional
        Without one, what no configuration can do.

    Returns
    -------
    str or None
        None: it has a meaning.
    """

    def look(name: str) -> int:
        return fields[name] if name in fields else getattr(config, name)

    for rule in RULES[opcode]:
        if rule.fields <= fields.keys() and (config is not None or not rule.must.settings) and rule.broken(look):
            return rule.reason(opcode, look)
    return None


def to_markdown() -> str:
    """The section of `docs/isa.md`."""
    lines = []
    for opcode, rules in RULES.items():
        lines += [f"### {opcode.name}", "", "| with | |", "|---|---|"]
        lines += [f"| {rule.case(opcode)} | {rule.must.text(opcode)} |" for rule in rules]
        lines.append("")
    return "\n".join(lines)


for _opcode, _rules in RULES.items():
    _known = {_field.name for _field in FORMATS[_opcode].fields}
    for _rule in _rules:
        if not _rule.fields <= _known:
            raise AssertionError(f"{_opcode.name} has no field {sorted(_rule.fields - _known)}")
