# The block design: IP cells, their pins as their parameters make them, and nets.

namespace eval standin {
    variable ip            ;# ip(name) = {versions parameters shape}
    variable design ""     ;# the block design; "" before create_bd_design
    variable validated 0
    variable cells {}      ;# path -> {kind name vlnv}
    variable config        ;# config(path) = parameters that differ from the default
    variable shapes        ;# shapes(path) = cache of the cell's shape
    variable ports {}      ;# /name -> properties: scalar ports of the design
    variable intf_ports {} ;# /name -> properties
    variable net_pins {}   ;# net -> paths of pins and ports
    variable intf_nets {}  ;# net -> the two ends
    variable pin_config    ;# pin_config(path) = CONFIG.* set by the script
    variable shaping       ;# what is being collected by `pin` and `interface`

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
        variable shaping; dict set shaping pins $name [dict merge {width 1 tied 0 active any clock "" asynchronous 0} [list direction $direction type $type] $args]
    }
    proc interface {mode name bus args} {
        variable shaping; dict set shaping interfaces $name [dict merge {protocol "" data 0 address 0 clocks {} space "" optional 0 external 0 adapts 0 through 0 module 0} [list mode $mode bus $bus] $args]
    }
    proc segment {interface name base size usage} {
        variable shaping
        dict set shaping segments $name [list $interface [bytes $base] [bytes $size] $usage]
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
            set shaping {pins {} interfaces {} segments {} apertures {}}
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
            bd_intf_pin {PROTOCOL DATA_WIDTH ADDR_WIDTH FREQ_HZ CLK_DOMAIN ID_WIDTH READ_WRITE_MODE HAS_BURST MAX_BURST_LENGTH NUM_READ_OUTSTANDING NUM_WRITE_OUTSTANDING SUPPORTS_NARROW_BURST}
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

    # --- designs ---

    proc need_design {} {
        variable design
        need_project
        if {$design eq ""} { refuse "BD 5-104" "A block design must be open to run this command." }
        return $design
    }

    proc command::create_bd_design {given} {
        variable ::standin::design; variable ::standin::folder; variable ::standin::project
        need_project
        if {$design ne ""} { refuse "BD 41-1111" "design '$design' is open; the stand-in holds one block design" }
        set design [dict get $given name]
        if {![regexp {^[A-Za-z]\w*$} $design]} {
            refuse "BD 41-1112" "design name '$design' must be a letter, then letters, digits and underscores"
        }
        set home [expr {[flag $given -dir] ? [file join [dict get $given -dir] $design] : [file join $folder $project.srcs sources_1 bd $design]}]
        file mkdir $home
        set path [file join $home $design.bd]
        write_output $path create_bd_design 1
        take_files create_bd_design [list $path] sources_1
        return [one bd_design $design]
    }

    proc command::current_bd_design {given} { return [one bd_design [need_design]] }
    proc command::open_bd_design {given} { return [one bd_design [need_design]] }
    proc command::close_bd_design {given} { need_design; return }
    proc command::get_bd_designs {given} {
        variable ::standin::design
        return [give bd_design [expr {$design eq "" ? {} : [list $design]}]]
    }
    proc command::current_bd_instance {given} {
        need_design
        if {[lindex [option $given instance /] 0] ne "/"} {
            refuse "BD 5-232" "no hierarchical cell '[option $given instance]'"
        }
        return [object bd_cell /]
    }
    proc command::save_bd_design {given} { need_design; return }
    proc command::save_bd_design_as {given} { need_design; return }
    proc command::regenerate_bd_layout {given} { need_design; return }
    proc on_get::bd_design.name {name} { return $name }
    proc on_get::bd_design.file_name {name} { return $name.bd }
    proc on_get::bd_design.validated {name} { return $::standin::validated }

    # --- cells ---

    proc command::create_bd_cell {given} {
        variable ::standin::cells; variable ::standin::config; variable ::standin::validated
        need_design
        set path /[string trimleft [dict get $given name] /]
        if {[dict exists $cells $path]} { refuse "BD 5-230" "cell '$path' exists" }
        if {![regexp {^/[A-Za-z]\w*$} $path]} {
            refuse "BD 41-1112" "cell name '$path' must be a letter, then letters, digits and underscores"
        }
        switch -- [string tolower [option $given -type ip]] {
            ip {
                if {![flag $given -vlnv]} { refuse "BD 5-106" "create_bd_cell: an IP cell needs -vlnv" }
                set name [find_ip [dict get $given -vlnv]]
                dict set cells $path [list ip $name [latest_vlnv $name]]
            }
            module {
                if {![flag $given -reference]} { refuse "BD 5-106" "create_bd_cell: a module needs -reference" }
                set name [dict get $given -reference]
                module_ports $name
                dict set cells $path [list module $name xilinx.com:module_ref:$name:1.0]
            }
            default { refuse "BD 5-106" "create_bd_cell: type '[dict get $given -type]' is not ip or module, all that the stand-in holds" }
        }
        set config($path) {}
        set validated 0
        shape $path
        return [one bd_cell $path]
    }

    proc command::delete_bd_objs {given} {
        refuse "BD 5-4" "the stand-in does not delete objects: a generated design should not make them"
    }
    proc on_get::bd_cell.name {name} { return [string range $name 1 end] }
    proc on_get::bd_cell.path {name} { return $name }
    proc on_get::bd_cell.vlnv {name} { return [lindex [dict get $::standin::cells $name] 2] }
    proc on_get::bd_cell.type {name} { return ip }
    foreach type {bd_pin bd_intf_pin bd_port bd_intf_port bd_net bd_intf_net} {
        proc on_get::$type.name {name} { return [file tail $name] }
        proc on_get::$type.path {name} { return $name }
    }
    proc on_get::bd_pin.dir {name} {
        return [expr {[dict get [::standin::pin_facts $name] direction] eq "in" ? "I" : "O"}]
    }
    proc on_get::bd_pin.type {name} { return [dict get [::standin::pin_facts $name] type] }
    proc on_get::bd_pin.left {name} { return [expr {[dict get [::standin::pin_facts $name] width] - 1}] }
    proc on_get::bd_pin.right {name} { return 0 }
    proc on_get::bd_intf_pin.mode {name} { return [string totitle [dict get [::standin::interface_facts $name] mode]] }
    proc on_get::bd_intf_pin.vlnv {name} {
        return xilinx.com:interface:[dict get [::standin::interface_facts $name] bus]_rtl:1.0
    }

    # --- pins by path ---

    proc all_pins {section} {
        variable cells
        set paths {}
        foreach cell [dict keys $cells] {
            foreach name [dict keys [dict get [shape $cell] $section]] { lappend paths $cell/$name }
        }
        return $paths
    }

    proc split_path {path} { return [list [file dirname $path] [file tail $path]] }

    proc pin_facts {path} {
        variable ports
        if {[dict exists $ports $path]} { return [dict get $ports $path] }
        lassign [split_path $path] cell name
        return [dict get [shape $cell] pins $name]
    }

    proc interface_facts {path} {
        variable intf_ports
        if {[dict exists $intf_ports $path]} { return [dict get $intf_ports $path] }
        lassign [split_path $path] cell name
        return [dict get [shape $cell] interfaces $name]
    }

    proc net_of {path} {
        variable net_pins
        dict for {net members} $net_pins { if {$path in $members} { return $net } }
        return ""
    }

    # The other end of an interface; "" when it is not connected.
    proc partner {path} {
        variable intf_nets
        dict for {net ends} $intf_nets {
            if {$path in $ends} { return [lindex $ends [expr {[lindex $ends 0] eq $path}]] }
        }
        return ""
    }

    # The pin or port that drives a net; "" when nothing does. A port of the design drives when it is an input.
    proc driver {net} {
        variable net_pins; variable ports
        foreach member [dict get $net_pins $net] {
            set outward [expr {[dict get [pin_facts $member] direction] eq "out"}]
            if {$outward != [dict exists $ports $member]} { return $member }
        }
        return ""
    }

    proc clock_source {pin} {
        set facts [pin_facts $pin]
        if {[dict get $facts type] eq "clk" && [dict get $facts direction] eq "out"} { return $pin }
        set net [net_of $pin]
        return [expr {$net eq "" ? "" : [driver $net]}]
    }

    # MHz of a clock output; "" when unknown.
    proc frequency_of {pin} {
        if {$pin eq ""} { return "" }
        set facts [pin_facts $pin]
        return [expr {[dict exists $facts freq] ? [dict get $facts freq] : ""}]
    }

    # The clock source of an interface of a cell with one clock; of an interconnect's side, of the cell at its other end.
    proc clock_of_interface {path} {
        set facts [interface_facts $path]
        if {[dict get $facts adapts]} {
            set other [partner $path]
            if {$other eq "" || [dict get [interface_facts $other] adapts]} { return "" }
            return [clock_of_interface $other]
        }
        set clocks [dict get $facts clocks]
        if {[llength $clocks] != 1} { return "" }
        lassign [split_path $path] cell
        return [clock_source $cell/[lindex $clocks 0]]
    }

    # --- get_bd_* ---

    proc bd_search {command type names given} {
        variable net_pins; variable intf_nets
        need_design
        set patterns [option $given patterns]
        if {[flag $given -of_objects]} {
            set related {}
            foreach pair [resolve [dict get $given -of_objects]] { lappend related {*}[related_to $type {*}$pair] }
            set names [lmap name $names { if {$name ni $related} continue; set name }]
        }
        set wanted [lmap pattern [concat {*}$patterns] { string cat / [string trimleft $pattern /] }]
        set chosen [select $type $names $wanted $given]
        return [found $command $type $chosen $patterns $given]
    }

    # Names of `type` that belong to an object.
    proc related_to {type owner_type owner} {
        variable net_pins; variable intf_nets
        switch -glob -- $owner_type>$type {
            bd_cell>bd_pin { return [lsearch -all -inline [all_pins pins] $owner/*] }
            bd_cell>bd_intf_pin { return [lsearch -all -inline [all_pins interfaces] $owner/*] }
            bd_pin>bd_cell - bd_intf_pin>bd_cell { return [list [file dirname $owner]] }
            bd_pin>bd_net - bd_port>bd_net { return [list [net_of $owner]] }
            bd_net>bd_pin - bd_net>bd_port { return [dict get $net_pins $owner] }
            bd_intf_net>bd_intf_pin { return [dict get $intf_nets $owner] }
            bd_cell>bd_addr_space - bd_intf_pin>bd_addr_space { return [lsearch -all -inline [address_spaces] $owner*] }
            bd_cell>bd_addr_seg - bd_intf_pin>bd_addr_seg { return [lsearch -all -inline [slave_segments] $owner/*] }
            bd_addr_space>bd_addr_seg { return [mapped_segments $owner] }
        }
        refuse "BD 5-229" "-of_objects: a $type does not belong to a $owner_type"
    }

    proc command::get_bd_cells {given} { return [bd_search get_bd_cells bd_cell [dict keys $::standin::cells] $given] }
    proc command::get_bd_pins {given} { return [bd_search get_bd_pins bd_pin [all_pins pins] $given] }
    proc command::get_bd_intf_pins {given} {
        return [bd_search get_bd_intf_pins bd_intf_pin [all_pins interfaces] $given]
    }
    proc command::get_bd_ports {given} { return [bd_search get_bd_ports bd_port [dict keys $::standin::ports] $given] }
    proc command::get_bd_intf_ports {given} {
        return [bd_search get_bd_intf_ports bd_intf_port [dict keys $::standin::intf_ports] $given]
    }
    proc command::get_bd_nets {given} { return [bd_search get_bd_nets bd_net [dict keys $::standin::net_pins] $given] }
    proc command::get_bd_intf_nets {given} {
        return [bd_search get_bd_intf_nets bd_intf_net [dict keys $::standin::intf_nets] $given]
    }

    # --- nets ---

    proc command::create_bd_net {given} {
        variable ::standin::net_pins
        need_design
        set net /[dict get $given name]
        if {[dict exists $net_pins $net]} { refuse "BD 5-235" "net '$net' exists" }
        dict set net_pins $net {}
        return [one bd_net $net]
    }

    proc command::connect_bd_net {given} {
        variable ::standin::net_pins; variable ::standin::validated; variable ::standin::ports
        need_design
        set members {}
        foreach value [dict get $given objects] { lappend members {*}[need connect_bd_net {bd_pin bd_port} $value] }
        set joined {}
        foreach member $members { if {[set net [net_of $member]] ne "" && $net ni $joined} { lappend joined $net } }
        if {[flag $given -net]} {
            set name /[string trimleft [lindex [dict get $given -net] 0] /]
        } elseif {[llength $joined]} {
            set name [lindex $joined 0]
        } elseif {[llength $members] < 2} {
            refuse "BD 5-237" "connect_bd_net: one pin alone ('[lindex $members 0]') makes no net"
        } else {
            set first [lindex $members 0]
            set name /[string map {/ _} [string trimleft $first /]]
        }
        if {[llength [lsearch -all -inline -not -exact $joined $name]] && [llength $joined] > 1} {
            refuse "BD 5-238" \
                "connect_bd_net: '[join $members {, }]' are in different nets already: [join $joined {, }]"
        }
        foreach net $joined {
            if {$net ne $name} { set members [concat [dict get $net_pins $net] $members]; dict unset net_pins $net }
        }
        if {[dict exists $net_pins $name]} { set members [concat [dict get $net_pins $name] $members] }
        set members [lsort -unique $members]
        set drivers [lmap member $members {
            if {([dict get [pin_facts $member] direction] eq "out") == [dict exists $ports $member]} continue
            set member
        }]
        if {[llength $drivers] > 1} { refuse "BD 41-1306" "net '$name' has more than one driver: [join $drivers {, }]" }
        dict set net_pins $name $members
        set validated 0
        return [one bd_net $name]
    }

    proc command::disconnect_bd_net {given} {
        refuse "BD 5-4" "the stand-in does not disconnect nets: a generated design should not make them"
    }

    proc command::create_bd_intf_net {given} {
        variable ::standin::intf_nets
        need_design
        dict set intf_nets /[dict get $given name] {}
        return [one bd_intf_net /[dict get $given name]]
    }

    proc command::connect_bd_intf_net {given} {
        variable ::standin::intf_nets; variable ::standin::validated
        need_design
        set ends {}
        foreach word {object1 object2} {
            lappend ends {*}[need connect_bd_intf_net {bd_intf_pin bd_intf_port} [dict get $given $word]]
        }
        if {[llength $ends] != 2 || [lindex $ends 0] eq [lindex $ends 1]} {
            refuse "BD 5-243" "connect_bd_intf_net needs two interfaces, not: [join $ends {, }]"
        }
        foreach end $ends {
            if {[set other [partner $end]] ne ""} {
                refuse "BD 41-171" "interface '$end' is connected already, to '$other'"
            }
        }
        # Inside, a master meets a slave; at the edge, the port of a cell's interface has its mode.
        set modes [lmap end $ends { dict get [interface_facts $end] mode }]
        set edge [expr {[llength [lsearch -all -glob $ends /*/*]] == 1}]
        if {([lindex $modes 0] eq [lindex $modes 1]) != $edge} {
            refuse "BD 41-1296" "'[join $ends {' and '}]' are both [lindex $modes 0]: a master goes to a slave"
        }
        set net [expr {[flag $given -intf_net] ? "/[string trimleft [lindex [dict get $given -intf_net] 0] /]" : "/[string map {/ _} [string trimleft [lindex $ends 0] /]]"}]
        if {[dict exists $intf_nets $net] && [llength [dict get $intf_nets $net]]} {
            refuse "BD 5-235" "interface net '$net' exists"
        }
        dict set intf_nets $net $ends
        set validated 0
        return [one bd_intf_net $net]
    }

    # --- ports of the design ---

    proc command::create_bd_port {given} {
        variable ::standin::ports
        need_design
        set path /[dict get $given name]
        if {[dict exists $ports $path]} { refuse "BD 5-330" "port '$path' exists" }
        if {[dict get $given -dir] ni {I O IO}} {
            refuse "BD 5-331" "create_bd_port: -dir must be I, O or IO, not '[dict get $given -dir]'"
        }
        set type [option $given -type data]
        if {$type ni {clk rst intr ce data undef other}} {
            refuse "BD 5-331" "create_bd_port: -type must be clk, rst, intr, ce, data, undef or other, not '$type'"
        }
        set width [expr {[flag $given -from] ? abs([dict get $given -from] - [option $given -to 0]) + 1 : 1}]
        dict set ports $path [list direction [expr {[dict get $given -dir] eq "O" ? "out" : "in"}] type $type width $width tied 1 active any clock "" asynchronous 1]
        return [one bd_port $path]
    }

    proc command::create_bd_intf_port {given} {
        variable ::standin::intf_ports
        need_design
        set path /[dict get $given name]
        if {[dict get $given -mode] ni {Master Slave}} {
            refuse "BD 5-331" "create_bd_intf_port: -mode must be Master or Slave, not '[dict get $given -mode]'"
        }
        if {![regexp {^xilinx\.com:(interface|display_processing_system7):(\w+)_rtl:1\.0$} [dict get $given -vlnv] -> - bus]} {
            refuse "BD 5-332" "unknown interface '[dict get $given -vlnv]'"
        }
        add_intf_port $path [list bus $bus mode [string tolower [dict get $given -mode]]]
        return [one bd_intf_port $path]
    }

    proc add_intf_port {path facts} {
        variable intf_ports
        if {[dict exists $intf_ports $path]} { refuse "BD 5-330" "interface port '$path' exists" }
        dict set intf_ports $path [dict merge {protocol "" data 0 address 0 clocks {} space "" optional 0 external 0 adapts 0 through 0 module 0 port 1} $facts]
    }

    # An interface pin brought out as a port of the same kind and mode.
    proc externalise {pin name} {
        variable intf_nets
        add_intf_port /$name [interface_facts $pin]
        dict set intf_nets /$name [list $pin /$name]
    }

    proc command::make_bd_intf_pins_external {given} {
        foreach value [dict get $given objects] {
            foreach pin [need make_bd_intf_pins_external bd_intf_pin $value] {
                externalise $pin [option $given -name [file tail $pin]_0]
            }
        }
    }

    proc command::make_bd_pins_external {given} {
        variable ::standin::ports; variable ::standin::net_pins
        foreach value [dict get $given objects] {
            foreach pin [need make_bd_pins_external bd_pin $value] {
                set name /[option $given -name [file tail $pin]_0]
                dict set ports $name [dict merge [pin_facts $pin] {tied 1}]
                dict set net_pins $name [lsort -unique [list $pin $name]]
            }
        }
    }

    # --- outputs of the design ---

    proc command::make_wrapper {given} {
        variable ::standin::folder; variable ::standin::project
        set design [need_design]
        if {![flag $given -files]} { refuse "Common 17-163" "'make_wrapper': option '-files' is required" }
        foreach path [need make_wrapper file [dict get $given -files]] {
            if {[file extension $path] ne ".bd"} {
                refuse "Vivado 12-1502" "make_wrapper: '$path' is not a block design"
            }
        }
        if {![flag $given -top]} { refuse "Common 17-163" "'make_wrapper': option '-top' is required here" }
        set home [file join $folder $project.gen sources_1 bd $design hdl]
        file mkdir $home
        set path [file join $home ${design}_wrapper.v]
        write_output $path make_wrapper 1
        set file [open $path w]
        puts $file "module ${design}_wrapper;\nendmodule"
        close $file
        if {[flag $given -import]} { take_files make_wrapper [list $path] sources_1 }
        return $path
    }

    proc command::generate_target {given} {
        variable ::standin::validated
        set name [dict get $given name]
        foreach target $name {
            if {$target ni {all synthesis simulation implementation instantiation_template example hw_handoff}} {
                refuse "Vivado 12-3563" "generate_target: unknown target '$target'"
            }
        }
        foreach value [dict get $given objects] {
            foreach pair [resolve $value] {
                if {[lindex $pair 0] ni {file ip}} {
                    refuse "Common 17-161" \
                        "generate_target: '[lindex $pair 1]' is a [lindex $pair 0], not a file or an IP"
                }
            }
            if {![llength [resolve $value]]} { standin::refuse_empty generate_target }
        }
        if {!$validated} { validate }
    }

    proc command::export_ip_user_files {given} { need_project; return }
    proc command::write_bd_tcl {given} {
        need_design
        write_output [dict get $given file_name] write_bd_tcl [flag $given -force]
        return
    }
    proc command::get_ips {given} {
        variable ::standin::cells; variable ::standin::design
        set names [lmap cell [dict keys $cells] { string cat ${design}_[string range $cell 1 end]_0 }]
        set patterns [option $given patterns]
        return [found get_ips ip [select ip $names $patterns $given] $patterns $given]
    }

    proc cells_summary {} {
        variable cells; variable config
        set items {}
        dict for {path facts} $cells {
            lassign $facts kind name vlnv
            set changed {}
            dict for {key value} $config($path) { lappend changed $key [list s $value] }
            lappend items $path [list o kind [list s $kind] name [list s $name] vlnv [list s $vlnv] config [list o {*}$changed]]
        }
        return [list o {*}$items]
    }

    proc nets_summary {} {
        variable net_pins; variable intf_nets
        set items {}
        dict for {net members} $net_pins { lappend items $net [json_texts $members] }
        dict for {net members} $intf_nets { lappend items $net [json_texts $members] }
        return [list o {*}$items]
    }

    # Each clocked cell's clocks in MHz.
    proc clocks_summary {} {
        set items {}
        foreach pin [all_pins pins] {
            set facts [pin_facts $pin]
            if {[dict get $facts type] eq "clk" && [dict get $facts direction] eq "in" && [set mhz [frequency_of [clock_source $pin]]] ne ""} {
                lappend items $pin [list n $mhz]
            }
        }
        return [list o {*}$items]
    }
}
