# Reads the ports of Verilog modules, and infers interfaces from their names as a module reference does (UG994, UG1118).

namespace eval standin {
    variable module_cache

    proc module_names {path} {
        variable module_cache
        if {![info exists module_cache($path)]} {
            set file [open $path]
            set text [read $file]
            close $file
            set module_cache($path) {}
            foreach {- name} [regexp -all -inline -line {^\s*module\s+(\\\S+|\w+)} $text] {
                lappend module_cache($path) $name
            }
        }
        return $module_cache($path)
    }

    proc modules_of {fileset} {
        set names {}
        foreach path [files_of $fileset {Verilog SystemVerilog}] { lappend names {*}[module_names $path] }
        return $names
    }

    # Verilog of the project and of the user's own IP.
    proc verilog_files {} {
        variable user_ip
        return [concat [files_of sources_1 {Verilog SystemVerilog}] [lmap {- own} $user_ip { lindex $own 1 }]]
    }

    # Text of one module, without comments.
    proc module_text {name} {
        foreach path [verilog_files] {
            if {$name ni [module_names $path]} continue
            set file [open $path]
            set text [read $file]
            close $file
            set start [lindex [regexp -inline -indices "(?:^|\n)\\s*(?:\\(\\*\[^\n\]*\\*\\)\\s*)*module\\s+$name\\M" \
                $text] 0 0]
            set end [string first endmodule $text $start]
            set text [string range $text $start $end]
            regsub -all {//[^\n]*} $text "" text
            regsub -all {/\*.*?\*/} $text "" text
            return $text
        }
        refuse "filemgmt 56-195" \
            "module '$name' is not in the sources of the project: [join [modules_of sources_1] {, }]"
    }

    # Ports of a module: {name direction width attributes} in order of declaration. Attributes: X_INTERFACE_* as a dict.
    proc module_ports {name} {
        set ports {}
        set seen {}
        set declaration {((?:\(\*[^)]*?\*\)\s*)*)\m(input|output|inout)\s+(?:wire\s+|reg\s+|logic\s+)?(?:signed\s+)?(\[\s*\d+\s*:\s*\d+\s*\]\s*)?(\w+)}
        foreach {- attributes direction range port} [regexp -all -inline $declaration [module_text $name]] {
            if {$port in $seen} continue
            lappend seen $port
            set width 1
            if {[regexp {(\d+)\s*:\s*(\d+)} $range -> left right]} { set width [expr {abs($left - $right) + 1}] }
            set marks {}
            foreach {- key value} [regexp -all -inline {(X_INTERFACE_\w+)\s*=\s*"([^"]*)"} $attributes] {
                dict set marks $key $value
            }
            lappend ports [list $port $direction $width $marks]
        }
        if {![llength $ports]} { refuse "filemgmt 56-328" "module '$name' has no ports that could be read" }
        return $ports
    }

    # Signals of aximm (AMBA AXI, IHI 0022), those whose presence makes a prefix an AXI interface first.
    variable axi_read {araddr arvalid arready rdata rvalid rready rresp}
    variable axi_write {awaddr awvalid awready wdata wvalid wready bvalid bready bresp}
    variable axi_from_master {awid awaddr awlen awsize awburst awlock awcache awprot awqos awregion awuser awvalid \
        wid wdata wstrb wlast wuser wvalid bready arid araddr arlen arsize arburst arlock arcache arprot arqos \
        arregion aruser arvalid rready}
    variable axi_from_slave {awready wready bid bresp buser bvalid arready rid rdata rresp rlast ruser rvalid}

    # Parameters of aximm that X_INTERFACE_PARAMETER may set (UG1118; PG247 for their meaning), and the signals that
    # HAS_* stand for.
    variable axi_parameters {
        XIL_INTERFACENAME PROTOCOL DATA_WIDTH ADDR_WIDTH READ_WRITE_MODE ID_WIDTH AWUSER_WIDTH ARUSER_WIDTH \
            WUSER_WIDTH RUSER_WIDTH BUSER_WIDTH
        HAS_BURST HAS_LOCK HAS_PROT HAS_CACHE HAS_QOS HAS_REGION HAS_WSTRB HAS_BRESP HAS_RRESP SUPPORTS_NARROW_BURST \
            NUM_READ_OUTSTANDING
        NUM_WRITE_OUTSTANDING NUM_READ_THREADS NUM_WRITE_THREADS MAX_BURST_LENGTH FREQ_HZ PHASE CLK_DOMAIN \
            RUSER_BITS_PER_BYTE WUSER_BITS_PER_BYTE INSERT_VIP
    }
    variable axi_has {HAS_BURST burst HAS_LOCK lock HAS_PROT prot HAS_CACHE cache HAS_QOS qos HAS_REGION region \
        HAS_WSTRB wstrb HAS_BRESP bresp HAS_RRESP rresp}

    # Interface and signal that a port belongs to: by its X_INTERFACE_INFO, else by its name; "" for a plain port.
    proc axi_signal {port_name marks} {
        variable axi_from_master; variable axi_from_slave
        set all [concat $axi_from_master $axi_from_slave]
        if {[dict exists $marks X_INTERFACE_INFO]} {
            if {![regexp {^xilinx\.com:interface:aximm:1\.0 (\w+) (\w+)$} [dict get $marks X_INTERFACE_INFO] -> \
                interface signal]} {
                return ""
            }
            if {[string tolower $signal] ni $all} {
                refuse "IP_Flow 19-5653" "port '$port_name': aximm has no signal '$signal' (X_INTERFACE_INFO)"
            }
            return [list $interface [string tolower $signal]]
        }
        if {[regexp {^(.+)_(\w+)$} $port_name -> prefix signal] && [string tolower $signal] in $all} {
            return [list $prefix [string tolower $signal]]
        }
        return ""
    }

    # X_INTERFACE_PARAMETER as a dict; its names must be `known`.
    proc interface_parameters {port_name marks known} {
        set parameters {}
        if {![dict exists $marks X_INTERFACE_PARAMETER]} { return {} }
        foreach item [split [dict get $marks X_INTERFACE_PARAMETER] ,] {
            if {[llength $item] != 2} {
                refuse "IP_Flow 19-5657" \
                    "port '$port_name': X_INTERFACE_PARAMETER: '[string trim $item]' is not a name and a value"
            }
            lassign $item name value
            if {$name ni $known} {
                refuse "IP_Flow 19-5657" "port '$port_name': X_INTERFACE_PARAMETER: unknown parameter '$name'"
            }
            dict set parameters $name $value
        }
        return $parameters
    }

    # The shape of a module: its interfaces, and the other ports with their types.
    proc module_shape {name} {
        variable axi_read; variable axi_write; variable axi_from_master; variable axi_parameters
        set groups {}
        set said {}
        set plain {}
        foreach port [module_ports $name] {
            lassign $port port_name direction width marks
            if {[set place [axi_signal $port_name $marks]] ne ""} {
                dict set groups {*}$place [list $direction $width]
                dict set said [lindex $place 0] [dict merge \
                    [expr {[dict exists $said [lindex $place 0]] ? [dict get $said [lindex $place 0]] : {}}] \
                    [interface_parameters $port_name $marks $axi_parameters]]
            } else {
                lappend plain $port
            }
        }
        set clocks {}
        foreach port $plain {
            lassign $port port_name direction width marks
            if {$direction eq "input" && [port_type $port_name $marks] eq "clk"} { lappend clocks $port_name }
        }
        check_associations $name $plain [dict keys $groups]
        dict for {prefix signals} $groups {
            set reads [expr {![llength [lmap signal $axi_read \
                { if {[dict exists $signals $signal]} continue; set signal }]]}]
            set writes [expr {![llength [lmap signal $axi_write \
                { if {[dict exists $signals $signal]} continue; set signal }]]}]
            if {!$reads && !$writes} {
                refuse "IP_Flow 19-5654" \
                    "module '$name': the ports of '$prefix' do not make an AXI interface: they have only [dict keys $signals]"
            }
            set channel [expr {$reads ? "ar" : "aw"}]
            set mode [expr {[lindex [dict get $signals ${channel}addr] 0] eq "output" ? "master" : "slave"}]
            dict for {signal port} $signals {
                set drives [expr {($mode eq "master") == ($signal in $axi_from_master)}]
                if {([lindex $port 0] eq "output") != $drives} {
                    refuse "IP_Flow 19-5655" \
                        "module '$name': port '$signal' of '$prefix' has the wrong direction for a $mode"
                }
            }
            set facts [dict create \
                PROTOCOL [expr {[dict exists $signals ${channel}len] ? [lindex [dict get $signals ${channel}len] 1] \
                    == 4 ? "AXI3" : "AXI4" : "AXI4LITE"}] \
                DATA_WIDTH [lindex [dict get $signals [expr {$reads ? "rdata" : "wdata"}]] 1] \
                ADDR_WIDTH [lindex [dict get $signals ${channel}addr] 1] \
                READ_WRITE_MODE [expr {$reads && $writes ? "READ_WRITE" : $reads ? "READ_ONLY" : "WRITE_ONLY"}]]
            if {[dict get $facts PROTOCOL] eq "AXI4LITE" && [dict get $facts DATA_WIDTH] ni {32 64}} {
                refuse "IP_Flow 19-5656" \
                    "module '$name': AXI4-Lite '$prefix' is [dict get $facts DATA_WIDTH] bits wide, not 32 or 64"
            }
            check_parameters $name $prefix $signals $facts [dict get $said $prefix]
            # One clock: it belongs to every interface. Several: the module must say which.
            set owners [clock_owners $plain $prefix]
            if {![llength $owners] && [llength $clocks] == 1} { set owners $clocks }
            set words [list protocol [dict get $facts PROTOCOL] data [dict get $facts DATA_WIDTH] address \
                [dict get $facts ADDR_WIDTH] clocks $owners module 1]
            if {$mode eq "master"} { lappend words space $prefix }
            interface $mode $prefix aximm {*}$words
            if {$mode eq "slave"} {
                segment $prefix $prefix/reg0 0x0 [expr {1 << max(12, [dict get $facts ADDR_WIDTH])}] register
            }
        }
        foreach port $plain {
            lassign $port port_name direction width marks
            set words [list width $width module 1]
            set type [port_type $port_name $marks]
            if {$type eq "rst"} {
                set level [expr {[regexp -nocase {n$} $port_name] ? "low" : "high"}]
                if {[regexp {POLARITY ACTIVE_(\w+)} [expr \
                    {[dict exists $marks X_INTERFACE_PARAMETER] ? [dict get $marks X_INTERFACE_PARAMETER] : ""}] -> \
                    stated]} {
                    set level [string tolower $stated]
                }
                lappend words active $level
                if {[llength $clocks] == 1} { lappend words clock [lindex $clocks 0] }
            }
            pin [expr {$direction eq "input" ? "in" : "out"}] $port_name $type {*}$words
        }
    }

    # What X_INTERFACE_PARAMETER says of an interface against its ports: Vivado believes it, so it must be true.
    proc check_parameters {name prefix signals facts said} {
        variable axi_has
        dict for {key value} $facts {
            if {[dict exists $said $key] && [dict get $said $key] ne $value} {
                refuse "IP_Flow 19-5658" \
                    "module '$name': '$prefix' says $key [dict get $said $key], its ports are $value"
            }
        }
        foreach {key suffix} $axi_has {
            if {![dict exists $said $key]} continue
            set there [expr {[llength [dict filter $signals key a\[rw\]$suffix]] || [dict exists $signals $suffix]}]
            if {[dict get $said $key] != $there} {
                refuse "IP_Flow 19-5658" \
                    "module '$name': '$prefix' says $key [dict get $said $key], its ports [expr {$there ? "have" : \
                        "lack"}] '$suffix'"
            }
        }
        if {[dict exists $said ID_WIDTH] && [dict get $said ID_WIDTH] != 0 && ![dict exists $signals arid] \
            && ![dict exists $signals awid]} {
            refuse "IP_Flow 19-5658" \
                "module '$name': '$prefix' says ID_WIDTH [dict get $said ID_WIDTH], its ports have no identifiers"
        }
    }

    # Clocks and resets name interfaces and resets that exist.
    proc check_associations {name plain interfaces} {
        set names [lmap port $plain { lindex $port 0 }]
        foreach port $plain {
            lassign $port port_name - - marks
            set said [interface_parameters $port_name $marks \
                {XIL_INTERFACENAME ASSOCIATED_BUSIF ASSOCIATED_RESET ASSOCIATED_CLKEN FREQ_HZ FREQ_TOLERANCE_HZ PHASE \
                CLK_DOMAIN POLARITY SENSITIVITY PortWidth INSERT_VIP}]
            if {[dict exists $said ASSOCIATED_BUSIF]} {
                foreach interface [split [dict get $said ASSOCIATED_BUSIF] :] {
                    if {$interface ni $interfaces} {
                        refuse "IP_Flow 19-3157" \
                            "module '$name': ASSOCIATED_BUSIF of '$port_name' names '$interface', which is no interface: it has [join $interfaces {, }]"
                    }
                }
            }
            if {[dict exists $said ASSOCIATED_RESET] && [dict get $said ASSOCIATED_RESET] ni $names} {
                refuse "IP_Flow 19-3158" \
                    "module '$name': ASSOCIATED_RESET of '$port_name' names '[dict get $said ASSOCIATED_RESET]', which is no port"
            }
            foreach {key choices} {POLARITY {ACTIVE_LOW ACTIVE_HIGH} SENSITIVITY \
                {LEVEL_HIGH LEVEL_LOW EDGE_RISING EDGE_FALLING}} {
                if {[dict exists $said $key] && [dict get $said $key] ni $choices} {
                    refuse "IP_Flow 19-5657" "module '$name': $key of '$port_name' must be one of $choices"
                }
            }
        }
    }

    # What a port is: by X_INTERFACE_INFO, else by the names that Vivado's inference knows.
    proc port_type {name marks} {
        if {[dict exists $marks X_INTERFACE_INFO]} {
            foreach {vlnv type} {clock clk reset rst interrupt intr} {
                if {[string match "xilinx.com:signal:$vlnv:1.0 *" [dict get $marks X_INTERFACE_INFO]]} { return $type }
            }
        }
        if {[regexp -nocase {(^|_)(a?clk|clock)$|^clk} $name]} { return clk }
        if {[regexp -nocase {(^|_)(a?re?se?tn?|a?rst_n)$|^rst} $name]} { return rst }
        if {[regexp -nocase {(^|_)(irq|intr?|interrupt)$} $name]} { return intr }
        return undef
    }

    # Clocks whose ASSOCIATED_BUSIF names this interface.
    proc clock_owners {ports prefix} {
        set owners {}
        foreach port $ports {
            lassign $port name - - marks
            if {[dict exists $marks X_INTERFACE_PARAMETER] \
                && [regexp {ASSOCIATED_BUSIF\s+([^,]*)} [dict get $marks X_INTERFACE_PARAMETER] -> list] \
                && $prefix in [split [string trim $list] :]} {
                lappend owners $name
            }
        }
        return $owners
    }
}
