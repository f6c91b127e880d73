# The IP packager (UG1118): one core, its bus interfaces, memory maps and parameters.

namespace eval standin {
    variable core ""          ;# VLNV; "" before a core is packaged
    variable core_saved 0
    variable core_module ""
    variable core_root ""
    variable core_shape {}
    # path of an object -> {type parent name}: bus parameters, memory maps, blocks, registers, fields
    variable children {}

    proc need_core {value} {
        variable core
        if {$core eq ""} { refuse "IP_Flow 19-1971" "no core is open: ipx::package_project comes first" }
        if {$value ne ""} { need ipx ipx_core $value }
        return $core
    }

    proc command::ipx::package_project {given} {
        variable ::standin::core; variable ::standin::core_module; variable ::standin::core_root
        variable ::standin::core_shape
        variable ::standin::shaping; variable ::standin::values; variable ::standin::core_saved
        need_project
        foreach name {-root_dir -vendor -library} {
            if {![flag $given $name]} { refuse "IP_Flow 19-1972" "ipx::package_project: $name is required here" }
        }
        foreach name {-vendor -library -name -version -taxonomy} {
            if {[flag $given $name] && [regexp {\s} [dict get $given $name]]} {
                refuse "IP_Flow 19-459" "ipx::package_project: $name must hold no spaces: '[dict get $given $name]'"
            }
        }
        set core_module [option $given -module [read_property fileset sources_1 TOP]]
        if {$core_module eq ""} { refuse "IP_Flow 19-1973" "ipx::package_project: the project has no top module" }
        set core_root [file normalize [dict get $given -root_dir]]
        if {[file exists [file join $core_root component.xml]] && ![flag $given -force]} {
            refuse "IP_Flow 19-1974" "'[file join $core_root component.xml]' exists; use -force"
        }
        if {[flag $given -import_files]} {
            file mkdir [file join $core_root src]
            foreach path [files_of sources_1 {Verilog SystemVerilog}] {
                file copy -force $path [file join $core_root src]
            }
        }
        set shaping {pins {} interfaces {} segments {} apertures {}}
        module_shape $core_module
        set core_shape $shaping
        set core [join [list [dict get $given -vendor] [dict get $given -library] [option $given -name $core_module] \
            [option $given -version 1.0]] :]
        foreach {key value} [list \
                VENDOR [dict get $given -vendor] LIBRARY [dict get $given -library] \
                NAME [option $given -name $core_module] VERSION [option $given -version 1.0] \
                TAXONOMY [option $given -taxonomy /UserIP]] {
            dict set values(ipx_core,$core) $key $value
        }
        dict for {name facts} [dict get $core_shape interfaces] {
            describe_bus $name xilinx.com:interface:aximm_rtl:1.0 [dict get $facts mode]
            # The packager makes a memory map for every slave, and an address space for every master.
            if {[dict get $facts mode] eq "slave"} {
                dict set values(ipx_bus_interface,$name) SLAVE_MEMORY_MAP_REF $name
                add_child ipx_memory_map $core $name
                add_child ipx_address_block $name reg0
            } else {
                add_child ipx_address_space $core $name
                dict set values(ipx_bus_interface,$name) MASTER_ADDRESS_SPACE_REF $name
            }
        }
        dict for {name facts} [dict get $core_shape pins] {
            switch -- [dict get $facts type] {
                clk { describe_bus $name xilinx.com:signal:clock_rtl:1.0 slave }
                rst {
                    describe_bus $name xilinx.com:signal:reset_rtl:1.0 slave
                    add_child ipx_bus_parameter $name POLARITY
                }
                intr { describe_bus $name xilinx.com:signal:interrupt_rtl:1.0 master }
            }
        }
        foreach group {xilinx_anylanguagesynthesis xilinx_anylanguagebehavioralsimulation} {
            add_child ipx_file_group $core $group
        }
        set core_saved 0
        return [one ipx_core $core]
    }

    proc describe_bus {name abstraction mode} {
        variable values
        set values(ipx_bus_interface,$name) [list ABSTRACTION_TYPE_VLNV $abstraction BUS_TYPE_VLNV \
            [string map {_rtl ""} $abstraction] INTERFACE_MODE $mode]
    }

    proc bus_names {} {
        variable values; return [lmap key [array names values ipx_bus_interface,*] { string range $key 18 end }]
    }

    # Children live under their parent's path; parents of one type have unique names.
    proc add_child {type parent name} {
        variable children
        if {[dict exists $children $type,$parent/$name]} { refuse "IP_Flow 19-569" "'$parent' has '$name' already" }
        dict set children $type,$parent/$name [list $type $parent $name]
        return [one $type $parent/$name]
    }

