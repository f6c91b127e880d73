# The block design: its cells, its ports, and what is made of it.

namespace eval standin {
    variable design ""     ;# the block design; "" before create_bd_design
    variable validated 0
    variable cells {}      ;# path -> {kind name vlnv}
    variable ports {}      ;# /name -> properties: scalar ports of the design
    variable intf_ports {} ;# /name -> properties

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
        set home [expr {[flag $given -dir] ? [file join [dict get $given -dir] $design] : \
            [file join $folder $project.srcs sources_1 bd $design]}]
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
                set vlnv [lindex [dict get $given -vlnv] 0]
                if {[dict exists $::standin::user_ip $vlnv]} {
                    dict set cells $path [list module [lindex [dict get $::standin::user_ip $vlnv] 0] $vlnv]
                } else {
                    set name [find_ip $vlnv]
                    dict set cells $path [list ip $name [latest_vlnv $name]]
                }
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
        dict set ports $path [list direction [expr {[dict get $given -dir] eq "O" ? "out" : "in"}] \
            type $type width $width tied 1 active any clock "" asynchronous 1]
        return [one bd_port $path]
    }

    proc command::create_bd_intf_port {given} {
        variable ::standin::intf_ports
        need_design
        set path /[dict get $given name]
        if {[dict get $given -mode] ni {Master Slave}} {
            refuse "BD 5-331" "create_bd_intf_port: -mode must be Master or Slave, not '[dict get $given -mode]'"
        }
        set known {^xilinx\.com:(?:interface|display_processing_system7):(\w+)_rtl:1\.0$}
        if {![regexp $known [dict get $given -vlnv] -> bus]} {
            refuse "BD 5-332" "unknown interface '[dict get $given -vlnv]'"
        }
        add_intf_port $path [list bus $bus mode [string tolower [dict get $given -mode]]]
        return [one bd_intf_port $path]
    }

    proc add_intf_port {path facts} {
        variable intf_ports; variable usual_interface
        if {[dict exists $intf_ports $path]} { refuse "BD 5-330" "interface port '$path' exists" }
        dict set intf_ports $path [dict merge $usual_interface {port 1} $facts]
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
            lappend items $path [list o kind [list s $kind] name [list s $name] vlnv [list s $vlnv] config \
                [list o {*}$changed]]
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
            if {[dict get $facts type] eq "clk" && [dict get $facts direction] eq "in" \
                && [set mhz [frequency_of [clock_source $pin]]] ne ""} {
                lappend items $pin [list n $mhz]
            }
        }
        return [list o {*}$items]
    }
}
