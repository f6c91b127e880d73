# validate_bd_design: every mistake of the design that Vivado reports, and those that it lets pass but that would not
# work.

namespace eval standin {
    proc command::validate_bd_design {given} {
        need_design
        validate
    }

    proc validate {} {
        variable validated
        set mistakes [concat [cell_mistakes] [clock_mistakes] [reset_mistakes] [signal_mistakes] [interface_mistakes] \
            [interrupt_mistakes] [address_mistakes]]
        refuse_all "BD 41-1031" "validate_bd_design failed:" $mistakes
        set validated 1
    }

    proc cell_mistakes {} {
        variable cells
        set mistakes {}
        foreach cell [dict keys $cells] {
            foreach text [dict get [shape $cell] complaints] { lappend mistakes "\[BD 41-1273] '$cell': $text" }
        }
        return $mistakes
    }

    proc pins_of_type {type direction} {
        set paths {}
        foreach path [all_pins pins] {
            set facts [pin_facts $path]
            if {[dict get $facts type] eq $type && [dict get $facts direction] eq $direction} { lappend paths $path }
        }
        return $paths
    }

    proc clock_mistakes {} {
        variable pin_config
        set mistakes {}
        foreach pin [pins_of_type clk in] {
            set source [clock_source $pin]
            if {$source eq ""} {
                lappend mistakes "\[BD 41-758] clock pin '$pin' is not connected to a valid clock source"
            } elseif {[dict get [pin_facts $source] type] ne "clk"} {
                lappend mistakes \
                    "\[BD 41-758] clock pin '$pin' is driven by '$source', which is not a clock but [dict get [pin_facts $source] type]"
            } elseif {[info exists pin_config($pin)] && [dict exists $pin_config($pin) FREQ_HZ] \
                && [dict get $pin_config($pin) FREQ_HZ] != [hertz [frequency_of $source]]} {
                lappend mistakes \
                    "\[BD 41-237] FREQ_HZ of '$pin' ([dict get $pin_config($pin) FREQ_HZ]) is not that of '$source' ([hertz [frequency_of $source]])"
            } elseif {[set mhz [frequency_of $source]] ne ""} {
                set facts [pin_facts $pin]
                if {[dict exists $facts wants] && abs($mhz - [dict get $facts wants]) > 0.01 * $mhz} {
                    lappend mistakes "\[BD 41-237] '$pin' is told [dict get $facts wants] MHz, but gets $mhz"
                }
                if {[dict exists $facts at_most] && $mhz > [dict get $facts at_most]} {
                    lappend mistakes "\[BD 41-237] '$pin' takes [dict get $facts at_most] MHz at most, but gets $mhz"
                }
            }
        }
        # A clocking cell must be told the frequency that it really gets.
        foreach pin [pins_of_type clk out] {
            set facts [pin_facts $pin]
            if {![dict exists $facts derives]} continue
            set real [frequency_of [clock_source [file dirname $pin]/[dict get $facts derives]]]
            if {$real ne "" && abs($real - [dict get $facts expects]) > 0.01 * $real} {
                lappend mistakes \
                    "\[BD 41-237] '[file dirname $pin]' expects [dict get $facts expects] MHz at [dict get $facts derives], but gets $real"
            }
        }
        return $mistakes
    }

    proc reset_mistakes {} {
        set mistakes {}
        foreach pin [pins_of_type rst in] {
            set facts [pin_facts $pin]
            set net [net_of $pin]
            set source [expr {$net eq "" ? "" : [driver $net]}]
            if {$source eq ""} {
                if {![dict get $facts tied]} {
                    lappend mistakes "\[BD 41-759] reset pin '$pin' is not connected to a reset source"
                }
                continue
            }
            set source_facts [pin_facts $source]
            if {[dict get $source_facts type] ne "rst"} {
                lappend mistakes \
                    "\[BD 41-1347] reset pin '$pin' is driven by '$source', which is not a reset but [dict get $source_facts type]"
                continue
            }
            set levels [list [dict get $facts active] [dict get $source_facts active]]
            if {"any" ni $levels && [lindex $levels 0] ne [lindex $levels 1]} {
                lappend mistakes \
                    "\[BD 41-1346] reset pin '$pin' is active [lindex $levels 0], its source '$source' active [lindex $levels 1]"
            }
            if {[dict get $facts asynchronous]} continue
            if {[dict get $source_facts asynchronous]} {
                lappend mistakes \
                    "\[BD 41-1348] reset pin '$pin' is connected to the asynchronous source '$source': a proc_sys_reset belongs between them"
                continue
            }
            set clock [dict get $facts clock]
            if {$clock in {"" any}} continue
            set own [clock_source [file dirname $pin]/$clock]
            set given [clock_source [file dirname $source]/[dict get $source_facts clock]]
            if {$own ne $given} {
                lappend mistakes \
                    "\[BD 41-1347] reset pin '$pin' belongs to clock '$own', its source '$source' is synchronous to '$given'"
            }
        }
        return $mistakes
    }

