# The project: parts and boards, filesets and files.

namespace eval standin {
    variable project ""   ;# name; "" before create_project
    variable folder ""
    variable files {}     ;# path -> fileset
    variable filesets {sources_1 DesignSrcs constrs_1 Constrs sim_1 SimulationSrcs utils_1 Utils}
    variable active {}    ;# kind of fileset -> the current one

    proc need_project {} {
        variable project
        if {$project eq ""} {
            refuse "Common 17-53" "No open project. Please create or open a project before executing this command."
        }
        return $project
    }

    # --- parts and boards ---

    proc part_of_project {} { variable project; return [read_property project $project PART] }
    proc board_of_project {} {
        variable project; return [expr {$project eq "" ? "" : [read_property project $project BOARD_PART]}]
    }

    # Megabytes of memory on the board; the processing system's own default without one.
    proc board_ddr_mb {} {
        variable boards
        set board [board_of_project]
        return [expr {$board eq "" ? 2048 : [dict get $boards $board -ddr_mb]}]
    }

    proc known_boards {} {
        variable boards; variable release; variable installed
        set known {}
        dict for {board facts} $boards {
            if {[package vcompare [dict get $facts -from] $release] > 0} continue
            if {$installed ne "" && $board ni $installed} continue
            lappend known $board
        }
        return $known
    }

    proc check_part {part} {
        variable part_family
        if {![dict exists $part_family $part]} {
            refuse "Project 1-54" "part '$part' not found: no such part, or its device family is not installed"
        }
        return $part
    }

    proc on_set::project.part {name value} {
        ::standin::check_part $value
        set board [::standin::board_of_project]
        if {$board ne "" && [dict get $::standin::boards $board -part] ne $value} {
            ::standin::refuse "Project 1-153" "part '$value' is not the part of board_part '$board' ([dict get $::standin::boards $board -part])"
        }
        return $value
    }

    proc on_set::project.board_part {name value} {
        if {$value eq ""} { return "" }
        if {$value ni [::standin::known_boards]} {
            ::standin::refuse "Board 49-71" "board_part '$value' not found; this Vivado has: [join [::standin::known_boards] {, }]"
        }
        set part [dict get $::standin::boards $value -part]
        if {[::standin::part_of_project] ne $part} {
            ::standin::refuse "Project 1-153" "board_part '$value' has part '$part', not the project's '[::standin::part_of_project]'"
        }
        return $value
    }

    proc on_set::project.board_connections {name value} {
        variable ::standin::board_connections
        set som [join [lrange [split [::standin::board_of_project] :] 0 1] :]
        if {![dict exists $board_connections $som]} { ::standin::refuse "Board 49-91" "board '$som' has no connectors" }
        foreach {connector carrier} $value {
            if {![dict exists $board_connections $som $connector]} {
                ::standin::refuse "Board 49-91" "board '$som' has no connector '$connector'"
            }
            if {$carrier ni [dict get $board_connections $som $connector]} {
                ::standin::refuse "Board 49-91" "connector '$connector' does not take '$carrier'"
            }
        }
        return $value
    }

    proc on_get::part.family {name} { return [dict get $::standin::part_family $name] }
    proc on_get::part.name {name} { return $name }
    proc on_get::board_part.part_name {name} { return [dict get $::standin::boards $name -part] }
    proc on_get::board_part.name {name} { return $name }
    proc on_get::project.name {name} { return $name }
    proc on_get::project.directory {name} { return $::standin::folder }

    proc command::get_parts {given} {
        variable ::standin::part_family
        set patterns [option $given patterns]
        return [found get_parts part [select part [dict keys $part_family] $patterns $given] $patterns $given]
    }

    proc command::get_board_parts {given} {
        set patterns [option $given patterns]
        set names [select board_part [known_boards] $patterns $given]
        if {[flag $given -latest_file_version]} { set names [lrange [lsort -dictionary $names] end end] }
        return [found get_board_parts board_part $names $patterns $given]
    }

    # --- project ---

    proc command::version {given} {
        variable ::standin::release
        return [expr {[flag $given -short] ? $release : "Vivado v$release (stand-in)"}]
    }

