# Runs, the open design, reports and exports: what must have happened before each.

namespace eval standin {
    variable runs {
        synth_1 {kind synth_run parent "" state new step ""}
        impl_1 {kind impl_run parent synth_1 state new step ""}
    }
    variable opened ""   ;# the run whose design is open
    variable saif ""

    # Commands of facts/commands.tcl that only look at the open design.
    variable reports
    foreach name {timing_summary timing utilization power clock_interaction clocks clock_networks clock_utilization \
        cdc drc methodology route_status control_sets high_fanout_nets design_analysis qor_assessment qor_suggestions \
        ram_utilization io incremental_reuse} {
        set reports(report_$name) 1
    }
    set reports(check_timing) 1

    # get_runs and others mix two types: synthesis and implementation runs have other properties.
    proc run_kind {name} { variable runs; return [dict get $runs $name kind] }
    proc run_set {name key value} { variable runs; dict set runs $name $key $value }

    proc run_names {command values} {
        variable runs
        set names {}
        foreach value $values {
            foreach name $value {
                if {![dict exists $runs $name]} {
                    refuse "Vivado 12-1089" "$command: no run '$name', only: [join [dict keys $runs] {, }]"
                }
                lappend names $name
            }
        }
        return $names
    }

    proc command::get_runs {given} {
        variable ::standin::runs; variable ::standin::nothing_found
        need_project
        set objects {}
        foreach kind {synth_run impl_run} {
            set names [lmap name [dict keys $runs] { if {[run_kind $name] ne $kind} continue; set name }]
            lappend objects {*}[give $kind [select $kind $names [option $given patterns] $given]]
        }
        if {![llength $objects]} {
            set nothing_found "get_runs found nothing for '[option $given patterns]'"
            warn "Vivado 12-180" $nothing_found
        }
        return $objects
    }

    proc command::current_run {given} {
        variable ::standin::runs
        need_project
        return [expr {[flag $given -synthesis] ? [one synth_run synth_1] : [one impl_run impl_1]}]
    }

    proc command::create_run {given} {
        variable ::standin::runs
        need_project
        set name [dict get $given name]
        if {[dict exists $runs $name]} { refuse "Project 1-165" "run '$name' exists" }
        if {![regexp {^Vivado (Synthesis|Implementation) 20\d\d$} [dict get $given -flow] -> flow]} {
            refuse "Project 1-166" \
                "create_run: -flow must be {Vivado Synthesis 2022} or {Vivado Implementation 2022}, not '[dict get $given -flow]'"
        }
        set kind [expr {$flow eq "Synthesis" ? "synth_run" : "impl_run"}]
        set parent [option $given -parent_run]
        if {$kind eq "impl_run" && ![dict exists $runs $parent]} {
            refuse "Project 1-167" "create_run: an implementation run needs -parent_run, a synthesis run"
        }
        dict set runs $name [list kind $kind parent $parent state new step ""]
        if {[flag $given -strategy]} { write_property $kind $name STRATEGY [dict get $given -strategy] }
        return [one $kind $name]
    }

    proc run_directory {name} { variable folder; variable project; return [file join $folder $project.runs $name] }

    foreach kind {synth_run impl_run} {
        proc on_get::$kind.name {name} { return $name }
        proc on_get::$kind.directory {name} { return [::standin::run_directory $name] }
        proc on_get::$kind.parent {name} { return [dict get $::standin::runs $name parent] }
        proc on_get::$kind.progress {name} {
            return [expr {[dict get $::standin::runs $name state] eq "done" ? "100%" : "0%"}]
        }
        proc on_get::$kind.status {name} {
            set run [dict get $::standin::runs $name]
            return [dict get [list new {Not started} running {Running} done "[dict get $run step] Complete!"] \
                [dict get $run state]]
        }
        proc on_get::$kind.is_synthesis {name} { return [expr {[dict get $::standin::runs $name kind] eq "synth_run"}] }
        proc on_get::$kind.is_implementation {name} {
            return [expr {[dict get $::standin::runs $name kind] eq "impl_run"}]
        }
        # Figures of a design that meets its timing, once the run is done.
        foreach {figure value} {wns 0.100 tns 0.000 whs 0.010 ths 0.000 tpws 0.000} {
            proc on_get::$kind.stats.$figure {name} "return \[expr {\[dict get \$::standin::runs \$name state] eq {done} ? {$value} : {}}]"
        }
    }