    proc children_of {type parents} {
        variable children
        set names {}
        dict for {key child} $children {
            lassign $child child_type parent name
            if {$child_type eq $type && ($parents eq "*" || $parent in $parents)} { lappend names $parent/$name }
        }
        return $names
    }

    # get_* of children: patterns are compared with the last name.
    proc child_search {command type given} {
        need_core ""
        set parents *
        if {[flag $given -of_objects]} {
            set parents [lmap pair [resolve [dict get $given -of_objects]] { lindex $pair 1 }]
        }
        if {$parents ne "*" && $type in {ipx_address_block}} {
            set parents [concat $parents [lmap parent $parents { lindex [split $parent /] end }]]
        }
        set patterns [option $given patterns]
        set names [lmap name [children_of $type $parents] {
            if {[llength $patterns] && ![matches_any $patterns [lindex [split $name /] end]]} continue
            set name
        }]
        return [found $command $type [select $type $names {} $given] $patterns $given]
    }

    proc command::ipx::current_core {given} { return [one ipx_core [need_core [option $given core]]] }
    proc command::ipx::create_core {given} {
        refuse "IP_Flow 19-1975" "ipx::create_core makes an empty core: package the project instead"
    }
    proc command::ipx::open_core {given} {
        if {![file isfile [dict get $given file]]} {
            refuse "IP_Flow 19-1976" "ipx::open_core: no file '[dict get $given file]'"
        }
        return [one ipx_core [need_core ""]]
    }
    proc command::ipx::unload_core {given} { need_core [option $given component]; return }
    proc command::ipx::merge_project_changes {given} { need_core [dict get $given component]; return }
    proc command::ipx::update_checksums {given} { need_core [option $given component]; return }
    proc command::ipx::create_xgui_files {given} { need_core [option $given component]; return }

    proc command::ipx::save_core {given} {
        variable ::standin::core_saved; variable ::standin::core_root
        need_core [option $given component]
        file mkdir $core_root
        write_output [file join $core_root component.xml] ipx::save_core 1
        set core_saved 1
    }

    # What a user of the core would stumble over.
    proc command::ipx::check_integrity {given} {
        variable ::standin::core_shape; variable ::standin::core
        need_core [option $given component]
        set mistakes {}
        dict for {name facts} [dict get $core_shape interfaces] {
            if {![llength [dict get $facts clocks]] && $name ni [associated_busses]} {
                lappend mistakes "bus interface '$name' has no clock associated"
            }
        }
        foreach key {VENDOR LIBRARY NAME VERSION} {
            if {[read_property ipx_core $core $key] eq ""} { lappend mistakes "$key is empty" }
        }
        refuse_all "IP_Flow 19-2181" "ipx::check_integrity failed:" $mistakes
        say "Integrity check passed"
        return 1
    }

    proc associated_busses {} {
        variable values
        set names {}
        foreach {key pairs} [array get values ipx_bus_parameter,*] {
            if {[string match */ASSOCIATED_BUSIF $key] && [dict exists $pairs VALUE]} {
                lappend names {*}[split [dict get $pairs VALUE] :]
            }
        }
        return $names
    }

    proc command::ipx::get_bus_interfaces {given} {
        need_core ""
        set patterns [option $given patterns]
        return [found ipx::get_bus_interfaces ipx_bus_interface \
            [select ipx_bus_interface [bus_names] $patterns $given] $patterns $given]
    }

    proc command::ipx::add_bus_interface {given} {
        variable ::standin::values
        need_core [dict get $given component]
        set name [dict get $given name]
        if {$name in [bus_names]} { refuse "IP_Flow 19-569" "bus interface '$name' exists" }
        set values(ipx_bus_interface,$name) {}
        return [one ipx_bus_interface $name]
    }
    proc command::ipx::remove_bus_interface {given} {
        variable ::standin::values
        need_core [dict get $given component]
        if {[dict get $given name] ni [bus_names]} {
            refuse "IP_Flow 19-570" "no bus interface '[dict get $given name]', only: [bus_names]"
        }
        unset values(ipx_bus_interface,[dict get $given name])
    }

