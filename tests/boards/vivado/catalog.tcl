# The IP catalog, and the shape of cells: the pins and interfaces that their parameters make.

namespace eval standin {
    variable ip            ;# ip(name) = {versions parameters shape}
    variable config        ;# config(path) = parameters of a cell that differ from the default
    variable shapes        ;# shapes(path) = cache of the cell's shape
    variable pin_config    ;# pin_config(path) = CONFIG.* of a pin or interface, set by the script
    variable shaping       ;# what is being collected by `pin` and `interface`
    variable usual_interface {
        protocol "" data 0 address 0 clocks {} space "" optional 0 external 0 adapts 0 through 0 module 0
    }

    # --- IP definitions (facts/ip_*.tcl) ---

    proc ip {name body} { variable ip; set ip($name) $body }

    # The version of an IP in this release of Vivado: the last one that came before or with it.
    proc ip_version {name} {
        variable ip; variable release
        set found ""
        foreach {since version} [dict get $ip($name) versions] {
            if {[package vcompare $since $release] <= 0} { set found $version }
        }
        return $found
    }

    proc latest_vlnv {name} { return xilinx.com:ip:$name:[ip_version $name] }

    # A VLNV as given, complete: without version or with * the newest of this release.
    proc find_ip {vlnv} {
        variable ip; variable release
        if {![regexp {^([^:]+):([^:]+):([^:]+)(?::([^:]+))?$} $vlnv -> vendor library name version]} {
            refuse "BD 41-164" "'$vlnv' is not vendor:library:name:version"
        }
        if {"$vendor:$library" ne "xilinx.com:ip" || ![info exists ip($name)]} {
            refuse "BD 5-390" "IP '$vlnv' is not in the IP catalog"
        }
        if {$version ne "" && ![string match $version [ip_version $name]]} {
            refuse "BD 5-390" \
                "IP '$vlnv' is not in the IP catalog of Vivado $release, which has version [ip_version $name]"
        }
        return $name
    }

    # --- shapes ---

    proc pin {direction name type args} {
        variable shaping
        set usual {width 1 tied 0 active any clock "" asynchronous 0}
        dict set shaping pins $name [dict merge $usual [list direction $direction type $type] $args]
    }
    proc interface {mode name bus args} {
        variable shaping; variable usual_interface
        dict set shaping interfaces $name [dict merge $usual_interface [list mode $mode bus $bus] $args]
    }
    proc segment {interface name base size usage} {
        variable shaping
        dict set shaping segments $name [list $interface [bytes $base] [bytes $size] $usage]
    }
    # A mistake that shows when the design is validated.
    proc complain {text} { variable shaping; dict lappend shaping complaints $text }

    # A parameter that names an interface of the board: there must be one, of that kind, and a clock of that frequency.
    proc on_board {parameter name kind {mhz ""}} {
        variable boards
        if {$name eq "Custom"} return
        set board [board_of_project]
        set known {}
        if {$board ne "" && [dict exists $boards $board -interfaces]} { set known [dict get $boards $board -interfaces] }
        if {![dict exists $known $name]} {
            complain "$parameter is '$name', which is no interface of the board: [dict keys $known]"
        } elseif {[lindex [dict get $known $name] 0] ne $kind} {
            complain "$parameter is '$name', which is a [lindex [dict get $known $name] 0], not a $kind"
        } elseif {$mhz ne "" && [lindex [dict get $known $name] 1] != $mhz} {
            complain "$parameter is '$name' of [lindex [dict get $known $name] 1] MHz, but $mhz are expected"
        }
    }
    proc aperture {interface base size} {
        variable shaping
        set known [expr {[dict exists $shaping apertures $interface] ? [dict get $shaping apertures $interface] : {}}]
        dict set shaping apertures $interface [concat $known [list [list [bytes $base] [bytes $size]]]]
    }

    # 64K, 2G, 0x1000: bytes.
    proc bytes {text} {
        if {[regexp {^(0[xX][0-9a-fA-F_]+|\d+)([KMGT]?)$} $text -> number unit]} {
            return [expr {[string map {_ ""} $number] << [dict get {"" 0 K 10 M 20 G 30 T 40} $unit]}]
        }
        refuse "BD 41-1075" "'$text' is not an address or a size"
    }