    # Plain pins: inputs without a driver, outputs of the user's module that nothing reads, widths.
    proc signal_mistakes {} {
        variable net_pins
        set mistakes {}
        foreach pin [all_pins pins] {
            set facts [pin_facts $pin]
            set net [net_of $pin]
            if {[dict get $facts type] in {data undef} && [dict get $facts direction] eq "in" \
                && ![dict get $facts tied] && ($net eq "" || [driver $net] eq "")} {
                lappend mistakes "\[BD 41-759] input pin '$pin' is not connected"
            }
            if {[dict exists $facts needed] && ($net eq "" || [llength [dict get $net_pins $net]] < 2)} {
                lappend mistakes "\[standin needed] output pin '$pin' must lead somewhere"
            }
            if {[dict exists $facts module] && [dict get $facts direction] eq "out" && ($net eq "" \
                || [llength [dict get $net_pins $net]] < 2) && [dict get $facts type] ne "intr"} {
                lappend mistakes "\[BD 41-759] output pin '$pin' drives nothing"
            }
        }
        dict for {net members} $net_pins {
            if {[llength $members] < 2 || [driver $net] eq ""} {
                lappend mistakes "\[BD 41-1306] net '$net' has no driver or no load: [join $members {, }]"
                continue
            }
            set source [driver $net]
            foreach member $members {
                set widths [list [dict get [pin_facts $source] width] [dict get [pin_facts $member] width]]
                if {[lindex $widths 0] != [lindex $widths 1] && [dict get [pin_facts $member] type] ne "intr"} {
                    lappend mistakes \
                        "\[BD 41-235] width of '$source' is [lindex $widths 0], of '$member' [lindex $widths 1]"
                }
                if {$member ne $source && [dict get [pin_facts $source] type] in {clk rst} \
                    && [dict get [pin_facts $member] type] in {data undef intr} \
                    && ![dict get [pin_facts $member] tied]} {
                    lappend mistakes \
                        "\[BD 41-1731] '$source' is a [dict get [pin_facts $source] type], '$member' is [dict get [pin_facts $member] type]"
                }
            }
        }
        return $mistakes
    }

    proc interface_mistakes {} {
        variable intf_nets; variable intf_ports
        set mistakes {}
        foreach path [all_pins interfaces] {
            set facts [interface_facts $path]
            if {[partner $path] ne "" || [dict get $facts optional]} continue
            if {[dict get $facts external]} {
                lappend mistakes "\[BD 41-759] '$path' must be brought out to the board (make_external)"
            } else {
                lappend mistakes "\[BD 41-759] [dict get $facts mode] interface '$path' is not connected"
            }
        }
        dict for {net ends} $intf_nets {
            if {[llength $ends] != 2} {
                lappend mistakes "\[BD 41-1306] interface net '$net' has one end: [join $ends {, }]"; continue
            }
            lassign $ends one other
            set a [interface_facts $one]
            set b [interface_facts $other]
            if {[dict get $a bus] ne [dict get $b bus]} {
                lappend mistakes "\[BD 41-237] '$one' is [dict get $a bus], '$other' is [dict get $b bus]"
                continue
            }
            if {[dict exists $intf_ports $one] || [dict exists $intf_ports $other]} continue
            lappend mistakes \
                {*}[fit_mistakes $one $a $other $b] {*}[domain_mistakes $one $a] {*}[domain_mistakes $other $b]
        }
        return $mistakes
    }

    # Two cells that meet without an interconnect must agree in everything.
    proc fit_mistakes {one a other b} {
        if {[dict get $a adapts] || [dict get $b adapts]} { return {} }
        set mistakes {}
        foreach {key name} {protocol PROTOCOL data DATA_WIDTH} {
            if {[dict get $a $key] ne [dict get $b $key]} {
                lappend mistakes "\[BD 41-237] $name of '$one' is [dict get $a $key], of '$other' [dict get $b $key]"
            }
        }
        if {[clock_of_interface $one] ne [clock_of_interface $other]} {
            lappend mistakes \
                "\[BD 41-237] CLK_DOMAIN of '$one' is '[clock_of_interface $one]', of '$other' '[clock_of_interface $other]'"
        }
        return $mistakes
    }