    proc command::launch_runs {given} {
        variable ::standin::runs; variable ::standin::implementation_steps
        need_project
        set names [run_names launch_runs [dict get $given runs]]
        if {[flag $given -jobs] && !([string is integer -strict [dict get $given -jobs]] \
            && [dict get $given -jobs] >= 1)} {
            refuse "Common 17-163" "launch_runs: -jobs must be a positive integer, not '[dict get $given -jobs]'"
        }
        foreach name $names {
            set kind [run_kind $name]
            set step [option $given -to_step [expr {$kind eq "synth_run" ? "synth_design" : "route_design"}]]
            set steps [expr {$kind eq "synth_run" ? "synth_design" : $implementation_steps}]
            if {$step ni $steps} {
                refuse "Vivado 12-1090" "launch_runs: run '$name' has no step '$step', only: [join $steps {, }]"
            }
            set state [dict get $runs $name state]
            if {$state ne "new" && !($kind eq "impl_run" && $state eq "done" \
                && [lsearch $steps [dict get $runs $name step]] < [lsearch $steps $step])} {
                refuse "Vivado 12-1091" \
                    "run '$name' is [expr {$state eq {done} ? {complete} : {running}}]: reset_run must come before launching it again"
            }
            set parent [dict get $runs $name parent]
            if {$parent ne "" && [dict get $runs $parent state] eq "new"} { start_synthesis $parent }
            if {$kind eq "synth_run"} { start_synthesis $name } else { run_constraints IMPLEMENTATION }
            if {$step eq "write_bitstream"} { check_ports }
            run_set $name state running
            run_set $name step $step
        }
    }

    # DRC NSTD-1 and UCIO-1: a bitstream needs a pin and a standard for every port that no board interface places.
    proc check_ports {} {
        variable ports; variable net_pins
        set mistakes {}
        foreach port [dict keys $ports] {
            set net [net_of $port]
            set placed 0
            foreach member [expr {$net eq "" ? {} : [dict get $net_pins $net]}] {
                set facts [pin_facts $member]
                if {[dict exists $facts placed] && [dict get $facts placed]} { set placed 1 }
            }
            if {$placed} continue
            foreach {rule property} {UCIO-1 PACKAGE_PIN NSTD-1 IOSTANDARD} {
                if {[read_property port [string range $port 1 end] $property] eq ""} {
                    lappend mistakes "\[DRC $rule] port '[string range $port 1 end]' has no $property"
                }
            }
        }
        refuse_all "Vivado 12-1345" "write_bitstream failed:" $mistakes
    }

    # What synthesis needs: a top, its sources, and a block design that validates.
    proc start_synthesis {name} {
        variable design; variable validated; variable folder; variable project
        set top [read_property fileset sources_1 TOP]
        if {$top eq ""} {
            refuse "Project 1-68" \
                "launch_runs: fileset 'sources_1' has no top: set_property top, or update_compile_order"
        }
        if {$top ni [modules_of sources_1]} { refuse "Project 1-161" "launch_runs: top '$top' is not in the sources" }
        if {$design ne ""} {
            if {$top ne "${design}_wrapper"} {
                refuse "Project 1-161" \
                    "launch_runs: top is '$top', which leaves out the block design '$design': its wrapper '${design}_wrapper' must be the top"
            }
            if {!$validated} { validate }
            set home [file join $folder $project.gen sources_1 bd $design hw_handoff]
            file mkdir $home
            write_output [file join $home $design.hwh] launch_runs 1
        }
        run_constraints SYNTHESIS
        run_set $name state running
        run_set $name step synth_design
    }

    proc command::wait_on_run {given} {
        variable ::standin::runs
        foreach name [run_names wait_on_run [dict get $given runs]] {
            if {[dict get $runs $name state] eq "new"} {
                refuse "Vivado 12-1092" "wait_on_run: run '$name' was not launched"
            }
            set parent [dict get $runs $name parent]
            if {$parent ne ""} { finish $parent }
            finish $name
        }
    }
    proc command::wait_on_runs {given} { return [wait_on_run $given] }

    proc finish {name} {
        variable runs
        if {[dict get $runs $name state] eq "done"} return
        run_set $name state done
        set home [run_directory $name]
        file mkdir $home
        set top [read_property fileset sources_1 TOP]
        if {[run_kind $name] eq "synth_run"} {
            write_output [file join $home $top.dcp] launch_runs 1
        } else {
            write_output [file join $home ${top}_routed.dcp] launch_runs 1
            if {[dict get $runs $name step] eq "write_bitstream"} {
                write_output [file join $home $top.bit] launch_runs 1
            }
        }
    }

    proc command::reset_runs {given} {
        foreach name [run_names reset_runs [option $given runs [option $given run]]] {
            run_set $name state new; run_set $name step ""
        }
    }
    proc command::reset_run {given} { return [reset_runs $given] }

    # --- the open design ---

    proc command::open_run {given} {
        variable ::standin::runs; variable ::standin::opened
        set name [lindex [run_names open_run [list [dict get $given run]]] 0]
        if {[dict get $runs $name state] ne "done"} {
            refuse "Vivado 12-1093" \
                "open_run: run '$name' is not complete ([dict get $runs $name state]): launch_runs and wait_on_run come first"
        }
        set opened $name
        return [one design $name]
    }