    proc command::create_project {given} {
        variable ::standin::project; variable ::standin::folder; variable ::standin::values
        if {$project ne ""} { refuse "Common 17-71" "project '$project' is open already" }
        set name [option $given name project_1]
        set part [check_part [option $given -part xc7vx485tffg1157-1]]
        set folder [file normalize [option $given dir .]]
        if {![flag $given -in_memory]} {
            set file [file join $folder $name.xpr]
            if {[file exists $file] && ![flag $given -force]} {
                refuse "Common 17-144" "project '$file' exists; use -force to overwrite it"
            }
            file mkdir $folder
            write_output $file create_project 1
        }
        set project $name
        dict set values(project,$name) PART $part
        return [one project $name]
    }

    proc command::set_part {given} {
        write_property project [need_project] PART [dict get $given part]
        return [dict get $given part]
    }

    proc command::current_project {given} { return [one project [need_project]] }
    proc command::get_projects {given} {
        variable ::standin::project; return [give project [expr {$project eq "" ? {} : [list $project]}]]
    }
    proc command::close_project {given} {
        variable ::standin::project; variable ::standin::folder
        need_project
        if {[flag $given -delete]} { file delete -force $folder }
        set project ""
        return
    }
    proc command::open_project {given} {
        set file [dict get $given file]
        if {![file isfile $file]} { refuse "Vivado 12-172" "project '$file' does not exist" }
        error "the stand-in does not open projects: it knows only the one that this run created"
    }

    proc command::set_param {given} {
        variable ::standin::parameters
        if {[dict get $given name] ni $parameters} {
            refuse "Common 17-69" "unknown parameter '[dict get $given name]'"
        }
    }
    proc command::get_param {given} {
        variable ::standin::parameters
        if {[dict get $given name] ni $parameters} {
            refuse "Common 17-69" "unknown parameter '[dict get $given name]'"
        }
        return ""
    }
    proc command::set_msg_config {given} {
        set severities {INFO STATUS WARNING {CRITICAL WARNING} ERROR}
        foreach name {-severity -new_severity} {
            if {[flag $given $name] && [dict get $given $name] ni $severities} {
                refuse "Common 17-163" "'$name' must be one of $severities"
            }
        }
    }
    proc command::startgroup {given} {}
    proc command::endgroup {given} {}
    proc command::config_ip_cache {given} { need_project }
    proc command::get_ipdefs {given} {
        variable ::standin::ip
        set names [concat [lmap name [array names ip] { latest_vlnv $name }] [dict keys $::standin::user_ip]]
        set patterns [option $given patterns]
        return [found get_ipdefs ipdef [select ipdef $names $patterns $given] $patterns $given]
    }

    # --- filesets and files ---

    proc fileset_named {value default} {
        variable filesets; variable active
        if {$value eq ""} { set value [expr {[dict exists $active $default] ? [dict get $active $default] : $default}] }
        set name [lindex $value 0]
        if {![dict exists $filesets $name]} { refuse "Project 1-163" "fileset '$name' does not exist" }
        return $name
    }

    proc kind_of {path} {
        switch -- [string tolower [file extension $path]] {
            .v - .vh { return [expr {[file extension $path] eq ".vh" ? "Verilog Header" : "Verilog"}] }
            .sv - .svh { return SystemVerilog }
            .vhd - .vhdl { return VHDL }
            .xdc { return XDC }
            .tcl { return TCL }
            .bd { return "Block Designs" }
            .xci { return IP }
            .mem - .mif - .hex { return "Memory Initialization Files" }
        }
        refuse "filemgmt 20-2001" "'$path' is not a source file that Vivado knows by its extension"
    }

    proc take_files {command names fileset} {
        variable files; variable values
        need_project
        set taken {}
        foreach name $names {
            foreach element [expr {[file exists $name] ? [list $name] : $name}] {
                set path [file normalize $element]
                if {![file exists $path]} {
                    refuse "Vivado 12-172" "$command: file or directory '$element' does not exist"
                }
                set paths [expr {[file isdirectory $path] ? [glob -nocomplain [file join $path *]] : [list $path]}]
                if {![llength $paths]} { refuse "Vivado 12-172" "$command: directory '$element' has no files" }
                foreach path $paths {
                    dict set values(file,$path) FILE_TYPE [kind_of $path]
                    dict set files $path $fileset
                    lappend taken $path
                }
            }
        }
        if {![llength $taken]} { refuse "Common 17-163" "'$command' has no files" }
        return [give file $taken]
    }

    proc files_of {fileset kinds} {
        variable files
        set chosen {}
        dict for {path owner} $files {
            if {$owner eq $fileset && [read_property file $path FILE_TYPE] in $kinds \
                && [string is true [read_property file $path IS_ENABLED]]} {
                lappend chosen $path
            }
        }
        return $chosen
    }

