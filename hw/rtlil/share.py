"""Equal modules, written once."""

from moesaic.hw.rtlil.design import Item, Module
from moesaic.hw.rtlil.names import rename, verilog_names

__all__ = ["share"]


def _in_order(module: Module) -> None:
    """Number the ports by name, and sort the connections of cells: both orders are free."""
    for number, port in enumerate(sorted(module.ports, key=lambda port: port.name), start=1):
        port.head[port.head.index(port.direction or "") + 1] = str(number)
    for item in module.items:
        if item.kind == "cell":
            item.body.sort(key=lambda line: (line[0] != "parameter", line[:2]))
    module.items.sort(key=lambda item: (item.kind != "wire", item.name if item.kind == "wire" else ""))


def _key(module: Module) -> str:
    """What must be the same in equal modules: all but where they stand, and in which order they check."""

    def bare(item: Item) -> Item:
        attributes = {name: value for name, value in item.attributes.items() if name != "\\src"}
        body = [line for line in item.body if line[-2:-1] != ["\\PRIORITY"]]
        return Item(item.head, item.name, attributes, body)

    return Module("\\", {}, [bare(item) for item in module.items], module.connections).text()


def share(modules: dict[str, Module], *, top: str) -> dict[str, Module]:
    """Give every module its Verilog names, and keep one of those that are equal then.

    Amaranth writes every instance as a module of its own. An array of equal rows then costs Yosys, Verilator and the
    C++ compiler the sum of its rows; shared, it costs one. Two modules are equal if logic and names are, without the
    numbers by which Amaranth tells names apart.

    Parameters
    ----------
    modules : dict of str to Module
        Changed.
    top : str
        Module whose ports keep their names.
    """
    first: dict[str, str] = {}  # text -> the first module that has it
    final: dict[str, str] = {}  # module -> the one that stands for it
    ports: dict[str, dict[str, str]] = {}  # module -> the new name of each port

    def visit(name: str) -> str:
        if name in final:
            return final[name]
        module = modules[name]
        for cell in module.of_kind("cell"):
            if cell.type in modules:
                child = cell.type
                cell.head[1] = visit(child)
                for line in cell.body:
                    if line[0] == "connect":
                        line[1] = ports[child].get(line[1], line[1])
        is_top = name == top
        before = module.ports
        own = [item.name for item in before]
        rename(module, verilog_names(module, modules, keep_ports=is_top))
        ports[name] = {old: item.name for old, item in zip(own, before, strict=True)}
        _in_order(module)
        final[name] = first.setdefault(_key(module), name)
        return final[name]

    visit(top)
    return {name: module for name, module in modules.items() if final.get(name) == name}
