# Constraint files, and the netlist that their searches look into.

namespace eval standin {
    variable context ""      ;# SYNTHESIS or IMPLEMENTATION while a constraint file runs
    variable user_clocks {}  ;# clocks made by create_clock
    variable constraints {}  ;# {file command} of what constraint files did
    variable netlist         ;# netlist(cells|nets|ports), filled on first use

    # Every constraint file of the project, as Vivado reads them in synthesis or in implementation.
    proc run_constraints {stage} {
        variable context; variable user_clocks; variable constraints; variable constraint_commands
        variable constraint_tcl
        set user_clocks {}
        set context $stage
        foreach path [files_of constrs_1 {XDC TCL}] {
            if {![string is true [read_property file $path USED_IN_$stage]]} continue
            set names $constraint_commands
            set restricted [expr {[read_property file $path FILE_TYPE] eq "XDC"}]
            set reader [interpreter $constraint_commands]
            if {$restricted} {
                # Also the compiled forms of what is left go through these commands, so nothing else can be reached.
                foreach name [$reader eval {info commands}] {
                    if {$name ni $constraint_commands && $name ni $constraint_tcl} { $reader hide $name }
                }
            }
            set file [open $path]
            set text [read $file]
            close $file
            set number 0
            set statement ""
            foreach line [split $text \n] {
                incr number
                if {$statement eq "" && ([string trim $line] eq "" || [string match "#*" [string trim $line]])} continue
                append statement $line \n
                if {![info complete $statement]} continue
                if {[catch { $reader eval $statement } message details]} {
                    interp delete $reader
                    set context ""
                    if {[string match "invalid command name*" $message] && $restricted} {
                        set word [lindex [regexp -inline {"[^"]*"} $message] 0]
                        set message "ERROR: \[Designutils 20-1307\] $word is not supported in a constraint file"
                    }
                    return -code error -errorcode {STANDIN constraints} "$message\n  at $path line $number"
                }
                lappend constraints [list $path [string trim $statement]]
                set statement ""
            }
            if {[string trim $statement] ne ""} {
                interp delete $reader; set context ""; refuse "constraints" "$path ends inside a statement: $statement"
            }
            interp delete $reader
        }
        set context ""
    }

    proc need_netlist {command} {
        variable context
        if {$context eq ""} { need_open $command }
    }

    # --- clocks ---

    # The clocks that the processing system's and the clocking wizard's own constraints create: name, MHz.
    proc generated_clocks {} {
        variable cells; variable design; variable ps_clock_names
        set clocks {}
        foreach cell [dict keys $cells] {
            set name [lindex [dict get $cells $cell] 1]
            dict for {pin facts} [dict get [shape $cell] pins] {
                if {[dict get $facts type] ne "clk" || [dict get $facts direction] ne "out"} continue
                if {[dict exists $ps_clock_names $name]} {
                    lassign [dict get $ps_clock_names $name] stem clock
                    if {[net_of $cell/$pin] ne ""} {
                        dict set clocks $clock[string range $pin [string length $stem] end] [dict get $facts freq]
                    }
                } elseif {$name eq "clk_wiz"} {
                    dict set clocks ${pin}_${design}_[string range $cell 1 end]_0 [dict get $facts freq]
                }
            }
        }
        return $clocks
    }

    proc clock_names {} {
        variable user_clocks
        return [concat [dict keys [generated_clocks]] [dict keys $user_clocks]]
    }
    proc command::get_clocks {given} {
        need_netlist get_clocks
        set patterns [option $given patterns]
        if {[flag $given -of_objects]} { resolve [dict get $given -of_objects] ; return [give clock [clock_names]] }
        return [found get_clocks clock [select clock [clock_names] [concat {*}$patterns] $given] $patterns $given]
    }
    proc command::all_clocks {given} { need_netlist all_clocks; return [give clock [clock_names]] }
    proc on_get::clock.name {name} { return $name }
    proc on_get::clock.period {name} {
        set clocks [::standin::generated_clocks]
        if {[dict exists $clocks $name]} { return [format %.3f [expr {1000.0 / [dict get $clocks $name]}]] }
        return [dict get $::standin::user_clocks $name]
    }

    proc command::create_clock {given} {
        variable ::standin::user_clocks
        need_netlist create_clock
        set period [dict get $given -period]
        if {![string is double -strict $period] || $period <= 0} {
            refuse "Vivado 12-4739" "create_clock: -period must be a positive number, not '$period'"
        }
        set targets {}
        foreach value [option $given objects] { lappend targets {*}[need create_clock {port pin net} $value] }
        if {![llength $targets] && ![flag $given -name]} {
            refuse "Constraints 18-1000" "create_clock needs a port or pin, or -name for a virtual clock"
        }
        dict set user_clocks [option $given -name [lindex $targets 0]] $period
    }

    proc command::create_generated_clock {given} {
        variable ::standin::user_clocks
        need_netlist create_generated_clock
        foreach value [dict get $given objects] { need create_generated_clock {port pin net} $value }
        dict set user_clocks [option $given -name generated] 0
    }

    # --- exceptions ---

    foreach name {set_false_path set_max_delay set_min_delay set_multicycle_path set_bus_skew set_clock_uncertainty} {
        proc command::$name {given} "path_exception $name \$given"
    }

    proc path_exception {name given} {
        need_netlist $name
        set some 0
        foreach option {-from -to -through -rise_from -rise_to -rise_through -fall_from -fall_to
                -fall_through objects} {
            if {![flag $given $option] || ($option eq "objects" && ![llength [dict get $given $option]])} continue
            set some 1
            set values [expr {$option eq "objects" ? [dict get $given $option] : [list [dict get $given $option]]}]
            foreach value $values {
                if {![llength [resolve $value]]} {
                    refuse "Vivado 12-4739" "$name: no valid object(s) found for '$option' ($::standin::nothing_found)"
                }
                foreach pair [resolve $value] {
                    if {[lindex $pair 0] ni {cell pin port net clock}} {
                        refuse "Common 17-161" "$name: '[lindex $pair 1]' is a [lindex $pair 0]"
                    }
                }
            }
        }
        if {!$some} { refuse "Constraints 18-540" "$name: one of -from, -to, -through is needed" }
        foreach {word low} {delay -1e9 path_multiplier 0 uncertainty 0 value 0} {
            if {[dict exists $given $word] && (![string is double -strict [dict get $given $word]] \
                || [dict get $given $word] < $low)} {
                refuse "Common 17-163" "$name: <$word> must be a number, not '[dict get $given $word]'"
            }
        }
    }

    foreach name {set_input_delay set_output_delay} {
        proc command::$name {given} "
            need_netlist $name
            foreach value \[dict get \$given objects\] { need $name {port pin} \$value }
            if {\[flag \$given -clock\]} { need $name clock \[dict get \$given -clock\] }
        "
    }

    # -group occurs several times on one line; the parser keeps the last, which is enough to see that it is a clock.
    proc command::set_clock_groups {given} {
        need_netlist set_clock_groups
        if {![flag $given -group]} { refuse "Constraints 18-541" "set_clock_groups needs -group" }
        need set_clock_groups clock [dict get $given -group]
        if {![flag $given -asynchronous] && ![flag $given -logically_exclusive] \
            && ![flag $given -physically_exclusive]} {
            refuse "Constraints 18-541" \
                "set_clock_groups needs -asynchronous, -logically_exclusive or -physically_exclusive"
        }
    }

    proc command::create_pblock {given} { need_netlist create_pblock; return [one pblock [dict get $given name]] }

    # --- cells, pins, nets, ports ---

    # Ports of the DDR and FIXED_IO interfaces (UG585), of PCI Express and of differential clocks.
    variable interface_ports {
        ddrx {addr ba cas_n ck_n ck_p cke cs_n dm dq dqs_n dqs_p odt ras_n reset_n we_n}
        fixed_io {ddr_vrn ddr_vrp mio ps_clk ps_porb ps_srstb}
        pcie_7x_mgt {rxn rxp txn txp}
        diff_clock {clk_n clk_p}
    }

    # Full names of what is in the netlist: of the block design, or of the module when it is the top itself.
    proc netlist {kind} {
        variable netlist; variable design; variable cells; variable ports; variable intf_ports; variable interface_ports
        if {[info exists netlist($kind)]} { return $netlist($kind) }
        array set netlist {cells {} nets {} ports {}}
        set top [read_property fileset sources_1 TOP]
        if {$design eq "" || $top ne "${design}_wrapper"} {
            foreach port [module_ports $top] { lappend netlist(ports) [lindex $port 0] }
            walk_module $top ""
            return $netlist($kind)
        }
        foreach port [dict keys $ports] { lappend netlist(ports) [string range $port 1 end] }
        dict for {port facts} $intf_ports {
            if {![dict exists $interface_ports [dict get $facts bus]]} continue
            foreach signal [dict get $interface_ports [dict get $facts bus]] {
                lappend netlist(ports) [string range $port 1 end]_$signal
            }
        }
        lappend netlist(cells) ${design}_i
        foreach net [dict keys $::standin::net_pins] { lappend netlist(nets) ${design}_i$net }
        dict for {cell facts} $cells {
            lappend netlist(cells) ${design}_i$cell ${design}_i$cell/inst
            if {[lindex $facts 0] eq "module"} { walk_module [lindex $facts 1] ${design}_i$cell/inst/ }
        }
        return $netlist($kind)
    }

    # Instances, registers and wires of a module and of all below it.
    proc walk_module {name prefix} {
        variable netlist; variable bodies
        if {![info exists bodies]} {
            foreach path [verilog_files] {
                set file [open $path]
                foreach part [split [string map [list endmodule \u0001] [read $file]] \u0001] {
                    if {[regexp -line {^\s*module\s+(\\\S+|\w+)} $part -> module]} { set bodies($module) $part }
                }
                close $file
            }
        }
        set instances {^\s+(\\\S+|\w+)\s+(?:#\(.*\)\s*)?(\\\S+|\w+)\s*\($}
        foreach {- module instance} [regexp -all -inline -line $instances $bodies($name)] {
            if {![info exists bodies($module)]} continue
            set instance [string trimleft $instance \\]
            lappend netlist(cells) $prefix$instance
            walk_module $module $prefix$instance/
        }
        foreach {- register} [regexp -all -inline -line {^\s+reg\s+(?:\[[^\]]*\]\s*)?(\\\S+|\w+)} $bodies($name)] {
            lappend netlist(cells) $prefix[string trimleft $register \\]_reg
        }
        foreach {- wire} [regexp -all -inline -line {^\s+wire\s+(?:\[[^\]]*\]\s*)?(\\\S+|\w+)} $bodies($name)] {
            lappend netlist(nets) $prefix[string trimleft $wire \\]
        }
    }

    proc netlist_search {command type kind given} {
        need_netlist $command
        set patterns [concat {*}[option $given patterns]]
        set names [netlist $kind]
        if {[flag $given -of_objects]} { resolve [dict get $given -of_objects] }
        if {[flag $given -hierarchical]} {
            foreach pattern $patterns {
                if {[string first / $pattern] >= 0} {
                    refuse "Vivado 12-4739" \
                        "$command -hierarchical: the pattern '$pattern' must not hold '/': it is compared with the last name only"
                }
            }
            if {[llength $patterns]} {
                set names [lmap name $names {
                    if {![matches_any $patterns [file tail $name]]} continue
                    set name
                }]
            }
            set patterns_used {}
        } else {
            set patterns_used $patterns
            if {[llength $patterns]} {
                set depths [lmap pattern $patterns { llength [split $pattern /] }]
                set names [lmap name $names { if {[llength [split $name /]] ni $depths} continue; set name }]
            }
        }
        return [found $command $type [select $type $names $patterns_used $given] \
            [concat $patterns [option $given -filter]] $given]
    }

    proc command::get_cells {given} { return [netlist_search get_cells cell cells $given] }
    proc command::get_nets {given} { return [netlist_search get_nets net nets $given] }
    proc command::get_ports {given} { return [netlist_search get_ports port ports $given] }
    proc command::all_inputs {given} { need_netlist all_inputs; return [give port [netlist ports]] }
    proc command::all_outputs {given} { need_netlist all_outputs; return [give port [netlist ports]] }

    # Pins of hierarchical cells are known: those of the block design's cells and of the user's modules. A primitive's
    # are taken as given.
    proc known_pins {} {
        variable design; variable cells
        set names {}
        foreach path [all_pins pins] { lappend names ${design}_i$path }
        dict for {cell facts} $cells {
            if {[lindex $facts 0] ne "module"} continue
            foreach port [module_ports [lindex $facts 1]] {
                lappend names ${design}_i$cell/inst/[lindex $port 0] ${design}_i$cell/[lindex $port 0]
            }
        }
        return [lsort -unique $names]
    }

    proc command::get_pins {given} {
        need_netlist get_pins
        set patterns [concat {*}[option $given patterns]]
        set names [known_pins]
        if {[flag $given -hierarchical]} {
            foreach pattern $patterns {
                if {[string first / $pattern] >= 0} {
                    refuse "Vivado 12-4739" "get_pins -hierarchical: the pattern '$pattern' must not hold '/'"
                }
            }
            if {[llength $patterns]} {
                set names [lmap name $names { if {[file tail $name] ni $patterns} continue; set name }]
            }
            set names [select pin $names {} $given]
        } elseif {[llength $patterns]} {
            set primitives {}
            foreach pattern $patterns {
                if {[file tail $pattern] ni {C CE D Q R S CLR PRE CLK O I}} continue
                foreach cell [netlist cells] {
                    if {[matches [file dirname $pattern] $cell]} { lappend primitives $cell/[file tail $pattern] }
                }
            }
            set names [select pin [concat $names $primitives] $patterns $given]
        }
        return [found get_pins pin $names [concat $patterns [option $given -filter]] $given]
    }

    foreach type {cell net port pin} { proc on_get::$type.name {name} { return $name } }

    proc constraints_summary {} {
        variable constraints; return [json_texts [lmap item $constraints { lindex $item 1 }]]
    }
}