    proc command::add_files {given} {
        return [take_files add_files [option $given files] [fileset_named [option $given -fileset] sources_1]]
    }

    proc command::read_verilog {given} { return [take_files read_verilog [dict get $given files] sources_1] }
    proc command::read_xdc {given} { return [take_files read_xdc [dict get $given files] constrs_1] }

    proc command::import_files {given} {
        variable ::standin::folder; variable ::standin::project
        set fileset [fileset_named [option $given -fileset] sources_1]
        set copies {}
        foreach path [take_files import_files [option $given files] $fileset] {
            dict unset ::standin::files $path
            set home [file join $folder $project.srcs $fileset imports]
            file mkdir $home
            set copy [file join $home [file tail $path]]
            if {[file exists $copy] && ![flag $given -force]} {
                refuse "Vivado 12-3645" "import_files: '$copy' exists; use -force"
            }
            file copy -force $path $copy
            lappend copies $copy
        }
        return [take_files import_files $copies $fileset]
    }

    proc command::remove_files {given} {
        foreach value [option $given files] {
            foreach path [need remove_files file $value] { dict unset ::standin::files $path }
        }
    }

    proc command::get_files {given} {
        variable ::standin::files
        need_project
        set names {}
        set patterns [option $given patterns]
        set known [dict keys $files]
        if {[flag $given -of_objects]} {
            set owners [need get_files {fileset} [dict get $given -of_objects]]
            set known [lmap path $known { if {[dict get $files $path] ni $owners} continue; set path }]
        }
        if {![llength $patterns]} { set patterns * }
        foreach pattern [concat {*}$patterns] {
            foreach path [select file $known [list $pattern */[string trimleft $pattern /]] $given] {
                if {$path ni $names} { lappend names $path }
            }
        }
        return [found get_files file $names $patterns $given]
    }

    proc on_get::file.name {name} { return $name }
    proc on_get::fileset.name {name} { return $name }
    proc on_get::fileset.fileset_type {name} { return [dict get $::standin::filesets $name] }

    proc command::get_filesets {given} {
        variable ::standin::filesets
        need_project
        set patterns [option $given patterns]
        return [found get_filesets fileset [select fileset [dict keys $filesets] $patterns $given] $patterns $given]
    }

    proc command::current_fileset {given} {
        variable ::standin::active
        need_project
        set default [expr {[flag $given -constrset] ? "constrs_1" : [flag $given -simset] ? "sim_1" : "sources_1"}]
        if {[flag $given fileset]} {
            dict set active $default [fileset_named [lindex [need current_fileset fileset [dict get $given fileset]] \
                0] $default]
        }
        return [one fileset [fileset_named "" $default]]
    }

    proc command::create_fileset {given} {
        variable ::standin::filesets
        need_project
        set name [dict get $given name]
        if {[dict exists $filesets $name]} { refuse "Project 1-164" "fileset '$name' exists" }
        dict set filesets $name [expr {[flag $given -constrset] ? "Constrs" : [flag $given -simset] ? \
            "SimulationSrcs" : "DesignSrcs"}]
        return [one fileset $name]
    }

    # Vivado chooses a top when none was set: the wrapper of the block design if there is one, else the last module
    # read.
    proc command::update_compile_order {given} {
        variable ::standin::values
        set name [fileset_named [option $given -fileset] sources_1]
        if {[read_property fileset $name TOP] ne ""} return
        set modules [modules_of $name]
        set wrappers [lsearch -all -inline $modules *_wrapper]
        set top [lindex [expr {[llength $wrappers] ? $wrappers : $modules}] end]
        if {$top ne ""} { dict set values(fileset,$name) TOP $top }
    }

    proc on_set::fileset.top {name value} {
        if {$value ni [::standin::modules_of $name]} {
            ::standin::refuse "Project 1-161" "top '$value' is not a module of fileset '$name', which has: [join [::standin::modules_of $name] {, }]"
        }
        return $value
    }

    proc after_set {type name} { if {$type eq "bd_cell"} { drop_lost_pins $name } }

    proc project_summary {} {
        variable project; variable files; variable folder
        if {$project eq ""} { return [list o name {s ""}] }
        return [list o name [list s $project] folder [list s $folder] part [list s [part_of_project]] board_part \
            [list s [board_of_project]] \
            top [list s [read_property fileset sources_1 TOP]] files [json_texts [dict keys $files]]]
    }
}