    proc command::close_design {given} { variable ::standin::opened; need_open close_design; set opened ""; return }
    proc command::current_design {given} {
        variable ::standin::context
        return [one design [expr {$context ne "" ? "netlist_1" : [need_open current_design]}]]
    }

    proc need_open {command} {
        variable opened
        if {$opened eq ""} {
            refuse "Common 17-53" \
                "$command: No open design. Please open an elaborated, synthesized or implemented design before executing this command."
        }
        return $opened
    }

    proc report {name given} {
        need_open $name
        foreach option {-file -rpx -xpe -csv} {
            if {[flag $given $option]} { write_output [dict get $given $option] $name 1 }
        }
        set choices {-delay_type {max min min_max} -path_type {full full_clock full_clock_expanded short summary end} \
            -format {text xml}}
        dict for {option allowed} $choices {
            if {[flag $given $option] && [dict get $given $option] ni $allowed} {
                refuse "Common 17-163" \
                    "$name: $option must be one of [join $allowed {, }], not '[dict get $given $option]'"
            }
        }
        return [expr {[flag $given -return_string] ? "in place of the text of $name" : ""}]
    }

    proc command::read_saif {given} {
        variable ::standin::saif
        need_open read_saif
        set path [dict get $given file]
        if {![file isfile $path]} { refuse "Power 33-21" "read_saif: file '$path' does not exist" }
        if {[flag $given -out_file]} { write_output [dict get $given -out_file] read_saif 1 }
        set saif $path
        return
    }

    proc command::set_switching_activity {given} { need_open set_switching_activity; return }
    proc command::get_timing_paths {given} { need_open get_timing_paths; return [one timing_path path_1] }
    proc on_get::timing_path.slack {name} { return 0.100 }
    proc command::create_waiver {given} { return }

    # --- exports ---

    proc command::write_hw_platform {given} {
        variable ::standin::runs
        need_project
        set path [option $given -file [option $given file]]
        if {[file extension $path] ne ".xsa"} {
            refuse "Vivado 12-4165" "write_hw_platform: the file must end in .xsa, not '$path'"
        }
        if {![flag $given -fixed] && ![read_property project [need_project] PLATFORM.EXTENSIBLE]} {
            refuse "Vivado 12-4167" "write_hw_platform: without -fixed the project must be an extensible platform"
        }
        set complete [lmap name [dict keys $runs] {
            if {[run_kind $name] ne "impl_run" || [dict get $runs $name state] ne "done"} continue
            set name
        }]
        if {[flag $given -include_bit]} {
            set complete [lmap name $complete {
                if {[dict get $runs $name step] ne "write_bitstream"} continue
                set name
            }]
            if {![llength $complete]} {
                refuse "Vivado 12-4166" \
                    "write_hw_platform -include_bit: no implementation run has written a bitstream yet"
            }
        }
        write_output $path write_hw_platform [flag $given -force]
        return $path
    }
    proc command::validate_hw_platform {given} {
        if {![file isfile [option $given file]]} {
            refuse "Vivado 12-4168" "validate_hw_platform: no file '[option $given file]'"
        }
    }
    proc command::write_bitstream {given} {
        set run [need_open write_bitstream]
        if {[run_kind $run] ne "impl_run"} {
            refuse "Vivado 12-1345" "write_bitstream needs an implemented design, '$run' is a synthesised one"
        }
        write_output [dict get $given file] write_bitstream [flag $given -force]
    }
    proc command::write_checkpoint {given} {
        need_open write_checkpoint
        write_output [dict get $given file] write_checkpoint [flag $given -force]
    }
    proc command::write_debug_probes {given} {
        need_open write_debug_probes; refuse "Labtools 27-1974" "write_debug_probes: the design has no debug cores"
    }

    # Nothing may be left running when the script ends: Vivado would leave with it.
    proc at_end {} {
        variable runs; variable core; variable core_saved
        dict for {name run} $runs {
            if {[dict get $run state] eq "running"} {
                refuse "standin runs" "the script ended while run '$name' was running: wait_on_run is missing"
            }
        }
        if {$core ne "" && !$core_saved} {
            refuse "standin core" "the script ended with an unsaved core: ipx::save_core is missing"
        }
    }

    proc runs_summary {} {
        variable runs; variable saif
        set items {}
        dict for {name run} $runs {
            lappend items $name [list o state [list s [dict get $run state]] step [list s [dict get $run step]] \
                strategy [list s [read_property [dict get $run kind] $name STRATEGY]]]
        }
        return [list o {*}$items]
    }
}