    proc command::ipx::infer_bus_interface {given} {
        variable ::standin::core_shape
        need_core [dict get $given component]
        set known {xilinx.com:signal:clock_rtl:1.0 slave xilinx.com:signal:reset_rtl:1.0 slave \
            xilinx.com:signal:interrupt_rtl:1.0 master xilinx.com:interface:aximm_rtl:1.0 ""}
        set abstraction [dict get $given bus_abstraction]
        if {![dict exists $known $abstraction]} {
            refuse "IP_Flow 19-571" "ipx::infer_bus_interface: unknown abstraction '$abstraction'"
        }
        foreach port [dict get $given ports] {
            if {[dict exists $known $abstraction] && $abstraction ne "xilinx.com:interface:aximm_rtl:1.0"} {
                if {![dict exists [dict get $core_shape pins] $port]} {
                    refuse "IP_Flow 19-572" "ipx::infer_bus_interface: the core has no port '$port'"
                }
                if {$port ni [bus_names]} { describe_bus $port $abstraction [dict get $known $abstraction] }
            }
        }
        return [give ipx_bus_interface [lmap port [dict get $given ports] {
            if {$port ni [bus_names]} continue
            set port
        }]]
    }
    proc command::ipx::infer_bus_interfaces {given} { need_core [dict get $given component]; return }

    proc command::ipx::associate_bus_interfaces {given} {
        variable ::standin::values
        need_core [dict get $given component]
        foreach option {-busif -clock -reset} {
            if {[flag $given $option] && [dict get $given $option] ni [bus_names]} {
                refuse "IP_Flow 19-573" \
                    "ipx::associate_bus_interfaces: no bus interface '[dict get $given $option]' for $option, only: [lsort [bus_names]]"
            }
        }
        if {![flag $given -clock]} { refuse "IP_Flow 19-574" "ipx::associate_bus_interfaces: -clock is needed" }
        set clock [dict get $given -clock]
        foreach {option parameter} {-busif ASSOCIATED_BUSIF -reset ASSOCIATED_RESET} {
            if {![flag $given $option]} continue
            set key ipx_bus_parameter,$clock/$parameter
            if {![dict exists $::standin::children $key]} { add_child ipx_bus_parameter $clock $parameter }
            set before [expr {[info exists values($key)] ? [split [dict get $values($key) VALUE] :] : {}}]
            dict set values($key) VALUE [join [lsort -unique [concat $before [dict get $given $option]]] :]
        }
    }

    foreach {command type} {
        get_bus_parameters ipx_bus_parameter get_memory_maps ipx_memory_map get_address_blocks ipx_address_block \
            get_registers ipx_register
        get_fields ipx_field get_file_groups ipx_file_group get_address_spaces ipx_address_space
    } {
        proc command::ipx::$command {given} "return \[child_search ipx::$command $type \$given\]"
    }
    foreach {command type argument owner} {
        add_bus_parameter ipx_bus_parameter bus_interface ipx_bus_interface
        add_memory_map ipx_memory_map component ipx_core
        add_address_block ipx_address_block memory_map ipx_memory_map
        add_register ipx_register address_block ipx_address_block
        add_field ipx_field register ipx_register
        add_file_group ipx_file_group component ipx_core
        add_file ipx_file file_group ipx_file_group
        add_address_space ipx_address_space component ipx_core
    } {
        proc command::ipx::$command {given} "
            need_core {}
            return \[add_child $type \[lindex \[need ipx::$command $owner \[dict get \$given $argument\]\] 0\] \
                \[dict get \$given name\]\]
        "
    }
    foreach type {ipx_bus_parameter ipx_memory_map ipx_address_block ipx_register ipx_field ipx_file_group ipx_file \
        ipx_address_space} {
        proc on_get::$type.name {name} { return [lindex [split $name /] end] }
    }
    proc on_get::ipx_bus_interface.name {name} { return $name }

    proc command::ipx::get_ports {given} {
        variable ::standin::core_module
        need_core ""
        set patterns [option $given patterns]
        set names [lmap port [module_ports $core_module] { lindex $port 0 }]
        return [found ipx::get_ports ipx_port [select ipx_port $names $patterns $given] $patterns $given]
    }
    proc on_get::ipx_port.name {name} { return $name }
    proc on_get::ipx_port.direction {name} {
        foreach port [::standin::module_ports $::standin::core_module] {
            if {[lindex $port 0] eq $name} { return [expr {[lindex $port 1] eq "input" ? "in" : "out"}] }
        }
    }

    proc core_summary {} {
        variable core; variable core_module; variable values
        if {$core eq ""} { return [list o vlnv {s ""}] }
        set clocks {}
        foreach {key pairs} [array get values ipx_bus_parameter,*] {
            if {[dict exists $pairs VALUE]} {
                lappend clocks [string range $key 18 end] [list s [dict get $pairs VALUE]]
            }
        }
        return [list o vlnv [list s $core] module [list s $core_module] interfaces [json_texts [lsort [bus_names]]] \
            parameters [list o {*}$clocks]]
    }
}