    # Beside an interconnect: the other side's clock must be one of its own, and a port of the processing system as wide
    # as its user.
    proc domain_mistakes {path facts} {
        set other [partner $path]
        if {![dict get $facts adapts]} {
            if {![llength [dict get $facts clocks]]} {
                return [list "\[BD 41-967] interface '$path' is associated with no clock: its cell has several, and no ASSOCIATED_BUSIF names it"]
            }
            return {}
        }
        set mistakes {}
        lassign [split_path $path] cell
        set own [lmap clock [dict get $facts clocks] { clock_source $cell/$clock }]
        set clock [clock_of_interface $path]
        if {$clock ne "" && $clock ni $own} {
            lappend mistakes \
                "\[BD 41-237] '$other' is clocked by '$clock', which is not connected to '$cell' (it has: [join $own {, }])"
        }
        if {[dict get $facts mode] eq "master"} {
            set width [dict get [interface_facts $other] data]
            set module [dict get [interface_facts $other] module]
            dict for {side side_facts} [dict get [shape $cell] interfaces] {
                if {[dict get $side_facts mode] ne "slave" || [set source [partner $cell/$side]] eq ""} continue
                set source_facts [interface_facts $source]
                if {[dict get $source_facts module] && !$module && [dict get $source_facts data] > $width \
                    && [dict get $source_facts protocol] ne "AXI4LITE"} {
                    lappend mistakes \
                        "\[standin width] '$source' is [dict get $source_facts data] bits wide, but '$other' behind it is configured for $width: half of its bandwidth would be lost"
                }
            }
        }
        return $mistakes
    }

    # An interrupt must reach the processing system; one that drives nothing makes a driver wait for ever.
    proc interrupt_mistakes {} {
        set mistakes {}
        foreach pin [pins_of_type intr out] {
            if {![reaches_interrupt $pin]} {
                lappend mistakes \
                    "\[standin interrupt] interrupt '$pin' is not connected to an interrupt input of a processing system"
            }
        }
        foreach pin [pins_of_type intr in] {
            set net [net_of $pin]
            if {$net eq "" || [driver $net] eq ""} {
                if {![dict get [pin_facts $pin] tied]} {
                    lappend mistakes "\[BD 41-759] interrupt input '$pin' is not connected"
                }
                continue
            }
            set source [driver $net]
            if {[dict get [pin_facts $source] type] in {clk rst}} {
                lappend mistakes \
                    "\[BD 41-1731] interrupt input '$pin' is driven by '$source', a [dict get [pin_facts $source] type]"
            }
            # One that is sampled with a clock must come with it: a controller's of its own has synchronisers.
            set clock [dict get [pin_facts $pin] clock]
            if {$clock ne ""} {
                set own [clock_source [file dirname $pin]/$clock]
                if {$own ni [clocks_of $source]} {
                    lappend mistakes \
                        "\[standin crossing] interrupt input '$pin' is sampled with '$own', but '$source' comes with [clocks_of $source]: a synchroniser belongs between them"
                }
            }
        }
        return $mistakes
    }

    # Clocks that an output may change with: its own, or all of its cell's.
    proc clocks_of {pin} {
        set cell [file dirname $pin]
        set clock [dict get [pin_facts $pin] clock]
        if {$clock ne ""} { return [list [clock_source $cell/$clock]] }
        return [lmap input [pins_of_type clk in] {
            if {[file dirname $input] ne $cell} continue
            clock_source $input
        }]
    }

    proc reaches_interrupt {pin} {
        variable net_pins
        set net [net_of $pin]
        if {$net eq ""} { return 0 }
        foreach member [dict get $net_pins $net] {
            if {$member eq $pin} continue
            set facts [pin_facts $member]
            if {[dict get $facts type] eq "intr"} { return 1 }
            if {[dict exists $facts carries_interrupt] && [dict get $facts direction] eq "in" \
                && [reaches_interrupt [file dirname $member]/[dict get $facts carries_interrupt]]} { return 1 }
        }
        return 0
    }

    proc address_mistakes {} {
        variable mapped
        set mistakes {}
        foreach space [address_spaces] {
            foreach master [masters_of $space] {
                set slaves [lsort -unique [reached $master]]
                set by_interface {}
                foreach slave $slaves {
                    dict lappend by_interface "[lrange [split $slave /] 0 1] [lindex [segment_facts $slave] 0]" $slave
                }
                dict for {- segments} $by_interface {
                    set open [lmap slave $segments { if {[is_mapped $space $slave]} continue; set slave }]
                    if {[llength $open] == [llength $segments]} {
                        lappend mistakes \
                            "\[BD 41-1356] slave segment '[lindex $open 0]' is not assigned into address space '$space'"
                    } else {
                        foreach slave $open {
                            warn "BD 41-1356" \
                                "slave segment '$slave' is neither assigned into address space '$space' nor excluded from it"
                        }
                    }
                }
            }
        }
        set seen {}
        dict for {path facts} $mapped {
            lassign $facts space slave offset range excluded
            if {[set why [misplaced $space $slave $offset $range]] ne ""} { lappend mistakes "\[BD 41-1804] $why" }
            set other [overlapping $space $offset $range $path]
            if {$other ne "" && [list $other $path] ni $seen} {
                lappend mistakes "\[BD 41-1051] segment '$path' at [hex $offset] overlaps '$other'"
                lappend seen [list $path $other]
            }
        }
        return $mistakes
    }
}