    proc shape {cell} {
        variable cells; variable shapes; variable shaping; variable ip
        if {![info exists shapes($cell)]} {
            lassign [dict get $cells $cell] kind name
            set shaping {pins {} interfaces {} segments {} apertures {} complaints {}}
            if {$kind eq "module"} {
                module_shape $name
            } else {
                array set C [cell_config $cell]
                eval [dict get $ip($name) shape]
            }
            set shapes($cell) $shaping
        }
        return $shapes($cell)
    }

    proc cell_config {cell} {
        variable cells; variable ip; variable config
        set all {}
        lassign [dict get $cells $cell] kind name
        if {$kind eq "module"} { return {} }
        dict for {parameter rule} [dict get $ip($name) parameters] { dict set all $parameter [lindex $rule 0] }
        return [dict merge $all $config($cell)]
    }

    proc config_rule {type path parameter} {
        variable cells; variable ip
        if {$type eq "bd_cell"} {
            lassign [dict get $cells $path] kind name
            if {$kind eq "module"} {
                refuse "BD 41-1276" "Cannot set the parameter '$parameter' on '$path': module '$name' has no parameters"
            }
            set known [dict get $ip($name) parameters]
            if {![dict exists $known $parameter]} {
                refuse "BD 41-1276" \
                    "Cannot set the parameter '$parameter' on '$path' ($name). Parameter does not exist."
            }
            return [dict get $known $parameter]
        }
        set known [dict get {
            bd_pin {FREQ_HZ PHASE CLK_DOMAIN ASSOCIATED_BUSIF ASSOCIATED_RESET POLARITY SENSITIVITY PortWidth}
            bd_port {FREQ_HZ PHASE CLK_DOMAIN ASSOCIATED_BUSIF ASSOCIATED_RESET POLARITY SENSITIVITY}
            bd_intf_pin {PROTOCOL DATA_WIDTH ADDR_WIDTH FREQ_HZ CLK_DOMAIN ID_WIDTH READ_WRITE_MODE HAS_BURST
                MAX_BURST_LENGTH NUM_READ_OUTSTANDING NUM_WRITE_OUTSTANDING SUPPORTS_NARROW_BURST}
            bd_intf_port {PROTOCOL DATA_WIDTH ADDR_WIDTH FREQ_HZ CLK_DOMAIN}
        } $type]
        if {$parameter ni $known} {
            refuse "BD 41-1276" "Cannot set the parameter '$parameter' on '$path': a $type has $known"
        }
        return {"" any}
    }

    proc set_config {type path parameter value} {
        variable config; variable shapes; variable pin_config; variable validated
        set validated 0
        if {$type eq "bd_cell"} {
            dict set config($path) $parameter $value
            unset -nocomplain shapes($path)
            return
        }
        # Vivado takes FREQ_HZ of a module's pin, and then keeps to it; of other cells it is computed.
        dict set pin_config($path) $parameter $value
    }

    proc get_config {type path parameter} {
        variable pin_config
        if {$type eq "bd_cell"} {
            if {$parameter eq "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"} {
                return [dict get [shape $path] pins pl_clk0 freq]
            }
            if {$parameter eq "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"} {
                return [dict get [shape $path] pins FCLK_CLK0 freq]
            }
            return [dict get [cell_config $path] $parameter]
        }
        if {[info exists pin_config($path)] && [dict exists $pin_config($path) $parameter]} {
            return [dict get $pin_config($path) $parameter]
        }
        if {$type eq "bd_intf_pin"} {
            set facts [interface_facts $path]
            switch -- $parameter {
                PROTOCOL { return [dict get $facts protocol] }
                DATA_WIDTH { return [dict get $facts data] }
                ADDR_WIDTH { return [dict get $facts address] }
                FREQ_HZ { return [hertz [frequency_of [clock_of_interface $path]]] }
            }
        }
        if {$type eq "bd_pin" && $parameter eq "FREQ_HZ"} { return [hertz [frequency_of [clock_source $path]]] }
        return ""
    }

    proc hertz {mhz} { return [expr {$mhz eq "" ? "" : round($mhz * 1000000)}] }

    # A parameter took pins away that are connected.
    proc drop_lost_pins {cell} {
        variable net_pins; variable intf_nets
        foreach nets {net_pins intf_nets} section {pins interfaces} {
            dict for {net members} [set $nets] {
                foreach member $members {
                    if {[string match $cell/* $member] && ![dict exists [shape $cell] $section [file tail $member]]} {
                        dict set $nets $net [lsearch -all -inline -not -exact $members $member]
                        warn "BD 41-1731" "'$member' is gone after its cell was configured: net '$net' lost it"
                    }
                }
            }
        }
    }
}
