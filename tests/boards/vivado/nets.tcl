# Pins and nets: searches by name, connections, and who drives what.

namespace eval standin {
    variable net_pins {}   ;# net -> paths of pins and ports
    variable intf_nets {}  ;# net -> the two ends

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

    # The clock source of an interface of a cell with one clock; of an interconnect's side, of the cell at its other
    # end.
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

    # What lies at a path of the block design, one of `types` if there are any; "" for nothing.
    proc type_at {path types} {
        variable cells; variable ports; variable intf_ports; variable net_pins; variable intf_nets; variable mapped
        foreach {type paths} [list bd_cell [dict keys $cells] bd_port [dict keys $ports] bd_pin [all_pins pins] \
                bd_intf_port [dict keys $intf_ports] bd_intf_pin [all_pins interfaces] bd_addr_space [address_spaces] \
                bd_addr_seg [concat [slave_segments] [dict keys $mapped]] bd_net [dict keys $net_pins] \
                bd_intf_net [dict keys $intf_nets]] {
            if {$path in $paths && ($types eq "" || $type in $types)} { return $type }
        }
        return ""
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
        set net [expr {[flag $given -intf_net] ? "/[string trimleft [lindex [dict get $given -intf_net] 0] /]" : \
            "/[string map {/ _} [string trimleft [lindex $ends 0] /]]"}]
        if {[dict exists $intf_nets $net] && [llength [dict get $intf_nets $net]]} {
            refuse "BD 5-235" "interface net '$net' exists"
        }
        dict set intf_nets $net $ends
        set validated 0
        return [one bd_intf_net $net]
    }
}
